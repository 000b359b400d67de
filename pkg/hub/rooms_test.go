package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// manual is a backplane whose confirmations come when a test says so, and which writes down what it is asked. A real one
// confirms within a millisecond, and what matters here is what happens before.
type manual struct {
	sink backplane.Sink

	mu    sync.Mutex
	calls []string
	wait  []backplane.Confirmation
	// latest is the deadline of the last message published.
	latest time.Time
}

func (m *manual) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
}

func (m *manual) Start(s backplane.Sink)         { m.sink = s }
func (m *manual) Subscribe(t backplane.Target)   { m.note("subscribe %v %s", t.Kind, t.ID) }
func (m *manual) Unsubscribe(t backplane.Target) { m.note("unsubscribe %v %s", t.Kind, t.ID) }
func (m *manual) Status() backplane.Status       { return backplane.Status{Up: true, EverUp: true} }
func (m *manual) Close(context.Context) error    { return nil }

func (m *manual) Publish(message *backplane.Message, done backplane.Confirmation) {
	m.note("publish %s", message.Body)
	m.mu.Lock()
	m.wait = append(m.wait, done)
	m.latest = message.Deadline
	m.mu.Unlock()
}

// taken returns what the backplane was asked since the last time.
func (m *manual) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

func (m *manual) mustHave(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.taken()); diff != "" {
		t.Errorf("%s the backplane was asked (-want +got):\n%s", when, diff)
	}
}

func lobby() backplane.Target { return backplane.Target{Kind: backplane.Room, ID: "lobby"} }

func newHub(t *testing.T, b backplane.Backplane) *hub.Hub {
	t.Helper()
	h := hub.New(hub.Options{Backplane: b, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// recipient is a Sender that takes frames apart and keeps what is in them. It is no socket, since who gets what is the
// hub's, whatever the sockets make of it.
type recipient struct {
	hub.Client
	stall chan struct{} // if not nil, Send waits for it to be closed

	mu     sync.Mutex
	frames []string
	sends  int
}

func (r *recipient) Send(b *socket.Buffer) {
	if r.stall != nil {
		<-r.stall
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends++
	for p := b.B; len(p) > 0; {
		header, size := 2, int(p[1])
		if size == 126 {
			header, size = 4, int(p[2])<<8|int(p[3])
		}
		r.frames = append(r.frames, string(p[header:header+size]))
		p = p[header+size:]
	}
}

func (*recipient) Queued() int                         { return 0 }
func (*recipient) Close(uint16, string, socket.Reason) {}

func (r *recipient) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.frames)
}

func (r *recipient) has(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.frames) >= n
}

// arrive connects a client of a user without waiting for the subscription to the user.
func arrive(h *hub.Hub, id, user string) *recipient {
	r := &recipient{Client: hub.Client{ID: id, UserID: user}}
	r.Client.Sender = r
	over, cancel := context.WithCancel(context.Background())
	cancel()
	h.Connect(over, &r.Client, false, func(*protocol.Position) {})
	return r
}

// enter joins the lobby and waits until that holds.
func enter(h *hub.Hub, r *recipient) {
	done := make(chan struct{})
	h.Join(&r.Client, "lobby", hub.Unseen, func() { close(done) })
	<-done
}

func TestAChannelIsSubscribedWithItsFirstMemberAndLetGoAMomentAfterItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &manual{}
		h := newHub(t, plane)
		a, b := arrive(h, "a", "alice"), arrive(h, "b", "alice")
		plane.mustHave(t, "when two connections of a user came", "subscribe user alice")
		h.Join(&a.Client, "lobby", hub.Unseen, func() {})
		h.Join(&b.Client, "lobby", hub.Unseen, func() {})
		h.Join(&b.Client, "lobby", hub.Unseen, func() {})
		plane.mustHave(t, "when two joined", "subscribe room lobby")

		h.Leave(&a.Client, []byte("lobby"))
		wait(time.Minute)
		plane.mustHave(t, "when one of two left")

		h.Leave(&b.Client, []byte("lobby"))
		wait(4 * time.Second)
		h.Join(&a.Client, "lobby", hub.Unseen, func() {})
		wait(time.Minute)
		plane.mustHave(t, "when one came back within the linger time")

		h.Leave(&a.Client, []byte("lobby"))
		h.Leave(&a.Client, []byte("lobby"))
		wait(4 * time.Second)
		plane.mustHave(t, "before the linger time was over")
		wait(3 * time.Second)
		plane.mustHave(t, "when the linger time was over", "unsubscribe room lobby")

		h.Join(&a.Client, "lobby", hub.Unseen, func() {})
		plane.mustHave(t, "when somebody came later", "subscribe room lobby")
		h.Disconnect(&a.Client)
		h.Disconnect(&b.Client)
		wait(time.Minute)
		got := plane.taken()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"unsubscribe room lobby", "unsubscribe user alice"}, got); diff != "" {
			t.Errorf("when all had gone the backplane was asked (-want +got):\n%s", diff)
		}
		if s := h.Stats(); s.Connections != 0 || s.Rooms != 0 || s.Users != 0 {
			t.Errorf("when all had gone the hub still has %+v", s)
		}
	})
}

func TestAJoinIsDoneWhenItsSubscriptionIsConfirmed(t *testing.T) {
	plane := &manual{}
	h := newHub(t, plane)
	a, b := arrive(h, "a", "alice"), arrive(h, "b", "bob")
	var done []string
	join := func(r *recipient, name string) {
		h.Join(&r.Client, "lobby", hub.Unseen, func() { done = append(done, name) })
	}
	join(a, "a")
	join(b, "b")
	join(a, "a again")
	if len(done) > 0 {
		t.Errorf("%v were done before the subscription was confirmed", done)
	}
	h.Subscribed(lobby())
	slices.Sort(done)
	if diff := cmp.Diff([]string{"a", "a again", "b"}, done); diff != "" {
		t.Errorf("with the confirmation the joins were done (-want +got):\n%s", diff)
	}
	join(b, "b again")
	if got := done[len(done)-1]; got != "b again" {
		t.Error("a join of a room that is subscribed to was not done at once")
	}
	h.Subscribed(lobby()) // the link broke and is back
	if len(done) != 4 {
		t.Errorf("a second confirmation did something again: %v", done)
	}
}

// breakable is a manual backplane whose links break.
type breakable struct {
	manual
	live atomic.Bool
}

func (b *breakable) IsLive(backplane.Target) bool { return b.live.Load() }

func TestAJoinOfARoomWhoseLinkIsBrokenIsDoneWhenItIsBack(t *testing.T) {
	plane := &breakable{}
	h := newHub(t, plane)
	a, b := arrive(h, "a", "alice"), arrive(h, "b", "bob")
	done := 0
	h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ })
	plane.live.Store(true)
	h.Subscribed(lobby())
	h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ })
	if done != 2 {
		t.Fatalf("%d of 2 joins were done while the link was fine", done)
	}
	plane.live.Store(false)
	h.Interrupted()
	h.Join(&b.Client, "lobby", hub.Unseen, func() { done++ })
	h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ })
	if done != 2 {
		t.Errorf("%d joins were done while the link was broken", done-2)
	}
	plane.live.Store(true)
	h.Subscribed(lobby())
	if done != 4 {
		t.Errorf("%d of 2 joins were done when the link was back", done-2)
	}
}

func TestAJoinThatIsLeftBeforeItsSubscriptionIsConfirmedIsDoneOnce(t *testing.T) {
	for name, end := range map[string]func(*hub.Hub, *hub.Client){
		"left":         func(h *hub.Hub, c *hub.Client) { h.Leave(c, []byte("lobby")) },
		"disconnected": func(h *hub.Hub, c *hub.Client) { h.Disconnect(c) },
	} {
		t.Run(name, func(t *testing.T) {
			plane := &manual{}
			h := newHub(t, plane)
			a, other := arrive(h, "a", "alice"), arrive(h, "b", "bob")
			done, others := 0, 0
			h.Join(&other.Client, "lobby", hub.Unseen, func() { others++ })
			h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ })
			h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ })
			end(h, &a.Client)
			if done != 2 || others != 0 {
				t.Errorf("with its end %d of 2 joins were done, and %d of another client's", done, others)
			}
			h.Subscribed(lobby())
			if done != 2 || others != 1 {
				t.Errorf("with the confirmation %d of 2 joins were done, and %d of another client's 1", done, others)
			}
		})
	}
}

func TestOnlySoManyJoinsOfOneClientAndRoomWait(t *testing.T) {
	plane := &manual{}
	h := newHub(t, plane)
	a := arrive(h, "a", "alice")
	done := 0
	for i := range 64 {
		if !h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ }) {
			t.Fatalf("join %d was not taken, want 64", i+1)
		}
	}
	if h.Join(&a.Client, "lobby", hub.Unseen, func() { done++ }) {
		t.Error("65 joins wait")
	}
	h.Subscribed(lobby())
	if done != 64 {
		t.Errorf("%d joins were done, want 64", done)
	}
}

func TestAPublishWaitsForTheSubscriptionOfItsOwnRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := &manual{}
		h := newHub(t, plane)
		a := arrive(h, "a", "alice")
		h.Join(&a.Client, "lobby", hub.Unseen, func() { plane.note("ack") })
		plane.taken()
		var mu sync.Mutex
		var answers []error
		failed := func() []error {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(answers)
		}
		publish := func(target backplane.Target, body string) {
			h.Publish(&backplane.Message{Target: target, Body: []byte(body)}, confirmed(func(_ backplane.Receipt, err error) {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, err)
			}))
		}
		publish(lobby(), "1")
		publish(lobby(), "2")
		publish(backplane.Target{Kind: backplane.Room, ID: "elsewhere"}, "not held")
		plane.mustHave(t, "before the confirmation", "publish not held")
		h.Subscribed(lobby())
		publish(lobby(), "3")
		plane.mustHave(t, "after the confirmation", "ack", "publish 1", "publish 2", "publish 3")

		h.Join(&a.Client, "slow", hub.Unseen, func() {})
		plane.taken()
		slow := backplane.Target{Kind: backplane.Room, ID: "slow"}
		begin := time.Now()
		publish(slow, "4")
		wait(1900 * time.Millisecond)
		if len(failed()) > 0 {
			t.Fatalf("a publish was answered after %v: %v", time.Since(begin), failed())
		}
		wait(200 * time.Millisecond)
		if len(failed()) != 1 || !errors.Is(failed()[0], backplane.ErrUnavailable) {
			t.Fatalf("without a confirmation a publish got %v within 2.1 s, want that it is unavailable", failed())
		}
		held := time.Now()
		for range 1024 {
			publish(slow, "5")
		}
		wait(time.Second)
		if len(failed()) > 1 {
			t.Fatalf("not 1024 publishes wait: %v", failed()[1])
		}
		publish(slow, "one too many")
		if len(failed()) != 2 || !errors.Is(failed()[1], backplane.ErrUnavailable) {
			t.Fatalf("the 1025th publish that would have to wait got %v, want that it is unavailable at once", failed())
		}
		plane.mustHave(t, "meanwhile")
		h.Subscribed(slow)
		if got := plane.taken(); len(got) != 1024 {
			t.Errorf("with the confirmation %d publishes went on, want 1024", len(got))
		}
		if got := plane.latest.Sub(held); got != 2*time.Second {
			t.Errorf("a publish that has waited for 1 s may go on waiting until %v after it came, want 2 s altogether", got)
		}
		wait(time.Minute)
		if len(failed()) != 2 {
			t.Errorf("publishes were answered by the hub though they went on: %v", failed()[2:])
		}
	})
}

// body is a message as the hub's caller makes it.
func body(from string, n int) []byte {
	return protocol.AppendMessage(nil, &protocol.Message{ID: []byte("m"), RoomID: []byte("lobby"), From: from, Data: fmt.Append(nil, n), TS: 1})
}

func TestEveryMemberGetsEveryMessageInOrderButForItsOwnWithoutEcho(t *testing.T) {
	for _, members := range []int{1, 2, 32, 33, 100} { // 32 are still served inline
		t.Run(fmt.Sprintf("%d members", members), func(t *testing.T) {
			h := newHub(t, memory.New())
			var all []*recipient
			for i := range members {
				r := arrive(h, fmt.Sprint("connection-", i), fmt.Sprint("user-", i))
				enter(h, r)
				all = append(all, r)
			}
			const publishers, each = 4, 300
			var publishing sync.WaitGroup
			for p := range publishers {
				publishing.Go(func() {
					from := fmt.Sprint("publisher-", p)
					for i := range each {
						m := backplane.Message{Target: lobby(), Body: body(from, i)}
						if i%3 == 0 { // every third is not for one of the members
							m.Exclude = fmt.Sprint("connection-", (p+i)%members)
						}
						h.Publish(&m, confirmed(func(_ backplane.Receipt, err error) {
							if err != nil {
								t.Errorf("publish: %v", err)
							}
						}))
					}
				})
			}
			publishing.Wait()
			for c, r := range all {
				want := map[string][]int{}
				total := 0
				for p := range publishers {
					for i := range each {
						if i%3 != 0 || (p+i)%members != c {
							from := fmt.Sprint("publisher-", p)
							want[from] = append(want[from], i)
							total++
						}
					}
				}
				eventually(t, func() bool { return r.has(total) })
				got := map[string][]int{}
				for _, frame := range r.got() {
					from, n := parse(t, frame)
					got[from] = append(got[from], n)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("member %d got (-want +got):\n%s", c, diff)
				}
			}
			if got, want := h.Stats().Deliveries, uint64(members*publishers*each-publishers*((each+2)/3)); got != want {
				t.Errorf("%d deliveries are counted, want %d", got, want)
			}
		})
	}
}

// parse takes a message of body apart, without a JSON parser, since there are many.
func parse(t *testing.T, frame string) (from string, data int) {
	_, rest, found := strings.Cut(frame, `"from":"`)
	from, rest, more := strings.Cut(rest, `","data":`)
	data, err := strconv.Atoi(strings.TrimSuffix(rest, "}"))
	if !found || !more || err != nil {
		t.Fatalf("this is no message: %q", frame)
	}
	return from, data
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 30 s in vain")
		}
	}
}

func TestMembersComeAndGoWhileMessagesFlow(t *testing.T) {
	h := newHub(t, memory.New())
	const stayers, visitors, messages = 50, 8, 3000
	var stay []*recipient
	for i := range stayers {
		r := arrive(h, fmt.Sprint("stayer-", i), "stayer")
		enter(h, r)
		stay = append(stay, r)
	}
	var published atomic.Int64
	stop := make(chan struct{})
	var visiting sync.WaitGroup
	for v := range visitors {
		visiting.Go(func() {
			for visit := 0; ; visit++ {
				select {
				case <-stop:
					return
				default:
				}
				r := arrive(h, fmt.Sprintf("visitor-%d-%d", v, visit), "visitor")
				h.Join(&r.Client, "lobby", hub.Unseen, func() {})
				after := int(published.Load()) // of what is published from here on nothing may be missed
				for goal := after + 20; int(published.Load()) < goal; {
					select {
					case <-stop:
						goal = 0
					default:
						time.Sleep(50 * time.Microsecond)
					}
				}
				h.Disconnect(&r.Client)
				first := 0
				for i, frame := range r.got() {
					_, n := parse(t, frame)
					if i == 0 {
						first = n
					}
					if n != first+i || first > after+1 {
						t.Errorf("a visitor who came after message %d got %d as its number %d", after, n, i+1)
						return
					}
				}
			}
		})
	}
	for i := range messages {
		h.Publish(&backplane.Message{Target: lobby(), Body: body("publisher", i)}, confirmed(func(backplane.Receipt, error) { published.Store(int64(i)) }))
	}
	close(stop)
	visiting.Wait()
	for _, r := range stay {
		eventually(t, func() bool { return r.has(messages) })
		for i, frame := range r.got() {
			if _, n := parse(t, frame); n != i {
				t.Fatalf("a member who stayed got message %d as its number %d", n, i+1)
			}
		}
		h.Disconnect(&r.Client)
	}
	if s := h.Stats(); s.Connections != 0 || s.Rooms != 0 || s.Users != 0 || s.Dropped != 0 {
		t.Errorf("when all had gone the hub still has %+v", s)
	}
}

func TestABusyRoomIsFannedOutInBatchesAndItsBacklogIsBounded(t *testing.T) {
	h := newHub(t, memory.New())
	stall := make(chan struct{})
	var all []*recipient
	for i := range 40 { // so many are not served inline
		r := arrive(h, fmt.Sprint("connection-", i), "user")
		if i == 0 {
			r.stall = stall
		}
		enter(h, r)
		all = append(all, r)
	}
	small, large := 1000, 0
	for i := range small {
		h.Publish(&backplane.Message{Target: lobby(), Body: body("small", i)}, confirmed(func(backplane.Receipt, error) {}))
	}
	padding := protocol.AppendString(nil, string(make([]byte, 9000))) // some 54,000 bytes of JSON
	frame := protocol.AppendMessage(nil, &protocol.Message{ID: []byte("m"), RoomID: []byte("lobby"), From: "large", Data: padding, TS: 1})
	for ; h.Stats().Dropped == 0; large++ {
		if large*len(frame) > 16<<20 {
			t.Fatal("16 MiB wait for the fan-out of one room, want 8 MiB at most")
		}
		h.Publish(&backplane.Message{Target: lobby(), Body: frame}, confirmed(func(backplane.Receipt, error) {}))
	}
	large-- // the dropped one
	if waiting := large * len(frame); waiting < 7<<20 || waiting > 9<<20 {
		t.Errorf("a message was dropped when %d bytes waited, want about 8 MiB", waiting)
	}
	close(stall)
	for _, r := range all {
		eventually(t, func() bool { return r.has(small + large) })
		for i, f := range r.got()[:small] {
			if _, n := parse(t, f); n != i {
				t.Fatalf("message %d came as number %d", n, i+1)
			}
		}
		if n := len(r.got()); n != small+large {
			t.Errorf("a member got %d messages, want %d", n, small+large)
		}
	}
	if sends := all[1].sends; sends > (small+large)/2 {
		t.Errorf("%d messages that waited were sent in %d writes, want few", small+large, sends)
	}
	if dropped := h.Stats().Dropped; dropped != 1 {
		t.Errorf("%d messages are counted as dropped, want 1", dropped)
	}
}
