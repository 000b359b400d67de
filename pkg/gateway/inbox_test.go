package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

func containsAll(text string, parts ...string) bool {
	text = strings.ToLower(text)
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// writeTo sends a direct message and returns its ack.
func (c *client) writeTo(user string) map[string]any {
	c.t.Helper()
	c.send(`{"type":"publish","id":"write","target_user_id":"` + user + `","data":"hello"}`)
	ack := c.next()
	if ack["type"] != "ack" || ack["id"] != "write" {
		c.t.Fatalf("a direct message is answered with %v", ack)
	}
	return ack
}

// waiting returns how many messages wait in the client's own inbox.
func (c *client) waiting() int {
	c.t.Helper()
	c.send(`{"type":"history","id":"h","inbox":true,"limit":100}`)
	for {
		frame := c.next()
		if frame["type"] == "message" {
			continue // on its way while the client connected
		}
		messages, _ := frame["messages"].([]any)
		return len(messages)
	}
}

func TestInboxesAreForUsersWhoExist(t *testing.T) {
	for name, fleet := range map[string]func(t *testing.T) []*node{
		"without Redis": func(t *testing.T) []*node { return []*node{start(t, "memory://", kept)} },
		"over two gateways": func(t *testing.T) []*node {
			nodes, _ := startFleet(t, 2, kept)
			return nodes
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := fleet(t)
			first, last := nodes[0], nodes[len(nodes)-1]
			alice := first.dial(t, "alice")
			t.Run("a message to somebody who is away is kept", func(t *testing.T) {
				bob := last.dial(t, "bob")
				eventually(t, "bob is known", last.attendance.settled)
				_ = bob.ws.Close()
				eventually(t, "bob is gone", func() bool { return last.hub.Stats().Connections == int64(2-len(nodes)) })
				if ack := alice.writeTo("bob"); offset(t, ack) != "1" {
					t.Errorf("the ack is %v, want offset 1", ack)
				}
				if got := last.dial(t, "bob").waiting(); got != 1 {
					t.Errorf("%d messages wait for bob, want 1", got)
				}
			})
			t.Run("one to somebody who is here is kept and comes", func(t *testing.T) {
				carol := last.dial(t, "carol")
				if ack := alice.writeTo("carol"); offset(t, ack) != "1" {
					t.Errorf("the ack is %v, want offset 1", ack)
				}
				if got := carol.next(); got["from"] != "alice" || offset(t, got) != "1" {
					t.Errorf("carol got %v", got)
				}
			})
			t.Run("one to somebody who was never here is acked, without a place", func(t *testing.T) {
				if ack := alice.writeTo("nobody"); ack["offset"] != nil || ack["epoch"] != nil || ack["message_id"] == "" {
					t.Errorf("the ack is %v, want a message_id, no epoch and no offset", ack)
				}
				if got := last.dial(t, "nobody").waiting(); got != 0 {
					t.Errorf("%d messages wait for a user who was invented, want none", got)
				}
			})
		})
	}
}

func TestABackendBeginsAnyInbox(t *testing.T) {
	_, api := withAPI(t, "key")
	n := start(t, "memory://", func(s *settings.Settings) {
		kept(s)
		api(s)
	})
	newBackend(t, n, "key").want(http.MethodPost, "/v1/users/newcomer/messages", `{"data":"welcome"}`, http.StatusOK, `{"offset":1}`)
	if ack := n.dial(t, "alice").writeTo("newcomer"); offset(t, ack) != "2" {
		t.Errorf("a user's message to an inbox that is there is acked with %v, want offset 2", ack)
	}
	if got := n.dial(t, "newcomer").waiting(); got != 2 {
		t.Errorf("%d messages wait, want 2", got)
	}
}

func TestAClientCannotFillRedisWithInventedUsers(t *testing.T) {
	server := redistest.Start(t)
	n := start(t, server.URL(), kept)
	eventually(t, "the gateway is ready", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
	alice := n.dial(t, "alice")
	alice.writeTo("nobody")
	eventually(t, "alice is known", n.attendance.settled)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	before, err := client.DBSize(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		alice.writeTo(fmt.Sprint("nobody-", i))
	}
	if after, err := client.DBSize(t.Context()).Result(); err != nil || after > before+1 {
		t.Errorf("after 500 messages to invented users Redis has %d keys (%v), before it had %d", after, err, before)
	}
}

// A user who stays connected is remembered for as long as an inbox lives, from the last connection's end on.
func TestWhoIsHereIsRememberedForTheLifeOfAnInbox(t *testing.T) {
	server := redistest.Start(t)
	n := start(t, server.URL(), func(s *settings.Settings) {
		kept(s)
		s.Inbox.TTL = 24 * time.Hour
	})
	n.dial(t, "alice")
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	eventually(t, "alice is known", func() bool { return client.Exists(t.Context(), "test:{u:alice}:seen").Val() == 1 })
	if life := client.PTTL(t.Context(), "test:{u:alice}:seen").Val(); life < 25*time.Hour || life > 27*time.Hour {
		t.Errorf("alice is remembered for %v, want the 24 h of an inbox and some more, since she is told of each hour", life)
	}
}
