package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

const subprotocol = "wscluster.v1.json"

func TestConnecting(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "GET /ws on the public port.", func(t *testing.T) {
		dial(t, f.a, name("user")).nothing()
		for _, path := range []string{"/", "/ws/", "/WS", "/chat"} {
			wantRefusal(t, handshake(t, f.a, path+"?user_id=x"), 404, "bad_request")
		}
		wantRefusal(t, ask(t, "POST", "http://"+f.a.public+"/ws?user_id=x", "{}"), 400, "bad_request")
	})

	holds(t, "Offer wscluster.v1.json. A client that offers none gets the same protocol, without a name in the answer.", func(t *testing.T) {
		for _, test := range []struct {
			offered []string
			answer  string
		}{
			{[]string{subprotocol}, subprotocol},
			{[]string{"soap", subprotocol, "mqtt"}, subprotocol},
			{nil, ""},
		} {
			dialer := websocket.Dialer{Subprotocols: test.offered}
			ws, response, err := dialer.DialContext(t.Context(), "ws://"+f.a.public+"/ws?user_id=x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, there := response.Header["Sec-Websocket-Protocol"]; strings.Join(got, ",") != test.answer || there != (test.answer != "") {
				t.Errorf("%v is answered with %v, want %q", test.offered, got, test.answer)
			}
			newClient(t, ws).nothing()
		}
	})

	holds(t, "A client that offers only others is refused with 400.", func(t *testing.T) {
		for _, offered := range []string{"soap", "soap, mqtt", "wscluster.v2.json", "WSCLUSTER.V1.JSON"} {
			wantRefusal(t, handshake(t, f.a, "/ws?user_id=x", "Sec-WebSocket-Protocol", offered), 400, "bad_request")
		}
	})

	holds(t, "Refusals come before the upgrade, as plain HTTP with the body {\"code\": …, \"message\": …}", func(t *testing.T) {
		for _, got := range []answer{handshake(t, f.a, "/ws"), handshake(t, f.tokens, "/ws"), handshake(t, f.a, "/ws?user_id=x", "Origin", "https://elsewhere.example.com")} {
			if got.header.Get("Content-Type") != "application/json" || got.header.Get("Upgrade") != "" || !strings.HasPrefix(got.body, `{"code":"`) || !strings.Contains(got.body, `,"message":"`) {
				t.Errorf("refused with %v %q", got.header, got.body)
			}
		}
	})

	holds(t, "400 | bad_request | no WebSocket handshake, only unknown subprotocols, or (trusted) no usable user_id", func(t *testing.T) {
		wantRefusal(t, ask(t, "GET", "http://"+f.a.public+"/ws?user_id=x", ""), 400, "bad_request")
		wantRefusal(t, handshake(t, f.a, "/ws?user_id=x", "Sec-WebSocket-Version", "8"), 400, "bad_request")
		wantRefusal(t, handshake(t, f.a, "/ws?user_id=x", "Sec-WebSocket-Protocol", "soap"), 400, "bad_request")
		for _, query := range []string{"", "?user_id=", "?user_id=a&user_id=b", "?user_id=%zz"} {
			wantRefusal(t, handshake(t, f.a, "/ws"+query), 400, "bad_request")
		}
	})

	holds(t, "401 | unauthorized | no token, or not a valid one", func(t *testing.T) {
		got := handshake(t, f.tokens, "/ws")
		wantRefusal(t, got, 401, "unauthorized")
		if got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("the refusal has WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
		}
		wantRefusal(t, handshake(t, f.tokens, "/ws?token=made-up"), 401, "unauthorized")
		wantRefusal(t, handshake(t, f.tokens, "/ws?user_id=alice"), 401, "unauthorized")
	})

	holds(t, "403 | origin_denied | a page of this origin may not connect: by default only the same origin may", func(t *testing.T) {
		for _, origin := range []string{"https://elsewhere.example.com", "null", "http://" + f.b.public, "file://"} {
			wantRefusal(t, handshake(t, f.a, "/ws?user_id=x", "Origin", origin), 403, "origin_denied")
		}
		dialWith(t, "ws://"+f.a.public+"/ws?user_id=x", http.Header{"Origin": {"http://" + f.a.public}}).nothing()
		listed := startGateway(t, "", "--auth=trusted", "--allowed-origins=https://app.example.com,https://*.example.org")
		for _, origin := range []string{"https://app.example.com", "https://a.example.org", "https://a.b.example.org"} {
			dialWith(t, "ws://"+listed.public+"/ws?user_id=x", http.Header{"Origin": {origin}}).nothing()
		}
		for _, origin := range []string{"http://app.example.com", "https://app.example.com:444", "https://example.org", "https://evilexample.org", "http://" + listed.public} {
			wantRefusal(t, handshake(t, listed, "/ws?user_id=x", "Origin", origin), 403, "origin_denied")
		}
		all := startGateway(t, "", "--auth=trusted", "--allowed-origins=*")
		dialWith(t, "ws://"+all.public+"/ws?user_id=x", http.Header{"Origin": {"https://elsewhere.example.com"}}).nothing()
	})
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "guest (default) | the gateway makes a random user id; what you claim is ignored", func(t *testing.T) {
		g := startGateway(t, "")
		seen := map[string]bool{}
		for range 5 {
			c := dialWith(t, "ws://"+g.public+"/ws?user_id=alice&token=t", http.Header{"Authorization": {"Bearer x"}}, subprotocol, "bearer.y")
			if c.user == "alice" || len(c.user) < 10 || seen[c.user] {
				t.Errorf("the user id is %q", c.user)
			}
			seen[c.user] = true
		}
	})

	holds(t, "trusted | ?user_id=alice is believed.", func(t *testing.T) {
		alice := name("alice")
		if got := dial(t, f.a, alice).user; got != alice {
			t.Errorf("the user id is %q, want %q", got, alice)
		}
	})

	holds(t, "jwt | the token says it. Send it as Authorization: Bearer T, or as the query token=T, or offer the subprotocol bearer.T.", func(t *testing.T) {
		alice := name("alice")
		T := jwtOf(t, claims{"sub": alice})
		for way, c := range map[string]*client{
			"the header":                  dialWith(t, "ws://"+f.tokens.public+"/ws", http.Header{"Authorization": {"Bearer " + T}}),
			"the header in lower case":    dialWith(t, "ws://"+f.tokens.public+"/ws", http.Header{"Authorization": {"bearer " + T}}),
			"the query":                   dialWith(t, "ws://"+f.tokens.public+"/ws?token="+T, nil),
			"the subprotocol":             dialWith(t, "ws://"+f.tokens.public+"/ws", nil, subprotocol, "bearer."+T),
			"the subprotocol before ours": dialWith(t, "ws://"+f.tokens.public+"/ws", nil, "bearer."+T, subprotocol),
			"the subprotocol alone":       dialWith(t, "ws://"+f.tokens.public+"/ws", nil, "bearer."+T),
			"a claim beside the token":    dialWith(t, "ws://"+f.tokens.public+"/ws?user_id=mallory&token="+T, nil),
		} {
			if c.user != alice {
				t.Errorf("by %s the user id is %q, want %q", way, c.user, alice)
			}
		}
	})

	holds(t, "The gateway answers with the first one only: it never echoes a bearer. subprotocol", func(t *testing.T) {
		T := jwtOf(t, claims{"sub": "alice"})
		for _, g := range []*gateway{f.a, f.tokens} {
			for _, offered := range [][]string{{"bearer." + T}, {"bearer." + T, subprotocol}, {subprotocol, "bearer." + T}} {
				dialer := websocket.Dialer{Subprotocols: offered}
				ws, response, err := dialer.DialContext(t.Context(), "ws://"+g.public+"/ws?user_id=x", nil)
				if err != nil {
					t.Fatal(err)
				}
				ws.Close()
				for field, values := range response.Header {
					if strings.Contains(strings.Join(values, " "), T) {
						t.Errorf("the answer echoes the token in %s", field)
					}
				}
			}
		}
	})

	holds(t, "A browser cannot set headers, so it offers two subprotocols … (A browser that offered nothing but the token would get no subprotocol back, and would hang up.)", func(t *testing.T) {
		T := jwtOf(t, claims{"sub": "alice"})
		for answer, offered := range map[string][]string{subprotocol: {subprotocol, "bearer." + T}, "": {"bearer." + T}} {
			dialer := websocket.Dialer{Subprotocols: offered}
			ws, response, err := dialer.DialContext(t.Context(), "ws://"+f.tokens.public+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			ws.Close()
			if got := response.Header.Get("Sec-WebSocket-Protocol"); got != answer {
				t.Errorf("the answer is %q, want %q", got, answer)
			}
		}
	})
}
