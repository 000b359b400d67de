package model

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	backplane "github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// patience bounds every wait for something that has to happen: generous, since machines that test are busy.
const patience = 30 * time.Second

// lease is how long the members of a dead gateway stay; 20 s outside tests.
const lease = 1500 * time.Millisecond

// world is what a run happens in: a Redis, gateways behind links that break, and clients. One goroutine uses it.
type world struct {
	t       *testing.T
	scheme  scheme
	trace   *trace
	redis   *redistest.Server
	control *redis.Client // past the links
	nodes   []*node
	slots   [slots]*client
	places  [slots]map[target]position
	// published are the numbers given out, and keyed what was published with keys, by user.
	published int
	keyed     map[string][]keyedMessage
	sizes     []int // of what was published, by number; -1: not yet
	conns     int
}

// keyedMessage is what it takes to publish something again.
type keyedMessage struct {
	target target
	key    string
	number int
	quiet  bool
}

// node is one gateway, of which there may be several lives, all behind the same two links.
type node struct {
	clients, link *faultproxy.Proxy
	life          *life // nil: it is down
}

type life struct {
	*gateway.Gateway
	plane      *backplane.Backplane
	leave, cut context.CancelFunc
	done       chan struct{}
	log        *logBuffer
}

func newWorld(t *testing.T, s scheme) *world {
	t.Helper()
	var args []string
	if s.lasting {
		args = []string{"--appendonly", "yes", "--appendfsync", "everysec", "--dir", t.TempDir()}
	}
	w := &world{t: t, scheme: s, trace: &trace{}, redis: redistest.Start(t, args...), keyed: map[string][]keyedMessage{}}
	w.control = redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	t.Cleanup(func() { _ = w.control.Close() })
	for i := range slots {
		w.places[i] = map[target]position{}
	}
	for i := range s.gateways {
		n := &node{link: faultproxy.Start(t, w.redis.Addr), clients: faultproxy.Start(t, "127.0.0.1:1")}
		w.nodes = append(w.nodes, n)
		w.start(i)
		t.Cleanup(func() { w.end(n) })
	}
	w.awaitLinks() // a gateway that has never had Redis is not ready
	t.Cleanup(func() {
		for _, c := range w.slots {
			if c != nil {
				c.hangUp()
			}
		}
	})
	return w
}

// start begins a new life of a gateway that is down.
func (w *world) start(i int) {
	w.t.Helper()
	n := w.nodes[i]
	if n.life != nil {
		return
	}
	s := settings.Default()
	s.Listen, s.APIListen, s.OpsListen = "127.0.0.1:0", "", "127.0.0.1:0"
	s.Node, s.Auth.Type, s.LogLevel = fmt.Sprintf("node-%d", i), settings.AuthTrusted, "info"
	s.Drain = settings.Drain{Timeout: 50 * time.Millisecond, Rate: 100_000}
	s.Limits.MessagesPerSecond = 0
	s.Limits.SendQueueBytes = 128 << 10 // a recovery of more than some messages takes several pages
	policy := func(match string, size int, presence bool) settings.RoomPolicy {
		p := settings.DefaultRoomPolicy()
		p.Match, p.Presence = match, presence
		if size > 0 {
			p.History = &settings.History{Size: size, TTL: time.Hour}
		}
		return p
	}
	s.Rooms = []settings.RoomPolicy{policy("kept-*", keptSize, false), policy("short-*", shortSize, false), policy("seen-*", keptSize, true), policy("here-*", 0, true)}
	if w.scheme.inbox {
		s.Inbox = &settings.Inbox{Size: keptSize, TTL: time.Hour, MaxBytes: 64 << 20}
	}
	l := &life{done: make(chan struct{}), log: &logBuffer{}}
	logger := slog.New(slog.NewTextHandler(l.log, nil))
	var err error
	if l.plane, err = backplane.New(backplane.Options{
		URL: "redis://" + n.link.Addr, Cluster: "model", Logger: logger,
		Timing: backplane.Timing{Ping: 200 * time.Millisecond, Silence: 800 * time.Millisecond, BackoffMax: 200 * time.Millisecond, Lease: lease},
	}); err != nil {
		w.t.Fatal(err)
	}
	if l.Gateway, err = gateway.New(s, l.plane, logger); err != nil {
		w.t.Fatal(err)
	}
	var ctx, hard context.Context
	ctx, l.leave = context.WithCancel(context.Background())
	hard, l.cut = context.WithCancel(context.Background())
	go func() {
		defer close(l.done)
		if err := l.Run(ctx, hard); err != nil {
			w.t.Errorf("gateway %d ended with %v", i, err)
		}
	}()
	n.life = l
	n.clients.Retarget(l.Addr().String())
	n.clients.Restore()
}

// kill ends a gateway so that nobody hears anything more of it, as SIGKILL does: both its links break first.
func (w *world) kill(i int) {
	w.t.Helper()
	n := w.nodes[i]
	n.clients.Refuse()
	n.link.Refuse()
	w.end(n)
	n.link.Restore()
}

// end ends a gateway at once.
func (w *world) end(n *node) {
	w.t.Helper()
	if n.life == nil {
		return
	}
	n.life.cut()
	w.leave(n)
}

// leave has a gateway drain.
func (w *world) leave(n *node) {
	w.t.Helper()
	n.life.leave()
	select {
	case <-n.life.done:
	case <-time.After(patience):
		w.t.Fatal("a gateway does not end")
	}
	n.life.cut()
	if log := n.life.log.String(); bytes.Contains([]byte(log), []byte("level=ERROR")) {
		w.t.Errorf("a gateway logged an error:\n%s", log)
	}
	n.life = nil
}

// disturb notes that something is wrong with a gateway's links, or with those of all.
func (w *world) disturb(which ...int) {
	for _, i := range which {
		w.trace.note(event{what: disturbed, gateway: i})
	}
}

func (w *world) disturbAll() {
	for i := range w.nodes {
		w.disturb(i)
	}
}

// do carries a step out, as far as it is possible.
func (w *world) do(s step) {
	w.t.Helper()
	switch s.do {
	case connect:
		w.connect(s)
	case hangUp:
		if c := w.slots[s.slot]; c != nil {
			c.hangUp()
			w.slots[s.slot] = nil
		}
	case join, leave, publish, read:
		if c := w.slots[s.slot]; c != nil && !c.over() {
			w.command(c, s)
		}
	case settle:
		// The caller's.
	default:
		w.fault(s)
	}
	time.Sleep(s.pause)
}

func (w *world) connect(s step) {
	if c := w.slots[s.slot]; c != nil && !c.over() {
		return
	}
	w.conns++
	i := s.pick % len(w.nodes)
	w.slots[s.slot] = dial(w.trace, w.conns, i, w.nodes[i].clients.Addr, userOf(s.slot), w.places[s.slot])
}

func (w *world) fault(s step) {
	w.t.Helper()
	n := w.nodes[s.slot]
	switch s.do {
	case killGateway:
		if n.life != nil {
			w.disturb(s.slot)
			w.kill(s.slot)
		}
	case drainGateway:
		if n.life != nil {
			w.disturb(s.slot)
			w.leave(n)
		}
	case startGateway:
		w.start(s.slot)
	case cutLink:
		w.disturb(s.slot)
		n.link.Cut()
	case refuseLink:
		w.disturb(s.slot)
		n.link.Refuse()
	case swallowLink:
		w.disturb(s.slot)
		n.link.Blackhole()
	case mendLink:
		n.link.Restore()
	case flushRedis:
		// Before and after: what is under way at this moment may meet either memory.
		w.trace.note(event{what: forgotten})
		if err := w.control.FlushAll(w.t.Context()).Err(); err != nil {
			w.t.Fatalf("flush Redis: %v", err)
		}
		w.trace.note(event{what: forgotten})
	case restartRedis:
		w.disturbAll()
		w.forget()
		w.redis.Kill()
		time.Sleep(s.pause)
		w.redis.Restart()
		w.forget()
	case stopRedis:
		w.disturbAll()
		w.redis.Pause()
		time.Sleep(s.pause)
		w.redis.Resume()
	}
}

// settle mends everything and waits until all is as the reference says. It returns what is not.
func (w *world) settle(how mode) []string {
	w.t.Helper()
	for i, n := range w.nodes {
		w.start(i)
		n.link.Restore()
	}
	if how == calmly {
		w.renewLinks()
	}
	w.awaitLinks()
	var observers []*client
	for i, n := range w.nodes {
		var o *client
		w.await("a gateway takes a connection", func() bool {
			w.conns++
			o = dial(w.trace, w.conns, i, n.clients.Addr, "observer", map[target]position{})
			return o != nil
		})
		observers = append(observers, o)
	}
	defer func() {
		for _, o := range observers {
			o.hangUp()
		}
	}()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answered := w.look(observers)
		wrong, missing := judge(w.scheme, w.trace.copy())
		if !answered {
			missing = append(missing, "the gateways do not answer all questions of the world")
		}
		if len(wrong) > 0 {
			return wrong
		}
		if len(missing) == 0 {
			break
		}
		if time.Now().After(end) {
			return append([]string{fmt.Sprintf("after %v without a fault:", patience)}, missing...)
		}
	}
	w.trace.note(event{what: settled, code: string(how)})
	return nil
}

// renewLinks breaks all links to Redis once more and waits until they are made anew, so that none is left of which its gateway does not
// know yet that it is broken. A link that its gateway had given up by itself does not come back, so the wait has an end.
func (w *world) renewLinks() {
	w.t.Helper()
	for i, n := range w.nodes {
		w.disturb(i)
		had, open := n.link.Accepted(), n.link.Open()
		n.link.Cut()
		for end := time.Now().Add(2 * time.Second); n.link.Accepted() < had+open && time.Now().Before(end); {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func (w *world) awaitLinks() {
	w.t.Helper()
	w.await("the links to Redis are up", func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.life.plane.Status().Up })
	})
}

func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

func (w *world) forget() {
	if !w.scheme.lasting {
		w.trace.note(event{what: forgotten})
	}
}

// logBuffer keeps the log of a gateway.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
