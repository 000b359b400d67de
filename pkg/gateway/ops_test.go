package gateway

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestMetricsAreAllThereFromTheStartAtZero(t *testing.T) {
	n := start(t, "memory://", nil)
	body := n.ops(t, "/metrics").body
	for _, sample := range []string{
		"wscluster_connections 0", "wscluster_rooms 0",
		`wscluster_connects_total{result="ok"} 0`, `wscluster_connects_total{result="bad_request"} 0`, `wscluster_connects_total{result="unauthorized"} 0`,
		`wscluster_connects_total{result="origin_denied"} 0`, `wscluster_connects_total{result="draining"} 0`, `wscluster_connects_total{result="overloaded"} 0`,
		`wscluster_disconnects_total{reason="client_closed"} 0`, `wscluster_disconnects_total{reason="client_gone"} 0`, `wscluster_disconnects_total{reason="heartbeat_timeout"} 0`,
		`wscluster_disconnects_total{reason="slow_consumer"} 0`, `wscluster_disconnects_total{reason="protocol_error"} 0`, `wscluster_disconnects_total{reason="bad_frames"} 0`,
		`wscluster_disconnects_total{reason="draining"} 0`,
		`wscluster_messages_received_total{type="join"} 0`, `wscluster_messages_received_total{type="leave"} 0`, `wscluster_messages_received_total{type="publish"} 0`,
		`wscluster_messages_received_total{type="ping"} 0`, `wscluster_messages_received_total{type="unknown"} 0`,
		"wscluster_messages_delivered_total 0", "wscluster_publish_duration_seconds_count 0", "wscluster_delivery_lag_seconds_count 0",
		"wscluster_send_queue_bytes 0", "wscluster_slow_consumers_total 0", "wscluster_backplane_up 1", "wscluster_backplane_reconnects_total 0",
		"wscluster_gap_repairs_total 0",
	} {
		if !strings.Contains(body, "\n"+sample+"\n") {
			t.Errorf("/metrics lacks %q", sample)
		}
	}
}

func TestMetricsCount(t *testing.T) {
	n := start(t, "memory://", nil)
	alice, bob := n.dial(t, "alice"), n.dial(t, "bob")
	alice.join("r", "s")
	bob.join("r")
	for range 10 {
		alice.send(`{"type":"publish","room_id":"r","data":1}`)
	}
	alice.do(`{"type":"publish","room_id":"none","data":1}`, `{"type":"message","message_id":"<anything>","room_id":"r","from":"alice","ts":"<anything>","data":1}`)
	for range 10 {
		bob.next()
	}
	alice.send(`garbage`)
	for range 11 {
		alice.next()
	}
	alice.nothing()
	for name, want := range map[string]float64{
		"wscluster_connections": 2, "wscluster_rooms": 2, "wscluster_users": 2, `wscluster_connects_total{result="ok"}`: 2,
		`wscluster_messages_received_total{type="publish"}`: 11, `wscluster_messages_received_total{type="join"}`: 3, `wscluster_messages_received_total{type="unknown"}`: 1,
		"wscluster_messages_delivered_total": 20, "wscluster_publish_duration_seconds_count": 10, "wscluster_delivery_lag_seconds_count": 20,
		`wscluster_errors_total{code="not_joined"}`: 1, `wscluster_errors_total{code="bad_request"}`: 1,
	} {
		if got := n.metric(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	_ = bob.ws.Close()
	eventually(t, "the end is counted", func() bool { return n.metric(t, `wscluster_disconnects_total{reason="client_gone"}`) == 1 })
	for name, want := range map[string]float64{"wscluster_connections": 1, "wscluster_users": 1, "wscluster_rooms": 2} {
		if got := n.metric(t, name); got != want {
			t.Errorf("after a client went %s is %v, want %v", name, got, want)
		}
	}
}

func TestNoMetricLabelGrowsWithUsersOrRooms(t *testing.T) {
	n := start(t, "memory://", nil)
	names := func() int {
		return len(regexp.MustCompile(`(?m)^wscluster_`).FindAllString(n.ops(t, "/metrics").body, -1))
	}
	n.dial(t, "zoe").join("room-of-zoe")
	before := names()
	for _, user := range []string{"quentin-1", "quentin-2", "quentin-3"} {
		n.dial(t, user).join("room-of-"+user, "second-room-of-"+user)
	}
	if after := names(); after != before {
		t.Errorf("%d samples became %d with more users and rooms", before, after)
	}
	if body := n.ops(t, "/metrics").body; strings.Contains(body, "quentin") || strings.Contains(body, "room-of") {
		t.Error("/metrics names a user or a room")
	}
}

func TestGuardedOpsEndpoints(t *testing.T) {
	guarded := map[string]string{"/statusz": http.MethodGet, "/drain": http.MethodPost, "/shed?count=1": http.MethodPost, "/debug/pprof/": http.MethodGet, "/debug/pprof/cmdline": http.MethodGet}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, "memory://", func(s *settings.Settings) { s.OpsTokenFile = token })
	base := "http://" + n.OpsAddr().String()
	for path, method := range guarded {
		for name, header := range map[string]http.Header{
			"without a token":      nil,
			"with a wrong token":   {"Authorization": {"Bearer s3cre"}},
			"with an empty token":  {"Authorization": {"Bearer "}},
			"with another scheme":  {"Authorization": {"Basic s3cret"}},
			"with the bare secret": {"Authorization": {"s3cret"}},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				wantRefusal(t, request(t, method, base+path, header), http.StatusUnauthorized, protocol.CodeUnauthorized)
			})
		}
	}
	right := http.Header{"Authorization": {"Bearer s3cret"}}
	if got := request(t, http.MethodGet, base+"/statusz", right); got.status != http.StatusOK {
		t.Errorf("with the token /statusz is %d %s", got.status, got.body)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if got := n.ops(t, path); got.status != http.StatusOK {
			t.Errorf("%s is %d without a token, want it open", path, got.status)
		}
	}
	t.Run("a changed token holds at once", func(t *testing.T) {
		if err := os.WriteFile(token, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, request(t, http.MethodGet, base+"/statusz", right), http.StatusUnauthorized, protocol.CodeUnauthorized)
		if got := request(t, http.MethodGet, base+"/statusz", http.Header{"Authorization": {"Bearer other"}}); got.status != http.StatusOK {
			t.Errorf("with the new token /statusz is %d %s", got.status, got.body)
		}
	})
	t.Run("without a token only this machine is let in", func(t *testing.T) {
		for addr, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "10.0.0.1:1": false, "[2001:db8::1]:1": false, "": false} {
			if got := fromLoopback(&http.Request{RemoteAddr: addr}); got != want {
				t.Errorf("a request from %q is let in: %v, want %v", addr, got, want)
			}
		}
		if got := start(t, "memory://", nil).ops(t, "/statusz"); got.status != http.StatusOK {
			t.Errorf("from loopback /statusz is %d %s", got.status, got.body)
		}
	})
}

func TestStatusz(t *testing.T) {
	n := start(t, "memory://", nil)
	n.dial(t, "alice").join("r")
	var got Status
	if err := json.Unmarshal([]byte(n.ops(t, "/statusz").body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Node != "node-1" || got.Phase != "serving" || !got.Ready || got.Connections != 1 || got.Rooms != 1 || got.Users != 1 ||
		got.MaxConnections == 0 || !got.Backplane.Up || got.Backplane.Subscriptions != 2 || got.Goroutines == 0 || got.Version == "" {
		t.Errorf("/statusz is %+v", got)
	}
}
