package hub

import (
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// heldPublication waits for something of its target: see hold. Its message has a deadline, which holds for all its waiting together.
type heldPublication struct {
	message backplane.Message
	done    backplane.Confirmation
}

// hold keeps publications that must not go on yet, in order. The lock of its channel guards it.
type hold struct {
	publications []heldPublication
	timer        *time.Timer
}

// add keeps a publication, at most until its deadline or the timeout, whichever is first; expired is called when the time of one is
// over. add returns false if there are too many.
func (h *hold) add(m *backplane.Message, done backplane.Confirmation, most int, timeout time.Duration, expired func()) bool {
	if len(h.publications) >= most {
		return false
	}
	p := heldPublication{*m, done}
	if latest := time.Now().Add(timeout); p.message.Deadline.IsZero() || p.message.Deadline.After(latest) {
		p.message.Deadline = latest
	}
	h.publications = append(h.publications, p)
	h.watch(expired)
	return true
}

// watch sets the timer for the earliest deadline; only the first and those that have waited elsewhere come into question.
func (h *hold) watch(expired func()) {
	if len(h.publications) == 0 {
		return
	}
	last := h.publications[len(h.publications)-1].message.Deadline
	if h.timer == nil {
		h.timer = time.AfterFunc(time.Until(last), expired)
		return
	}
	if len(h.publications) == 1 || last.Before(h.publications[0].message.Deadline) {
		h.timer.Reset(time.Until(last))
	}
}

// take returns everything, to be published.
func (h *hold) take() []heldPublication {
	held := h.publications
	h.publications = nil
	return held
}

// stop ends the timer, when nothing is held any more.
func (h *hold) stop() {
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
}

// takeDue returns those whose time is over, and looks again when that of the next one is.
func (h *hold) takeDue(expired func()) (due []heldPublication) {
	now := time.Now()
	rest := h.publications[:0]
	next := now.Add(time.Hour)
	for _, p := range h.publications {
		if !p.message.Deadline.After(now) {
			due = append(due, p)
			continue
		}
		rest = append(rest, p)
		if p.message.Deadline.Before(next) {
			next = p.message.Deadline
		}
	}
	clear(h.publications[len(rest):])
	h.publications = rest
	h.stop()
	if len(rest) > 0 {
		h.timer = time.AfterFunc(time.Until(next), expired)
	}
	return due
}
