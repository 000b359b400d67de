package gateway

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestWhileRedisIsAway(t *testing.T) {
	for name, fault := range map[string]struct {
		away, back func(*testing.T, *redistest.Server)
	}{
		"because it was killed": {
			func(_ *testing.T, s *redistest.Server) { s.Kill() },
			func(_ *testing.T, s *redistest.Server) { s.Restart() },
		},
		"because it answers nothing": {
			func(_ *testing.T, s *redistest.Server) { s.Pause() },
			func(_ *testing.T, s *redistest.Server) { s.Resume() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, server := startFleet(t, 2, nil)
			alice, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob")
			alice.join("before")
			bob.join("before")
			fault.away(t, server)

			begin := time.Now()
			alice.do(`{"type":"publish","id":"1","room_id":"before","data":"lost"}`, `{"type":"error","id":"1","code":"unavailable","message":"<anything>"}`)
			if took := time.Since(begin); took > 2500*time.Millisecond {
				t.Errorf("a publish got unavailable after %v, want 2 s at most", took)
			}
			bob.do(`{"type":"publish","target_user_id":"alice","data":"lost"}`, `{"type":"error","code":"unavailable","message":"<anything>"}`)
			eventually(t, "the gateway knows that the link is down", func() bool { return nodes[0].metric(t, "wscluster_backplane_up") == 0 })

			// Connections stay open and are served, probes stay as they were.
			alice.nothing()
			for path, want := range map[string]int{"/readyz": http.StatusOK, "/livez": http.StatusOK} {
				if got := nodes[0].ops(t, path); got.status != want {
					t.Errorf("while Redis is away %s is %d %s, want %d", path, got.status, got.body, want)
				}
			}
			alice.do(`{"type":"leave","id":"2","room_id":"never"}`, `{"type":"ack","id":"2","room_id":"never"}`)

			// Joins are kept; a publish behind one waits with it, but not for long.
			alice.send(`{"type":"join","id":"join","room_id":"during"}`)
			alice.nothing()
			begin = time.Now()
			alice.do(`{"type":"publish","id":"3","room_id":"during","data":"lost"}`, `{"type":"error","id":"3","code":"unavailable","message":"<anything>"}`)
			if took := time.Since(begin); took > 2500*time.Millisecond {
				t.Errorf("a publish to a room that is being joined got unavailable after %v, want 2 s at most", took)
			}
			// A new client is welcome.
			carol := nodes[1].dial(t, "carol")
			carol.nothing()

			fault.back(t, server)
			alice.want(`{"type":"ack","id":"join","room_id":"during"}`)
			// Subscriptions come back by themselves, of those who were there before and of those who came meanwhile.
			bob.join("during")
			eventually(t, "messages pass in both directions again", func() bool {
				return passes(alice, bob, `"room_id":"before"`) && passes(bob, alice, `"room_id":"during"`)
			})
			eventually(t, "direct messages pass again", func() bool {
				return passes(alice, carol, `"target_user_id":"carol"`) && passes(bob, alice, `"target_user_id":"alice"`)
			})
			eventually(t, "all links are counted as up", func() bool { return nodes[0].metric(t, "wscluster_backplane_up") == 1 })
			if got := nodes[0].metric(t, "wscluster_backplane_reconnects_total"); got < 1 {
				t.Errorf("wscluster_backplane_reconnects_total is %v, want at least 1", got)
			}
		})
	}
}

var passed int

// passes publishes until its ack, without echo, and tells whether the message came to the receiver within a moment.
func passes(from, to *client, target string) bool {
	from.t.Helper()
	passed++
	marker := fmt.Sprintf("marker-%d", passed)
	from.send(fmt.Sprintf(`{"type":"publish","id":"%s",%s,"data":"%[1]s","echo":false}`, marker, target))
	for frame := from.next(); frame["id"] != marker; frame = from.next() {
	}
	for {
		select {
		case frame := <-to.frames:
			if decode(to.t, frame)["data"] == marker {
				return true
			}
		case <-time.After(200 * time.Millisecond):
			return false
		}
	}
}

func TestReadinessWaitsForTheFirstLinkToRedis(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	proxy.Refuse()
	n := start(t, "redis://"+proxy.Addr, nil)
	for range 20 {
		if got := n.ops(t, "/readyz"); got.status != http.StatusServiceUnavailable || got.body != "the backplane has not been reached yet\n" {
			t.Fatalf("before the first link /readyz is %d %q, want 503 and why", got.status, got.body)
		}
		if got := n.ops(t, "/livez"); got.status != http.StatusOK {
			t.Fatalf("before the first link /livez is %d, want 200: it never depends on Redis", got.status)
		}
		time.Sleep(5 * time.Millisecond)
	}
	proxy.Restore()
	eventually(t, "the gateway is ready", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
}

func TestEveryJoinGetsItsAckThoughTheRoomIsLeftWhileRedisIsAway(t *testing.T) {
	nodes, server := startFleet(t, 1, func(s *settings.Settings) {})
	c := nodes[0].dial(t, "alice")
	c.nothing()
	server.Kill()
	eventually(t, "the link is down", func() bool { return nodes[0].metric(t, "wscluster_backplane_up") == 0 })
	c.send(`{"type":"join","id":"join","room_id":"r"}`)
	c.send(`{"type":"leave","id":"leave","room_id":"r"}`)
	got := map[any]int{}
	for range 2 {
		frame := c.next()
		if frame["type"] != "ack" {
			t.Errorf("got %v, want an ack", frame)
		}
		got[frame["id"]]++
	}
	if got["join"] != 1 || got["leave"] != 1 {
		t.Errorf("the acks are %v, want one for the join and one for the leave", got)
	}
	server.Restart()
	eventually(t, "the link is back", func() bool { return nodes[0].metric(t, "wscluster_backplane_up") == 1 })
	c.nothing()
}
