package contract

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every code has a test of its own here, also where others meet it too.

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "bad_request | a field is missing or out of range, or the frame is no JSON object", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		c.refused("bad_request", `{"type":"join"}`)
		c.refused("bad_request", `{"type":"join","room_id":""}`)
		c.send("[]")
		wantError(t, c.next(), "bad_request")
	})
	holds(t, "unknown_type | there is no such command, or not in this version", func(t *testing.T) {
		dial(t, f.a, name("user")).refused("unknown_type", `{"type":"subscribe","room_id":"r"}`, "join", "publish")
	})
	holds(t, "unauthorized | the token is missing, wrong, expired, or another user's | get another token", func(t *testing.T) {
		c := withToken(t, f.tokens, jwtOf(t, claims{"sub": name("alice")}))
		for _, T := range []string{"made-up", jwtOf(t, claims{"sub": c.user, "exp": inSeconds(-60)}), jwtOf(t, claims{"sub": name("bob")})} {
			c.refused("unauthorized", `{"type":"auth","token":"`+T+`"}`)
		}
		wantRefusal(t, handshake(t, f.tokens, "/ws"), 401, "unauthorized")
	})
	holds(t, "forbidden | the room's policy does not allow it", func(t *testing.T) {
		dial(t, f.a, name("user")).refused("forbidden", `{"type":"join","room_id":"`+name("closed")+`"}`)
	})
	holds(t, "not_joined | only members may | join first", func(t *testing.T) {
		c, room := dial(t, f.a, name("user")), name("room")
		c.refused("not_joined", `{"type":"publish","room_id":"`+room+`","data":1}`)
		c.join(room)
		c.publish(room)
	})
	holds(t, "rate_limited | too many commands | wait a moment", func(t *testing.T) {
		c := dial(t, startGateway(t, "", "--auth=trusted", "--messages-per-second=1", "--message-burst=1"), "user")
		publish := `{"type":"publish","target_user_id":"x","data":1}`
		c.acked(publish)
		eventually(t, "one at once is too many", func() bool { f := c.do(publish); return f["code"] == "rate_limited" })
		eventually(t, "after a moment it is taken", func() bool { return c.do(publish)["type"] == "ack" })
	})
	holds(t, "room_limit | this connection is in as many rooms as it may be | leave one", func(t *testing.T) {
		c := dial(t, startGateway(t, "", "--auth=trusted", "--max-rooms-per-connection=1"), "user")
		c.join("a")
		c.refused("room_limit", `{"type":"join","room_id":"b"}`)
		c.acked(`{"type":"leave","room_id":"a"}`)
		c.join("b")
	})
	holds(t, "conflict | the idempotency_key was used for other data | use a new key for new data", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		publish := func(key, data string) string {
			return `{"type":"publish","target_user_id":"` + c.user + `-x","data":` + data + `,"idempotency_key":"` + key + `"}`
		}
		c.acked(publish("k", "1"))
		c.refused("conflict", publish("k", "2"))
		c.acked(publish("another", "2"))
	})
	holds(t, "nothing, or retry with the same idempotency_key", func(t *testing.T) {
		c, room := dial(t, f.a, name("user")), name("replicated")
		c.join(room)
		for range 2 {
			c.refused("unconfirmed", `{"type":"publish","room_id":"`+room+`","data":1,"idempotency_key":"k"}`)
		}
		c.message("1")
		c.nothing() // stored and passed on once
	})
}

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "1002, 1003, 1007, 1009 | a breach of RFC 6455, a binary frame, invalid UTF-8, too large a message | not before the client is mended", func(t *testing.T) {
		for code, say := range map[int]func(c *rawConn){
			1002: func(c *rawConn) { c.write(true, 3, nil) },
			1003: func(c *rawConn) { c.write(true, binaryFrame, nil) },
			1007: func(c *rawConn) { c.write(true, textFrame, []byte{0xff}) },
			1009: func(c *rawConn) { c.write(true, textFrame, make([]byte, 65537)) },
		} {
			c := dialRaw(t, f.a, "x")
			say(c)
			if got := c.closeCode(); got != code {
				t.Errorf("closed with %d, want %d", got, code)
			}
		}
	})
	holds(t, "1008 | ten bad frames in a row | not before the client is mended", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for range 10 {
			c.send("bad")
		}
		c.closed(1008)
	})
	holds(t, "1012 | the gateway restarts or drains", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=0", "--drain-timeout=1s")
		c := dial(t, g, "user")
		g.signal(t, syscall.SIGTERM)
		c.closed(1012)
	})
	holds(t, "A connection that ends without a close frame (1006 in browsers) was cut by the network, by a crash, or for its silence", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted")
		c := dial(t, g, "user")
		g.signal(t, syscall.SIGKILL)
		c.closed(1006)
		silent := dialRaw(t, startGateway(t, "", "--auth=trusted", "--heartbeat=100ms"), "x")
		if got := silent.closeCode(); got != 0 {
			t.Errorf("for its silence a connection was closed with %d, want no close frame", got)
		}
	})
	holds(t, "Over it the client is closed with 4408. … 4408 | you read too slowly, and the send queue was full", func(t *testing.T) {
		g := startGateway(t, "limits: {messagesPerSecond: 0}", "--auth=trusted", "--send-queue-bytes=100000")
		slow := dialRaw(t, g, "slow")
		if _, _, err := slow.frame(); err != nil {
			t.Fatal(err)
		}
		writer := dial(t, g, "writer")
		large := quoted(strings.Repeat("x", 50_000))
		eventually(t, "it is closed", func() bool {
			writer.acked(`{"type":"publish","target_user_id":"slow","data":` + large + `}`)
			return g.metric(t, "wscluster_slow_consumers_total") == 1
		})
		if got := slow.closeCode(); got != 4408 {
			t.Errorf("closed with %d, want 4408", got)
		}
	})
	holds(t, "4409 | replaced: the user has opened more connections than allowed (--max-connections-per-user), and this was the oldest … Connections of one user in the whole cluster. Over it the oldest is closed with 4409, see below. 0: no limit. Without effect for guests, whose ids nobody shares.", func(t *testing.T) {
		r := startRedis(t)
		flags := []string{"--auth=trusted", "--max-connections-per-user=2", "--backplane=" + r.url()}
		a, b := startGateway(t, "", flags...), startGateway(t, "", flags...)
		first, second := dial(t, a, "alice"), dial(t, b, "alice")
		other := dial(t, a, "bob")
		third := dial(t, b, "alice")
		first.closed(4409)
		for _, c := range []*client{second, third, other} {
			c.nothing()
		}
		eventually(t, "the metric says why", func() bool { return a.metric(t, `wscluster_disconnects_total{reason="replaced"}`) == 1 })
	})
	holds(t, "1000 | closed as you asked (you get your own code back) | as you like", func(t *testing.T) {
		c := dialRaw(t, f.a, "x")
		c.write(true, closeFrame, binary.BigEndian.AppendUint16(nil, 1000))
		if got := c.closeCode(); got != 1000 {
			t.Errorf("closed with %d, want 1000", got)
		}
	})
}

func TestAdmission(t *testing.T) {
	t.Parallel()

	holds(t, "429 | rate_limited | too many attempts from your address (--connects-per-second-per-address); Retry-After says when to try again", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--connects-per-second-per-address=1")
		var got answer
		for i := range 1000 {
			if got = handshake(t, g, "/ws?user_id="); got.status == 429 {
				break
			}
			if i == 0 && got.status != 400 {
				t.Fatalf("the first attempt got %v", got)
			}
		}
		wantRefusal(t, got, 429, "rate_limited")
		wantRetryAfter(t, got)
		if count := g.metric(t, `wscluster_connects_total{result="rate_limited"}`); count < 1 {
			t.Errorf("the metric counts %v", count)
		}
	})

	holds(t, "503 | draining, overloaded, unavailable | this gateway is leaving; is full, or has too many attempts at once; or cannot check tokens now. Retry-After says when to try again", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--connects-per-second=10")
		var got answer
		for range 1000 {
			if got = handshake(t, g, "/ws?user_id="); got.status == 503 {
				break
			}
		}
		wantRefusal(t, got, 503, "overloaded")
		wantRetryAfter(t, got)
		leaving := startGateway(t, "", "--auth=trusted", "--drain-delay=0", "--drain-timeout=10s", "--drain-rate=1")
		keeping := dial(t, leaving, "user")
		if got := leaving.opsCall(t, "POST", "/drain"); got.status != 202 {
			t.Fatalf("POST /drain got %v", got)
		}
		keeping.typed("reconnect")
		got = handshake(t, leaving, "/ws?user_id=x")
		wantRefusal(t, got, 503, "draining")
		wantRetryAfter(t, got)
	})

	holds(t, "Retry-After is in whole seconds, and not the same for every client: when thousands are refused in a second, they are told to come back over as long as the gateway needs for them.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--connects-per-second=10")
		seen, refused := map[string]int{}, 0
		for end := time.Now().Add(patience); refused < 300 && time.Now().Before(end); {
			if got := handshake(t, g, "/ws?user_id="); got.status == 503 {
				wantRetryAfter(t, got)
				seen[got.header.Get("Retry-After")]++
				refused++
			}
		}
		if len(seen) < 5 {
			t.Errorf("%d clients were told to come back after %v s, want them spread", refused, seen)
		}
	})

	holds(t, "Rooms that one connection may have joined … The largest frame from a client … Bytes that may wait for one slow client; at least --max-message-bytes. … Messages that one user may publish on average, over all connections … Messages that may come at once before the rate counts.", func(t *testing.T) {
		c := dial(t, startGateway(t, "", "--auth=trusted"), "user") // the defaults
		c.join(strings.Split(many(100, func(i int) string { return fmt.Sprint("r", i) }), ",")...)
		c.refused("room_limit", `{"type":"join","room_id":"one more"}`, "100")
		if got := c.welcome.number("max_message_bytes"); got != 65536 {
			t.Errorf("max_message_bytes is %d", got)
		}
		wantWrong(t, nil, []string{"--send-queue-bytes=1000", "--max-message-bytes=2000"}, "send-queue-bytes")
		begin, taken := time.Now(), 0
		for i := range 300 {
			c.send(fmt.Sprintf(`{"type":"publish","id":"%d","target_user_id":"x","data":1}`, i))
		}
		for range 300 {
			if c.next()["type"] == "ack" {
				taken++
			}
		}
		if most := 100 + int(50*time.Since(begin).Seconds()) + 1; taken < 100 || taken > most {
			t.Errorf("%d of 300 were taken, want 100 to %d", taken, most)
		}
	})
}
