package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// cheat is a server that speaks our protocol well, acks everything, and delivers what deliver makes of each message.
type cheat struct {
	mu      sync.Mutex
	members []*websocket.Conn
	count   int
	held    []byte
	// deliver returns the frames that the i-th member gets for the n-th message (both from 0).
	deliver func(c *cheat, n, member int, frame []byte) [][]byte
}

func startCheat(t *testing.T, deliver func(c *cheat, n, member int, frame []byte) [][]byte) string {
	t.Helper()
	c := &cheat{deliver: deliver}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
}

func (c *cheat) serve(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"wscluster.v1.json"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		var command struct {
			Type   string          `json:"type"`
			ID     string          `json:"id"`
			RoomID string          `json:"room_id"`
			Data   json.RawMessage `json:"data"`
		}
		if conn.ReadJSON(&command) != nil {
			return
		}
		c.mu.Lock()
		if command.Type == "join" {
			c.members = append(c.members, conn)
			c.write(conn, `{"type":"ack","id":"`+command.ID+`","room_id":"`+command.RoomID+`"}`)
		} else {
			frame := []byte(`{"type":"message","room_id":"` + command.RoomID + `","data":` + string(command.Data) + `}`)
			for i, member := range c.members {
				for _, f := range c.deliver(c, c.count, i, frame) {
					c.write(member, string(f))
				}
			}
			c.count++
			c.write(conn, `{"type":"ack","id":"`+command.ID+`","message_id":"m"}`)
		}
		c.mu.Unlock()
	}
}

func (c *cheat) write(conn *websocket.Conn, text string) {
	_ = conn.WriteMessage(websocket.TextMessage, []byte(text)) // a client that is gone is the check's business
}

// TestTheCheckCatchesAServerThatCheats runs the whole generator against servers that lose, double and reorder one message in ten
// for one member of four.
func TestTheCheckCatchesAServerThatCheats(t *testing.T) {
	const messages = 100
	honest := func(_ *cheat, _, _ int, frame []byte) [][]byte { return [][]byte{frame} }
	tests := []struct {
		name    string
		deliver func(c *cheat, n, member int, frame []byte) [][]byte
		want    Trouble
		verdict string
	}{
		{"honest", honest, Trouble{}, ""},
		{"loses", func(c *cheat, n, member int, frame []byte) [][]byte {
			if member == 3 && n%10 == 5 {
				return nil
			}
			return honest(c, n, member, frame)
		}, Trouble{Lost: messages / 10}, "10 acked messages were lost though no fault was near"},
		{"loses one during an outage that shows in a late ack only", func(c *cheat, n, member int, frame []byte) [][]byte {
			if member == 3 && n == 50 {
				time.Sleep(lateAck)
				return nil
			}
			return honest(c, n, member, frame)
		}, Trouble{InFlight: 1}, ""},
		{"doubles", func(c *cheat, n, member int, frame []byte) [][]byte {
			if member == 3 && n%10 == 5 {
				return [][]byte{frame, frame}
			}
			return honest(c, n, member, frame)
		}, Trouble{Doubled: messages / 10}, "10 messages came twice on one connection"},
		{"reorders", func(c *cheat, n, member int, frame []byte) [][]byte {
			switch {
			case member == 3 && n%10 == 5:
				c.held = append([]byte(nil), frame...)
				return nil
			case member == 3 && n%10 == 6:
				return [][]byte{frame, c.held}
			}
			return honest(c, n, member, frame)
		}, Trouble{Reordered: messages / 10}, "10 messages came after a later one of the same publisher"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := Options{URLs: []string{startCheat(t, test.deliver)}, Publishers: 1, Subscribers: 3, Check: true}
			r, err := Run(t.Context(), o, Load{Rate: 500, Messages: messages, Duration: 10 * time.Second, Grace: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			got := Trouble{Lost: r.Check.Lost, InFlight: r.Check.InFlight, Away: r.Check.Away, Doubled: r.Check.Doubled, Reordered: r.Check.Reordered}
			if got != test.want {
				t.Errorf("the check found %+v, want %+v", got, test.want)
			}
			if verdict := strings.Join(r.Violations, "; "); verdict != test.verdict {
				t.Errorf("violations are %q, want %q", verdict, test.verdict)
			}
			var text strings.Builder
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]string{true: "good", false: "bad: " + test.verdict}[test.verdict == ""]; !strings.Contains(text.String(), want) {
				t.Errorf("the report does not say %q:\n%s", want, text.String())
			}
		})
	}
}

// TestUnexpectedClosesAreCounted closes every connection once with a code of its own.
func TestUnexpectedClosesAreCounted(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	upgrader := websocket.Upgrader{Subprotocols: []string{"wscluster.v1.json"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		user := r.URL.Query().Get("user_id")
		mu.Lock()
		again := seen[user]
		seen[user] = true
		mu.Unlock()
		joined := 0
		for {
			var command struct{ Type, ID string }
			if conn.ReadJSON(&command) != nil {
				return
			}
			_ = conn.WriteJSON(map[string]string{"type": "ack", "id": command.ID})
			joined++
			if user == "bench-1" && !again && joined == 1 {
				time.Sleep(200 * time.Millisecond)
				_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1011, "broken"), time.Now().Add(time.Second))
				return
			}
			if user == "bench-2" && joined == 1 {
				time.Sleep(200 * time.Millisecond)
				_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4403, "go away"), time.Now().Add(time.Second))
				return
			}
		}
	}))
	defer server.Close()
	o := Options{URLs: []string{"ws" + strings.TrimPrefix(server.URL, "http")}, Publishers: 1, Subscribers: 2, Backoff: 10 * time.Millisecond}
	r, err := Run(t.Context(), o, Load{Rate: 20, Duration: time.Second, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if r.Unexpected[1011] != 1 || r.Unexpected[4403] != 1 || r.Recovery.Count != 1 || r.GaveUp != 1 || r.Ready != 2 {
		t.Errorf("unexpected closes %v, %d came back, %d gave up, %d connected; want 1011 and 4403 once, 1, 1, 2", r.Unexpected, r.Recovery.Count, r.GaveUp, r.Ready)
	}
}
