package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
)

const (
	handshakeTimeout = 10 * time.Second
	// maxRetryAfter bounds what a gateway, or a proxy before it, can make a client wait.
	maxRetryAfter = 2 * time.Minute
)

// RefusedError is an HTTP answer in place of a connection.
type RefusedError struct {
	// Status is HTTP's.
	Status int
	// Code is empty if it was no gateway that refused.
	Code    protocol.Code
	Message string
	// RetryAfter is the pause that was asked for; 0: none.
	RetryAfter time.Duration
}

// Error says what the gateway said.
func (e *RefusedError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the handshake was refused with HTTP %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the gateway refused the connection: %s (HTTP %d %s)", e.Message, e.Status, e.Code)
}

// final tells whether asking again would change nothing. A proxy whose backends are being replaced may answer 404 for a moment:
// that counts only before the first connection, when the address may be wrong.
func (e *RefusedError) final(connectedBefore bool) bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden:
		return true
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status < 500 && !connectedBefore
}

// ClosedError is the end of a connection that the gateway closed.
type ClosedError struct {
	Code   protocol.CloseCode
	Reason string
}

// Error says what the gateway said.
func (e *ClosedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the gateway closed the connection (%d)", e.Code)
	}
	return fmt.Sprintf("the gateway closed the connection: %s (%d)", e.Reason, e.Code)
}

// dial makes a connection and takes its welcome. It is called by the supervisor only.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	token, err := c.currentToken(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	header := c.options.Header.Clone()
	if token != "" {
		if header == nil {
			header = http.Header{}
		}
		header.Set("Authorization", "Bearer "+token)
	}
	dialer := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.options.TLS, NetDialContext: c.options.DialContext,
		HandshakeTimeout: handshakeTimeout, Subprotocols: []string{protocol.Subprotocol},
	}
	ws, response, err := dialer.DialContext(ctx, c.address(), header)
	if response != nil {
		defer response.Body.Close()
	}
	if err != nil {
		err = refusal(response, err)
		if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Status == http.StatusUnauthorized {
			return nil, c.tokenRefused(token, err)
		}
		return nil, err
	}
	welcome, err := takeWelcome(ctx, ws, c.options.MaxFrameBytes)
	if err != nil {
		_ = ws.Close()
		return nil, err
	}
	c.tokenTaken(token, welcome)
	return newConn(c, ws, welcome, token), nil
}

// address is the URL whose turn it is, with the user id.
func (c *Client) address() string {
	address := c.options.URLs[c.turn%len(c.options.URLs)]
	if c.options.UserID == "" {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address // New has parsed it
	}
	query := u.Query()
	query.Set("user_id", c.options.UserID)
	u.RawQuery = query.Encode()
	return u.String()
}

// takeWelcome reads the first frame. It must come before ctx ends.
func takeWelcome(ctx context.Context, ws *websocket.Conn, maxFrame int64) (*serverFrame, error) {
	ws.SetReadLimit(maxFrame)
	stop := context.AfterFunc(ctx, func() { _ = ws.NetConn().SetReadDeadline(time.Now()) })
	defer stop()
	_, text, err := ws.ReadMessage()
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("the gateway did not say welcome in time")
		}
		return nil, closing(err)
	}
	var welcome serverFrame
	if json.Unmarshal(text, &welcome) != nil || welcome.Type != "welcome" {
		return nil, fmt.Errorf("the server does not speak %s: its first frame is no welcome", protocol.Subprotocol)
	}
	return &welcome, nil
}

// closing makes a ClosedError of a close frame, and leaves any other error as it is.
func closing(err error) error {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok && closed.Code != websocket.CloseAbnormalClosure {
		return &ClosedError{Code: protocol.CloseCode(closed.Code), Reason: closed.Text}
	}
	return fmt.Errorf("the connection was lost: %w", err)
}

// refusal makes a RefusedError of a failed handshake's response, if there is one.
func refusal(response *http.Response, err error) error {
	if response == nil {
		return fmt.Errorf("cannot connect: %w", err)
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // gorilla keeps the beginning; what is missing is not ours
	refused := &RefusedError{Status: response.StatusCode}
	var answer struct {
		Code    protocol.Code `json:"code"`
		Message string        `json:"message"`
	}
	if json.Unmarshal(body, &answer) == nil {
		refused.Code, refused.Message = answer.Code, answer.Message
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		refused.RetryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return refused
}
