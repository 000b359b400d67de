package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var (
	runs    = flag.Int("runs", 3, "how many runs")
	first   = flag.Uint64("seed", 0, "the first run's seed, the others follow; 0: a random one")
	keepIn  = flag.String("logs", "", "the folder in which the logs of failing runs are kept; empty: one among the temporary files")
	keepAll = flag.Bool("keep", false, "keep the logs of runs that pass too")
	docs    = flag.String("docs", "", "the file whose table is replaced by the result")
	program string
	// jumping builds the gateway whose clock jumps.
	jumping func() (string, error)
)

func TestMain(m *testing.M) {
	flag.Parse()
	folder, err := os.MkdirTemp("", "wscluster-faults-")
	if err == nil {
		program, err = build(folder, "gateway")
		jumping = jumpingGateway(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(status)
}

// TestNothingIsLostDoubledOrReorderedUnderFaults is the checker of docs/reliability.md.
func TestNothingIsLostDoubledOrReorderedUnderFaults(t *testing.T) {
	seed := *first
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000) + 1
	}
	t.Logf("%d runs, the first with seed %d", *runs, seed)
	var mu sync.Mutex
	var all []outcome
	t.Run("runs", func(t *testing.T) {
		for i := range *runs {
			p := makePlan(seed + uint64(i))
			t.Run(fmt.Sprintf("seed %d", p.seed), func(t *testing.T) {
				t.Parallel()
				o := suffer(t, p)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, o)
			})
		}
	})
	table := tabulate(all)
	fmt.Printf("\n%s\n%s", table, complaints(all))
	if *docs != "" && !t.Failed() {
		if err := replaceTable(*docs, table); err != nil {
			t.Error(err)
		}
	}
}

// suffer does one run.
func suffer(t *testing.T, p plan) outcome {
	folder, err := os.MkdirTemp(*keepIn, fmt.Sprintf("seed-%d-", p.seed)) //nolint:usetesting // it outlives the test when that fails
	if err != nil {
		t.Fatal(err)
	}
	t.Log(p)
	started, executable := time.Now(), program
	if p.has(gatewayClock) {
		if executable, err = jumping(); err != nil {
			t.Fatal(err)
		}
	}
	f := startFleet(t, p, executable, folder)
	t.Cleanup(func() {
		if !t.Failed() && !*keepAll {
			_ = os.RemoveAll(folder)
			return
		}
		_ = os.WriteFile(filepath.Join(folder, "redis.log"), []byte(f.logs()), 0o600)
		t.Logf("the logs are in %s; the same again: make faults RUNS=1 SEED=%d", folder, p.seed)
	})
	c := gather(t, p, f)
	if p.quietAt > 0 {
		defer time.AfterFunc(p.quietAt, c.fallSilent).Stop()
	}
	broken, mended := f.suffer(p)
	time.Sleep(afterwards)
	e := c.settle(broken, mended)
	v := judge(e)
	o := outcome{plan: p, verdict: v, recovery: e.recovery(p, mended), slowest: e.slowest()}
	t.Logf("%v after %v", o, time.Since(started).Round(time.Millisecond))
	o.complaints = append(v.lines(), c.oddities()...)
	for _, g := range f.gateways {
		if err := g.check(); err != nil {
			o.complaints = append(o.complaints, err.Error())
		}
	}
	for _, line := range o.complaints {
		t.Error(line)
	}
	if t.Failed() || *keepAll {
		if err := e.write(filepath.Join(folder, "clients.log")); err != nil {
			t.Error(err)
		}
	}
	return o
}

// crowd is the clients of a run.
type crowd struct {
	t       *testing.T
	plan    plan
	fleet   *fleet
	clients []*client
	stop    context.CancelFunc
	running sync.WaitGroup
	odd     []string
}

// gather connects all clients, waits until each is in all its rooms, and has them publish.
func gather(t *testing.T, p plan, f *fleet) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	c := &crowd{t: t, plan: p, fleet: f, stop: stop}
	t.Cleanup(c.end)
	for i := range p.clients {
		one := &client{
			number: i, plan: p, addresses: f.addresses(i), rooms: p.roomsOf(i), publishTo: p.publishesTo(i), stubborn: i > 0,
			random: rand.New(rand.NewPCG(p.seed, uint64(i+1))), retryAt: map[int]time.Time{}, places: map[int]position{},
		}
		c.clients = append(c.clients, one)
		c.running.Go(func() { one.run(ctx, p.rate) })
	}
	c.await("every client is in its rooms", func() string {
		for _, one := range c.clients {
			if ready, _ := one.status(); !ready {
				return fmt.Sprintf("client %d is not", one.number)
			}
		}
		return ""
	})
	if len(c.odd) > 0 {
		t.Fatal(c.oddities())
	}
	for _, one := range c.clients {
		one.setPublishing(true)
	}
	return c
}

// await waits until missing returns nothing, and goes on without when that takes too long: the verdict says what it means.
func (c *crowd) await(what string, missing func() string) {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := missing()
		if left == "" {
			return
		}
		if time.Now().After(end) {
			c.odd = append(c.odd, fmt.Sprintf("waited %v in vain until %s: %s", patience, what, left))
			return
		}
	}
}

// settle waits until every client publishes again, has them stop, waits until everything is acked and has come, and returns what
// is known then.
func (c *crowd) settle(broken, mended time.Time) *evidence {
	c.await("every client publishes again", func() string {
		for _, one := range c.clients {
			if c.plan.quietAt == 0 && !one.ackedSince(mended) {
				return fmt.Sprintf("client %d does not", one.number)
			}
		}
		return ""
	})
	if c.plan.scope == plainRooms {
		c.await("every client gets messages again", func() string { return c.deaf(mended) })
		time.Sleep(afterwards)
	}
	c.fallSilent()
	c.await("every message is acked", func() string {
		for _, one := range c.clients {
			if ready, unacked := one.status(); !ready || unacked > 0 {
				return fmt.Sprintf("client %d has %d that are not, and is in all its rooms: %v", one.number, unacked, ready)
			}
		}
		return ""
	})
	e := &evidence{
		rooms: c.plan.rooms, size: c.plan.scope.size(), members: make([][]int, c.plan.rooms), brokenAt: broken, mended: mended,
		forgetsKeys: c.plan.forgetsKeys(),
	}
	for _, one := range c.clients {
		for _, room := range one.rooms {
			e.members[room] = append(e.members[room], one.number)
		}
	}
	if e.size == 0 {
		c.await("everything has come", func() string {
			c.testify(e)
			return strings.Join(judgePlain(e).lines(), "; ")
		})
		time.Sleep(100 * time.Millisecond) // for what should not come
		c.end()
		c.testify(e)
		return e
	}
	var newest []position
	e.logs, e.epochs, newest = c.readLogs()
	c.await("everything has come", func() string {
		late := c.late(newest)
		if late != "" {
			// What a client gave up when its connection ended may be published after all that was acked.
			e.logs, e.epochs, newest = c.readLogs()
		}
		return late
	})
	time.Sleep(100 * time.Millisecond) // for what should not come
	c.end()
	c.testify(e)
	return e
}

// testify puts what all clients have noted so far into the evidence.
func (c *crowd) testify(e *evidence) {
	e.happenings, e.published = nil, nil
	for _, one := range c.clients {
		one.mu.Lock()
		e.happenings = append(e.happenings, slices.Clone(one.happenings))
		e.published = append(e.published, slices.Clone(one.published))
		one.mu.Unlock()
	}
}

// deaf tells of a client that got nothing in one of its rooms of what was sent after a moment.
func (c *crowd) deaf(since time.Time) string {
	e := &evidence{mended: since}
	c.testify(e)
	for _, one := range c.clients {
		for _, room := range one.rooms {
			if e.backAt(room, one.number).IsZero() {
				return fmt.Sprintf("client %d gets nothing in room %d", one.number, room)
			}
		}
	}
	return ""
}

// readLogs reads the logs of all rooms.
func (c *crowd) readLogs() (logs [][]entry, epochs []string, newest []position) {
	c.t.Helper()
	for room := range c.plan.rooms {
		epoch, log := c.readLog(room)
		at := position{epoch, 0}
		if len(log) > 0 {
			at.offset = log[len(log)-1].offset
		}
		logs, epochs, newest = append(logs, log), append(epochs, epoch), append(newest, at)
	}
	return logs, epochs, newest
}

// late tells of a client that is elsewhere in one of its rooms than the log.
func (c *crowd) late(newest []position) string {
	for _, one := range c.clients {
		for _, room := range one.rooms {
			if at, _ := one.place(room); at != newest[room] {
				return fmt.Sprintf("client %d is at %v in room %d, the log at %v", one.number, at, room, newest[room])
			}
		}
	}
	return ""
}

// fallSilent has clients publish nothing new.
func (c *crowd) fallSilent() {
	for _, one := range c.clients {
		one.setPublishing(false)
	}
}

// end ends all clients; ending twice is fine.
func (c *crowd) end() {
	c.stop()
	for _, one := range c.clients {
		one.hangUp()
	}
	c.running.Wait()
}

func (c *crowd) oddities() []string {
	all := c.odd
	for _, one := range c.clients {
		all = append(all, one.odd...)
	}
	return all
}

// readLog reads a room's log through a gateway.
func (c *crowd) readLog(room int) (epoch string, log []entry) {
	c.t.Helper()
	reader := "reader"
	if c.plan.scope == inboxes {
		reader = fmt.Sprintf("user-%d", room) // nobody else may
	}
	conn, response, err := websocket.DefaultDialer.DialContext(c.t.Context(), "ws://"+c.fleet.gateways[0].addr+"/ws?user_id="+reader, nil)
	if err != nil {
		c.t.Fatalf("connect to read the log of a room: %v", err)
	}
	_ = response.Body.Close()
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for since := int64(0); ; {
		command := map[string]any{"type": "history", "id": "log", "room_id": roomName(room), "limit": 1000, "since": since}
		if c.plan.scope == inboxes {
			delete(command, "room_id")
			command["inbox"] = true
		}
		if since == 0 {
			delete(command, "since")
		}
		if err := conn.WriteJSON(command); err != nil {
			c.t.Fatalf("read the log of a room: %v", err)
		}
		var f struct {
			frame
			Next any `json:"next"`
		}
		for f.ID != "log" {
			f.Next = nil
			if err := conn.ReadJSON(&f); err != nil {
				c.t.Fatalf("read the log of a room: %v", err)
			}
		}
		if f.Type != "ack" {
			c.t.Fatalf("read the log of a room: %s: %s", f.Code, f.Message)
		}
		if epoch != "" && epoch != f.Epoch {
			c.t.Fatalf("the epoch of room %d changed from %s to %s when nothing was wrong any more", room, epoch, f.Epoch)
		}
		epoch = f.Epoch
		for _, m := range f.Messages {
			log = append(log, entry{m.Offset, message{m.Data.Publisher, m.Data.Number}})
			since = m.Offset
		}
		if f.Next == nil || len(f.Messages) == 0 {
			return epoch, log
		}
	}
}

// recovery is how long after the last fault was mended every member of every room had the first message that each publisher
// sent after that, and that was acked; in a run that falls silent, the last message of all.
func (e *evidence) recovery(p plan, mended time.Time) time.Duration {
	var took time.Duration
	if p.quietAt > 0 {
		for _, happenings := range e.happenings {
			took = max(took, happenings[len(happenings)-1].at.Sub(mended))
		}
		return took
	}
	for _, published := range e.published {
		for _, p := range published {
			if _, ok := p.acked(); !ok || p.sent.Before(mended) {
				continue
			}
			for _, client := range e.members[p.room] {
				for _, h := range e.happenings[client] {
					if h.what == delivered && h.room == p.room && h.message == p.message {
						took = max(took, h.at.Sub(mended))
						break
					}
				}
			}
			break // its first is enough
		}
	}
	return took
}

// slowest is the longest time from the first sending of an acked message to its first arrival at a member.
func (e *evidence) slowest() time.Duration {
	var longest time.Duration
	for client, happenings := range e.happenings {
		seen := map[message]bool{}
		for _, h := range happenings {
			if h.what != delivered || seen[h.message] {
				continue
			}
			seen[h.message] = true
			p := e.published[h.message.publisher][h.message.number]
			if _, ok := p.acked(); ok && slices.Contains(e.members[p.room], client) {
				longest = max(longest, h.at.Sub(p.sent))
			}
		}
	}
	return longest
}

// write writes what every client was told.
func (e *evidence) write(path string) error {
	var b strings.Builder
	for client, happenings := range e.happenings {
		for _, h := range happenings {
			fmt.Fprintf(&b, "%s client %d room %d %s %v", h.at.Format(clock), client, h.room, h.what, h.position)
			switch h.what {
			case delivered:
				fmt.Fprintf(&b, " message %v", h.message)
			case joined:
				fmt.Fprintf(&b, " asked to recover: %v, recovered: %v", h.asked, h.recovered)
			case epochChanged:
			}
			b.WriteByte('\n')
		}
	}
	for _, published := range e.published {
		for _, p := range published {
			fmt.Fprintf(&b, "%s published %v in room %d:", p.sent.Format(clock), p.message, p.room)
			for _, a := range p.attempts {
				fmt.Fprintf(&b, " [connection %d: %v]", a.connection, a.ack)
			}
			b.WriteByte('\n')
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
