package hub

import (
	"context"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// Listing is a part of a log as the history command answers it.
type Listing struct {
	At protocol.Position
	// Messages are message frames, joined by protocol.AppendListed.
	Messages []byte
	// Last is the offset of the last message in Messages, and More says that there is more behind it.
	Last int64
	More bool
}

// HasLog tells whether the backplane keeps messages.
func (h *Hub) HasLog() bool { return h.log != nil }

// History reads a part of a target's log and calls done on another goroutine: with an error that wraps
// backplane.ErrUnavailable if the log cannot be read in time. At most a quarter of a send queue is returned, at least one message.
func (h *Hub) History(t backplane.Target, from backplane.Cursor, done func(Listing, error)) {
	h.background.Go(func() {
		h.recoveries <- struct{}{}
		defer func() { <-h.recoveries }()
		page, err := h.readLog(t, from)
		if err != nil {
			done(Listing{}, err)
			return
		}
		done(h.listing(&page, from), nil)
	})
}

// ReadHistory is History for a caller that waits.
func (h *Hub) ReadHistory(ctx context.Context, t backplane.Target, from backplane.Cursor) (Listing, error) {
	page, err := h.log.ReadLog(ctx, t, from)
	if err != nil {
		return Listing{}, err
	}
	return h.listing(&page, from), nil
}

func (h *Hub) listing(page *backplane.Page, from backplane.Cursor) Listing {
	l := Listing{At: protocol.Position{Epoch: page.Epoch, Offset: page.Newest}}
	left := h.sendQueueBytes() / 4
	for i := range page.Messages {
		m := &page.Messages[i]
		if left -= len(m.Body); left < 0 && i > 0 {
			break
		}
		l.Messages = protocol.AppendListed(l.Messages, m.Body, protocol.Position{Epoch: page.Epoch, Offset: m.Offset})
		l.Last = m.Offset
	}
	if l.Last != 0 {
		l.More = from.Reverse && l.Last > page.Oldest || !from.Reverse && l.Last < page.Newest
	}
	return l
}
