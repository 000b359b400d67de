package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Generator is the clients of one run. Its exported methods are for one goroutine at a time.
//
// Everything that happens on connections happens under one lock, nearly always on the goroutine of run: the state of hundreds of
// thousands of memberships needs no other care.
type Generator struct {
	// Fixed at start.
	options  Options
	topology topology
	start    time.Time
	dials    chan dialJob
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	running  sync.WaitGroup
	// changed has room for one: a connection opened or ended, or a load is done.
	changed chan struct{}

	poller poller

	mu       sync.Mutex
	now      time.Duration // when the events that are being handled came
	clients  []client
	conns    map[*Conn]struct{}
	timers   timers
	streams  []stream
	members  []int32 // by room: how many connections are ready
	check    *checker
	load     *load // nil between loads
	frame    []byte
	data     []byte
	payload  []byte
	id       []byte
	rooms    []int
	nextConn uint32
	closing  bool
	totals
}

// totals are counted over the whole run.
type totals struct {
	phase        *Phase // what is going on now is counted here
	ready        int
	connects     uint64
	connectFails map[string]uint64
	closes       map[int]uint64
	unexpected   map[int]uint64
	moved        uint64
	joinErrors   uint64
	strange      uint64
	givenUp      int
	nodes        map[string]uint64
	asked        map[string]*turns
	sentences    map[string]string
	recovery     histogram
	connectTime  histogram
}

// New checks the options and makes a generator without connections. The caller must Close it.
func New(options Options) (*Generator, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Generator{
		options: o, start: time.Now(), changed: make(chan struct{}, 1), conns: map[*Conn]struct{}{},
		topology: topology{publishers: o.Publishers, subscribers: o.Subscribers, rooms: o.Rooms, span: o.RoomsPerSubscriber, publishersJoin: !o.PublishersStayOut, prefix: o.RoomPrefix},
	}
	g.clients = make([]client, g.topology.clients())
	g.members = make([]int32, o.Rooms)
	g.streams = make([]stream, g.topology.streams())
	// A client has at most one dial under way, so this is never full.
	g.dials = make(chan dialJob, len(g.clients))
	g.totals = totals{connectFails: map[string]uint64{}, closes: map[int]uint64{}, unexpected: map[int]uint64{}, nodes: map[string]uint64{}, asked: map[string]*turns{}, sentences: map[string]string{}}
	g.phase = newPhase()
	for i := range g.clients {
		g.clients[i] = client{number: i, url: i % len(o.URLs)}
		if o.History {
			g.clients[i].positions = make([]position, len(g.topology.appendRooms(nil, i)))
		}
	}
	if o.Check {
		g.check = newChecker(g.topology, o.History, o.FaultMargin)
	}
	if g.poller, err = newPoller(); err != nil {
		return nil, err
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.running.Go(g.run)
	for range dialers {
		g.running.Go(g.dialLoop)
	}
	return g, nil
}

// dialers is how many handshakes are under way at once.
const dialers = 32

// run is the event loop.
func (g *Generator) run() {
	for {
		g.poller.wait()
		g.mu.Lock()
		g.now = g.elapsed()
		g.poller.dispatch(g)
		g.tick()
		next, done := g.nextDeadline(), g.closing && len(g.conns) == 0
		g.mu.Unlock()
		if done {
			g.poller.close()
			return
		}
		g.poller.arm(next - g.elapsed())
	}
}

func (g *Generator) elapsed() time.Duration { return time.Since(g.start) }

// tick does what is due.
func (g *Generator) tick() {
	g.timers.run(g.now)
	if g.load != nil {
		g.load.tick(g)
	}
}

const idleWait = time.Second

func (g *Generator) nextDeadline() time.Duration {
	next := g.now + idleWait
	if at, ok := g.timers.next(); ok {
		next = min(next, at)
	}
	if g.load != nil {
		next = min(next, g.load.next())
	}
	return next
}

// after calls f, with the lock held, in d. The caller holds the lock.
func (g *Generator) after(d time.Duration, f func()) {
	g.timers.add(g.elapsed()+d, f)
	g.poller.wake()
}

func (g *Generator) notify() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// Connect opens all connections and waits until every client has joined its rooms. An error says how many have not when ctx
// ends, or that none ever will.
func (g *Generator) Connect(ctx context.Context) error {
	g.mu.Lock()
	for i := range g.clients {
		g.dial(&g.clients[i])
	}
	g.mu.Unlock()
	err := g.wait(ctx, func() bool { return g.ready+g.givenUp >= len(g.clients) })
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready == len(g.clients) && g.joinErrors == 0 {
		return nil
	}
	failed := fmt.Errorf("%w: %d of %d clients are connected and in their rooms%s", errNotConnected, g.ready, len(g.clients), g.troubles())
	if err != nil {
		return fmt.Errorf("%w: %w", failed, err)
	}
	return failed
}

// errNotConnected is what Connect's errors wrap.
var errNotConnected = errors.New("not every client could connect")

// troubles says in words what went wrong so far.
func (g *Generator) troubles() string {
	var text strings.Builder
	for why, n := range g.connectFails {
		fmt.Fprintf(&text, "; %d attempts failed: %s", n, why)
	}
	for code, sentence := range g.sentences {
		fmt.Fprintf(&text, "; %s: %s", code, sentence)
	}
	return text.String()
}

// wait returns nil once done, called with the lock held, is true.
func (g *Generator) wait(ctx context.Context, done func() bool) error {
	for {
		g.mu.Lock()
		yes := done()
		g.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-g.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Ready returns how many clients are connected and in all their rooms.
func (g *Generator) Ready() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ready
}

// Close closes every connection with 1000 and waits until they are gone. It may be called more than once.
func (g *Generator) Close() {
	g.stop()
	g.mu.Lock()
	if !g.closing {
		g.closing = true
		for c := range g.conns {
			g.connLeave(c)
		}
		close(g.dials)
	}
	g.poller.wake()
	g.mu.Unlock()
	g.running.Wait()
}
