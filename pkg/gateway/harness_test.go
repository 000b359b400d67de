package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

// patience bounds how long a test waits for what must come. Nothing waits that long unless it fails.
const patience = 20 * time.Second

// talkative makes what a gateway tells the others known soon, and its canaries missed soon.
func talkative(g *Gateway) {
	g.fleet.interval, g.canary.patience = 100*time.Millisecond, 500*time.Millisecond
}

// node is one gateway, listening on free ports of loopback.
type node struct {
	*Gateway
	log *logBuffer
	// leave begins the drain, cut ends it; done is closed when Run has returned err.
	leave, cut context.CancelFunc
	done       chan struct{}
	err        error
}

// start runs a gateway that believes ?user_id= and drains within moments, unless change says otherwise. The backplane is
// memory:// or a Redis URL.
func start(t *testing.T, plane string, change func(*settings.Settings), prepare ...func(*Gateway)) *node {
	t.Helper()
	if plane == "memory://" {
		return startOn(t, func(*slog.Logger) (backplane.Backplane, error) { return memory.New(), nil }, change, prepare...)
	}
	return startOn(t, func(logger *slog.Logger) (backplane.Backplane, error) {
		return redis.New(redis.Options{URL: plane, Cluster: "test", Logger: logger})
	}, change, prepare...)
}

// startOn is start with a backplane of any make. What prepare does comes before it serves.
func startOn(t *testing.T, open func(*slog.Logger) (backplane.Backplane, error), change func(*settings.Settings), prepare ...func(*Gateway)) *node {
	t.Helper()
	s := settings.Default()
	s.Listen, s.APIListen, s.OpsListen = "127.0.0.1:0", "", "127.0.0.1:0"
	s.Node, s.Auth.Type, s.LogLevel = "node-1", settings.AuthTrusted, "debug"
	s.Drain = settings.Drain{Timeout: 100 * time.Millisecond, Rate: 100_000}
	s.Limits.MessagesPerSecond, s.Limits.ConnectsPerSecond = 0, 0
	if change != nil {
		change(&s)
	}
	n := &node{log: &logBuffer{}, done: make(chan struct{})}
	logger := newLogger(s, n.log)
	b, err := open(logger)
	if err != nil {
		t.Fatal(err)
	}
	if n.Gateway, err = New(s, b, logger); err != nil {
		t.Fatal(err)
	}
	for _, change := range prepare {
		change(n.Gateway)
	}
	var ctx, hard context.Context
	ctx, n.leave = context.WithCancel(context.WithoutCancel(t.Context())) // it is the cleanup that ends it
	hard, n.cut = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		n.err = n.Run(ctx, hard)
		close(n.done)
	}()
	t.Cleanup(func() {
		n.leave()
		select {
		case <-n.done:
		case <-time.After(patience):
			t.Errorf("the gateway did not end")
		}
		n.cut()
		if n.err != nil {
			t.Errorf("the gateway ended with %v", n.err)
		}
	})
	return n
}

// startFleet runs count gateways, node-1, node-2, …, over one real Redis, and waits until all are ready.
func startFleet(t *testing.T, count int, change func(*settings.Settings), prepare ...func(*Gateway)) ([]*node, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	var nodes []*node
	for i := range count {
		nodes = append(nodes, start(t, server.URL(), func(s *settings.Settings) {
			s.Node = fmt.Sprintf("node-%d", i+1)
			if change != nil {
				change(s)
			}
		}, prepare...))
	}
	for _, n := range nodes {
		eventually(t, "the gateway is ready", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
	}
	return nodes, server
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v, and it is still not so: %s", patience, what)
		}
	}
}

// answer is what an HTTP request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// ops asks one of the ops endpoints.
func (n *node) ops(t *testing.T, path string) answer {
	t.Helper()
	return request(t, http.MethodGet, "http://"+n.OpsAddr().String()+path, nil)
}

func request(t *testing.T, method, address string, header http.Header) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// metric returns a sample of /metrics, named as it stands there: wscluster_connections or name{label="value"}.
func (n *node) metric(t *testing.T, name string) float64 {
	t.Helper()
	return sample(t, n.ops(t, "/metrics").body, name)
}

// sample returns a sample of what /metrics answered.
func sample(t *testing.T, metrics, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			var value float64
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

// client is one WebSocket connection whose frames are read as they come, so that it always answers pings.
type client struct {
	t       *testing.T
	ws      *websocket.Conn
	welcome map[string]any
	frames  chan []byte
	ended   error // why reading ended; after frames is closed
	barrier int
}

// dial connects a user and takes the welcome.
func (n *node) dial(t *testing.T, user string) *client {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), n.url("user_id", user), nil)
	if err != nil {
		t.Fatalf("connect %s: %v %v", user, err, response)
	}
	return newClient(t, ws)
}

func newClient(t *testing.T, ws *websocket.Conn) *client {
	t.Helper()
	c := &client{t: t, ws: ws, frames: make(chan []byte, 100_000)}
	t.Cleanup(func() { _ = ws.Close() })
	go func() {
		defer close(c.frames)
		for {
			_, frame, err := ws.ReadMessage()
			if err != nil {
				c.ended = err
				return
			}
			c.frames <- frame
		}
	}()
	c.welcome = c.next()
	if c.welcome["type"] != "welcome" {
		t.Fatalf("the first frame is %v, want a welcome", c.welcome)
	}
	return c
}

// url is the gateway's WebSocket address with a query of name, value pairs.
func (n *node) url(pairs ...string) string {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return "ws://" + n.Addr().String() + "/ws?" + query.Encode()
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatalf("send %.100s: %v", frame, err)
	}
}

// raw returns the next frame as it came.
func (c *client) raw() []byte {
	c.t.Helper()
	select {
	case frame, open := <-c.frames:
		if !open {
			c.t.Fatalf("the connection ended while a frame was expected: %v", c.ended)
		}
		return frame
	case <-time.After(patience):
		c.t.Fatal("no frame came")
	}
	return nil
}

func (c *client) next() map[string]any {
	c.t.Helper()
	return decode(c.t, c.raw())
}

func decode(t *testing.T, frame []byte) map[string]any {
	t.Helper()
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(frame))
	decoder.UseNumber() // any number that is valid JSON, also 1e400
	if err := decoder.Decode(&fields); err != nil {
		t.Fatalf("a frame is no JSON object: %q: %v", frame, err)
	}
	return fields
}

// any in a wanted frame stands for any value but an empty one.
const anything = "<anything>"

// want takes the next frame and compares it with the wanted JSON object, in which "<anything>" stands for any value.
func (c *client) want(wanted string) map[string]any {
	c.t.Helper()
	frame := c.next()
	if diff := difference(c.t, wanted, frame); diff != "" {
		c.t.Fatalf("the next frame differs (-want +got):\n%s", diff)
	}
	return frame
}

func difference(t *testing.T, wanted string, got map[string]any) string {
	t.Helper()
	want := decode(t, []byte(wanted))
	shown := map[string]any{}
	for key, value := range got {
		if want[key] == anything && value != "" && value != nil && value != json.Number("0") {
			value = anything
		}
		shown[key] = value
	}
	return cmp.Diff(want, shown)
}

// do sends a command and takes its answer.
func (c *client) do(command, wanted string) map[string]any {
	c.t.Helper()
	c.send(command)
	return c.want(wanted)
}

// nothing makes sure that nothing came before the answer to a ping that it sends.
func (c *client) nothing() {
	c.t.Helper()
	c.barrier++
	id := fmt.Sprintf("barrier-%d", c.barrier)
	c.do(`{"type":"ping","id":"`+id+`"}`, `{"type":"ack","id":"`+id+`"}`)
}

func (c *client) join(rooms ...string) {
	c.t.Helper()
	for _, room := range rooms {
		c.do(`{"type":"join","id":"join","room_id":"`+room+`"}`, `{"type":"ack","id":"join","room_id":"`+room+`"}`)
	}
}

// wantClose reads until the connection ends and compares the close code. Frames before it are skipped.
func (c *client) wantClose(code protocol.CloseCode) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-c.frames:
			if open {
				continue
			}
			if closed, ok := errors.AsType[*websocket.CloseError](c.ended); !ok || closed.Code != int(code) {
				c.t.Fatalf("the connection ended with %v, want close code %d", c.ended, code)
			}
			return
		case <-deadline:
			c.t.Fatalf("the connection was not closed, want close code %d", code)
		}
	}
}

// logBuffer keeps the log of a gateway.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
