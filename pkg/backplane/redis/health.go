package redis

import (
	"log/slog"
	"sync"
	"time"
)

// health joins how the shards are into how the backplane is: up while all of them are. All methods are safe for concurrent use.
type health struct {
	logger *slog.Logger

	mu         sync.Mutex
	shards     []*shardHealth
	everUp     bool // one shard was, at some time
	settled    bool // all were, at the same time
	reconnects uint64
	came       uint64 // how often any shard came up
}

// shardHealth joins how the links to one primary are. The lock of health guards it.
type shardHealth struct {
	health *health
	logger *slog.Logger
	links  []linkHealth
	isUp   bool
	everUp bool
	// fresh is true for a shard that was found when all were up already: its first link is the end of an outage.
	fresh bool
	since time.Time // of the current state
	told  bool      // that it is down
	// idle is true for a shard that nothing depends on, which does not count.
	idle bool
	// virtual is true for what is no shard but counts as one.
	virtual bool
	// lives counts how often it came up: what Redis knew before may be lost.
	lives uint64
}

type linkHealth struct {
	up  bool
	err error
}

func newHealth(logger *slog.Logger) *health { return &health{logger: logger} }

// add makes the health of a shard with as many links; name is empty where there is but one shard.
func (h *health) add(name string, links int) *shardHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &shardHealth{health: h, logger: h.logger, links: make([]linkHealth, links), since: time.Now(), fresh: h.settled}
	if name != "" {
		s.logger = h.logger.With("shard", name)
	}
	h.shards = append(h.shards, s)
	return s
}

// count says whether something depends on the shard.
func (s *shardHealth) count(depends bool) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.idle = !depends
}

// addVirtual makes the health of something that is no shard, but without which not all is up.
func (h *health) addVirtual() *shardHealth {
	s := h.add("", 1)
	s.virtual = true
	return s
}

// remove forgets a shard.
func (s *shardHealth) remove() {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, other := range h.shards {
		if other == s {
			h.shards = append(h.shards[:i], h.shards[i+1:]...)
			break
		}
	}
}

// up notes that Redis has answered on a link.
func (s *shardHealth) up(link int) {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	s.links[link] = linkHealth{up: true}
	for _, l := range s.links {
		if !l.up {
			return
		}
	}
	if s.isUp {
		return
	}
	now := time.Now()
	switch {
	case s.everUp:
		h.reconnects++
		s.logger.Info("Redis is back", "away", now.Sub(s.since))
	default:
		if s.fresh {
			h.reconnects++
		}
		s.logger.Info("Redis is connected")
	}
	s.isUp, s.everUp, s.told, s.since = true, true, false, now
	s.lives++
	h.came++
	h.everUp = h.everUp || !s.virtual
	h.settled = h.settled || h.allUpLocked()
}

// allUp tells whether all links of the shard are up.
func (s *shardHealth) allUp() bool {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.isUp
}

// life is another number after each outage of the shard.
func (s *shardHealth) life() uint64 {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.lives
}

// allLives is another number when that of any shard is.
func (h *health) allLives() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.came
}

// down notes why a link broke or could not be made. Only the first reason of an outage is logged.
func (s *shardHealth) down(link int, err error) {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	s.links[link] = linkHealth{err: err}
	if s.isUp {
		s.isUp, s.since = false, time.Now()
	}
	if !s.told && err != errClosed { //nolint:errorlint // only this very value means that nobody is to be told
		s.told = true
		s.logger.Warn("Redis cannot be reached; trying again until it can", "error", err)
	}
}

// allUpLocked tells whether all shards are up.
func (h *health) allUpLocked() bool {
	for _, s := range h.shards {
		if !s.isUp && !s.idle {
			return false
		}
	}
	return len(h.shards) > 0
}

// status returns whether all links are up, whether those of a shard ever were, how often shards came back, and what is wrong now.
func (h *health) status() (up, everUp bool, reconnects uint64, lastError string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if up = h.allUpLocked(); !up {
		lastError = "not connected to Redis yet"
		if err := h.reasonLocked(); err != nil {
			lastError = err.Error()
		}
	}
	return up, h.everUp, h.reconnects, lastError
}

// reasonLocked returns why the first link that is down is.
func (h *health) reasonLocked() error {
	for _, s := range h.shards {
		if s.idle {
			continue
		}
		for _, l := range s.links {
			if l.err != nil {
				return l.err
			}
		}
	}
	return nil
}
