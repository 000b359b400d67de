package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

func TestTheRateAtWhichAGatewaySendsClientsAwayIsSeen(t *testing.T) {
	second, ms := time.Second, time.Millisecond
	type frame struct{ at, delay time.Duration }
	for name, c := range map[string]struct {
		frames []frame
		want   Asked
	}{
		"one a second":                        {[]frame{{0, 0}, {0, second}, {0, 2 * second}}, Asked{3, 1}},
		"all at once":                         {[]frame{{0, 0}, {0, 0}, {0, 0}}, Asked{3, 3}},
		"waves, each a moment ahead":          {[]frame{{0, 0}, {0, second}, {1500 * ms, 500 * ms}, {1500 * ms, 1500 * ms}}, Asked{4, 1}},
		"turns within a second count":         {[]frame{{0, 100 * ms}, {0, 1099 * ms}, {0, 1100 * ms}}, Asked{3, 2}},
		"two times of leaving are kept apart": {[]frame{{0, 0}, {5 * second, 0}, {5 * second, second}}, Asked{3, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := &Generator{totals: totals{asked: map[string]*turns{}}}
			for _, f := range c.frames {
				g.now = f.at
				g.askedBy("node", f.delay)
			}
			if diff := cmp.Diff(map[string]Asked{"node": c.want}, g.askedReport()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestAServerThatFallsSilentIsLeft has a server that welcomes clients and then says nothing, or only pings.
func TestAServerThatFallsSilentIsLeft(t *testing.T) {
	const heartbeat = 400 * time.Millisecond
	serve := func(t *testing.T, pings bool) string {
		var upgrader websocket.Upgrader
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			welcome := fmt.Sprintf(`{"type":"welcome","node":"n","heartbeat_ms":%d}`, heartbeat.Milliseconds())
			err = conn.WriteMessage(websocket.TextMessage, []byte(welcome))
			for pings && err == nil && t.Context().Err() == nil {
				time.Sleep(heartbeat)
				err = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			}
			<-t.Context().Done()
		}))
		t.Cleanup(server.Close)
		return strings.Replace(server.URL, "http", "ws", 1)
	}
	run := func(t *testing.T, pings bool) *Report {
		g, err := New(Options{URLs: []string{serve(t, pings)}, Publishers: 1, PublishersStayOut: true, StayClosed: true})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if err := g.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(8 * heartbeat)
		for g.Ready() > 0 && time.Now().Before(deadline) {
			time.Sleep(heartbeat / 10)
		}
		return g.Report(nil)
	}
	if r := run(t, false); r.Unexpected[noCloseFrame] != 1 {
		t.Errorf("unexpected closes %v; want the silent connection among them", r.Unexpected)
	}
	if r := run(t, true); len(r.Closes) > 0 {
		t.Errorf("closes %v; want none while the server pings", r.Closes)
	}
}

// TestAPublisherThatMovedWaitsForItsAnswers, or what it sends by two ways would overtake itself and be counted as reordered.
func TestAPublisherThatMovedWaitsForItsAnswers(t *testing.T) {
	g := &Generator{totals: totals{phase: newPhase()}, streams: []stream{{seq: 2}}}
	former, current := &Conn{generator: g, unanswered: 2}, &Conn{generator: g}
	c := &client{current: current, former: former}
	for _, answer := range []func(){
		func() { former.acked(Stamp{Seq: 1}) },
		func() { g.failed(former, Stamp{Seq: 2}, true, "unavailable") },
	} {
		if got := c.publisher(); got != nil {
			t.Error("the client publishes on its new connection while the old one owes an answer")
		}
		answer()
	}
	if got := c.publisher(); got != current {
		t.Error("the client does not publish on its new connection after the last answer")
	}
	former.unanswered, c.former = 1, former
	former.state = connGone
	if got := c.publisher(); got != current {
		t.Error("the client waits for an answer on a connection that is gone")
	}
}
