package gateway

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// present keeps who is in rooms whose ids begin with hall:, and in hall:log: messages too.
func present(s *settings.Settings) {
	s.Rooms = []settings.RoomPolicy{
		{Match: "hall:log:*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone, Presence: true, History: &settings.History{Size: 100, TTL: time.Minute}},
		{Match: "hall:closed", Join: settings.AccessNone, Publish: settings.AccessAnyone, Presence: true},
		{Match: "hall:*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone, Presence: true},
	}
}

// watch joins a room and asks to be told of who comes and goes.
func (c *client) watch(room string) {
	c.t.Helper()
	c.do(`{"type":"join","id":"watch","room_id":"`+room+`","presence":true}`, `{"type":"ack","id":"watch","room_id":"`+room+`"}`)
}

// leave leaves a room.
func (c *client) leaveRoom(room string) {
	c.t.Helper()
	c.do(`{"type":"leave","id":"leave","room_id":"`+room+`"}`, `{"type":"ack","id":"leave","room_id":"`+room+`"}`)
}

// members asks who is in a room: user=connections for each user, with spaces in between.
func (c *client) members(room string) string {
	c.t.Helper()
	c.send(`{"type":"presence","id":"members","room_id":"` + room + `","limit":1000}`)
	ack := c.next()
	if ack["id"] != "members" {
		c.t.Fatalf("got %v, want the ack of the presence command", ack)
	}
	return membersText(ack)
}

func membersText(answer map[string]any) string {
	members, ok := answer["members"].([]any)
	if !ok || fmt.Sprint(answer["count"]) != fmt.Sprint(len(members)) {
		return fmt.Sprint(answer)
	}
	var list []string
	for _, m := range members {
		fields := m.(map[string]any)
		list = append(list, fmt.Sprintf("%v=%v", fields["user_id"], fields["connections"]))
	}
	return strings.Join(list, " ")
}

func (c *client) awaitMembers(room, want string) {
	c.t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = c.members(room); got == want {
			return
		}
	}
	c.t.Fatalf("after %v the members of %s are %s, want %s", patience, room, got, want)
}

func (c *client) wantJoined(room, user string) {
	c.t.Helper()
	c.want(`{"type":"member_joined","room_id":"` + room + `","user_id":"` + user + `","connections":1}`)
}

func (c *client) wantLeft(room, user string) {
	c.t.Helper()
	c.want(`{"type":"member_left","room_id":"` + room + `","user_id":"` + user + `","connections":0}`)
}

func TestPresenceNeedsARoomThatKeepsIt(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	n := start(t, "memory://", func(s *settings.Settings) { change(s); present(s) })
	c := n.dial(t, "alice")
	const refused = `"code":"bad_request","message":"nobody keeps who is in this room: give it a policy with presence: Enabled"`
	c.do(`{"type":"presence","id":"1","room_id":"other"}`, `{"type":"error","id":"1",`+refused+`}`)
	c.do(`{"type":"join","id":"2","room_id":"other","presence":true}`, `{"type":"error","id":"2",`+refused+`}`)
	c.do(`{"type":"join","id":"3","room_id":"other","presence":false}`, `{"type":"ack","id":"3","room_id":"other"}`)
	c.do(`{"type":"presence","id":"4","room_id":"hall:closed"}`, `{"type":"error","id":"4","code":"forbidden","message":"<anything>"}`)
	c.do(`{"type":"presence","id":"5","room_id":"hall:1","next":"`+strings.Repeat("x", 257)+`"}`, `{"type":"error","id":"5","code":"bad_request","message":"next must be as the last answer gave it"}`)
	c.do(`{"type":"presence","id":"6","room_id":"hall:1"}`, `{"type":"ack","id":"6","members":[],"count":0}`)
	c.send(`{"type":"presence","room_id":"hall:1"}`)
	c.nothing()
	b := newBackend(t, n, "secret")
	b.want("GET", "/v1/rooms/other/members", "", 400, `{`+refused+`}`)
	b.want("GET", "/v1/rooms/hall%3Aclosed/members", "", 200, `{"members":[],"count":0}`)
}

func TestPresenceAcrossGateways(t *testing.T) {
	for _, room := range []string{"hall:1", "hall:log:1"} {
		t.Run(room, func(t *testing.T) {
			nodes, _ := startFleet(t, 3, present)
			alice := nodes[0].dial(t, "alice")
			// A room with history acks with a position too.
			alice.send(`{"type":"join","id":"watch","room_id":"` + room + `","presence":true}`)
			if ack := alice.next(); ack["id"] != "watch" || ack["type"] != "ack" {
				t.Fatalf("the join got %v", ack)
			}
			if got := alice.members(room); got != "alice=1" {
				t.Fatalf("the members are %q, want that who has joined sees itself", got)
			}
			join := func(c *client) {
				t.Helper()
				c.send(`{"type":"join","id":"join","room_id":"` + room + `"}`)
				if ack := c.next(); ack["id"] != "join" || ack["type"] != "ack" {
					t.Fatalf("the join got %v", ack)
				}
			}
			bob1, bob2, bob3 := nodes[1].dial(t, "bob"), nodes[1].dial(t, "bob"), nodes[2].dial(t, "bob")
			join(bob1)
			alice.wantJoined(room, "bob")
			join(bob2)
			join(bob3)
			alice.awaitMembers(room, "alice=1 bob=3")
			alice2 := nodes[2].dial(t, "alice")
			join(alice2)
			bob1.awaitMembers(room, "alice=2 bob=3")

			bob1.leaveRoom(room)
			_ = bob2.ws.Close()
			alice.awaitMembers(room, "alice=2 bob=1")
			_ = bob3.ws.Close()
			alice.wantLeft(room, "bob")
			alice.awaitMembers(room, "alice=2")

			// Only those are told that asked, and only of others.
			bob1.nothing()
			alice2.nothing()
			alice.nothing()

			// Joining again asks too; leaving ends it.
			alice2.send(`{"type":"join","id":"watch","room_id":"` + room + `","presence":true}`)
			if ack := alice2.next(); ack["type"] != "ack" {
				t.Fatalf("the join got %v", ack)
			}
			join(bob1)
			alice.wantJoined(room, "bob")
			alice2.wantJoined(room, "bob")
			alice2.leaveRoom(room)
			bob1.leaveRoom(room)
			alice.wantLeft(room, "bob")
			alice2.nothing()
			alice.awaitMembers(room, "alice=1")
			eventually(t, "the metrics count who is here", func() bool {
				return nodes[0].metric(t, "wscluster_presence_members") == 1 && nodes[2].metric(t, "wscluster_presence_members") == 0 &&
					nodes[0].metric(t, "wscluster_presence_untold") == 0 && nodes[0].metric(t, "wscluster_presence_reasserted_total") == 0
			})
		})
	}
}

func TestMembersInPages(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	nodes, _ := startFleet(t, 2, func(s *settings.Settings) { change(s); present(s) })
	asking := nodes[0].dial(t, "zoe")
	const room, users = "hall:pages", 25
	for i := range users {
		c := nodes[i%2].dial(t, fmt.Sprintf("user/ü-%02d", i))
		c.join(room)
		// Its own gateway knows it at once, the others when Redis does.
		if got := c.members(room); !strings.Contains(got, fmt.Sprintf("user/ü-%02d=1", i)) {
			t.Fatalf("who has joined is not among %s", got)
		}
	}
	page := func(ask func(next string) map[string]any) {
		t.Helper()
		var all []string
		next, pages := "", 0
		for {
			answer := ask(next)
			if fmt.Sprint(answer["count"]) != fmt.Sprint(users) {
				t.Fatalf("page %d says %v users, want %d", pages, answer["count"], users)
			}
			for _, m := range answer["members"].([]any) {
				all = append(all, m.(map[string]any)["user_id"].(string))
			}
			pages++
			if answer["next"] == nil {
				break
			}
			next = answer["next"].(string)
		}
		if pages != 3 || len(all) != users {
			t.Errorf("%d users on %d pages, want %d on 3", len(all), pages, users)
		}
		for i, user := range all {
			if user != fmt.Sprintf("user/ü-%02d", i) {
				t.Errorf("user %d is %s", i, user)
			}
		}
	}
	t.Run("by the command", func(t *testing.T) {
		page(func(next string) map[string]any {
			if next != "" {
				next = `,"next":"` + next + `"`
			}
			asking.send(`{"type":"presence","id":"1","room_id":"` + room + `","limit":10` + next + `}`)
			return asking.next()
		})
	})
	b := newBackend(t, nodes[1], "secret")
	t.Run("by the server API", func(t *testing.T) {
		page(func(next string) map[string]any {
			path := "/v1/rooms/hall%3Apages/members?limit=10"
			if next != "" {
				path += "&next=" + strings.NewReplacer("/", "%2F", "ü", "%C3%BC").Replace(next)
			}
			return b.want("GET", path, "", 200, "")
		})
	})
	t.Run("with bounds", func(t *testing.T) {
		b.want("GET", "/v1/rooms/hall%3Apages/members?limit=0", "", 200, `{"members":[],"count":25}`)
		b.want("GET", "/v1/rooms/hall%3Apages/members?limit=1001", "", 400, `{"code":"bad_request","message":"limit must be a whole number from 0 to 1000"}`)
		asking.do(`{"type":"presence","id":"1","room_id":"hall:pages","limit":1001}`, `{"type":"error","id":"1","code":"bad_request","message":"limit must be a whole number from 1 to 1000"}`)
	})
}

func TestAnAnswerWithMembersFitsTheSendQueue(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { present(s); s.Limits.SendQueueBytes = 16 << 10 })
	for i := range 40 {
		n.dial(t, fmt.Sprintf("%02d%s", i, strings.Repeat("x", 254))).join("hall:1")
	}
	c := n.dial(t, "alice")
	seen, next := 0, ""
	for {
		c.send(`{"type":"presence","id":"1","room_id":"hall:1","limit":1000` + next + `}`)
		raw := c.raw()
		if len(raw) > 16<<10/4+600 {
			t.Fatalf("the answer has %d bytes, want a quarter of the send queue at most", len(raw))
		}
		ack := decode(t, raw)
		for _, m := range ack["members"].([]any) {
			if got := m.(map[string]any)["user_id"].(string); !strings.HasPrefix(got, fmt.Sprintf("%02dx", seen)) {
				t.Fatalf("user %d is %.10s", seen, got)
			}
			seen++
		}
		if ack["next"] == nil {
			break
		}
		next = `,"next":"` + ack["next"].(string) + `"`
	}
	if seen != 40 {
		t.Errorf("%d users are listed, want 40", seen)
	}
}

// A gateway that is cut off from Redis is as good as dead to the others. The lease is a twentieth of the usual one.
func TestAGatewayThatDiesTakesItsMembersAlong(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	on := func(url string) func(*slog.Logger) (backplane.Backplane, error) {
		return func(logger *slog.Logger) (backplane.Backplane, error) {
			return redis.New(redis.Options{URL: url, Cluster: "test", Logger: logger, Timing: redis.Timing{Lease: time.Second}})
		}
	}
	living, dying := startOn(t, on(server.URL()), present), startOn(t, on("redis://"+proxy.Addr), present)
	alice, bob, carol := living.dial(t, "alice"), dying.dial(t, "bob"), dying.dial(t, "carol")
	alice2 := dying.dial(t, "alice")
	alice.watch("hall:1")
	bob.join("hall:1")
	alice.wantJoined("hall:1", "bob")
	carol.join("hall:1")
	alice.wantJoined("hall:1", "carol")
	alice2.join("hall:1")
	alice.awaitMembers("hall:1", "alice=2 bob=1 carol=1")

	proxy.Refuse()
	gone := map[any]bool{}
	for range 2 {
		frame := alice.next()
		if frame["type"] != "member_left" || gone[frame["user_id"]] {
			t.Fatalf("got %v, want that bob and carol left, each once", frame)
		}
		gone[frame["user_id"]] = true
	}
	alice.awaitMembers("hall:1", "alice=1")
	bob.do(`{"type":"presence","id":"1","room_id":"hall:1"}`, `{"type":"error","id":"1","code":"unavailable","message":"who is in the room cannot be known now: try again"}`)
	_ = carol.ws.Close()

	proxy.Restore()
	alice.wantJoined("hall:1", "bob")
	alice.awaitMembers("hall:1", "alice=2 bob=1")
	alice.nothing()
	if got := dying.metric(t, "wscluster_presence_reasserted_total"); got < 1 {
		t.Errorf("presence_reasserted_total is %v, want at least 1", got)
	}
}

func TestAGatewayThatDrainsTakesItsMembersAlongAtOnce(t *testing.T) {
	nodes, _ := startFleet(t, 2, present)
	alice, bob, carol := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob"), nodes[1].dial(t, "carol")
	alice.watch("hall:1")
	bob.join("hall:1")
	alice.wantJoined("hall:1", "bob")
	carol.join("hall:1")
	alice.wantJoined("hall:1", "carol")
	nodes[1].leave()
	<-nodes[1].done
	if got := alice.membersAfterEvents("hall:1", 2); got != "alice=1" {
		t.Errorf("after the drain the members are %s, want alice alone", got)
	}
}

// membersAfterEvents asks who is in a room, and skips count frames of users who left before the answer.
func (c *client) membersAfterEvents(room string, count int) string {
	c.t.Helper()
	c.send(`{"type":"presence","id":"members","room_id":"` + room + `"}`)
	answer := ""
	for range count + 1 {
		switch frame := c.next(); frame["type"] {
		case "member_left":
		case "ack":
			answer = membersText(frame)
		default:
			c.t.Fatalf("unexpected frame %v", frame)
		}
	}
	return answer
}

func TestPresenceCatchesUpWhenRedisIsBack(t *testing.T) {
	nodes, server := startFleet(t, 2, present)
	alice, bob, carol := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob"), nodes[1].dial(t, "carol")
	alice.join("hall:1")
	bob.join("hall:1")
	alice.awaitMembers("hall:1", "alice=1 bob=1")
	server.Kill()
	carol.send(`{"type":"join","id":"join","room_id":"hall:1"}`) // it is kept, and acked when Redis is back
	bob.leaveRoom("hall:1")
	bob.do(`{"type":"presence","id":"1","room_id":"hall:1"}`, `{"type":"error","id":"1","code":"unavailable","message":"<anything>"}`)
	server.Restart() // empty
	eventually(t, "the gateways are connected", func() bool {
		return nodes[0].metric(t, "wscluster_backplane_up") == 1 && nodes[1].metric(t, "wscluster_backplane_up") == 1
	})
	carol.want(`{"type":"ack","id":"join","room_id":"hall:1"}`)
	alice.awaitMembers("hall:1", "alice=1 carol=1")
}

func TestAPolicyThatBeginsToKeepPresence(t *testing.T) {
	n := start(t, "memory://", nil)
	alice := n.dial(t, "alice")
	alice.join("hall:1")
	changed := n.settings
	present(&changed)
	n.apply(changed)
	alice.do(`{"type":"presence","id":"1","room_id":"hall:1"}`, `{"type":"ack","id":"1","members":[],"count":0}`)
	alice.watch("hall:1") // joining again makes it count
	bob := n.dial(t, "bob")
	bob.join("hall:1")
	alice.wantJoined("hall:1", "bob")
	if got := alice.members("hall:1"); got != "alice=1 bob=1" {
		t.Errorf("the members are %s", got)
	}
	changed.Rooms = nil
	n.apply(changed)
	_ = bob.ws.Close()
	alice.wantLeft("hall:1", "bob")
}
