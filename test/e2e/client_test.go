//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// conn is one client's connection. A goroutine reads it, so that pings are answered; what came waits in frames.
type conn struct {
	t      *testing.T
	user   string
	node   string
	socket *websocket.Conn
	frames chan frame
}

// frame is what tests look at in what gateways send.
type frame struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Node    string `json:"node"`
	RoomID  string `json:"room_id"`
	Target  string `json:"target_user_id"`
	From    string `json:"from"`
	Data    any    `json:"data"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// dial connects as user from one of the sources and reads the welcome. The connection is closed at the end of the test.
func dial(ctx context.Context, t *testing.T, address, user string, from net.IP) *conn {
	t.Helper()
	c, err := tryDial(ctx, address, user, from)
	if err != nil {
		t.Fatal(err)
	}
	c.t = t
	t.Cleanup(func() { _ = c.socket.Close() })
	go c.read()
	return c
}

func tryDial(ctx context.Context, address, user string, from net.IP) (*conn, error) {
	dialer := websocket.Dialer{
		HandshakeTimeout: 10 * time.Second, Subprotocols: []string{"wscluster.v1.json"},
		NetDialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext,
	}
	socket, response, err := dialer.DialContext(ctx, address+"?user_id="+url.QueryEscape(user), nil)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w (%s)", err, response.Status)
		}
		return nil, fmt.Errorf("%s connects to %s from %s: %w", user, address, from, err)
	}
	var welcome frame
	if err = socket.ReadJSON(&welcome); err == nil && (welcome.Type != "welcome" || welcome.Node == "") {
		err = fmt.Errorf("the first frame is %+v, want a welcome with the pod's name", welcome)
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("%s connects to %s from %s: %w", user, address, from, err)
	}
	return &conn{user: user, node: welcome.Node, socket: socket, frames: make(chan frame, 1000)}, nil
}

var nextScout atomic.Int64

// awaitRouted waits until the Service leads to every gateway: a pod is ready a moment before kube-proxy sends clients to it.
func (f fleet) awaitRouted(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	seen := map[string]bool{}
	eventually(ctx, t, "the Service leads to every gateway", func() error {
		for range 8 {
			scout := scouts[int(nextScout.Add(1))%len(scouts)]
			c, err := tryDial(ctx, address, "scout", scout)
			if err != nil {
				return err
			}
			seen[c.node] = true
			_ = c.socket.Close()
		}
		pods, err := f.pods(ctx)
		for i := range pods {
			if !seen[pods[i].Name] {
				return fmt.Errorf("%s has got no client, only %v", pods[i].Name, slices.Sorted(maps.Keys(seen)))
			}
		}
		return err
	})
}

func (c *conn) read() {
	defer close(c.frames)
	for {
		var f frame
		if err := c.socket.ReadJSON(&f); err != nil {
			return
		}
		c.frames <- f
	}
}

// next returns the next frame.
func (c *conn) next(ctx context.Context) frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case f, open := <-c.frames:
		if !open {
			c.t.Fatalf("the connection of %s ended", c.user)
		}
		return f
	case <-ctx.Done():
		c.t.Fatalf("%s waited for a frame, and none came", c.user)
	}
	return frame{}
}

// command sends a command and returns the answer to it. Frames that come before are lost.
func (c *conn) command(ctx context.Context, fields map[string]any) frame {
	c.t.Helper()
	fields["id"] = fmt.Sprintf("%v-%d", fields["type"], time.Now().UnixNano())
	text, err := json.Marshal(fields)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.socket.WriteMessage(websocket.TextMessage, text); err != nil {
		c.t.Fatalf("%s sends %s: %v", c.user, text, err)
	}
	for {
		if f := c.next(ctx); f.ID == fields["id"] {
			return f
		}
	}
}

// do sends a command that has to be acked.
func (c *conn) do(ctx context.Context, fields map[string]any) {
	c.t.Helper()
	if f := c.command(ctx, fields); f.Type != "ack" {
		c.t.Fatalf("%s sent %v and got %s %s: %s", c.user, fields, f.Type, f.Code, f.Message)
	}
}

func (c *conn) join(ctx context.Context, room string) {
	c.t.Helper()
	c.do(ctx, map[string]any{"type": "join", "room_id": room})
}

func (c *conn) say(ctx context.Context, room, text string) {
	c.t.Helper()
	c.do(ctx, map[string]any{"type": "publish", "room_id": room, "data": text, "echo": false})
}

func (c *conn) tell(ctx context.Context, user, text string) {
	c.t.Helper()
	c.do(ctx, map[string]any{"type": "publish", "target_user_id": user, "data": text})
}

// hears reads the next frame, which must be that message.
func (c *conn) hears(ctx context.Context, room, from, text string) {
	c.t.Helper()
	f := c.next(ctx)
	if f.Type != "message" || f.RoomID != room || f.From != from || f.Data != text || room == "" && f.Target != c.user {
		c.t.Errorf("%s got %+v, want %q of %s in room %q", c.user, f, text, from, room)
	}
}

// dialApart connects two users to two pods: a source goes to one pod, so it tries the sources.
func dialApart(ctx context.Context, t *testing.T, address, one, other string) (*conn, *conn) {
	t.Helper()
	first := dial(ctx, t, address, one, sources[0])
	for _, source := range sources[1:] {
		if second := dial(ctx, t, address, other, source); second.node != first.node {
			return first, second
		}
	}
	t.Fatalf("%d addresses were all sent to the pod %s", len(sources), first.node)
	return nil, nil
}
