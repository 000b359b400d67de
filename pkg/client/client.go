package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the client is closed")

// Client keeps one user connected to a cluster. It is safe for concurrent use.
type Client struct {
	// Fixed at start.
	options Options
	inbox   *stream // nil: the application does not want one
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	// first is closed at the first connection, done when the client has ended, closed when the application wants no more.
	first, done, closed chan struct{}
	closeOnce           sync.Once

	// The supervisor's.
	turn      int
	connected bool // at least once

	tokens tokens

	mu      sync.Mutex
	current *conn   // the one that publishes; nil: none
	conns   []*conn // all that are open
	streams map[string]*stream
	pending map[*pending]struct{}
	bytes   int           // of the frames in pending
	unsent  []*pending    // those that wait for a connection
	idle    chan struct{} // closed when pending gets empty; nil: nobody waits for that
	lastID  uint64
	closing bool
	err     error // why the client ended
}

// New begins to connect and returns at once; it returns an error only for wrong options. The caller has to call Close.
func New(o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Client{
		options: o, first: make(chan struct{}), done: make(chan struct{}), closed: make(chan struct{}),
		streams: map[string]*stream{}, pending: map[*pending]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Inbox != nil {
		c.inbox = newStream(c, "", RoomOptions(*o.Inbox))
		c.wg.Go(c.inbox.handOver)
	}
	c.wg.Go(c.supervise)
	return c, nil
}

// Dial is New, but waits for the first connection: until ctx ends, or a gateway refuses for good.
func Dial(ctx context.Context, o Options) (*Client, error) {
	var mu sync.Mutex
	var last error
	tell := o.OnState
	o.OnState = func(s State) {
		mu.Lock()
		last = s.Err
		mu.Unlock()
		if tell != nil {
			tell(s)
		}
	}
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.first:
		return c, nil
	case <-c.done:
		err = c.Err()
	case <-ctx.Done():
		mu.Lock()
		err = errors.Join(ctx.Err(), last)
		mu.Unlock()
	}
	_ = c.Close(context.WithoutCancel(ctx)) // there are no publishes to wait for
	return nil, err
}

// Done is closed when the client has ended: after Close, or because a gateway refused for good; Err says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the client lives, ErrClosed after Close, and else what ended it: a *ClosedError, a *RefusedError, or
// ErrTokenRefused.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close takes no more publishes, waits until those under way are confirmed or have failed, leaves, and waits for the client's
// goroutines, all no longer than ctx. It returns an error if publishes were given up: their Publish calls return
// ErrUncertain or ErrClosed. It must not be called by a handler.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	if c.idle == nil && len(c.pending) > 0 {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	var err error
	if idle != nil {
		select {
		case <-idle:
		case <-c.done:
		case <-ctx.Done():
			c.mu.Lock()
			err = fmt.Errorf("%d publishes were not confirmed in time: %w", len(c.pending), ctx.Err())
			c.mu.Unlock()
		}
	}
	c.cancel()
	c.closeOnce.Do(func() { close(c.closed) })
	ended := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return err
}

// finish ends the client. It is called once, by the supervisor.
func (c *Client) finish(err error) {
	c.cancel()
	c.mu.Lock()
	c.err = err
	for p := range c.pending {
		p.abandonLocked(err)
	}
	if c.inbox != nil {
		c.inbox.endLocked(err)
	}
	for _, s := range c.streams {
		s.endLocked(err)
	}
	conns := slices.Clone(c.conns)
	c.mu.Unlock()
	for _, n := range conns {
		n.leave()
	}
	for _, n := range conns {
		<-n.done
	}
	c.tell(State{Status: StatusEnded, Err: quiet(err)})
	close(c.done)
}

// quiet leaves out that the application itself ended the client.
func quiet(err error) error {
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

func (c *Client) tell(s State) {
	if c.options.OnState != nil {
		c.options.OnState(s)
	}
}

// nextIDLocked names a command; a name is never used twice.
func (c *Client) nextIDLocked() string {
	c.lastID++
	return strconv.FormatUint(c.lastID, 36)
}

// receive takes a frame of a connection. It never blocks.
func (c *Client) receive(n *conn, f *serverFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Type {
	case "message":
		if s := c.streamLocked(f.RoomID); s != nil {
			s.take(n, f.asMessage())
		}
	case "ack", "error":
		n.answerLocked(f)
	case "epoch_changed":
		if s := c.streamLocked(f.RoomID); s != nil {
			s.epochChanged(f.at())
		}
	case "member_joined", "member_left":
		if s := c.streams[f.RoomID]; s != nil {
			s.takeMember(n, f)
		}
	case "reconnect":
		c.askedToMoveLocked(n, f)
	}
}

// streamLocked returns the room's stream, or the inbox for "", or nil.
func (c *Client) streamLocked(room string) *stream {
	if room == "" {
		return c.inbox
	}
	return c.streams[room]
}

// eachLocked calls f for the inbox and every room.
func (c *Client) eachLocked(f func(*stream)) {
	if c.inbox != nil {
		f(c.inbox)
	}
	for _, s := range c.streams {
		f(s)
	}
}

// lostLocked forgets a connection that has ended.
func (c *Client) lostLocked(n *conn) {
	c.conns = slices.DeleteFunc(c.conns, func(other *conn) bool { return other == n })
	if c.current == n {
		c.current = nil
	}
	c.eachLocked(func(s *stream) { s.lostConn(n) })
}

// mendable tells whether a command may succeed when it is sent again after a pause.
func mendable(code protocol.Code) bool {
	return code == protocol.CodeUnavailable || code == protocol.CodeRateLimited
}
