package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestSubprotocols(t *testing.T) {
	n := start(t, "memory://", nil)
	for name, test := range map[string]struct {
		offered []string
		answer  string
	}{
		"ours is answered":                                      {[]string{protocol.Subprotocol}, protocol.Subprotocol},
		"ours is found among others":                            {[]string{"soap", protocol.Subprotocol, "mqtt"}, protocol.Subprotocol},
		"a client that offers none gets it too":                 {nil, ""},
		"the bearer. subprotocol is never echoed, next to ours": {[]string{protocol.BearerPrefix + "secret", protocol.Subprotocol}, protocol.Subprotocol},
		"the bearer. subprotocol is never echoed, alone":        {[]string{protocol.BearerPrefix + "secret"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := websocket.Dialer{Subprotocols: test.offered}
			ws, response, err := dialer.DialContext(t.Context(), n.url("user_id", "alice"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := response.Header.Get("Sec-WebSocket-Protocol"); got != test.answer {
				t.Errorf("the answer is subprotocol %q, want %q", got, test.answer)
			}
			newClient(t, ws).nothing() // it speaks
		})
	}
}

// handshake is the header of a well-formed handshake with further name, value pairs.
func handshake(pairs ...string) http.Header {
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	for i := 0; i < len(pairs); i += 2 {
		header.Set(pairs[i], pairs[i+1])
	}
	return header
}

// wantRefusal compares a refusal before the upgrade: plain HTTP with a JSON body {"code","message"}.
func wantRefusal(t *testing.T, got answer, status int, code protocol.Code) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || len(body) != 2 || body["message"] == "" || strings.Contains(strings.TrimSpace(body["message"]), "\n") {
		t.Fatalf("the body is %q, want {code, message} with a sentence", got.body)
	}
	if got.status != status || body["code"] != string(code) {
		t.Errorf("refused with %d %s (%s), want %d %s", got.status, body["code"], body["message"], status, code)
	}
	if kind := got.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("the refusal's content type is %q, want application/json", kind)
	}
	if after := got.header.Get("Retry-After"); (after != "") != (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) {
		t.Errorf("the refusal with %d has Retry-After %q", status, after)
	}
}

func TestRefusalsBeforeTheUpgradeArePlainHTTP(t *testing.T) {
	trusted := start(t, "memory://", func(s *settings.Settings) {
		s.AllowedOrigins = []string{"https://chat.example.com", "https://*.example.org"}
	})
	sameOrigin := start(t, "memory://", nil)
	guest := start(t, "memory://", func(s *settings.Settings) { s.Auth.Type = settings.AuthGuest })
	for name, test := range map[string]struct {
		node   *node
		path   string
		header http.Header
		status int
		code   protocol.Code
	}{
		"a client that offers only unknown subprotocols is refused with 400": {trusted, "/ws?user_id=alice", handshake("Sec-WebSocket-Protocol", "soap, mqtt"), 400, protocol.CodeBadRequest},
		"no WebSocket handshake":                     {trusted, "/ws?user_id=alice", nil, 400, protocol.CodeBadRequest},
		"a version of WebSocket other than 13":       {trusted, "/ws?user_id=alice", handshake("Sec-WebSocket-Version", "8"), 400, protocol.CodeBadRequest},
		"trusted identity without a user_id":         {trusted, "/ws", handshake(), 400, protocol.CodeBadRequest},
		"trusted identity with an empty user_id":     {trusted, "/ws?user_id=", handshake(), 400, protocol.CodeBadRequest},
		"a user_id with a control character":         {trusted, "/ws?user_id=a%00b", handshake(), 400, protocol.CodeBadRequest},
		"a user_id that is no UTF-8":                 {trusted, "/ws?user_id=%ff", handshake(), 400, protocol.CodeBadRequest},
		"a user_id of 257 bytes":                     {trusted, "/ws?user_id=" + strings.Repeat("x", 257), handshake(), 400, protocol.CodeBadRequest},
		"two user_ids":                               {trusted, "/ws?user_id=alice&user_id=bob", handshake(), 400, protocol.CodeBadRequest},
		"a query that is not well-formed":            {trusted, "/ws?user_id=%zz", handshake(), 400, protocol.CodeBadRequest},
		"an origin that is not allowed":              {trusted, "/ws?user_id=alice", handshake("Origin", "https://evil.example.com"), 403, protocol.CodeOriginDenied},
		"an origin with another scheme":              {trusted, "/ws?user_id=alice", handshake("Origin", "http://chat.example.com"), 403, protocol.CodeOriginDenied},
		"by default, an origin that is not the same": {sameOrigin, "/ws?user_id=alice", handshake("Origin", "https://chat.example.com"), 403, protocol.CodeOriginDenied},
		"the origin null":                            {guest, "/ws", handshake("Origin", "null"), 403, protocol.CodeOriginDenied},
		"another path":                               {guest, "/", nil, 404, protocol.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, request(t, http.MethodGet, "http://"+test.node.Addr().String()+test.path, test.header), test.status, test.code)
		})
	}
	for name, test := range map[string]struct {
		node   *node
		origin string
	}{
		"an allowed origin":                {trusted, "https://chat.example.com"},
		"a subdomain of an allowed domain": {trusted, "https://a.example.org"},
		"the same origin":                  {sameOrigin, "http://" + sameOrigin.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), test.node.url("user_id", "alice"), http.Header{"Origin": {test.origin}})
			if err != nil {
				t.Fatalf("%s was refused: %v", test.origin, err)
			}
			newClient(t, ws)
		})
	}
	if got := trusted.metric(t, `wscluster_connects_total{result="origin_denied"}`); got != 2 {
		t.Errorf("%v refused origins are counted, want 2", got)
	}
}

func TestAGuestGetsARandomUserID(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Auth.Type = settings.AuthGuest })
	a, b := n.dial(t, "alice"), n.dial(t, "alice")
	if a.welcome["user_id"] == "alice" || a.welcome["user_id"] == "" {
		t.Errorf("the guest is called %v: what a client claims must be ignored", a.welcome["user_id"])
	}
	if a.welcome["user_id"] == b.welcome["user_id"] {
		t.Errorf("two guests are both called %v", a.welcome["user_id"])
	}
}

func TestTheWelcomeIsFirstAndHasAllFields(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MaxMessageBytes = 12345 })
	const name = `Zoë "the 1st" / ünï & co`
	a := n.dial(t, name)
	want, _ := json.Marshal(map[string]any{"type": "welcome", "connection_id": anything, "user_id": name, "node": "node-1", "server_time": anything, "heartbeat_ms": 25000, "max_message_bytes": 12345})
	if diff := difference(t, string(want), a.welcome); diff != "" {
		t.Errorf("the welcome differs (-want +got):\n%s", diff)
	}
	if b := n.dial(t, name); a.welcome["connection_id"] == b.welcome["connection_id"] {
		t.Error("two connections have the same connection_id")
	}
}

func TestAFullGatewayRefusesAndIsNotReady(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MaxConnections = 2 })
	n.dial(t, "alice")
	if got := n.ops(t, "/readyz"); got.status != http.StatusOK {
		t.Errorf("with a place left /readyz is %d %s", got.status, got.body)
	}
	b := n.dial(t, "bob")
	wantRefusal(t, request(t, http.MethodGet, "http://"+n.Addr().String()+"/ws?user_id=eve", handshake()), http.StatusServiceUnavailable, protocol.CodeOverloaded)
	if got := n.ops(t, "/readyz"); got.status != http.StatusServiceUnavailable || got.body != "full\n" {
		t.Errorf("a full gateway's /readyz is %d %q, want 503 full", got.status, got.body)
	}
	if got := n.ops(t, "/livez"); got.status != http.StatusOK {
		t.Errorf("a full gateway's /livez is %d", got.status)
	}
	_ = b.ws.Close()
	eventually(t, "the place is free again", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
	n.dial(t, "eve")
}
