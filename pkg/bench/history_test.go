package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

func keepHistory(s *settings.Settings) {
	policy := settings.DefaultRoomPolicy()
	policy.History = &settings.History{Size: 5000, TTL: time.Minute}
	s.Rooms = []settings.RoomPolicy{policy}
}

// TestWithHistoryAGatewayThatDiesLosesNothing cuts one of two gateways off under load: its clients recover what they missed.
func TestWithHistoryAGatewayThatDiesLosesNothing(t *testing.T) {
	nodes := startNodesWith(t, redistest.Start(t), keepHistory, "one", "two")
	g := connectAll(t, Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 2, Subscribers: 40, Check: true, History: true, Backoff: 50 * time.Millisecond})
	time.AfterFunc(time.Second, nodes[0].kill)
	phase, err := g.Publish(t.Context(), Load{Rate: 200, Duration: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := g.Report(phase)
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	if c := r.Check; r.Recovery.Count != 21 || c.Lost+c.Away+c.InFlight+c.Declared > 0 || c.Owed == 0 {
		t.Errorf("%d clients came back; lost %d, missed %d, in flight %d, declared lost %d of %d; want 21, and nothing missing", r.Recovery.Count, c.Lost, c.Away, c.InFlight, c.Declared, c.Owed)
	}
}

// TestWithHistoryALogThatIsLostIsDeclared kills Redis, which keeps everything in memory only.
func TestWithHistoryALogThatIsLostIsDeclared(t *testing.T) {
	server := redistest.Start(t)
	nodes := startNodesWith(t, server, keepHistory, "one", "two")
	g := connectAll(t, Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 2, Subscribers: 40, Check: true, History: true})
	go func() {
		time.Sleep(time.Second)
		server.Kill()
		time.Sleep(500 * time.Millisecond)
		server.Restart()
	}()
	phase, err := g.Publish(t.Context(), Load{Rate: 200, Duration: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := g.Report(phase)
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	if c := r.Check; c.Lost > 0 || r.Connects != 42 {
		t.Errorf("lost %d without a word, %d connections; want none and 42", c.Lost, r.Connects)
	}
}
