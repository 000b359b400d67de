package contract

import (
	"fmt"
	"strings"
	"testing"
)

// members returns what an ack lists, as user×connections.
func members(ack frame) string {
	var all []string
	list, _ := ack["members"].([]any)
	for _, m := range list {
		fields := m.(map[string]any)
		all = append(all, fmt.Sprintf("%v×%v", fields["user_id"], fields["connections"]))
	}
	return strings.Join(all, " ")
}

func TestPresence(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "With presence the connection also gets member_joined and member_left … room_id, user_id, connections (of that user in the room, on all gateways)", func(t *testing.T) {
		room := name("present")
		watcher := dial(t, f.a, name("watcher"))
		watcher.acked(`{"type":"join","room_id":"` + room + `","presence":true}`)
		bob := name("bob")
		first := dial(t, f.b, bob)
		first.join(room)
		isFields(t, watcher.next(), `{"type":"member_joined","room_id":"`+room+`","user_id":"`+bob+`","connections":1}`)
		first.acked(`{"type":"leave","room_id":"` + room + `"}`)
		isFields(t, watcher.next(), `{"type":"member_left","room_id":"`+room+`","user_id":"`+bob+`","connections":0}`)
		first.nothing() // it did not ask
		watcher.acked(`{"type":"leave","room_id":"` + room + `"}`)
		first.join(room)
		watcher.nothing()
	})

	holds(t, "presence | room_id; optional limit (up to 1000; 100 if absent), next | the ack carries members: [{user_id, connections}], count (users in the whole room), and next while there are more.", func(t *testing.T) {
		room := name("present")
		var want []string
		for i := range 5 {
			for range 1 + i%2 {
				dial(t, []*gateway{f.a, f.b}[i%2], fmt.Sprintf("%s-%d", room, i)).join(room)
			}
			want = append(want, fmt.Sprintf("%s-%d×%d", room, i, 1+i%2))
		}
		c := dial(t, f.b, name("user"))
		eventually(t, "everybody is listed", func() bool {
			ack := c.acked(`{"type":"presence","room_id":"` + room + `"}`)
			return members(ack) == strings.Join(want, " ") && ack.number("count") == 5 && ack["next"] == nil
		})
		var pages []string
		next := ""
		for {
			ack := c.acked(`{"type":"presence","room_id":"` + room + `","limit":2` + next + `}`)
			pages = append(pages, members(ack))
			if ack.number("count") != 5 {
				t.Errorf("a page counts %v, want 5", ack["count"])
			}
			if ack["next"] == nil {
				break
			}
			next = `,"next":"` + ack.text("next") + `"`
		}
		if got, all := strings.Join(pages, " "), strings.Join(want, " "); got != all || len(pages) != 3 {
			t.Errorf("the pages are %v, want %s", pages, all)
		}
		c.acked(`{"type":"presence","room_id":"` + room + `","limit":1000}`)
		c.refused("bad_request", `{"type":"presence","room_id":"`+room+`","limit":0}`, "limit")
		large := name("present")
		for i := range 101 {
			dial(t, f.a, fmt.Sprintf("%s-%03d", large, i)).join(large)
		}
		eventually(t, "101 are counted, 100 listed", func() bool {
			ack := c.acked(`{"type":"presence","room_id":"` + large + `"}`)
			return ack.number("count") == 101 && len(ack["members"].([]any)) == 100 && ack["next"] != nil
		})
	})

	holds(t, "Whoever may join a room may see who is there", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"closed\", join: none, presence: Enabled}, {match: \"open\", presence: Enabled}]", "--auth=trusted")
		c := dial(t, g, "user")
		c.refused("forbidden", `{"type":"presence","room_id":"closed"}`)
		c.acked(`{"type":"presence","room_id":"open"}`) // without being in it
	})

	holds(t, "Presence is kept where the room's policy says presence: Enabled. Elsewhere presence: true and the presence command get bad_request.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("room")
		c.refused("bad_request", `{"type":"join","room_id":"`+room+`","presence":true}`)
		c.refused("bad_request", `{"type":"presence","room_id":"`+room+`"}`)
	})

	holds(t, "Every connection in such a room counts, whether it asked to be told or not. A user comes with the first connection and goes with the last, on whatever gateways they are, and each is told once", func(t *testing.T) {
		room, bob := name("present"), name("bob")
		watcher := dial(t, f.a, name("watcher"))
		watcher.acked(`{"type":"join","room_id":"` + room + `","presence":true}`)
		first, second := dial(t, f.a, bob), dial(t, f.b, bob)
		first.join(room)
		if got := watcher.typed("member_joined"); got["user_id"] != bob {
			t.Fatalf("got %v", got)
		}
		second.join(room)
		eventually(t, "two connections are listed", func() bool {
			return strings.Contains(members(watcher.acked(`{"type":"presence","room_id":"`+room+`"}`)), bob+"×2")
		})
		first.ws.Close()
		eventually(t, "one connection is listed", func() bool {
			return strings.Contains(members(watcher.acked(`{"type":"presence","room_id":"`+room+`"}`)), bob+"×1")
		})
		watcher.nothing() // the user is still there
		second.ws.Close()
		if got := watcher.typed("member_left"); got["user_id"] != bob {
			t.Fatalf("got %v", got)
		}
		watcher.nothing()
	})

	holds(t, "a user who only changes gateways, new connection first, is as a rule not told of. You are not told of yourself.", func(t *testing.T) {
		room, bob := name("present"), name("bob")
		watcher := dial(t, f.a, name("watcher"))
		watcher.acked(`{"type":"join","room_id":"` + room + `","presence":true}`)
		watcher.nothing() // not of itself
		old := dial(t, f.a, bob)
		old.join(room)
		watcher.typed("member_joined")
		moved := dial(t, f.b, bob)
		moved.join(room)
		eventually(t, "both connections are listed", func() bool {
			return strings.Contains(members(watcher.acked(`{"type":"presence","room_id":"`+room+`"}`)), bob+"×2")
		})
		old.ws.Close()
		eventually(t, "the old connection is gone", func() bool {
			return strings.Contains(members(watcher.acked(`{"type":"presence","room_id":"`+room+`"}`)), bob+"×1")
		})
		watcher.nothing()
	})

	holds(t, "Join, then list: who comes after your ack is told, who was there before is listed, and a user may be both.", func(t *testing.T) {
		room := name("present")
		dial(t, f.a, room+"-before").join(room)
		c := dial(t, f.b, name("user"))
		c.acked(`{"type":"join","room_id":"` + room + `","presence":true}`)
		dial(t, f.a, room+"-after").join(room)
		c.find(func(f frame) bool { return f["type"] == "member_joined" && f["user_id"] == room+"-after" })
		if got := members(c.acked(`{"type":"presence","room_id":"` + room + `"}`)); !strings.Contains(got, room+"-before×1") {
			t.Errorf("listed are %s, want whoever was there before", got)
		}
	})

	holds(t, "Users are listed in the order of their ids' bytes; an answer is at most a quarter of the connection's send queue.", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"*\", presence: Enabled}]", "--auth=trusted", "--send-queue-bytes=4000", "--max-message-bytes=1000")
		c := dial(t, g, "user")
		for _, user := range []string{"b", "a", "Z", "é", "~", "10", "9"} {
			dial(t, g, user).join("r")
		}
		eventually(t, "all are listed in order", func() bool {
			return members(c.acked(`{"type":"presence","room_id":"r"}`)) == "10×1 9×1 Z×1 a×1 b×1 ~×1 é×1"
		})
		for i := range 8 {
			dial(t, g, fmt.Sprintf("%d%s", i, strings.Repeat("x", 240))).join("large")
		}
		eventually(t, "a page has as many as fit in 1,000 bytes", func() bool {
			ack := c.acked(`{"type":"presence","room_id":"large"}`)
			return ack.number("count") == 8 && len(ack["members"].([]any)) == 3 && ack["next"] != nil
		})
	})
}
