package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "Every command may carry an id. With it, the command gets exactly one ack or error with the same id. Without it, a success is silent, and a failure still sends an error, without id.", func(t *testing.T) {
		c := dialWith(t, "ws://"+f.tokens.public+"/ws?token="+jwtOf(t, claims{"sub": name("alice")}), nil)
		room := name("log")
		for _, command := range []string{
			`"type":"join","room_id":"` + room + `"`,
			`"type":"publish","target_user_id":"nobody","data":1`,
			`"type":"history","room_id":"` + room + `"`,
			`"type":"history","inbox":true`,
			`"type":"presence","room_id":"` + strings.Replace(room, "log", "present", 1) + `"`,
			`"type":"leave","room_id":"` + room + `"`,
			`"type":"auth","token":"` + jwtOf(t, claims{"sub": c.user}) + `"`,
			`"type":"ping"`,
		} {
			c.acked("{" + command + "}")
			c.nothing()
			c.send("{" + command + "}")
			c.nothing()
		}
		for _, command := range []string{
			`"type":"join","room_id":"closed-1"`,
			`"type":"leave"`,
			`"type":"publish","room_id":"closed-1","data":1`,
			`"type":"history","room_id":"without"`,
			`"type":"presence","room_id":"without"`,
			`"type":"auth","token":"made-up"`,
			`"type":"unknown"`,
		} {
			if got := c.do("{" + command + "}"); got["type"] != "error" {
				t.Errorf("%s got %v, want an error", command, got)
			}
			c.nothing()
			c.send("{" + command + "}")
			if got := c.next(); got["type"] != "error" || len(got) != 3 {
				t.Errorf("%s without an id got %v, want an error without id", command, got)
			}
			c.nothing()
		}
	})

	holds(t, "Answers to different commands may come in another order than the commands.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		for i := range 30 {
			c.send(fmt.Sprintf(`{"type":"join","id":"j%d","room_id":"%s-%d"}`, i, room, i))
			c.send(fmt.Sprintf(`{"type":"ping","id":"p%d"}`, i))
		}
		seen := map[string]int{}
		for range 60 {
			seen[c.typed("ack").text("id")]++
		}
		for i := range 30 {
			if seen[fmt.Sprintf("j%d", i)] != 1 || seen[fmt.Sprintf("p%d", i)] != 1 {
				t.Fatalf("the acks are %v, want one for each command", seen)
			}
		}
	})

	holds(t, "subscribes this connection. The ack carries room_id, and in a room with history epoch, offset (the newest)", func(t *testing.T) {
		alice, bob := dial(t, f.a, name("alice")), dial(t, f.b, name("bob"))
		room, log := name("room"), name("log")
		isFields(t, alice.acked(`{"type":"join","room_id":"`+room+`"}`), `{"type":"ack","id":"*","room_id":"`+room+`"}`)
		isFields(t, alice.acked(`{"type":"join","room_id":"`+log+`"}`), `{"type":"ack","id":"*","room_id":"`+log+`","epoch":"*","offset":0}`)
		_, ack := alice.publish(log)
		isFields(t, bob.acked(`{"type":"join","room_id":"`+log+`"}`), `{"type":"ack","id":"*","room_id":"`+log+`","epoch":"`+ack.text("epoch")+`","offset":1}`)
		bob.join(room)
		data, _ := alice.publish(room)
		bob.message(data)
	})

	holds(t, "Joining again is a no-op that acks.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for _, room := range []string{name("room"), name("log"), name("present")} {
			c.join(room, room, room)
			data, _ := c.publish(room)
			c.message(data)
			c.nothing() // it came once
			c.acked(`{"type":"leave","room_id":"` + room + `"}`)
			c.refused("not_joined", `{"type":"publish","room_id":"`+room+`","data":1}`)
		}
	})

	holds(t, "leave | room_id | the reverse; leaving a room that was not joined acks", func(t *testing.T) {
		c, other := dial(t, f.a, name("user")), dial(t, f.b, name("user"))
		room := name("room")
		c.join(room)
		other.join(room)
		isFields(t, c.acked(`{"type":"leave","room_id":"`+room+`"}`), `{"type":"ack","id":"*","room_id":"`+room+`"}`)
		isFields(t, c.acked(`{"type":"leave","room_id":"`+room+`"}`), `{"type":"ack","id":"*","room_id":"`+room+`"}`)
		isFields(t, c.acked(`{"type":"leave","room_id":"never"}`), `{"type":"ack","id":"*","room_id":"never"}`)
		data, _ := other.publish(room)
		other.message(data)
		c.nothing()
	})

	holds(t, "exactly one of room_id, target_user_id; data; optional idempotency_key; optional echo: false | to everybody in the room, or to every connection of that user, on whatever gateway they are.", func(t *testing.T) {
		room, bobName := name("room"), name("bob")
		alice, bob1, bob2, carol := dial(t, f.a, name("alice")), dial(t, f.a, bobName), dial(t, f.b, bobName), dial(t, f.b, name("carol"))
		for _, c := range []*client{alice, bob1, carol} {
			c.join(room)
		}
		data, _ := alice.publish(room)
		for _, c := range []*client{alice, bob1, carol} {
			c.message(data)
		}
		alice.acked(`{"type":"publish","target_user_id":"` + bobName + `","data":` + data + `}`)
		bob1.message(data)
		bob2.message(data)
		bob1.acked(`{"type":"publish","target_user_id":"` + bobName + `","data":2}`) // to oneself
		bob1.message("2")
		bob2.message("2")
		for _, c := range []*client{alice, bob1, bob2, carol} {
			c.nothing()
		}
		alice.refused("bad_request", `{"type":"publish","data":1}`)
		alice.refused("bad_request", `{"type":"publish","room_id":"`+room+`","target_user_id":"`+bobName+`","data":1}`)
	})

	holds(t, "The ack carries message_id, and epoch, offset where the target has history.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room, log, open := name("room"), name("log"), startGateway(t, "", "--auth=trusted")
		c.join(room, log)
		_, ack := c.publish(room)
		isFields(t, ack, `{"type":"ack","id":"*","message_id":"*"}`)
		_, ack = c.publish(log)
		isFields(t, ack, `{"type":"ack","id":"*","message_id":"*","epoch":"*","offset":1}`)
		isFields(t, c.acked(`{"type":"publish","target_user_id":"`+c.user+`","data":1}`), `{"type":"ack","id":"*","message_id":"*","epoch":"*","offset":1}`)
		isFields(t, dial(t, open, "x").acked(`{"type":"publish","target_user_id":"away","data":1}`), `{"type":"ack","id":"*","message_id":"*"}`)
	})

	holds(t, "With echo: false the publishing connection itself is left out; other connections of the same user are not", func(t *testing.T) {
		alice := name("alice")
		here, there := dial(t, f.a, alice), dial(t, f.a, alice)
		for _, room := range []string{name("room"), name("log")} {
			here.join(room)
			there.join(room)
			here.acked(`{"type":"publish","room_id":"` + room + `","data":1,"echo":false}`)
			there.message("1")
			here.nothing()
			here.acked(`{"type":"publish","room_id":"` + room + `","data":2,"echo":true}`)
			here.message("2")
			there.message("2")
		}
		here.acked(`{"type":"publish","target_user_id":"` + alice + `","data":3,"echo":false}`)
		there.message("3")
		here.nothing()
	})

	holds(t, "an ack, for browsers, which cannot send a WebSocket ping", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		c.send(`{"type":"ping","id":"1"}`)
		isFields(t, c.next(), `{"type":"ack","id":"1"}`)
	})

	holds(t, "A join is acked when it holds: when every message that is published from then on, on any gateway, will come.", func(t *testing.T) {
		alice := dial(t, f.a, name("alice"))
		for range 30 {
			bob, room := dial(t, f.b, name("bob")), name("open")
			bob.join(room)
			data, _ := alice.publish(room)
			bob.message(data)
		}
	})

	holds(t, "A publish that follows a join of the same room need not wait for the ack: the gateway keeps the order.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for i := range 20 {
			room := name([]string{"room", "log", "present"}[i%3])
			c.send(`{"type":"join","room_id":"` + room + `"}`)
			c.send(`{"type":"publish","room_id":"` + room + `","data":` + fmt.Sprint(i) + `}`)
			c.message(fmt.Sprint(i))
		}
	})

	holds(t, "A join that is followed by a leave is acked all the same.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for range 20 {
			for _, room := range []string{name("room"), name("log"), name("present")} {
				c.send(`{"type":"join","id":"join","room_id":"` + room + `"}`)
				c.send(`{"type":"leave","id":"leave","room_id":"` + room + `"}`)
				for _, id := range []string{"join", "leave"} {
					if got := c.find(func(f frame) bool { return f["id"] == id }); got["type"] != "ack" {
						t.Fatalf("the %s got %v", id, got)
					}
				}
			}
		}
	})

	holds(t, "A publish is acked when Redis took it. The publisher's own copy and its ack come in either order.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		c.join(room)
		for range 20 {
			data, ack := c.publish(room)
			if got := c.message(data); got["message_id"] != ack["message_id"] || got["offset"] != ack["offset"] {
				t.Errorf("the ack is %v, the copy %v", ack, got)
			}
		}
	})

	holds(t, "Who may join and publish is the room's policy. By default anyone may join, and members may publish. A publish that only members may send gets not_joined before the join; what the policy does not allow at all is forbidden.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("room")
		c.refused("not_joined", `{"type":"publish","room_id":"`+room+`","data":1}`)
		c.join(room)
		c.publish(room)
		closed := name("closed")
		c.refused("forbidden", `{"type":"join","room_id":"`+closed+`"}`)
		c.refused("forbidden", `{"type":"publish","room_id":"`+closed+`","data":1}`)
		c.refused("forbidden", `{"type":"publish","room_id":"`+name("server")+`","data":1}`)
	})

	holds(t, "A policy that changes, or a new token with other rooms, takes nobody out of a room: joins and publishes from then on are judged by it.", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"granted:*\", join: token}]", "--auth=jwt", "--jwt-secret-file="+file(t, "secret", jwtSecret))
		c := withToken(t, g, jwtOf(t, claims{"sub": "alice", "rooms": []string{"granted:1"}}))
		c.join("granted:1")
		c.acked(`{"type":"auth","token":"` + jwtOf(t, claims{"sub": "alice", "rooms": []string{"granted:2"}}) + `"}`)
		c.publish("granted:1") // its members may, and it still is one
		c.join("granted:2")
		c.acked(`{"type":"leave","room_id":"granted:1"}`)
		c.refused("forbidden", `{"type":"join","room_id":"granted:1"}`)
		g.rewrite(t, "rooms: [{match: \"granted:*\", join: none}]\n")
		eventually(t, "nobody may join any more", func() bool {
			return c.do(`{"type":"join","room_id":"granted:3"}`)["message"] == "nobody may join this room"
		})
		c.publish("granted:2")
		g.rewrite(t, "rooms: [{match: \"granted:*\", publish: none}]\n")
		eventually(t, "nobody may publish any more", func() bool { return c.do(`{"type":"publish","room_id":"granted:2","data":1}`)["code"] == "forbidden" })
	})
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	f := shared(t)
	const allowed = "ack"
	outcome := func(c *client, command string) string {
		if got := c.do(command); got["type"] != "ack" {
			return got.text("code")
		}
		return allowed
	}

	holds(t, "anyone | every connection | yes (default) | yes | yes (default without tokens)", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"open\", join: anyone, publish: anyone}]", "--auth=trusted")
		c := dial(t, g, "user")
		for _, command := range []string{`{"type":"publish","room_id":"open","data":1}`, `{"type":"join","room_id":"any"}`, `{"type":"publish","target_user_id":"other","data":1}`} {
			if got := outcome(c, command); got != allowed {
				t.Errorf("%s got %s", command, got)
			}
		}
	})

	holds(t, "authenticated | connections with a verified token | yes | yes | yes (default with jwt)", func(t *testing.T) {
		verified, trusted := withToken(t, f.tokens, jwtOf(t, claims{"sub": name("alice")})), dial(t, f.a, name("bob"))
		room := name("verified")
		for _, command := range []string{`{"type":"join","room_id":"` + room + `"}`, `{"type":"publish","room_id":"` + room + `","data":1}`} {
			if got := outcome(verified, command); got != allowed {
				t.Errorf("with a token %s got %s", command, got)
			}
			if got := outcome(trusted, command); got != "forbidden" {
				t.Errorf("without a token %s got %s", command, got)
			}
		}
		direct := `{"type":"publish","target_user_id":"x","data":1}`
		standard := startGateway(t, "", "--auth=jwt", "--jwt-secret-file="+file(t, "secret", jwtSecret))
		if got := outcome(withToken(t, standard, jwtOf(t, claims{"sub": "alice"})), direct); got != allowed {
			t.Errorf("with a token a direct message got %s", got)
		}
		wordy := startGateway(t, "directMessages: {publish: authenticated}", "--auth=trusted")
		if got := outcome(dial(t, wordy, "x"), direct); got != "forbidden" {
			t.Errorf("without a token a direct message got %s", got)
		}
	})

	holds(t, "members | connections that have joined the room … yes (default)", func(t *testing.T) {
		alice := name("alice")
		inside, outside := dial(t, f.a, alice), dial(t, f.a, alice)
		room := name("room")
		inside.join(room)
		inside.publish(room)
		outside.refused("not_joined", `{"type":"publish","room_id":"`+room+`","data":1}`) // another connection of the same user
	})

	holds(t, "token | connections whose token's rooms claim matches the room | yes | yes", func(t *testing.T) {
		granted, other := name("granted"), name("granted")
		c := withToken(t, f.tokens, jwtOf(t, claims{"sub": name("alice"), "rooms": []string{granted}}))
		c.join(granted)
		c.publish(granted)
		c.refused("forbidden", `{"type":"join","room_id":"`+other+`"}`)
		c.refused("forbidden", `{"type":"publish","room_id":"`+other+`","data":1}`)
		dial(t, f.a, name("bob")).refused("forbidden", `{"type":"join","room_id":"`+granted+`"}`)
	})

	holds(t, "server | only the server API … none | nobody | yes | yes | yes", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		server, closed := name("server"), name("closed")
		c.join(server)
		c.refused("forbidden", `{"type":"publish","room_id":"`+server+`","data":1}`)
		if got := f.a.call(t, "POST", "/v1/rooms/"+server+"/messages", `{"data":1}`); got.status != 200 {
			t.Errorf("the server API got %v", got)
		}
		c.message("1")
		wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+closed+"/messages", `{"data":1}`), 403, "forbidden")
		c.refused("forbidden", `{"type":"join","room_id":"`+closed+`"}`)
		for word, status := range map[string]int{"server": 200, "none": 403} {
			g := startGateway(t, "directMessages: {publish: "+word+"}", "--auth=trusted", "--api-listen=127.0.0.1:0", "--api-key-file="+file(t, "keys", apiKey))
			dial(t, g, "x").refused("forbidden", `{"type":"publish","target_user_id":"y","data":1}`)
			if got := g.call(t, "POST", "/v1/users/y/messages", `{"data":1}`); got.status != status {
				t.Errorf("with %s the server API got %v, want %d", word, got, status)
			}
		}
	})

	holds(t, "A room that no policy matches may be joined by anyone, and its members may publish. With guest and trusted no connection has a verified token.", func(t *testing.T) {
		room := name("unmatched")
		c := dial(t, f.a, name("user"))
		c.refused("not_joined", `{"type":"publish","room_id":"`+room+`","data":1}`)
		c.join(room)
		c.publish(room)
		guests := startGateway(t, "rooms: [{match: \"verified\", join: authenticated}]")
		dialWith(t, "ws://"+guests.public+"/ws", nil).refused("forbidden", `{"type":"join","room_id":"verified"}`)
		c.refused("forbidden", `{"type":"join","room_id":"`+name("verified")+`"}`)
	})

	holds(t, "These are too rich for flags; only the file has them. They look as in the WebSocketCluster.", func(t *testing.T) {
		g := startGateway(t, "rooms:\n- match: \"a?c*\"\n  join: none\n- {match: \"abc*\", join: anyone}\n- {match: \"?\", publish: anyone}\n- {match: \"x*y*z\", join: none}\n", "--auth=trusted")
		c := dial(t, g, "user")
		for room, want := range map[string]string{"abc": "forbidden", "aéc-1": "forbidden", "ac": allowed, "abcd": "forbidden", "xyz": "forbidden", "x--y--z": "forbidden", "x--z": allowed, "xyzz-": allowed} {
			if got := outcome(c, `{"type":"join","room_id":"`+room+`"}`); got != want {
				t.Errorf("joining %s got %s, want %s: the first match wins, * is any run of characters, ? is one", room, got, want)
			}
		}
		if got := outcome(c, `{"type":"publish","room_id":"é","data":1}`); got != allowed {
			t.Errorf("publishing to é got %s", got)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()

	holds(t, "messages-per-second and message-burst count publishes of one user, on all connections. Other commands have a bucket of their own, ten times as large, for each connection. Over either: rate_limited; wait a moment.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--messages-per-second=5", "--message-burst=10")
		flood := func(command string, count, burst, rate int) {
			t.Helper()
			c, begin, taken := dial(t, g, name("user")), time.Now(), 0
			for i := range count {
				c.send(fmt.Sprintf(`{"id":"%d",%s}`, i, command))
			}
			for range count {
				if got := c.next(); got["type"] == "ack" {
					taken++
				} else {
					wantError(t, got, "rate_limited")
				}
			}
			if most := burst + int(float64(rate)*time.Since(begin).Seconds()) + 1; taken < burst || taken > most {
				t.Errorf("of %d %s at once %d were taken, want %d to %d", count, command, taken, burst, most)
			}
			eventually(t, "after a moment one more is taken", func() bool { return c.do("{" + command + "}")["type"] == "ack" })
		}
		flood(`"type":"publish","target_user_id":"x","data":1`, 50, 10, 5)
		flood(`"type":"ping"`, 500, 100, 50)
		flood(`"type":"leave","room_id":"r"`, 500, 100, 50)
	})

	holds(t, "Over max-rooms-per-connection: room_limit.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--max-rooms-per-connection=2")
		c := dial(t, g, "user")
		c.join("a", "b", "a")
		c.refused("room_limit", `{"type":"join","room_id":"c"}`, "2")
		c.acked(`{"type":"leave","room_id":"a"}`)
		c.join("c")
		dial(t, g, "user").join("a", "b")
	})

	holds(t, "At most 64 joins of one room may wait for their acks on one connection; more are rate_limited.", func(t *testing.T) {
		r := startRedis(t)
		g := startGateway(t, "limits: {messagesPerSecond: 0}", "--auth=trusted", "--backplane="+r.url())
		c := dial(t, g, "user")
		r.stop(t)
		for i := range 70 {
			c.send(fmt.Sprintf(`{"type":"join","id":"%d","room_id":"r"}`, i))
		}
		for range 6 {
			wantError(t, c.next(), "rate_limited")
		}
		r.resume(t)
		for range 64 {
			if got := c.next(); got["type"] != "ack" {
				t.Fatalf("got %v, want the acks of 64 joins", got)
			}
		}
		c.nothing()
	})

	holds(t, "Slow readers have a bounded queue (send-queue-bytes). Over it the connection is closed with 4408, and nobody else waits for it.", func(t *testing.T) {
		g := startGateway(t, "limits: {messagesPerSecond: 0}", "--auth=trusted", "--send-queue-bytes=200000")
		slow := dialRaw(t, g, "slow")
		if _, _, err := slow.frame(); err != nil { // the welcome
			t.Fatal(err)
		}
		slow.write(true, textFrame, []byte(`{"type":"join","id":"1","room_id":"r"}`))
		if _, _, err := slow.frame(); err != nil { // the ack; from now on it reads nothing
			t.Fatal(err)
		}
		alice, bob := dial(t, g, "alice"), dial(t, g, "bob")
		alice.join("r")
		bob.join("r")
		large := quoted(strings.Repeat("x", 60_000))
		eventually(t, "the slow one is closed", func() bool {
			for range 20 {
				alice.send(`{"type":"publish","room_id":"r","data":` + large + `}`)
				alice.message(large)
				bob.message(large)
			}
			return g.metric(t, "wscluster_slow_consumers_total") == 1
		})
		if got := slow.closeCode(); got != 4408 {
			t.Errorf("the slow one was closed with %d, want 4408", got)
		}
		if got := g.metric(t, `wscluster_disconnects_total{reason="slow_consumer"}`); got != 1 {
			t.Errorf("the reason slow_consumer counts %v", got)
		}
		alice.nothing()
		bob.nothing()
	})
}
