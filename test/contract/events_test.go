package contract

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// previous returns where the last epoch ended.
func previous(t *testing.T, changed frame) frame {
	t.Helper()
	place, ok := changed["previous"].(map[string]any)
	if changed["type"] != "epoch_changed" || !ok {
		t.Fatalf("got %v, want epoch_changed with the previous epoch", changed)
	}
	return place
}

func TestWhatAGatewaySends(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "welcome | always the first frame: connection_id, user_id, node (the gateway's name), server_time, heartbeat_ms, max_message_bytes, expires_at (if the token ends), inbox: {epoch, offset} (if inboxes are kept)", func(t *testing.T) {
		alice := name("alice")
		inbox := func(c *client) { // compares the place and leaves the rest
			place, _ := c.welcome["inbox"].(map[string]any)
			isFields(t, place, `{"epoch":"*","offset":0}`)
			delete(c.welcome, "inbox")
		}
		c := dial(t, f.a, alice)
		inbox(c)
		isFields(t, c.welcome, `{"type":"welcome","connection_id":"*","user_id":"`+alice+`","node":"gateway-a","server_time":"*","heartbeat_ms":25000,"max_message_bytes":65536}`)
		ends := inSeconds(3600)
		c = withToken(t, f.tokens, jwtOf(t, claims{"sub": alice, "exp": ends}))
		inbox(c)
		isFields(t, c.welcome, `{"type":"welcome","connection_id":"*","user_id":"`+alice+`","node":"gateway-tokens","server_time":"*","heartbeat_ms":25000,"max_message_bytes":65536,"expires_at":`+fmt.Sprint(ends*1000)+`}`)
		g := startGateway(t, "", "--auth=trusted", "--node=n", "--heartbeat=9s", "--max-message-bytes=5000")
		isFields(t, dial(t, g, "x").welcome, `{"type":"welcome","connection_id":"*","user_id":"x","node":"n","server_time":"*","heartbeat_ms":9000,"max_message_bytes":5000}`)
		if one, other := dial(t, f.a, alice), dial(t, f.a, alice); one.welcome["connection_id"] == other.welcome["connection_id"] {
			t.Error("two connections have one connection_id")
		}
	})

	holds(t, "message | message_id, room_id or target_user_id, from (the user id; absent if the server API published it), data, ts (the publishing gateway's time), epoch and offset where there is history", func(t *testing.T) {
		alice, bob := dial(t, f.a, name("alice")), dial(t, f.b, name("bob"))
		room, log := name("room"), name("log")
		bob.join(room, log)
		alice.join(room, log)
		data, _ := alice.publish(room)
		isFields(t, bob.next(), `{"type":"message","message_id":"*","room_id":"`+room+`","from":"`+alice.user+`","data":`+data+`,"ts":"*"}`)
		data, _ = alice.publish(log)
		isFields(t, bob.next(), `{"type":"message","message_id":"*","room_id":"`+log+`","from":"`+alice.user+`","data":`+data+`,"ts":"*","epoch":"*","offset":1}`)
		alice.acked(`{"type":"publish","target_user_id":"` + bob.user + `","data":1}`)
		isFields(t, bob.next(), `{"type":"message","message_id":"*","target_user_id":"`+bob.user+`","from":"`+alice.user+`","data":1,"ts":"*","epoch":"*","offset":1}`)
		f.a.call(t, "POST", "/v1/rooms/"+room+"/messages", `{"data":2}`)
		isFields(t, bob.next(), `{"type":"message","message_id":"*","room_id":"`+room+`","data":2,"ts":"*"}`)
		f.a.call(t, "POST", "/v1/users/"+bob.user+"/messages", `{"data":3}`)
		isFields(t, bob.next(), `{"type":"message","message_id":"*","target_user_id":"`+bob.user+`","data":3,"ts":"*","epoch":"*","offset":2}`)
	})

	holds(t, "ack | id and the command's result", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		isFields(t, c.acked(`{"type":"ping"}`), `{"type":"ack","id":"*"}`)
		isFields(t, c.acked(`{"type":"join","room_id":"r"}`), `{"type":"ack","id":"*","room_id":"r"}`)
	})

	holds(t, "error | id (if the command had one), code, message", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		isFields(t, c.do(`{"type":"join"}`), `{"type":"error","id":"*","code":"bad_request","message":"*"}`)
		c.send(`{"type":"join"}`)
		isFields(t, c.next(), `{"type":"error","code":"bad_request","message":"*"}`)
	})

	holds(t, "epoch_changed | room_id or inbox: true, epoch, offset, previous: {epoch, offset}: the log was lost or replaced. Sent before the first message of the new epoch", func(t *testing.T) {
		r := startRedis(t)
		g := startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+r.url())
		alice, bob := dial(t, g, "alice"), dial(t, g, "bob")
		before := alice.acked(`{"type":"join","room_id":"log-1"}`).text("epoch")
		bob.join("log-1")
		inbox := alice.acked(`{"type":"publish","target_user_id":"bob","data":1}`)
		bob.message("1")
		data, _ := alice.publish("log-1")
		alice.message(data)
		bob.message(data)
		r.must(t, "FLUSHALL")
		data, ack := alice.publish("log-1")
		changed := bob.next()
		isFields(t, previous(t, changed), `{"epoch":"`+before+`","offset":1}`)
		delete(changed, "previous")
		isFields(t, changed, `{"type":"epoch_changed","room_id":"log-1","epoch":"`+ack.text("epoch")+`","offset":`+fmt.Sprint(changed.number("offset"))+`}`)
		if ack.text("epoch") == before || ack.number("offset") != 1 {
			t.Errorf("after the loss the ack is %v, want offset 1 of another epoch", ack)
		}
		bob.message(data)
		alice.typed("epoch_changed")
		alice.message(data)
		alice.acked(`{"type":"publish","target_user_id":"bob","data":2}`)
		changed = bob.typed("epoch_changed")
		isFields(t, previous(t, changed), `{"epoch":"`+inbox.text("epoch")+`","offset":1}`)
		if changed["inbox"] != true || changed["room_id"] != nil || changed["epoch"] == inbox["epoch"] || changed["epoch"] == nil {
			t.Errorf("of the inbox came %v", changed)
		}
		bob.message("2")
	})

	holds(t, "reconnect | reason (draining, rebalancing, token_expiring) and delay_ms: connect anew after that delay, which is spread over the clients already, then leave this connection. The old one stays usable until it is closed, so a client that opens the new one first loses nothing", func(t *testing.T) {
		r := startRedis(t)
		flags := []string{"--auth=trusted", "--backplane=" + r.url(), "--drain-rate=100", "--drain-timeout=4s", "--drain-delay=0"}
		old, next := startGateway(t, fleetConfig, flags...), startGateway(t, fleetConfig, flags...)
		writer := dial(t, next, "writer")
		writer.join("room")
		var clients []*client
		for range 6 {
			c := dial(t, old, name("user"))
			c.join("room")
			clients = append(clients, c)
		}
		if got := ask(t, "POST", "http://"+old.ops+"/shed?count=1", ""); got.status != 200 {
			t.Fatalf("POST /shed got %v", got)
		}
		if got := ask(t, "POST", "http://"+old.ops+"/drain", ""); got.status != 202 {
			t.Fatalf("POST /drain got %v", got)
		}
		reasons, delays := map[string]int{}, map[int64]int{}
		for _, c := range clients {
			got := c.typed("reconnect")
			isFields(t, frame{"type": got["type"], "reason": "*", "delay_ms": "*"}, `{"type":"reconnect","reason":"*","delay_ms":"*"}`)
			reasons[got.text("reason")]++
			delays[got.number("delay_ms")]++
			if got.number("delay_ms") < 0 {
				t.Errorf("got %v", got)
			}
			moved := dial(t, next, c.user) // the new one first
			moved.join("room")
			data, _ := writer.publish("room")
			for _, either := range []*client{c, moved} { // both have it
				either.find(func(f frame) bool { return f["type"] == "message" && quoted(f.text("data")) == data })
			}
			moved.ws.Close()
			writer.message(data)
		}
		if reasons["draining"] < 5 || reasons["rebalancing"] > 1 || len(delays) < 3 {
			t.Errorf("the reasons are %v, the delays %v", reasons, delays)
		}
		for _, c := range clients {
			c.closed(1012)
		}
	})

	holds(t, "auth | token | replaces the connection's token before it ends. A token of another user is refused with unauthorized", func(t *testing.T) {
		alice, granted := name("alice"), name("granted")
		c := withToken(t, f.tokens, jwtOf(t, claims{"sub": alice}))
		c.refused("forbidden", `{"type":"join","room_id":"`+granted+`"}`)
		c.refused("unauthorized", `{"type":"auth","token":"`+jwtOf(t, claims{"sub": name("bob"), "rooms": []string{granted}})+`"}`)
		c.refused("unauthorized", `{"type":"auth","token":"`+jwtOf(t, claims{"sub": alice, "exp": inSeconds(-60)})+`"}`)
		c.refused("unauthorized", `{"type":"auth","token":"made-up"}`)
		c.refused("forbidden", `{"type":"join","room_id":"`+granted+`"}`) // refused tokens changed nothing
		isFields(t, c.acked(`{"type":"auth","token":"`+jwtOf(t, claims{"sub": alice, "rooms": []string{granted}})+`"}`), `{"type":"ack","id":"*"}`)
		c.join(granted)
		dial(t, f.a, name("user")).refused("bad_request", `{"type":"auth","token":"x"}`) // no tokens are taken there
	})

	holds(t, "4410 | the token has expired | with another token … the token is missing, wrong, expired, or another user's", func(t *testing.T) {
		alice := name("alice")
		c := withToken(t, f.tokens, jwtOf(t, claims{"sub": alice, "exp": inSeconds(-3)}))
		renewed := withToken(t, f.tokens, jwtOf(t, claims{"sub": alice, "exp": inSeconds(2)}))
		got := c.typed("reconnect")
		if got["reason"] != "token_expiring" || got.number("delay_ms") < 0 {
			t.Errorf("before the end came %v", got)
		}
		renewed.acked(`{"type":"auth","token":"` + jwtOf(t, claims{"sub": alice}) + `"}`)
		c.closed(4410)
		short := withToken(t, f.tokens, jwtOf(t, claims{"sub": alice, "exp": inSeconds(1)}))
		short.closed(4410) // it is closed 5 s later: renewed would be, too
		renewed.nothing()
	})

	holds(t, "4403 | disconnected by the server API | no", func(t *testing.T) {
		bob := name("bob")
		one, two, other := dial(t, f.a, bob), dial(t, f.b, bob), dial(t, f.b, name("carol"))
		if got := f.a.call(t, "DELETE", "/v1/users/"+bob+"/connections", ""); got.status != 204 || got.body != "" {
			t.Errorf("DELETE got %v", got)
		}
		one.closed(4403)
		two.closed(4403)
		other.nothing()
		dial(t, f.a, bob) // they may come again
	})

	holds(t, "The welcome comes once direct messages to you are certain to arrive. If Redis does not answer, that is not waited for longer than 2 s: you are welcome all the same, and direct messages come when Redis is back.", func(t *testing.T) {
		writer := dial(t, f.a, name("writer"))
		for range 20 {
			c := dial(t, f.b, name("user"))
			writer.acked(`{"type":"publish","target_user_id":"` + c.user + `","data":1}`)
			c.message("1")
		}
		r := startRedis(t)
		g := startGateway(t, "", "--auth=trusted", "--backplane="+r.url())
		early := dial(t, g, "early")
		r.stop(t)
		begin := time.Now()
		late := dial(t, g, "late")
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("the welcome took %v, want about 2 s", took)
		}
		late.nothing()
		r.resume(t)
		eventually(t, "direct messages come", func() bool {
			return early.do(`{"type":"publish","target_user_id":"late","data":"now"}`)["type"] == "ack"
		})
		late.find(func(f frame) bool { return f["data"] == "now" })
	})
	holds(t, "The answer to the handshake, 101, comes together with the welcome.", func(t *testing.T) {
		conn, err := net.Dial("tcp", f.a.public)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /ws?user_id=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", name("user"))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		first := make([]byte, 4096)
		n, err := conn.Read(first)
		if answer := string(first[:n]); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, `"type":"welcome"`) {
			t.Errorf("what comes first is %q, %v; want the answer and the welcome", answer, err)
		}
	})
}

func TestWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]struct {
		away, back func(t *testing.T, r *redisServer)
	}{
		"stopped": {func(t *testing.T, r *redisServer) { r.stop(t) }, func(t *testing.T, r *redisServer) { r.resume(t) }},
		"killed": {func(_ *testing.T, r *redisServer) { r.kill() }, func(t *testing.T, r *redisServer) {
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		holds(t, "while Redis is away the join is kept, and acked when Redis is back. … While Redis is away publishes get unavailable after at most 2 s, connections stay open, and joins are kept and carried out when it is back.", func(t *testing.T) {
			t.Log("Redis is", what)
			r := startRedis(t)
			g := startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+r.url(), "--api-listen=127.0.0.1:0", "--api-key-file="+file(t, "keys", apiKey))
			alice, bob := dial(t, g, "alice"), dial(t, g, "bob")
			for _, c := range []*client{alice, bob} {
				c.join("room", "log-1")
			}
			fault.away(t, r)
			begin := time.Now()
			alice.refused("unavailable", `{"type":"publish","room_id":"room","data":1}`)
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("unavailable came after %v, want about 2 s at most", took)
			}
			got := g.call(t, "POST", "/v1/rooms/room/messages", `{"data":1}`)
			wantRefusal(t, got, 503, "unavailable")
			wantRetryAfter(t, got)
			wantRefusal(t, g.call(t, "GET", "/v1/rooms/log-1/messages", ""), 503, "unavailable")
			bob.refused("unavailable", `{"type":"history","room_id":"log-1"}`)
			alice.send(`{"type":"join","id":"kept","room_id":"new"}`)
			alice.send(`{"type":"join","id":"kept too","room_id":"log-new"}`)
			alice.nothing()
			bob.nothing()
			eventually(t, "the metric says that the link is down", func() bool { return g.metric(t, "wscluster_backplane_up") == 0 })
			for _, probe := range []string{"/livez", "/readyz"} { // an outage that everybody shares closes no door
				if got := ask(t, "GET", "http://"+g.ops+probe, ""); got.status != 200 {
					t.Errorf("%s is %d while Redis is away", probe, got.status)
				}
			}
			fault.back(t, r)
			for _, id := range []string{"kept", "kept too"} {
				alice.find(func(f frame) bool { return f["id"] == id && f["type"] == "ack" })
			}
			bob.join("new", "log-new")
			for _, room := range []string{"room", "log-1", "new", "log-new"} {
				data := payload()
				eventually(t, "messages pass again", func() bool {
					return alice.do(`{"type":"publish","room_id":"` + room + `","data":` + data + `,"idempotency_key":"k"}`)["type"] == "ack"
				})
				bob.find(func(f frame) bool {
					return f["type"] == "message" && f["room_id"] == room && quoted(f.text("data")) == data
				})
			}
			if got := g.metric(t, "wscluster_backplane_up"); got != 1 {
				t.Errorf("wscluster_backplane_up is %v", got)
			}
		})
	}

	holds(t, "unavailable | the message is not known to be published: Redis did not confirm within 2 s | retry with the same idempotency_key", func(t *testing.T) {
		r := startRedis(t)
		g := startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+r.url())
		c := dial(t, g, "user")
		c.join("log-1")
		r.stop(t)
		data := payload()
		publish := `{"type":"publish","room_id":"log-1","data":` + data + `,"idempotency_key":"once"}`
		c.refused("unavailable", publish)
		r.resume(t)
		var ack frame
		eventually(t, "the repeated publish is acked", func() bool { ack = c.do(publish); return ack["type"] == "ack" })
		if got := c.message(data); got["message_id"] != ack["message_id"] || got.number("offset") != 1 {
			t.Errorf("the message is %v, its ack %v", got, ack)
		}
		c.nothing() // once
	})

	holds(t, "It changes when Redis lost the log, and at every promotion of a replica, because replication is asynchronous: a promoted replica could hand out offsets again that were used. … clients that stay get epoch_changed. There is never a silent hole. What survived stays readable in the new epoch's history.", func(t *testing.T) {
		primary, other := startRedis(t), startRedis(t)
		g := startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+primary.url())
		c := dial(t, g, "user")
		c.join("log-1")
		first, ack := c.publish("log-1")
		c.message(first)
		synced := func(r *redisServer) func() bool {
			return func() bool { return strings.Contains(r.must(t, "INFO", "replication"), "master_link_status:up") }
		}
		port := func(r *redisServer) string { return fmt.Sprint(r.port) }
		// The other takes everything over and leads, then the first one copies it and is promoted: the same data in another life.
		other.must(t, "REPLICAOF", "127.0.0.1", port(primary))
		eventually(t, "the copy is complete", synced(other))
		other.must(t, "REPLICAOF", "NO", "ONE")
		primary.must(t, "REPLICAOF", "127.0.0.1", port(other))
		eventually(t, "the copy is back", synced(primary))
		primary.must(t, "REPLICAOF", "NO", "ONE")
		var data string
		var after frame
		eventually(t, "a publish is acked", func() bool {
			data = payload()
			after = c.do(`{"type":"publish","room_id":"log-1","data":` + data + `}`)
			return after["type"] == "ack"
		})
		if after["epoch"] == ack["epoch"] {
			t.Errorf("after the promotion the epoch is still %v", after["epoch"])
		}
		changed := c.find(func(f frame) bool { return f["type"] == "epoch_changed" && f["room_id"] == "log-1" }) // its inbox changes too
		isFields(t, previous(t, changed), `{"epoch":"`+ack.text("epoch")+`","offset":1}`)
		c.find(func(f frame) bool { // in the ack's epoch, or in a later one: Redis is noticed to be another at several links
			return f["type"] == "message" && quoted(f.text("data")) == data && f["epoch"] != ack["epoch"]
		})
		page, _ := json.Marshal(c.acked(`{"type":"history","room_id":"log-1"}`)["messages"])
		if !strings.Contains(string(page), first) || !strings.Contains(string(page), data) {
			t.Errorf("the new epoch's history is %s, want also what survived", page)
		}
	})

	holds(t, "With history a connection that stays sees every offset of an epoch once, also when a gateway's link to Redis was broken for a while: the gateway reads what it missed from the log, once for the room, before it goes on.", func(t *testing.T) {
		r := startRedis(t)
		a, b := startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+r.url()), startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+r.url())
		writer, reader := dial(t, a, "writer"), dial(t, b, "reader")
		writer.join("log-1")
		reader.join("log-1")
		for round := range 4 {
			r.must(t, "CLIENT", "KILL", "TYPE", "pubsub")
			for range 25 {
				writer.publish("log-1")
			}
			for i := range 25 {
				if got := reader.next(); got["type"] != "message" || got.number("offset") != int64(25*round+i+1) {
					t.Fatalf("got %v, want offset %d", got, 25*round+i+1)
				}
			}
		}
		reader.nothing()
		if got := b.metric(t, "wscluster_gap_repairs_total"); got < 1 {
			t.Errorf("wscluster_gap_repairs_total is %v", got)
		}
	})

	holds(t, "Without history a message arrives at most once.", func(t *testing.T) {
		f := shared(t)
		writer, reader := dial(t, f.a, name("writer")), dial(t, f.b, name("reader"))
		room := name("room")
		writer.join(room)
		reader.join(room)
		for range 50 {
			data, _ := writer.publish(room)
			reader.message(data)
		}
		reader.nothing()
	})
}
