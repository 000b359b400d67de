package redis

import (
	"log/slog"
	"sync"
	"time"
)

// health joins how the single links are into how the backplane is: up while all of them are. All methods are safe for
// concurrent use.
type health struct {
	logger *slog.Logger

	mu         sync.Mutex
	links      []linkHealth
	everUp     bool
	isUp       bool
	reconnects uint64
	since      time.Time // of the current state
	told       bool      // that it is down
}

type linkHealth struct {
	up  bool
	err error
}

func newHealth(links int, logger *slog.Logger) *health {
	return &health{logger: logger, links: make([]linkHealth, links), since: time.Now()}
}

// up notes that Redis has answered on a link.
func (h *health) up(link int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links[link] = linkHealth{up: true}
	for _, l := range h.links {
		if !l.up {
			return
		}
	}
	if h.isUp {
		return
	}
	now := time.Now()
	if h.everUp {
		h.reconnects++
		h.logger.Info("Redis is back", "away", now.Sub(h.since))
	} else {
		h.logger.Info("Redis is connected")
	}
	h.isUp, h.everUp, h.told, h.since = true, true, false, now
}

// allUp tells whether all links are up.
func (h *health) allUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.isUp
}

// down notes why a link broke or could not be made. Only the first reason of an outage is logged.
func (h *health) down(link int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links[link] = linkHealth{err: err}
	if h.isUp {
		h.isUp, h.since = false, time.Now()
	}
	if !h.told && err != errClosed { //nolint:errorlint // only this very value means that nobody is to be told
		h.told = true
		h.logger.Warn("Redis cannot be reached; trying again until it can", "error", err)
	}
}

// status returns whether all links are up, whether they ever were, how often they came back, and what is wrong now.
func (h *health) status() (up, everUp bool, reconnects uint64, lastError string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isUp {
		lastError = "not connected to Redis yet"
		for _, l := range h.links {
			if l.err != nil {
				lastError = l.err.Error()
				break
			}
		}
	}
	return h.isUp, h.everUp, h.reconnects, lastError
}
