// Command quickstart has two clients talk to each other through two gateways, in a room and directly, and prints what they hear.
//
//	quickstart HOST:PORT HOST:PORT
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

// patience bounds the whole talk.
const patience = 20 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "quickstart: give the addresses of two gateways, such as 127.0.0.1:8081 127.0.0.1:8082")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := talk(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func talk(ctx context.Context, first, second string) error {
	alice, err := connect(ctx, first, "alice")
	if err != nil {
		return err
	}
	defer alice.conn.Close()
	bob, err := connect(ctx, second, "bob")
	if err != nil {
		return err
	}
	defer bob.conn.Close()
	for _, c := range []*client{alice, bob} {
		if err := c.send(map[string]any{"type": "join", "id": "1", "room_id": "lobby"}); err != nil {
			return err
		}
		if _, err := c.await("ack"); err != nil {
			return err
		}
	}
	if err := alice.send(map[string]any{"type": "publish", "room_id": "lobby", "data": "hello, lobby", "echo": false}); err != nil {
		return err
	}
	if err := bob.hears(); err != nil {
		return err
	}
	if err := bob.send(map[string]any{"type": "publish", "target_user_id": "alice", "data": "hello, Alice"}); err != nil {
		return err
	}
	return alice.hears()
}

type client struct {
	conn       *websocket.Conn
	name, node string
}

// frame is what this program reads of the server's frames.
type frame struct {
	Type    string `json:"type"`
	Node    string `json:"node"`
	From    string `json:"from"`
	RoomID  string `json:"room_id"`
	Data    string `json:"data"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func connect(ctx context.Context, address, name string) (*client, error) {
	conn, response, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+address+"/ws?user_id="+name, nil)
	if err != nil {
		return nil, fmt.Errorf("connect %s to %s: %w", name, address, err)
	}
	_ = response.Body.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	c := &client{conn: conn, name: name}
	welcome, err := c.await("welcome")
	if err != nil {
		return nil, err
	}
	c.node = welcome.Node
	fmt.Printf("  %-5s is connected to %s\n", name, c.node)
	return c, nil
}

func (c *client) send(command map[string]any) error {
	if err := c.conn.WriteJSON(command); err != nil {
		return fmt.Errorf("send as %s: %w", c.name, err)
	}
	return nil
}

// await reads up to the next frame of that type.
func (c *client) await(kind string) (frame, error) {
	for {
		var f frame
		if err := c.conn.ReadJSON(&f); err != nil {
			return frame{}, fmt.Errorf("wait for the %s of %s: %w", kind, c.name, err)
		}
		switch f.Type {
		case kind:
			return f, nil
		case "error":
			return frame{}, fmt.Errorf("%s is refused: %s: %s", c.name, f.Code, f.Message)
		}
	}
}

// hears prints the next message.
func (c *client) hears() error {
	m, err := c.await("message")
	if err != nil {
		return err
	}
	where := "directly"
	if m.RoomID != "" {
		where = "in the room " + m.RoomID
	}
	fmt.Printf("  %-5s on %s hears %s from %s: %s\n", c.name, c.node, where, m.From, m.Data)
	return nil
}
