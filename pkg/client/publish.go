package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// What a publish may end with besides the gateway's *protocol.Error.
var (
	// ErrTooManyPending: nothing was sent, since as many publishes wait as may.
	ErrTooManyPending = errors.New("too many publishes wait for their confirmation")
	// ErrUncertain: the message was sent, but whether it was published is not known, and to send it again could double it.
	ErrUncertain = errors.New("the message was sent, but is not known to be published")
)

// retryWindow is how long after it was first sent a message is sent again. Gateways remember an idempotency key for 5 minutes
// after they stored the message; what was sent may also have been on its way for a while.
const retryWindow = 4 * time.Minute

const (
	shortestRetry = 100 * time.Millisecond
	longestRetry  = 5 * time.Second
)

// Publication is what Publish sends.
type Publication struct {
	// Room or User says where to: exactly one.
	Room, User string
	// Data is anything that encoding/json takes; a json.RawMessage is sent as it is.
	Data any
	// IdempotencyKey is 1 to 128 bytes; empty: a random one, so that one call publishes once. Give the key of your own event
	// to make several calls publish once: within 5 minutes, by the same user, to the same target, with the same data.
	IdempotencyKey string
}

// Receipt is what the gateway confirmed.
type Receipt struct {
	MessageID string
	// At is the message's place in the log; its Offset is 0 where no history is kept.
	At protocol.Position
}

// pending is one publish that is not confirmed. It is guarded by Client.mu, but for result.
type pending struct {
	client *Client
	number uint64 // of the call, for the order of what waits
	id     string
	room   string
	frame  []byte

	// user is whose key it is: that of the first connection it was sent on; empty: it was never sent.
	user   string
	window time.Time // the end of retrying
	// doubtful: an attempt ended without the certainty that it published nothing.
	doubtful bool
	retry    backoff
	timer    *time.Timer // the next attempt; nil: none waits
	// result has a place for the one result.
	result chan published
}

type published struct {
	receipt Receipt
	err     error
}

// Publish sends a message and blocks until a gateway has confirmed it, however many connections and attempts that takes, or
// until ctx ends. Messages that one goroutine publishes one after the other keep their order; calls at the same time have none.
//
// Errors: a *protocol.Error is the gateway's refusal (its code unconfirmed means stored, but on fewer replicas than asked for);
// ErrTooManyPending, ErrClosed, or what ended the client, mean that nothing was published. ErrUncertain, also together with
// the error of ctx, means that nobody can tell: the same IdempotencyKey makes it safe to ask again, unless the gateways
// treat this client as a guest, who is another user on each connection.
func (c *Client) Publish(ctx context.Context, p Publication) (Receipt, error) {
	data, err := p.check()
	if err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	waiting, err := c.accept(&p, data)
	if err != nil {
		return Receipt{}, err
	}
	select {
	case r := <-waiting.result:
		return r.receipt, r.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	waiting.abandonLocked(ctx.Err())
	c.mu.Unlock()
	r := <-waiting.result // abandoned now, or confirmed just before
	return r.receipt, r.err
}

// check completes the publication and returns its encoded data.
func (p *Publication) check() ([]byte, error) {
	if (p.Room == "") == (p.User == "") {
		return nil, errors.New("publish: give exactly one of Room and User")
	}
	if err := protocol.CheckName(p.Room + p.User); err != nil {
		return nil, fmt.Errorf("publish: the target's name %w", err)
	}
	if p.IdempotencyKey == "" {
		p.IdempotencyKey = rand.Text()
	}
	if len(p.IdempotencyKey) > protocol.MaxIdempotencyKeyBytes {
		return nil, fmt.Errorf("publish: the idempotency key has %d bytes; %d at most", len(p.IdempotencyKey), protocol.MaxIdempotencyKeyBytes)
	}
	if raw, ok := p.Data.(json.RawMessage); ok {
		if !json.Valid(raw) {
			return nil, errors.New("publish: the data is no JSON value")
		}
		return raw, nil
	}
	data, err := json.Marshal(p.Data)
	if err != nil {
		return nil, fmt.Errorf("publish: the data cannot be written as JSON: %w", err)
	}
	return data, nil
}

// accept queues a publish, and sends it if there is a connection.
func (c *Client) accept(p *Publication, data []byte) (*pending, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, c.err
	case c.closing:
		return nil, ErrClosed
	}
	id := c.nextIDLocked()
	frame := encodePublish(id, p, data)
	if len(c.pending) >= c.options.MaxPending || c.bytes+len(frame) > c.options.MaxPendingBytes {
		return nil, ErrTooManyPending
	}
	waiting := &pending{
		client: c, number: c.lastID, id: id, room: p.Room, frame: frame,
		retry: newBackoff(shortestRetry, longestRetry), result: make(chan published, 1),
	}
	c.pending[waiting] = struct{}{}
	c.bytes += len(frame)
	waiting.sendLocked()
	return waiting, nil
}

// sendLocked sends the publish on the current connection, or has it wait for one, or ends it if it may not be sent again.
func (p *pending) sendLocked() {
	n := p.client.current
	if n == nil {
		p.client.unsent = append(p.client.unsent, p)
		return
	}
	if most := n.welcome.MaxMessageBytes; most > 0 && len(p.frame) > most {
		p.finishLocked(Receipt{}, &protocol.Error{Code: protocol.CodeBadRequest, Message: fmt.Sprintf("the message takes %d bytes as a frame; this gateway takes %d at most", len(p.frame), most)})
		return
	}
	switch {
	case p.user == "":
		p.user, p.window = n.welcome.UserID, time.Now().Add(retryWindow)
	case p.user != n.welcome.UserID || time.Now().After(p.window):
		p.finishLocked(Receipt{}, ErrUncertain)
		return
	}
	n.sendLocked(p.id, p.frame, p, false)
}

// sendUnsentLocked sends what waits for a connection, in the order of the calls.
func (c *Client) sendUnsentLocked() {
	unsent := c.unsent
	c.unsent = nil
	slices.SortFunc(unsent, func(a, b *pending) int { return cmp.Compare(a.number, b.number) })
	for _, p := range unsent {
		if _, waits := c.pending[p]; waits {
			p.sendLocked()
		}
	}
}

// answer implements command.
func (p *pending) answer(_ *conn, f *serverFrame) {
	if _, waits := p.client.pending[p]; !waits {
		return // its caller has given up
	}
	failure := f.failure()
	if failure == nil {
		p.finishLocked(Receipt{MessageID: f.MessageID, At: f.at()}, nil)
		return
	}
	// A room that this client is in, or is about to be in again, will let it publish.
	_, member := p.client.streams[p.room]
	if !mendable(failure.Code) && (failure.Code != protocol.CodeNotJoined || !member) {
		p.finishLocked(Receipt{}, failure)
		return
	}
	if failure.Code == protocol.CodeUnavailable {
		p.doubtful = true
	} else if !p.doubtful {
		p.user = ""
	}
	p.timer = time.AfterFunc(p.retry.after(failure), func() {
		p.client.mu.Lock()
		defer p.client.mu.Unlock()
		p.timer = nil
		if _, waits := p.client.pending[p]; waits {
			p.sendLocked()
		}
	})
}

// lost implements command: the next connection sends it again.
func (p *pending) lost(*conn) {
	if _, waits := p.client.pending[p]; waits {
		p.doubtful = true
		p.client.unsent = append(p.client.unsent, p)
	}
}

// abandonLocked ends a publish that is not confirmed, because of err.
func (p *pending) abandonLocked(err error) {
	if p.user != "" {
		err = fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	p.finishLocked(Receipt{}, err)
}

func (p *pending) finishLocked(r Receipt, err error) {
	c := p.client
	if _, waits := c.pending[p]; !waits {
		return
	}
	delete(c.pending, p)
	c.bytes -= len(p.frame)
	if i := slices.Index(c.unsent, p); i >= 0 {
		c.unsent = slices.Delete(c.unsent, i, i+1)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	if len(c.pending) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	p.result <- published{r, err}
}
