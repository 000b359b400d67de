package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// patience bounds how long a test waits for what must come. Nothing waits that long unless it fails.
const patience = 60 * time.Second

// node is one real gateway over a real Redis. Both of its links, to clients and to Redis, go through proxies.
type node struct {
	*gateway.Gateway
	clients, redis *faultproxy.Proxy
	stop           context.CancelFunc
	ended          chan struct{} // closed when the gateway has ended; err then says how
	err            error
}

func (n *node) runs() bool {
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// kill cuts the gateway off as kill -9 would: nothing of what it says reaches anybody any more, in the middle of a message.
func (n *node) kill() {
	n.redis.Refuse()
	n.clients.Refuse()
}

func (n *node) url() string { return "ws://" + n.clients.Addr + "/ws" }

func startNode(t *testing.T, server *redistest.Server, name string, change func(*settings.Settings)) *node {
	t.Helper()
	s := settings.Default()
	s.Listen, s.APIListen, s.OpsListen = "127.0.0.1:0", "", "127.0.0.1:0"
	s.Node, s.Auth.Type = name, settings.AuthTrusted
	s.Drain = settings.Drain{Timeout: 20 * time.Second, Rate: 100_000}
	s.Limits.MessagesPerSecond, s.Limits.ConnectsPerSecond = 0, 0
	s.Rooms = []settings.RoomPolicy{{Match: "kept:*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone, History: &settings.History{Size: 5000, TTL: time.Minute}}, {Match: "*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone}}
	s.Inbox = &settings.Inbox{Size: 1000, TTL: time.Minute, MaxBytes: 1 << 20}
	if change != nil {
		change(&s)
	}
	n := &node{redis: faultproxy.Start(t, server.Addr), ended: make(chan struct{})}
	logger := slog.New(slog.DiscardHandler)
	plane, err := redis.New(redis.Options{URL: "redis://" + n.redis.Addr, Cluster: "test", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if n.Gateway, err = gateway.New(s, plane, logger); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	go func() {
		n.err = n.Run(ctx, ctx)
		close(n.ended)
	}()
	t.Cleanup(func() {
		n.stop()
		if <-n.ended; n.err != nil {
			t.Errorf("gateway %s: %v", name, n.err)
		}
	})
	n.clients = faultproxy.Start(t, n.Addr().String())
	eventually(t, "the gateway is ready", func() bool {
		response, err := http.Get("http://" + n.OpsAddr().String() + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return n
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v, and it is still not so: %s", patience, what)
		}
	}
}

// connect dials and closes at the end of the test; then no goroutine of the client may be left.
func connect(t *testing.T, o client.Options) (*client.Client, *states) {
	t.Helper()
	seen := &states{}
	o.OnState = seen.add
	if o.BackoffMax == 0 {
		o.BackoffMin, o.BackoffMax = 20*time.Millisecond, 500*time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c, seen
}

// noGoroutines makes sure that nothing of package client runs any more once the test's clients are closed. It is called
// before they are made.
func noGoroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var stacks string
		eventually(t, "the client's goroutines have ended", func() bool {
			buf := make([]byte, 1<<20)
			stacks = ""
			for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
				if strings.Contains(stack, "pkg/client.(*") {
					stacks += stack + "\n\n"
				}
			}
			return stacks == ""
		})
	})
}

// states keeps what OnState is told.
type states struct {
	mu  sync.Mutex
	all []client.State
}

func (s *states) add(state client.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, state)
}

func (s *states) last() client.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1]
}

func (s *states) count(status client.Status) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, state := range s.all {
		if state.Status == status {
			n++
		}
	}
	return n
}

// record keeps what a room brought.
type record struct {
	mu       sync.Mutex
	messages []client.Message
	gaps     []client.Gap
	ended    error
	hold     chan struct{} // if set, every event waits until it is closed
}

func (r *record) handle(e client.Event) {
	if r.hold != nil {
		<-r.hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case client.Message:
		r.messages = append(r.messages, e)
	case client.Gap:
		r.gaps = append(r.gaps, e)
	case client.Ended:
		r.ended = e.Err
	}
}

func (r *record) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages)
}

func (r *record) all() []client.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]client.Message(nil), r.messages...)
}

func (r *record) theGaps() []client.Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]client.Gap(nil), r.gaps...)
}

// wantEach waits for count messages and makes sure that each of the numbers 1 to count came once, that offsets have no holes
// where there are any, and that there was no gap.
func (r *record) wantEach(t *testing.T, who string, count int) {
	t.Helper()
	for end := time.Now().Add(patience); r.len() < count; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s got %d messages, want %d; gaps %v", who, r.len(), count, r.theGaps())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	times := map[int]int{}
	for i, m := range r.messages {
		var number int
		if err := json.Unmarshal(m.Data, &number); err != nil {
			t.Fatal(err)
		}
		times[number]++
		if i > 0 && m.At.Offset != 0 && m.At.Offset != r.messages[i-1].At.Offset+1 {
			t.Errorf("%s got offset %d after %d", who, m.At.Offset, r.messages[i-1].At.Offset)
		}
	}
	for number := 1; number <= count; number++ {
		if times[number] != 1 {
			t.Errorf("%s got message %d %d times, want once", who, number, times[number])
		}
	}
	if len(r.gaps) > 0 || r.ended != nil {
		t.Errorf("%s was told of gaps %v and the end %v, want neither", who, r.gaps, r.ended)
	}
}

func join(t *testing.T, c *client.Client, room string, o client.RoomOptions) (*client.Room, *record) {
	t.Helper()
	r := &record{}
	if o.Handler == nil {
		o.Handler = r.handle
	}
	joined, err := c.Join(t.Context(), room, o)
	if err != nil {
		t.Fatal(err)
	}
	return joined, r
}

// publishEach publishes the numbers from first to last to a room, by several goroutines, and calls at when some are under way.
func publishEach(t *testing.T, c *client.Client, room string, first, last int, at func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for number := range numbers {
				if _, err := c.Publish(ctx, client.Publication{Room: room, Data: number}); err != nil {
					t.Errorf("publish %d: %v", number, err)
				}
			}
		})
	}
	for number := first; number <= last; number++ {
		numbers <- number
		if at != nil && number == (first+last)/2 {
			at()
		}
	}
	close(numbers)
	wg.Wait()
}

func urls(nodes ...*node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.url())
	}
	return all
}

func named(i int) string { return fmt.Sprintf("node-%d", i) }

// shed asks every client of the gateway to connect anew.
func shed(t *testing.T, n *node) {
	t.Helper()
	response, err := http.Post("http://"+n.OpsAddr().String()+"/shed?count=100", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusAccepted {
		t.Fatalf("shed: %s", response.Status)
	}
}

// output can be read while it is written.
type output struct {
	mu  sync.Mutex
	buf []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}
