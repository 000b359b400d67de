package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/settings"
)

func TestRoomPolicies(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) {
		s.Rooms = []settings.RoomPolicy{
			{Match: "open:*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone},
			{Match: "closed:*", Join: settings.AccessNone, Publish: settings.AccessNone},
			{Match: "quiet:*", Join: settings.AccessAnyone, Publish: settings.AccessNone},
			{Match: "news:*", Join: settings.AccessAnyone, Publish: settings.AccessServer},
			{Match: "verified:*", Join: settings.AccessAuthenticated, Publish: settings.AccessAuthenticated},
			{Match: "granted:*", Join: settings.AccessToken, Publish: settings.AccessToken},
			{Match: "club:*", Join: settings.AccessAnyone, Publish: settings.AccessMembers},
			{Match: "club:never", Join: settings.AccessNone, Publish: settings.AccessNone}, // comes too late
		}
		s.DirectMessages.Publish = settings.AccessNone
	})
	const ok, forbidden, notJoined = "ack", "forbidden", "not_joined"
	for _, test := range []struct{ room, join, publishOutside, publishInside string }{
		{"open:1", ok, ok, ok},
		{"closed:1", forbidden, forbidden, ""},
		{"quiet:1", ok, forbidden, forbidden},
		{"news:1", ok, forbidden, forbidden},
		{"verified:1", forbidden, forbidden, ""},
		{"granted:1", forbidden, forbidden, ""},
		{"club:1", ok, notJoined, ok},
		{"club:never", ok, notJoined, ok},
		{"no policy matches", ok, notJoined, ok},
	} {
		t.Run(test.room, func(t *testing.T) {
			c := n.dial(t, "alice")
			answer := func(command string) string {
				c.send(`{"id":"1","room_id":"` + test.room + `",` + command + `}`)
				for {
					switch frame := c.next(); frame["type"] {
					case "ack":
						return ok
					case "error":
						return frame["code"].(string)
					}
				}
			}
			if got := answer(`"type":"publish","data":1`); got != test.publishOutside {
				t.Errorf("a publish before a join gets %s, want %s", got, test.publishOutside)
			}
			if got := answer(`"type":"join"`); got != test.join {
				t.Errorf("a join gets %s, want %s", got, test.join)
			}
			if test.join != ok {
				return
			}
			if got := answer(`"type":"publish","data":1`); got != test.publishInside {
				t.Errorf("a publish of a member gets %s, want %s", got, test.publishInside)
			}
			answer(`"type":"leave"`)
			if got := answer(`"type":"publish","data":1`); got != test.publishOutside {
				t.Errorf("a publish after a leave gets %s, want %s", got, test.publishOutside)
			}
		})
	}
	t.Run("direct messages may be turned off", func(t *testing.T) {
		n.dial(t, "alice").do(`{"type":"publish","id":"1","target_user_id":"bob","data":1}`, `{"type":"error","id":"1","code":"forbidden","message":"<anything>"}`)
	})
}

func TestRoomLimit(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MaxRoomsPerConnection = 3 })
	c := n.dial(t, "alice")
	c.join("a", "b", "c")
	c.do(`{"type":"join","id":"1","room_id":"d"}`, `{"type":"error","id":"1","code":"room_limit","message":"a connection may be in at most 3 rooms: leave one first"}`)
	c.join("b") // again
	c.do(`{"type":"leave","id":"1","room_id":"b"}`, `{"type":"ack","id":"1","room_id":"b"}`)
	c.join("d")
	n.dial(t, "alice").join("e") // the limit is a connection's, not a user's
}

func TestRateLimits(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MessagesPerSecond, s.Limits.MessageBurst = 10, 20 })
	// accepted sends count commands at once and returns how many were not rate_limited.
	accepted := func(c *client, count int, command string) (accepted int) {
		for i := range count {
			c.send(fmt.Sprintf(`{"id":"%d",%s}`, i, command))
		}
		for range count {
			switch frame := c.next(); {
			case frame["type"] == "ack":
				accepted++
			case frame["code"] != "rate_limited":
				c.t.Fatalf("unexpected frame %v", frame)
			}
		}
		return accepted
	}
	c := n.dial(t, "alice")
	begin := time.Now()
	got := accepted(c, 100, `"type":"publish","target_user_id":"bob","data":1`)
	if most := 20 + int(10*time.Since(begin).Seconds()) + 1; got < 20 || got > most {
		t.Errorf("of 100 publishes at once %d were taken, want 20 (the burst) to %d", got, most)
	}
	t.Run("after a while some more are taken", func(t *testing.T) {
		eventually(t, "a publish is taken again", func() bool {
			return accepted(c, 1, `"type":"publish","target_user_id":"bob","data":1`) == 1
		})
	})
	t.Run("other users have their own", func(t *testing.T) {
		if got := accepted(n.dial(t, "carol"), 20, `"type":"publish","target_user_id":"bob","data":1`); got != 20 {
			t.Errorf("another user may publish %d at once, want 20", got)
		}
	})
	t.Run("other commands may come ten times as often", func(t *testing.T) {
		begin := time.Now()
		got := accepted(n.dial(t, "alice"), 1000, `"type":"ping"`)
		if most := 200 + int(100*time.Since(begin).Seconds()) + 1; got < 200 || got > most {
			t.Errorf("of 1000 pings at once %d were taken, want 200 to %d", got, most)
		}
	})
}
