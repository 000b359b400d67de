package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/settings"
)

// kept keeps the last 1,000 messages of rooms and inboxes.
func kept(s *settings.Settings) {
	s.Rooms = []settings.RoomPolicy{{Match: "kept:*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone, History: &settings.History{Size: 1000, TTL: time.Minute}}}
	s.Inbox = &settings.Inbox{Size: 100, TTL: time.Minute, MaxBytes: 1 << 20}
}

func offset(t *testing.T, frame map[string]any) string {
	t.Helper()
	return fmt.Sprint(frame["offset"])
}

func TestARoomWithHistoryAcrossGateways(t *testing.T) {
	nodes, _ := startFleet(t, 2, kept)
	alice, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob")
	bob.send(`{"type":"join","id":"j","room_id":"kept:1"}`)
	joined := bob.next()
	epoch, _ := joined["epoch"].(string)
	if epoch == "" || offset(t, joined) != "0" {
		t.Fatalf("the ack of the join is %v, want an epoch and offset 0", joined)
	}
	for i := 1; i <= 5; i++ {
		alice.send(fmt.Sprintf(`{"type":"publish","id":"%d","room_id":"kept:1","data":%d}`, i, i))
		if ack := alice.next(); offset(t, ack) != fmt.Sprint(i) || ack["epoch"] != epoch {
			t.Fatalf("ack %v, want offset %d of epoch %s", ack, i, epoch)
		}
		if got := bob.next(); offset(t, got) != fmt.Sprint(i) || got["epoch"] != epoch {
			t.Fatalf("message %v, want offset %d of epoch %s", got, i, epoch)
		}
	}

	t.Run("a client that comes back gets exactly what it missed", func(t *testing.T) {
		carol := nodes[0].dial(t, "carol")
		carol.send(`{"type":"join","id":"1","room_id":"kept:1","recover":{"epoch":"` + epoch + `","offset":3}}`)
		ack := carol.next()
		messages, _ := ack["messages"].([]any)
		if ack["recovered"] != true || len(messages) != 2 {
			t.Fatalf("ack %v, want recovered and the messages 4 and 5", ack)
		}
		for i, m := range messages {
			if offset(t, m.(map[string]any)) != fmt.Sprint(i+4) {
				t.Errorf("recovered message %d is %v", i, m)
			}
		}
	})
	t.Run("from another epoch nothing is recovered", func(t *testing.T) {
		dave := nodes[1].dial(t, "dave")
		dave.send(`{"type":"join","id":"1","room_id":"kept:1","recover":{"epoch":"another","offset":3}}`)
		if ack := dave.next(); ack["recovered"] != false || len(ack["messages"].([]any)) != 0 {
			t.Errorf("ack %v, want recovered false and no messages", ack)
		}
	})
	t.Run("a join may ask for the newest messages", func(t *testing.T) {
		erin := nodes[0].dial(t, "erin")
		erin.send(`{"type":"join","id":"1","room_id":"kept:1","history":2}`)
		if ack := erin.next(); len(ack["messages"].([]any)) != 2 || ack["recovered"] != nil {
			t.Errorf("ack %v, want the two newest messages", ack)
		}
		erin.send(`{"type":"history","id":"2","room_id":"kept:1","since":1,"limit":3}`)
		if ack := erin.next(); len(ack["messages"].([]any)) != 3 || ack["next"] != "4" {
			t.Errorf("ack %v, want three messages after the first, and where to go on", ack)
		}
	})
	t.Run("recover without an id is refused, since the ack carries the messages", func(t *testing.T) {
		frank := nodes[0].dial(t, "frank")
		frank.send(`{"type":"join","room_id":"kept:1","history":2}`)
		if got := frank.next(); got["code"] != "bad_request" {
			t.Errorf("got %v, want bad_request", got)
		}
	})
	t.Run("a repeated publish is acked with the first result, from any gateway", func(t *testing.T) {
		first := alice.do(`{"type":"publish","id":"a","room_id":"kept:1","data":6,"idempotency_key":"k"}`, `{"type":"ack","id":"a","message_id":"`+anything+`","epoch":"`+epoch+`","offset":6}`)
		again := nodes[1].dial(t, "alice")
		again.do(`{"type":"publish","id":"b","room_id":"kept:1","data":6,"idempotency_key":"k"}`, `{"type":"ack","id":"b","message_id":"`+first["message_id"].(string)+`","epoch":"`+epoch+`","offset":6}`)
		again.send(`{"type":"publish","id":"c","room_id":"kept:1","data":7,"idempotency_key":"k"}`)
		if got := again.next(); got["code"] != "conflict" {
			t.Errorf("other data with the same key gives %v, want conflict", got)
		}
	})
}

func TestAnInboxKeepsWhatComesWhileTheUserIsAway(t *testing.T) {
	nodes, _ := startFleet(t, 2, kept)
	alice, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob")
	inbox, _ := bob.welcome["inbox"].(map[string]any)
	if inbox["epoch"] == nil || offset(t, inbox) != "0" {
		t.Fatalf("welcome %v, want where the inbox stands", bob.welcome)
	}
	_ = bob.ws.Close()
	eventually(t, "bob is gone", func() bool { return nodes[1].hub.Stats().Connections == 0 })
	alice.do(`{"type":"publish","id":"1","target_user_id":"bob","data":"while you were away"}`, `{"type":"ack","id":"1","message_id":"`+anything+`","epoch":"`+inbox["epoch"].(string)+`","offset":1}`)

	bob = nodes[0].dial(t, "bob")
	bob.send(`{"type":"history","id":"1","inbox":true,"since":0}`)
	ack := bob.next()
	messages, _ := ack["messages"].([]any)
	if len(messages) != 1 || messages[0].(map[string]any)["data"] != "while you were away" {
		t.Errorf("ack %v, want the message that came meanwhile", ack)
	}
}

func TestAGatewayThatWasCutOffRepairsTheHole(t *testing.T) {
	nodes, server := startFleet(t, 2, kept)
	alice, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob")
	bob.send(`{"type":"join","id":"j","room_id":"kept:1"}`)
	bob.next()
	var last int
	publish := func(count int) {
		for range count {
			last++
			alice.send(fmt.Sprintf(`{"type":"publish","id":"p","room_id":"kept:1","data":%d}`, last))
			if ack := alice.next(); ack["type"] != "ack" {
				t.Fatalf("publish %d gives %v", last, ack)
			}
		}
	}
	publish(10)
	// Redis cuts every subscription, and messages are published before they are back.
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(options)
	defer admin.Close()
	if err := admin.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	publish(50)
	for i := 1; i <= last; i++ {
		if got := bob.next(); got["type"] != "message" || offset(t, got) != fmt.Sprint(i) {
			t.Fatalf("got %v, want the message with offset %d", got, i)
		}
	}
	bob.nothing()
}
