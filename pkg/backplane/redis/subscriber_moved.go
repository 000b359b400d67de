package redis

import (
	"errors"
	"strings"
	"time"
)

// redirected takes an error that says that the shard does not serve a slot, and returns false for any other, which breaks the link.
func (s *subscriber) redirected(err error) bool {
	refused, ok := errors.AsType[refusal](err)
	if !ok || !s.commands.single {
		return false
	}
	word, rest, _ := strings.Cut(string(refused), " ")
	if word != "MOVED" {
		return false
	}
	slot, addr, ok := readRedirection(rest, s.shard.addr)
	if !ok {
		return false
	}
	s.subscriptions.refused(slot)
	learned := s.router.learn(slot, addr)
	s.router.refresh()
	if !learned || addr == s.shard.addr {
		time.AfterFunc(putOffPause, func() { s.retry(slot) })
	}
	return true
}

// retry asks for the channels of a slot again, if they are still here.
func (s *subscriber) retry(slot uint16) {
	s.subscriptions.retry(slot)
	s.poke()
}
