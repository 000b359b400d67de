package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// offsets returns the offsets of the messages in an ack.
func offsets(ack frame) string {
	var all []string
	messages, _ := ack["messages"].([]any)
	for _, m := range messages {
		all = append(all, fmt.Sprint(m.(map[string]any)["offset"]))
	}
	return strings.Join(all, " ")
}

// filled returns a room with count messages 1 to count, and its epoch.
func filled(t *testing.T, g *gateway, room string, count int) (epoch string) {
	t.Helper()
	c := dial(t, g, name("writer"))
	epoch = c.acked(`{"type":"join","room_id":"` + room + `"}`).text("epoch")
	for i := range count {
		ack := c.acked(fmt.Sprintf(`{"type":"publish","room_id":"%s","data":%d,"echo":false}`, room, i+1))
		if ack.number("offset") != int64(i+1) {
			t.Fatalf("message %d of a new room has the place %d", i+1, ack.number("offset"))
		}
	}
	return epoch
}

func TestHistory(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "and, if asked for, recovered and messages (oldest first).", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 5)
		c := dial(t, f.b, name("user"))
		ack := c.acked(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":2}}`)
		if ack["recovered"] != true || offsets(ack) != "3 4 5" || ack["epoch"] != epoch || ack.number("offset") != 5 {
			t.Errorf("the ack of a recovery is %v", ack)
		}
		newest := dial(t, f.b, name("user")).acked(`{"type":"join","room_id":"` + room + `","history":2}`)
		if newest["recovered"] != nil || offsets(newest) != "4 5" {
			t.Errorf("the ack of a join with history: 2 is %v", newest)
		}
		if all := dial(t, f.b, name("user")).acked(`{"type":"join","room_id":"` + room + `","history":1000}`); offsets(all) != "1 2 3 4 5" {
			t.Errorf("the ack of a join with history: 1000 is %v", all)
		}
		message := ack["messages"].([]any)[0].(map[string]any)
		isFields(t, message, `{"type":"message","message_id":"*","room_id":"`+room+`","from":"*","data":3,"ts":"*","epoch":"`+epoch+`","offset":3}`)
		c.nothing()
	})

	holds(t, "recover and history need an id, because it is the ack that carries the messages. recover.offset may be 0: \"I have seen nothing of this epoch\".", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 3)
		c := dial(t, f.a, name("user"))
		c.send(`{"type":"join","room_id":"` + room + `","history":1}`)
		wantError(t, c.next(), "bad_request", "id")
		c.send(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":1}}`)
		wantError(t, c.next(), "bad_request", "id")
		if ack := c.acked(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":0}}`); ack["recovered"] != true || offsets(ack) != "1 2 3" {
			t.Errorf("recovering from offset 0 gives %v", ack)
		}
	})

	holds(t, "history | room_id, or inbox: true; optional limit (up to 1000), since (an offset, exclusive), reverse, next | the ack carries epoch, offset, messages, and next while there are more.", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 6)
		c := dial(t, f.b, name("user"))
		for options, want := range map[string]string{
			``:                               "1 2 3 4 5 6",
			`,"limit":1000`:                  "1 2 3 4 5 6",
			`,"since":4`:                     "5 6",
			`,"since":6`:                     "",
			`,"since":0,"limit":2`:           "1 2",
			`,"reverse":true`:                "6 5 4 3 2 1",
			`,"reverse":true,"limit":2`:      "6 5",
			`,"reverse":false,"limit":1`:     "1",
			`,"since":3,"limit":2`:           "4 5",
			`,"limit":1,"since":5`:           "6",
			`,"since":9007199254740991`:      "",
			`,"since":9000,"reverse":false`:  "",
			`,"limit":1000,"reverse":true`:   "6 5 4 3 2 1",
			`,"since":2,"unknown":[1,2,{}]`:  "3 4 5 6",
			`,"inbox":false,"limit":6`:       "1 2 3 4 5 6",
			`,"inbox":null,"next":null`:      "1 2 3 4 5 6",
			`,"limit":3,"since":0,"id2":"x"`: "1 2 3",
		} {
			ack := c.acked(`{"type":"history","room_id":"` + room + `"` + options + `}`)
			if offsets(ack) != want || ack["epoch"] != epoch || ack.number("offset") != 6 {
				t.Errorf("history with %s gives %s (%v, %v), want %s", options, offsets(ack), ack["epoch"], ack["offset"], want)
			}
		}
		for _, direction := range []string{"", `,"reverse":true`} {
			var pages []string
			next := ""
			for {
				ack := c.acked(`{"type":"history","room_id":"` + room + `","limit":4` + direction + next + `}`)
				pages = append(pages, offsets(ack))
				if ack["next"] == nil {
					break
				}
				next = `,"next":"` + ack.text("next") + `"`
			}
			if got, want := strings.Join(pages, "|"), map[bool]string{false: "1 2 3 4|5 6", true: "6 5 4 3|2 1"}[direction != ""]; got != want {
				t.Errorf("the pages are %s, want %s", got, want)
			}
		}
		c.refused("bad_request", `{"type":"history","room_id":"`+room+`","inbox":true}`)
	})

	holds(t, "Whoever may join a room may read its history", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"closed\", join: none, history: {size: 10}}, {match: \"log\", history: {size: 10}}, {match: \"plain\"}]", "--auth=trusted")
		c := dial(t, g, "user")
		c.acked(`{"type":"history","room_id":"log"}`)
		c.refused("forbidden", `{"type":"history","room_id":"closed"}`)
		c.refused("bad_request", `{"type":"history","room_id":"plain"}`)
		c.refused("bad_request", `{"type":"history","inbox":true}`) // inboxes are off
	})

	holds(t, "the log does not reach back that far", func(t *testing.T) {
		room := name("short")
		epoch := filled(t, f.a, room, 9)
		c := dial(t, f.a, name("user"))
		if ack := c.acked(`{"type":"history","room_id":"` + room + `"}`); offsets(ack) != "5 6 7 8 9" {
			t.Errorf("of 9 messages the log keeps %s, want the last 5", offsets(ack))
		}
		for offset, want := range map[int]bool{3: false, 4: true, 9: true} {
			ack := dial(t, f.a, name("user")).acked(fmt.Sprintf(`{"type":"join","room_id":"%s","recover":{"epoch":"%s","offset":%d}}`, room, epoch, offset))
			if ack["recovered"] != want {
				t.Errorf("recovering from offset %d, when 5 to 9 are kept, gives %v", offset, ack)
			}
		}
	})

	holds(t, "inbox: {epoch, offset} (if inboxes are kept)", func(t *testing.T) {
		bob := name("bob")
		first := dial(t, f.a, bob)
		inbox, _ := first.welcome["inbox"].(map[string]any)
		if inbox["epoch"] == "" || inbox["offset"] != json.Number("0") {
			t.Fatalf("the welcome is %v, want where the inbox stands", first.welcome)
		}
		first.ws.Close()
		alice := dial(t, f.b, name("alice"))
		ack := alice.acked(`{"type":"publish","target_user_id":"` + bob + `","data":"while you were away"}`)
		if ack["epoch"] != inbox["epoch"] || ack.number("offset") != 1 {
			t.Errorf("the ack is %v, want offset 1 of the inbox's epoch", ack)
		}
		back := dial(t, f.b, bob)
		isFields(t, back.welcome["inbox"].(map[string]any), `{"epoch":"`+ack.text("epoch")+`","offset":1}`)
		page := back.acked(`{"type":"history","inbox":true,"since":0}`)
		isFields(t, page["messages"].([]any)[0].(map[string]any), `{"type":"message","message_id":"`+ack.text("message_id")+`","target_user_id":"`+bob+`","from":"`+alice.user+
			`","data":"while you were away","ts":"*","epoch":"`+ack.text("epoch")+`","offset":1}`)
		if other := dial(t, f.a, name("carol")).acked(`{"type":"history","inbox":true}`); offsets(other) != "" {
			t.Errorf("somebody else's inbox has %v", other)
		}
		back.nothing()
	})

	holds(t, "An ack carries at most 256 messages, and at most a quarter of the connection's send queue. What a recovery has beyond that follows as message frames, as fast as the client reads, before any live one; recovered speaks for all of it. A history command goes on with next.", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 700)
		writer, c := dial(t, f.a, name("writer")), dial(t, f.b, name("user"))
		writer.join(room)
		c.send(`{"type":"join","id":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":0}}`)
		for i := range 20 {
			writer.send(fmt.Sprintf(`{"type":"publish","room_id":"%s","data":%d}`, room, 701+i))
		}
		ack := c.next()
		messages := ack["messages"].([]any)
		if ack["id"] != "join" || ack["recovered"] != true || len(messages) != 256 {
			t.Fatalf("the ack recovers %v with %d messages, want 256", ack["recovered"], len(messages))
		}
		for want := int64(257); want <= 720; want++ {
			if got := c.next(); got["type"] != "message" || got.number("offset") != want {
				t.Fatalf("got %v, want the message with offset %d", got, want)
			}
		}
		c.nothing()
		page := c.acked(`{"type":"history","room_id":"` + room + `","limit":1000}`)
		if got := len(page["messages"].([]any)); got != 256 || page["next"] == nil {
			t.Errorf("a history command gives %d messages and next %v, want 256 and where to go on", got, page["next"])
		}
		small := startGateway(t, "rooms: [{match: \"*\", history: {size: 1000}}]\nlimits: {messagesPerSecond: 0}", "--auth=trusted", "--send-queue-bytes=40000", "--max-message-bytes=10000")
		w := dial(t, small, "writer")
		smallEpoch := w.acked(`{"type":"join","room_id":"r"}`).text("epoch")
		for range 20 {
			w.acked(`{"type":"publish","room_id":"r","data":"` + strings.Repeat("x", 4000) + `"}`)
		}
		few := dial(t, small, "user").acked(`{"type":"join","room_id":"r","recover":{"epoch":"` + smallEpoch + `","offset":0}}`)
		if got := len(few["messages"].([]any)); got != 2 || few["recovered"] != true {
			t.Errorf("with a send queue of 40,000 bytes an ack has %d messages of 4,000, want 2", got)
		}
	})
}

func TestInboxes(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "Inboxes keep what is sent to a user who is away, where they are on. A client's message is kept for users who have been connected within the life of an inbox, and for those who have one. To anybody else it is passed on and acked, but not kept: the ack has no epoch and offset.", func(t *testing.T) {
		alice, stranger, known := dial(t, f.a, name("alice")), name("stranger"), dial(t, f.b, name("known"))
		known.ws.Close()
		isFields(t, alice.acked(`{"type":"publish","target_user_id":"`+known.user+`","data":1}`), `{"type":"ack","id":"*","message_id":"*","epoch":"*","offset":1}`)
		isFields(t, alice.acked(`{"type":"publish","target_user_id":"`+stranger+`","data":1}`), `{"type":"ack","id":"*","message_id":"*"}`)
		if page := dial(t, f.b, stranger).acked(`{"type":"history","inbox":true}`); offsets(page) != "" {
			t.Errorf("of a user who had never been there the inbox has %v", page)
		}
		if page := dial(t, f.b, known.user).acked(`{"type":"history","inbox":true}`); offsets(page) != "1" {
			t.Errorf("of a user who was away the inbox has %v", page)
		}
	})
}

func TestGuarantees(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "Order. Messages of one connection to one target arrive in the order they were sent. In a room (or inbox) with history there is one order for everybody: offset counts 1, 2, 3 … without holes inside an epoch.", func(t *testing.T) {
		const writers, each = 3, 60
		for _, room := range []string{name("room"), name("log")} {
			readers := []*client{dial(t, f.a, name("user")), dial(t, f.b, name("user"))}
			for _, c := range readers {
				c.join(room)
			}
			for w := range writers {
				g := []*gateway{f.a, f.b, f.a}[w]
				c := dial(t, g, name(fmt.Sprintf("writer%d", w)))
				c.join(room)
				go func() {
					for i := range each {
						_ = c.ws.WriteMessage(1, fmt.Appendf(nil, `{"type":"publish","room_id":"%s","data":[%d,%d]}`, room, w, i)) // what is missing is missed below
					}
				}()
			}
			var orders [2]string
			for r, c := range readers {
				var next [writers]int
				for n := range writers * each {
					text := c.raw()
					var m struct {
						Offset int
						Data   [2]int
					}
					if err := json.Unmarshal(text, &m); err != nil {
						t.Fatal(err)
					}
					if m.Data[1] != next[m.Data[0]] {
						t.Fatalf("of writer %d came %d, want %d", m.Data[0], m.Data[1], next[m.Data[0]])
					}
					next[m.Data[0]]++
					if strings.HasPrefix(room, "log") && m.Offset != n+1 {
						t.Fatalf("after %d came offset %d", n, m.Offset)
					}
					orders[r] += fmt.Sprint(m.Data)
				}
			}
			if strings.HasPrefix(room, "log") && orders[0] != orders[1] {
				t.Error("two members saw the room's messages in another order")
			}
		}
		bob := name("bob")
		reader, writer := dial(t, f.a, bob), dial(t, f.b, name("writer"))
		for i := range 100 {
			writer.send(fmt.Sprintf(`{"type":"publish","target_user_id":"%s","data":%d}`, bob, i))
		}
		for i := range 100 {
			if got := reader.message(fmt.Sprint(i)); got.number("offset") != int64(i+1) {
				t.Errorf("message %d of the inbox has offset %v", i, got["offset"])
			}
		}
	})

	holds(t, "(With echo: false the publisher does not see its own offsets.)", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		c.join(room)
		c.acked(`{"type":"publish","room_id":"` + room + `","data":1,"echo":false}`)
		c.publish(room)
		if got := c.next(); got.number("offset") != 2 {
			t.Errorf("got %v, want offset 2", got)
		}
		c.nothing()
	})

	holds(t, "Recovering from another epoch gives recovered: false", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 3)
		ack := dial(t, f.a, name("user")).acked(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"of another life","offset":2}}`)
		isFields(t, ack, `{"type":"ack","id":"*","room_id":"`+room+`","epoch":"`+epoch+`","offset":3,"recovered":false,"messages":"*"}`)
		if offsets(ack) != "" {
			t.Errorf("the ack has the messages %s", offsets(ack))
		}
		ahead := dial(t, f.a, name("user")).acked(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":4}}`)
		if ahead["recovered"] != false {
			t.Errorf("recovering from an offset that was never given gives %v", ahead)
		}
	})

	holds(t, "A client that comes back with recover gets exactly what it missed.", func(t *testing.T) {
		room := name("log")
		writer := dial(t, f.a, name("writer"))
		writer.join(room)
		user := name("user")
		c := dial(t, f.a, user)
		c.join(room)
		data, _ := writer.publish(room)
		last := c.message(data)
		for round := range 5 {
			c.ws.Close()
			var missed []string
			for range round * 2 {
				data, _ := writer.publish(room)
				missed = append(missed, data)
			}
			c = dial(t, []*gateway{f.a, f.b}[round%2], user)
			ack := c.acked(fmt.Sprintf(`{"type":"join","room_id":"%s","recover":{"epoch":"%s","offset":%d}}`, room, last["epoch"], last.number("offset")))
			var got []string
			for _, m := range ack["messages"].([]any) {
				got = append(got, quoted(fmt.Sprint(m.(map[string]any)["data"])))
			}
			if strings.Join(got, " ") != strings.Join(missed, " ") || ack["recovered"] != true {
				t.Errorf("missed %v, got %v", missed, got)
			}
			data, _ := writer.publish(room)
			last = c.message(data)
		}
	})

	holds(t, "Remember epoch and offset of the last message (or of the join's ack, if none came). After a reconnect, join with \"recover\": {\"epoch\": …, \"offset\": …}. If the ack says recovered: true, its messages, and message frames that may follow, are all that you missed, in order. If it says false, the log does not reach back that far, or is another one: load the state from wherever your application keeps it, and go on from the ack's epoch and offset.", func(t *testing.T) {
		room := name("short")
		writer := dial(t, f.a, name("writer"))
		writer.join(room)
		place := dial(t, f.b, name("user")).acked(`{"type":"join","room_id":"` + room + `"}`)
		for round, want := range []bool{true, false, true} {
			for range []int{3, 9, 5}[round] {
				writer.publish(room)
			}
			c := dial(t, f.b, name("user"))
			ack := c.acked(fmt.Sprintf(`{"type":"join","room_id":"%s","recover":{"epoch":"%s","offset":%d}}`, room, place["epoch"], place.number("offset")))
			if ack["recovered"] != want {
				t.Errorf("round %d recovers %v, want %v", round, ack["recovered"], want)
			}
			c.nothing()
			data, _ := writer.publish(room)
			if got := c.message(data); got.number("offset") != ack.number("offset")+1 {
				t.Errorf("after the ack's offset %v came %v", ack["offset"], got["offset"])
			}
			place = c.acked(`{"type":"join","room_id":"` + room + `"}`)
		}
	})

	holds(t, "A publish that is retried with the same idempotency_key within 5 minutes is stored once and acked with the first result. The key belongs to the publishing user and the target; the same key with other data is a conflict. It works in rooms without history too", func(t *testing.T) {
		for _, target := range []string{`"room_id":"` + name("log"), `"room_id":"` + name("room"), `"target_user_id":"` + name("bob")} {
			user := name("user")
			room := strings.TrimPrefix(target, `"room_id":"`)
			isRoom := room != target
			here, there := dial(t, f.a, user), dial(t, f.b, user)
			publish := func(target, data string) string {
				return `{"type":"publish",` + target + `","data":` + data + `,"idempotency_key":"key"}`
			}
			if isRoom {
				here.join(room)
				there.join(room)
			}
			first := here.acked(publish(target, `{"a":1}`))
			again := there.acked(publish(target, `{"a":1}`)) // another connection, another gateway
			delete(first, "id")
			delete(again, "id")
			if fmt.Sprint(first) != fmt.Sprint(again) {
				t.Errorf("the first result is %v, the second %v", first, again)
			}
			there.refused("conflict", publish(target, `{"a":2}`))
			if isRoom {
				for _, c := range []*client{here, there} {
					c.message(`{"a":1}`)
					c.nothing()
				}
			}
			other := here.acked(publish(`"target_user_id":"`+name("else"), `{"a":2}`)) // another target
			if other["message_id"] == first["message_id"] {
				t.Error("a key of one target was taken for another's")
			}
			stranger := dial(t, f.a, name("stranger"))
			if isRoom {
				stranger.join(room)
			}
			if got := stranger.acked(publish(target, `{"a":3}`)); got["message_id"] == first["message_id"] { // another user
				t.Error("a key of one user was taken for another's")
			}
		}
	})

	holds(t, "within 5 minutes", func(t *testing.T) {
		r := startRedis(t)
		g := startGateway(t, "", "--auth=trusted", "--backplane="+r.url())
		dial(t, g, "user").acked(`{"type":"publish","target_user_id":"x","data":1,"idempotency_key":"key"}`)
		found := false
		for key := range strings.FieldsSeq(r.must(t, "KEYS", "*")) {
			var seconds int
			if _, err := fmt.Sscan(r.must(t, "TTL", key), &seconds); err == nil && seconds > 280 && seconds <= 300 {
				found = true
			}
		}
		if !found {
			t.Errorf("no key of Redis lives for 5 minutes: %s", r.must(t, "KEYS", "*"))
		}
	})

	holds(t, "unconfirmed | stored and passed on, but fewer replicas confirmed than the policy asks for", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("replicated")
		c.join(room)
		got := c.do(`{"type":"publish","room_id":"` + room + `","data":1}`)
		wantError(t, got, "unconfirmed")
		c.message("1")
		if page := c.acked(`{"type":"history","room_id":"` + room + `"}`); offsets(page) != "1" {
			t.Errorf("the log has %v", page)
		}
	})
}
