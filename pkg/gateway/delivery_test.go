package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestDeliveryAcrossGateways(t *testing.T) {
	nodes, _ := startFleet(t, 3, nil)
	one, two, three := nodes[0], nodes[1], nodes[2]

	t.Run("a publish to a room reaches everybody in it, on whatever pod, and nobody else", func(t *testing.T) {
		alice, bob, carol, outsider := one.dial(t, "alice"), two.dial(t, "bob"), three.dial(t, "carol"), two.dial(t, "outsider")
		for _, c := range []*client{alice, bob, carol} {
			c.join("lobby")
		}
		outsider.join("elsewhere")
		alice.send(`{"type":"publish","room_id":"lobby","data":"hello"}`)
		for _, c := range []*client{alice, bob, carol} {
			c.want(`{"type":"message","message_id":"<anything>","room_id":"lobby","from":"alice","ts":"<anything>","data":"hello"}`)
		}
		alice.do(`{"type":"publish","id":"m","target_user_id":"outsider","data":"marker"}`, `{"type":"ack","id":"m","message_id":"<anything>"}`)
		outsider.want(`{"type":"message","message_id":"<anything>","target_user_id":"outsider","from":"alice","ts":"<anything>","data":"marker"}`)
	})
	t.Run("a publish to a user reaches every connection of that user, on whatever pod they are", func(t *testing.T) {
		var bobs []*client
		for _, n := range []*node{one, one, two, three} {
			bobs = append(bobs, n.dial(t, "dave"))
		}
		eve := two.dial(t, "dav")
		alice := one.dial(t, "alice")
		alice.do(`{"type":"publish","id":"1","target_user_id":"dave","data":{"n":1}}`, `{"type":"ack","id":"1","message_id":"<anything>"}`)
		for _, c := range bobs {
			c.want(`{"type":"message","message_id":"<anything>","target_user_id":"dave","from":"alice","ts":"<anything>","data":{"n":1}}`)
		}
		eve.nothing()
	})
	t.Run("a direct message sent right after the welcome arrives", func(t *testing.T) {
		sender := one.dial(t, "sender")
		for i := range 100 {
			user := fmt.Sprintf("fresh-%d", i)
			c := two.dial(t, user)
			sender.send(`{"type":"publish","target_user_id":"` + user + `","data":1}`)
			c.want(`{"type":"message","message_id":"<anything>","target_user_id":"` + user + `","from":"sender","ts":"<anything>","data":1}`)
		}
	})
	t.Run("a message published right after the ack of a join arrives", func(t *testing.T) {
		sender, c := one.dial(t, "sender"), two.dial(t, "joiner")
		for i := range 100 {
			room := fmt.Sprintf("new-%d", i)
			sender.join(room)
			c.join(room)
			sender.send(`{"type":"publish","room_id":"` + room + `","data":1,"echo":false}`)
			c.want(`{"type":"message","message_id":"<anything>","room_id":"` + room + `","from":"sender","ts":"<anything>","data":1}`)
		}
	})
	t.Run("a publish that follows its join without waiting for the ack comes back to the publisher", func(t *testing.T) {
		c := one.dial(t, "eager")
		for i := range 50 {
			room := fmt.Sprintf("eager-%d", i)
			c.send(`{"type":"join","room_id":"` + room + `"}`)
			c.send(`{"type":"publish","room_id":"` + room + `","data":1}`)
			c.want(`{"type":"message","message_id":"<anything>","room_id":"` + room + `","from":"eager","ts":"<anything>","data":1}`)
		}
	})
	t.Run("with echo:false the publishing connection itself is left out, and nobody else", func(t *testing.T) {
		publisher, sameUser, sameUserElsewhere, other := one.dial(t, "frank"), one.dial(t, "frank"), two.dial(t, "frank"), two.dial(t, "grace")
		for _, c := range []*client{publisher, sameUser, sameUserElsewhere, other} {
			c.join("echo")
		}
		for i := range 200 {
			publisher.send(fmt.Sprintf(`{"type":"publish","room_id":"echo","data":%d,"echo":%v}`, i, i%2 == 1))
		}
		for _, c := range []*client{sameUser, sameUserElsewhere, other} {
			for i := range 200 {
				c.want(fmt.Sprintf(`{"type":"message","message_id":"<anything>","room_id":"echo","from":"frank","ts":"<anything>","data":%d}`, i))
			}
		}
		for i := 1; i < 200; i += 2 {
			publisher.want(fmt.Sprintf(`{"type":"message","message_id":"<anything>","room_id":"echo","from":"frank","ts":"<anything>","data":%d}`, i))
		}
		publisher.nothing()
		publisher.send(`{"type":"publish","target_user_id":"frank","data":"note","echo":false}`)
		for _, c := range []*client{sameUser, sameUserElsewhere} {
			c.want(`{"type":"message","message_id":"<anything>","target_user_id":"frank","from":"frank","ts":"<anything>","data":"note"}`)
		}
		publisher.nothing()
	})
	t.Run("after a leave nothing of the room comes any more", func(t *testing.T) {
		alice, bob := one.dial(t, "alice"), two.dial(t, "bob")
		alice.join("left", "stay")
		bob.join("left", "stay")
		bob.do(`{"type":"leave","id":"1","room_id":"left"}`, `{"type":"ack","id":"1","room_id":"left"}`)
		alice.send(`{"type":"publish","room_id":"left","data":1,"echo":false}`)
		alice.send(`{"type":"publish","room_id":"stay","data":2,"echo":false}`)
		bob.want(`{"type":"message","message_id":"<anything>","room_id":"stay","from":"alice","ts":"<anything>","data":2}`)
	})
	t.Run("ids with any characters keep apart", func(t *testing.T) {
		alice, bob := one.dial(t, "alice"), two.dial(t, "bob")
		rooms := []string{"a:b", "a{b}", "a%3Ab", "a/b", "a b", "A:B", "ü", "*", "a?", "{}", "r:a:b"}
		alice.join(rooms...)
		bob.join(rooms...)
		for i, room := range rooms {
			alice.send(fmt.Sprintf(`{"type":"publish","room_id":"%s","data":%d,"echo":false}`, room, i))
			bob.want(fmt.Sprintf(`{"type":"message","message_id":"<anything>","room_id":"%s","from":"alice","ts":"<anything>","data":%d}`, room, i))
		}
		bob.nothing()
	})
}

func TestMessagesOfOneConnectionToOneTargetArriveInTheOrderSent(t *testing.T) {
	nodes, _ := startFleet(t, 2, nil)
	const publishers, each, room = 8, 500, "busy"
	var readers []*client
	for i := range 50 { // more than are served inline
		readers = append(readers, nodes[i%2].dial(t, fmt.Sprintf("reader-%d", i)))
	}
	var joined sync.WaitGroup
	for _, c := range readers {
		joined.Go(func() { c.join(room) })
	}
	joined.Wait()
	var sending sync.WaitGroup
	for p := range publishers {
		c := nodes[p%2].dial(t, fmt.Sprintf("publisher-%d", p))
		c.join(room)
		sending.Go(func() {
			for i := range each {
				c.send(fmt.Sprintf(`{"type":"publish","room_id":"%s","data":%d}`, room, i))
			}
		})
	}
	sending.Wait()
	for _, c := range readers {
		next := map[string]int{}
		for range publishers * each {
			var message struct {
				Type, From string
				Data       int
			}
			if frame := c.raw(); json.Unmarshal(frame, &message) != nil || message.Type != "message" || message.Data != next[message.From] {
				t.Fatalf("got %s, want message %d of %s", frame, next[message.From], message.From)
			}
			next[message.From]++
		}
	}
}

func TestASlowConsumerIsClosedWith4408AndNobodyElseWaits(t *testing.T) {
	nodes, _ := startFleet(t, 2, func(s *settings.Settings) { s.Limits.SendQueueBytes = 128 << 10 })
	publisher, fast := nodes[0].dial(t, "publisher"), nodes[1].dial(t, "fast")
	publisher.join("r")
	fast.join("r")
	slow, response, err := websocket.DefaultDialer.DialContext(t.Context(), nodes[1].url("user_id", "slow"), nil)
	if err != nil {
		t.Fatal(err, response)
	}
	defer slow.Close()
	_ = slow.WriteMessage(websocket.TextMessage, []byte(`{"type":"join","id":"1","room_id":"r"}`))
	for range 2 { // the welcome and the ack; from then on it reads nothing
		if _, _, err := slow.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	data := strings.Repeat("x", 32<<10)
	var worst time.Duration
	closed := func() bool { return nodes[1].metric(t, "wscluster_slow_consumers_total") == 1 }
	for i := 0; !closed(); i++ {
		if i == 2000 {
			t.Fatal("64 MB did not close a client that reads nothing")
		}
		begin := time.Now()
		publisher.send(fmt.Sprintf(`{"type":"publish","room_id":"r","echo":false,"data":["%s",%d]}`, data, i))
		if got := fast.next()["data"].([]any)[1]; fmt.Sprint(got) != fmt.Sprint(i) {
			t.Fatalf("the fast client got message %v, want %d", got, i)
		}
		worst = max(worst, time.Since(begin))
	}
	if worst > 2*time.Second {
		t.Errorf("one message took %v to the fast client: it waited for the slow one", worst)
	}
	if got := nodes[1].metric(t, `wscluster_disconnects_total{reason="slow_consumer"}`); got != 1 {
		t.Errorf("%v disconnects are counted as slow_consumer, want 1", got)
	}
	_ = slow.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := slow.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, int(protocol.CloseSlowConsumer)) {
				t.Errorf("the slow client's connection ended with %v, want close code 4408", err)
			}
			break
		}
	}
	eventually(t, "nothing waits to be sent any more", func() bool { return nodes[1].metric(t, "wscluster_send_queue_bytes") == 0 })
}

func TestHeartbeats(t *testing.T) {
	const heartbeat = 200 * time.Millisecond
	n := start(t, "memory://", func(s *settings.Settings) { s.Heartbeat = heartbeat })
	t.Run("the server pings, and a client that answers stays", func(t *testing.T) {
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), n.url("user_id", "alice"), nil)
		if err != nil {
			t.Fatal(err)
		}
		pings := make(chan time.Time, 100)
		ws.SetPingHandler(func(data string) error {
			pings <- time.Now()
			return ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		})
		c := newClient(t, ws)
		var last time.Time
		for i := range 6 {
			select {
			case at := <-pings:
				if gap := at.Sub(last); i > 0 && gap > 3*heartbeat {
					t.Errorf("two pings are %v apart, want about %v", gap, heartbeat)
				}
				last = at
			case <-time.After(patience):
				t.Fatal("no ping came")
			}
		}
		c.nothing()
	})
	t.Run("a client silent for 2.5 heartbeats is closed", func(t *testing.T) {
		const silent = `wscluster_disconnects_total{reason="heartbeat_timeout"}`
		before := n.metric(t, silent)
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), n.url("user_id", "bob"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		begin := time.Now() // nobody reads from ws, so nobody answers
		eventually(t, "the silent client is gone", func() bool { return n.metric(t, silent) > before })
		if took := time.Since(begin); took < heartbeat*5/2-heartbeat/4 || took > 10*heartbeat {
			t.Errorf("the silent client was closed after %v, want %v or a little more", took, heartbeat*5/2)
		}
	})
	t.Run("a client that only speaks is not silent", func(t *testing.T) {
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), n.url("user_id", "carol"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.SetPingHandler(func(string) error { return nil }) // never answers
		c := newClient(t, ws)
		for begin := time.Now(); time.Since(begin) < 5*heartbeat; time.Sleep(heartbeat / 4) {
			c.nothing()
		}
	})
}

func TestAGatewayWithoutRedisIsReadyAtOnce(t *testing.T) {
	if got := start(t, "memory://", nil).ops(t, "/readyz"); got.status != http.StatusOK {
		t.Errorf("/readyz is %d %s", got.status, got.body)
	}
}
