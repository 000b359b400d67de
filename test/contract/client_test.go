package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

var names atomic.Int64

// name returns an id that no other test uses.
func name(prefix string) string { return fmt.Sprintf("%s-%d", prefix, names.Add(1)) }

// payload returns a JSON string that no log may hold.
func payload() string { return `"` + secret(name("PAYLOAD-OF-A-MESSAGE")) + `"` }

// frame is a decoded frame.
type frame map[string]any

// text returns a field that must be text.
func (f frame) text(field string) string {
	s, _ := f[field].(string)
	return s
}

// number returns a field that must be a whole number; -1 if it is not.
func (f frame) number(field string) int64 {
	n, ok := f[field].(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}

// client is one connection, whose frames are read as they come.
type client struct {
	t       *testing.T
	ws      *websocket.Conn
	user    string
	welcome frame
	frames  chan []byte
	kept    [][]byte // read, and not asked for yet
	end     error    // why reading ended; after frames is closed
	pings   atomic.Int64
	barrier int
}

// dial connects a user to a gateway that believes ?user_id=.
func dial(t *testing.T, g *gateway, user string) *client {
	t.Helper()
	return dialWith(t, "ws://"+g.public+"/ws?user_id="+url.QueryEscape(user), nil)
}

func dialWith(t *testing.T, address string, header http.Header, subprotocols ...string) *client {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	ws, response, err := dialer.DialContext(t.Context(), address, header)
	if err != nil {
		detail := ""
		if response != nil {
			body, _ := io.ReadAll(response.Body)
			detail = response.Status + " " + string(body)
		}
		t.Fatalf("connect: %v %s", err, detail)
	}
	return newClient(t, ws)
}

func newClient(t *testing.T, ws *websocket.Conn) *client {
	t.Helper()
	c := &client{t: t, ws: ws, frames: make(chan []byte, 100_000)}
	t.Cleanup(func() { ws.Close() })
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		c.pings.Add(1)
		return pong(data)
	})
	go func() {
		defer close(c.frames)
		for {
			_, text, err := ws.ReadMessage()
			if err != nil {
				c.end = err
				return
			}
			c.frames <- text
		}
	}()
	c.welcome = c.next()
	if c.welcome["type"] != "welcome" {
		t.Fatalf("the first frame is %v, want a welcome", c.welcome)
	}
	c.user = c.welcome.text("user_id")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send %.100s: %v", text, err)
	}
}

// read waits for the next frame off the wire.
func (c *client) read() []byte {
	c.t.Helper()
	select {
	case text, open := <-c.frames:
		if !open {
			c.t.Fatalf("the connection ended while a frame was expected: %v", c.end)
		}
		return text
	case <-time.After(patience):
		c.t.Fatal("no frame came")
	}
	return nil
}

// raw returns the next frame as it came.
func (c *client) raw() []byte {
	c.t.Helper()
	if len(c.kept) > 0 {
		text := c.kept[0]
		c.kept = c.kept[1:]
		return text
	}
	return c.read()
}

func (c *client) next() frame {
	c.t.Helper()
	return decode(c.t, c.raw())
}

func decode(t *testing.T, text []byte) frame {
	t.Helper()
	var f frame
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&f); err != nil {
		t.Fatalf("a frame is no JSON object: %q: %v", text, err)
	}
	return f
}

// find takes the first frame, of those that came and those to come, that is wanted; the others stay to be taken.
func (c *client) find(wanted func(frame) bool) frame {
	c.t.Helper()
	for i, text := range c.kept {
		if f := decode(c.t, text); wanted(f) {
			c.kept = slices.Delete(c.kept, i, i+1)
			return f
		}
	}
	for {
		text := c.read()
		f := decode(c.t, text)
		if wanted(f) {
			return f
		}
		c.kept = append(c.kept, text)
	}
}

// typed takes the next frame of a type.
func (c *client) typed(kind string) frame {
	c.t.Helper()
	return c.find(func(f frame) bool { return f["type"] == kind })
}

// do sends a command, given without its id, and returns its ack or error.
func (c *client) do(command string) frame {
	c.t.Helper()
	id := name("command")
	c.send(`{"id":"` + id + `",` + strings.TrimPrefix(command, "{"))
	return c.find(func(f frame) bool { return f["id"] == id })
}

// acked is do of a command that must succeed.
func (c *client) acked(command string) frame {
	c.t.Helper()
	f := c.do(command)
	if f["type"] != "ack" {
		c.t.Fatalf("%.200s got %v, want an ack", command, f)
	}
	return f
}

// refused is do of a command that must fail with a code; the message has to hold the words.
func (c *client) refused(code, command string, words ...string) {
	c.t.Helper()
	wantError(c.t, c.do(command), code, words...)
}

func wantError(t *testing.T, f frame, code string, words ...string) {
	t.Helper()
	if f["type"] != "error" || f["code"] != code || f.text("message") == "" {
		t.Fatalf("got %v, want an error %s with a message", f, code)
	}
	for _, word := range words {
		if !strings.Contains(f.text("message"), word) {
			t.Errorf("the message %q does not say %q", f["message"], word)
		}
	}
}

func (c *client) join(rooms ...string) {
	c.t.Helper()
	for _, room := range rooms {
		c.acked(`{"type":"join","room_id":"` + room + `"}`)
	}
}

// publish publishes a payload of its own to a room and returns the payload and the ack.
func (c *client) publish(room string) (data string, ack frame) {
	c.t.Helper()
	data = payload()
	return data, c.acked(`{"type":"publish","room_id":"` + room + `","data":` + data + `}`)
}

// nothing makes sure that nothing but what was taken came before the answer to a ping that it sends.
func (c *client) nothing() {
	c.t.Helper()
	c.barrier++
	id := fmt.Sprintf("barrier-%d", c.barrier)
	c.send(`{"type":"ping","id":"` + id + `"}`)
	if f := c.next(); f["id"] != id || f["type"] != "ack" || len(f) != 2 {
		c.t.Fatalf("got %v, want nothing but the ack of a ping", f)
	}
}

// message takes the next frame, which must be the message with this data.
func (c *client) message(data string) frame {
	c.t.Helper()
	text := c.raw()
	f := decode(c.t, text)
	if f["type"] != "message" || dataOf(c.t, text) != data {
		c.t.Fatalf("got %.300s, want the message %.100s", text, data)
	}
	return f
}

// dataOf returns the bytes of a message's data.
func dataOf(t *testing.T, text []byte) string {
	t.Helper()
	var f struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return string(f.Data)
}

// closed waits until the gateway closes the connection with the code. Frames before it are dropped.
func (c *client) closed(code int) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-c.frames:
			if open {
				continue
			}
			if end, ok := errors.AsType[*websocket.CloseError](c.end); !ok || end.Code != code {
				c.t.Fatalf("the connection ended with %v, want close code %d", c.end, code)
			}
			return
		case <-deadline:
			c.t.Fatalf("the connection was not closed, want close code %d", code)
		}
	}
}

// isFields compares a frame with a JSON object in which "*" stands for any value but an empty one.
func isFields(t *testing.T, got frame, wanted string) {
	t.Helper()
	want, shown := decode(t, []byte(wanted)), frame{}
	for key, value := range got {
		if want[key] == "*" && value != "" && value != nil && value != json.Number("0") {
			value = "*"
		}
		shown[key] = value
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Fatalf("the frame differs (-want +got):\n%s", diff)
	}
}

// answer is what an HTTP request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes an HTTP request with header name, value pairs.
func ask(t *testing.T, method, address, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return answer{response.StatusCode, response.Header, ""} // what follows are frames
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// handshake makes the request of a WebSocket handshake by hand, for those that are refused.
func handshake(t *testing.T, g *gateway, path string, header ...string) answer {
	t.Helper()
	return ask(t, "GET", "http://"+g.public+path, "", append([]string{"Connection", "Upgrade", "Upgrade", "websocket",
		"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, header...)...)
}

// wantRefusal compares plain HTTP with the body {"code","message"}.
func wantRefusal(t *testing.T, got answer, status int, code string) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || len(body) != 2 || body["message"] == "" {
		t.Fatalf("the answer is %d %q, want {code, message}", got.status, got.body)
	}
	if got.status != status || body["code"] != code {
		t.Errorf("refused with %d %s (%s), want %d %s", got.status, body["code"], body["message"], status, code)
	}
	if kind := got.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("the content type is %q, want application/json", kind)
	}
}

// wantRetryAfter wants a whole number of seconds from 1.
func wantRetryAfter(t *testing.T, got answer) {
	t.Helper()
	var seconds int
	if _, err := fmt.Sscan(got.header.Get("Retry-After"), &seconds); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q, want seconds", got.header.Get("Retry-After"))
	}
}

// metric returns a sample of /metrics, named as it stands there; -1 if it is not there.
func (g *gateway) metric(t *testing.T, sample string) float64 {
	t.Helper()
	for row := range strings.Lines(ask(t, "GET", "http://"+g.ops+"/metrics", "").body) {
		if rest, found := strings.CutPrefix(row, sample+" "); found {
			var value float64
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	return -1
}
