package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// client is one connection. It is used by one goroutine.
type client struct {
	user    string
	gateway string
	conn    *websocket.Conn
	out     io.Writer
	welcome []byte
}

// frame is what is looked at in what gateways send.
type frame struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Node string `json:"node"`
	From string `json:"from"`
	Data string `json:"data"`
}

// connect opens a connection and reads its first frame. Everything on the connection has until the end of ctx.
func connect(ctx context.Context, out io.Writer, user, address string, from net.IP) (*client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("%q is no WebSocket address: write it like ws://127.0.0.1:8080/ws", address)
	}
	query := u.Query()
	query.Set("user_id", user)
	u.RawQuery = query.Encode()
	dialer := websocket.Dialer{Subprotocols: []string{"wscluster.v1.json"}, HandshakeTimeout: 10 * time.Second}
	if from != nil {
		dialer.NetDialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext
	}
	conn, response, err := dialer.DialContext(ctx, u.String(), http.Header{}) //nolint:bodyclose // of a failed handshake gorilla has read it, of a good one it is the connection
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, fmt.Errorf("%s cannot connect to %s: %w", user, address, err)
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(deadline) // fails only on a closed connection, and then the read does too
	c := &client{user: user, conn: conn, out: out}
	var f frame
	if f, c.welcome, err = c.read(); err == nil && f.Type != "welcome" {
		err = quoted(user, "a welcome", c.welcome)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.gateway = f.Node
	c.print("<", c.welcome)
	return c, nil
}

// speak prints what was held back, and from now on everything.
func (c *client) speak(out io.Writer) {
	c.out = out
	c.print("<", c.welcome)
}

func (c *client) print(direction string, frame []byte) {
	fmt.Fprintf(c.out, "  %-5s on %s %s %s\n", c.user, c.gateway, direction, frame)
}

// command sends a command and reads its ack.
func (c *client) command(text string) error {
	c.print(">", []byte(text))
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return fmt.Errorf("%s: %w", c.user, err)
	}
	f, raw, err := c.read()
	if err != nil {
		return err
	}
	c.print("<", raw)
	if f.Type != "ack" {
		return quoted(c.user, "an ack", raw)
	}
	return nil
}

// message reads the message with that sender and data.
func (c *client) message(from, data string) error {
	f, raw, err := c.read()
	if err != nil {
		return err
	}
	c.print("<", raw)
	if f.Type != "message" || f.From != from || f.Data != data {
		return quoted(c.user, fmt.Sprintf("the message %q of %s", data, from), raw)
	}
	return nil
}

func (c *client) read() (frame, []byte, error) {
	var f frame
	_, raw, err := c.conn.ReadMessage()
	if err != nil {
		return f, nil, fmt.Errorf("%s: %w", c.user, err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, raw, fmt.Errorf("%s got no JSON: %s", c.user, raw)
	}
	return f, raw, nil
}

func (c *client) close() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) // polite, no more
	_ = c.conn.Close()
}
