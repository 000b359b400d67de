package redis

import (
	"maps"
	"sync"
)

// linkSet holds every link that is not closed, with the address that it leads to, empty until that is known. All methods are safe
// for concurrent use.
type linkSet struct {
	mu    sync.Mutex
	links map[*link]string
}

func newLinkSet() *linkSet { return &linkSet{links: make(map[*link]string)} }

// opened notes where a link leads; an empty address stands for one that is not known yet.
func (s *linkSet) opened(l *link, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.isGone() { // a dial may outlive its link
		s.links[l] = addr
	}
}

// closed forgets a link.
func (s *linkSet) closed(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, l)
}

// addr returns where a link leads; empty: it is not known, or the link is closed.
func (s *linkSet) addr(l *link) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[l]
}

// keepOnly cuts all links that do not lead to addr, also those that are being made.
func (s *linkSet) keepOnly(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, to := range s.links {
		if to != addr {
			l.cut()
		}
	}
}

// snapshot returns a copy.
func (s *linkSet) snapshot() map[*link]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.links)
}
