package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/settings"
)

// leavers are clients that note when they are told to go.
type leavers struct {
	mu    sync.Mutex
	turns []turnOf
	told  sync.WaitGroup
}

// turnOf is when a client of a node is to connect anew.
type turnOf struct {
	node int
	at   time.Time
}

// connect opens count connections to the node, whose turns are noted.
func (l *leavers) connect(t *testing.T, number int, n *node, count int) {
	t.Helper()
	for i := range count {
		c := n.dial(t, fmt.Sprint("leaver-", number, "-", i))
		l.told.Go(func() {
			for frame := range c.frames {
				now := time.Now()
				var told struct {
					Type  string
					Delay int64 `json:"delay_ms"`
				}
				if json.Unmarshal(frame, &told) == nil && told.Type == "reconnect" {
					l.mu.Lock()
					l.turns = append(l.turns, turnOf{number, now.Add(time.Duration(told.Delay) * time.Millisecond)})
					l.mu.Unlock()
				}
			}
		})
	}
}

// busiest returns the most turns that are within any window of that length.
func (l *leavers) busiest(window time.Duration) (most int) {
	slices.SortFunc(l.turns, func(a, b turnOf) int { return a.at.Compare(b.at) })
	first := 0
	for last := range l.turns {
		for l.turns[last].at.Sub(l.turns[first].at) > window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// span returns the time from the first turn to the last.
func (l *leavers) span() time.Duration {
	byTime := func(a, b turnOf) int { return a.at.Compare(b.at) }
	return slices.MaxFunc(l.turns, byTime).at.Sub(slices.MinFunc(l.turns, byTime).at)
}

func drainAll(t *testing.T, nodes []*node) (took time.Duration) {
	t.Helper()
	begin := time.Now()
	for _, n := range nodes {
		n.leave()
	}
	for _, n := range nodes {
		select {
		case <-n.done:
		case <-time.After(2 * patience):
			t.Fatal("a gateway does not end")
		}
	}
	return time.Since(begin)
}

func TestGatewaysThatDrainTogetherShareTheRate(t *testing.T) {
	const each, rate = 30, 20
	nodes, _ := startFleet(t, 3, func(s *settings.Settings) {
		s.Drain = settings.Drain{Delay: 300 * time.Millisecond, Timeout: 30 * time.Second, Rate: rate}
	})
	var l leavers
	for i, n := range nodes {
		l.connect(t, i, n, each)
	}
	drainAll(t, nodes)
	l.told.Wait()

	if len(l.turns) != 3*each {
		t.Fatalf("%d clients were told to go, want all %d", len(l.turns), 3*each)
	}
	// Frames are noted when they are read: on a busy machine a few come late.
	for _, window := range []time.Duration{time.Second, 2 * time.Second} {
		if got, want := l.busiest(window), int(window.Seconds()*rate); got > want+want/4+3 {
			t.Errorf("within %v %d clients of all gateways go, want at most %d a second", window, got, rate)
		}
	}
	if got := l.span(); got > 3*each*time.Second/rate+3*time.Second {
		t.Errorf("the turns reach over %v, want no more than the rate asks for", got)
	}
	first, last := map[int]int{}, map[int]int{} // by gateway, which of all turns; busiest has sorted them
	for i, turn := range l.turns {
		if _, seen := first[turn.node]; !seen {
			first[turn.node] = i
		}
		last[turn.node] = i
	}
	for a := range nodes {
		for b := range nodes {
			if first[a] > last[b] {
				t.Errorf("gateway %d had its first turn after the last one of gateway %d, want all to take turns", a+1, b+1)
			}
		}
	}
	for _, n := range nodes {
		if strings.Contains(n.log.String(), "too short for the drain rate") {
			t.Error("a gateway hurried though there was time")
		}
	}
}

func TestGatewaysThatDrainTogetherAreGoneInTime(t *testing.T) {
	const each = 30
	nodes, _ := startFleet(t, 3, func(s *settings.Settings) {
		// Each alone needs 3 s and has 3 s; all together they need 9.
		s.Drain = settings.Drain{Delay: 300 * time.Millisecond, Timeout: 6 * time.Second, Rate: 10}
	})
	var l leavers
	for i, n := range nodes {
		l.connect(t, i, n, each)
	}
	took := drainAll(t, nodes)
	l.told.Wait()
	if len(l.turns) != 3*each {
		t.Errorf("%d clients were told to go, want all %d", len(l.turns), 3*each)
	}
	if took > 10*time.Second {
		t.Errorf("the drains took %v, want their timeout of 6 s", took)
	}
	hurried := 0
	for _, n := range nodes {
		if n.log.String() != "" && strings.Contains(n.log.String(), "too short for the drain rate") {
			hurried++
		}
	}
	if hurried == 0 {
		t.Error("no gateway says that the timeout is too short for the rate of all together")
	}
}

func TestWithoutRedisADrainTakesItsShareOfTheRate(t *testing.T) {
	const clients, rate = 20, 30
	nodes, server := startFleet(t, 3, func(s *settings.Settings) {
		s.Drain = settings.Drain{Timeout: 8 * time.Second, Rate: rate}
	})
	for _, n := range nodes {
		eventually(t, "the gateway knows the others", func() bool { return n.LiveNodes() == 3 })
	}
	var l leavers
	l.connect(t, 0, nodes[0], clients)
	server.Kill()
	eventually(t, "the gateway has noticed", func() bool { return !nodes[0].backplane.Status().Up })
	drainAll(t, nodes[:1])
	l.told.Wait()
	if got, least := l.span(), (clients-2)*time.Second/(rate/3); got < least-time.Second/2 {
		t.Errorf("%d clients went within %v, want a third of %d a second: at least %v", clients, got, rate, least)
	}
}

func TestShedSharesTheRate(t *testing.T) {
	const each, rate = 20, 20
	nodes, _ := startFleet(t, 2, func(s *settings.Settings) { s.Drain = settings.Drain{Timeout: time.Second, Rate: rate} })
	var l leavers
	for i, n := range nodes {
		l.connect(t, i, n, each)
	}
	for _, n := range nodes {
		if got := request(t, http.MethodPost, "http://"+n.OpsAddr().String()+"/shed?count=100", nil); got.status != http.StatusOK {
			t.Fatalf("POST /shed is %d %s", got.status, got.body)
		}
	}
	eventually(t, "all are told", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.turns) == 2*each
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := l.busiest(time.Second); got > rate+rate/4+3 {
		t.Errorf("within a second %d clients of both gateways go, want at most %d", got, rate)
	}
}

func TestOwnTurns(t *testing.T) {
	var own ownTurns
	want := backplane.TurnRequest{Count: 15, Rate: 10, Horizon: 2 * time.Second}
	take := func(at time.Duration, count int, start time.Duration) {
		t.Helper()
		if got := own.take(epoch.Add(at), want); got.Count != count || got.Start != start {
			t.Errorf("after %v %d turns from %v on, want %d from %v", at, got.Count, got.Start, count, start)
		}
	}
	take(0, 15, 0)
	take(0, 5, 1500*time.Millisecond) // what is left of the horizon
	take(0, 0, 2*time.Second)
	take(time.Second, 10, time.Second)
	take(time.Minute, 15, 0) // nothing is saved up
}
