package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// TokenSource returns a bearer token. It is called for the first connection, and again when the gateway says that the token in
// use ends or is no longer accepted, never twice at the same time. It may block until ctx ends. An error is tried again later;
// the same token again, after one was refused, ends the client.
type TokenSource func(ctx context.Context) (string, error)

// StaticToken always returns the same token.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// Options say where and as whom to connect. Only URLs is required.
type Options struct {
	// URLs are addresses of the cluster, such as wss://chat.example.com/ws. With several, the next one is tried after a
	// failure and when a gateway asks its clients to leave.
	URLs []string
	// UserID is sent as ?user_id=, which gateways with auth type trusted believe.
	UserID string
	// Token is asked for a bearer token; nil: none is sent.
	Token TokenSource
	// Header is sent with every handshake, for example Origin.
	Header http.Header
	// TLS is for wss:// addresses; nil: the system's roots.
	TLS *tls.Config
	// DialContext replaces the way TCP connections are made.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Inbox, if set, has messages to this user handed over. Without it they are ignored.
	Inbox *InboxOptions

	// OnState is told, in order, of every change of the connection. It must return soon and not call Close.
	OnState func(State)
	// Logger gets what is worth a look later; nil: nothing is logged. Tokens and payloads never are.
	Logger *slog.Logger

	// MaxPending publishes may wait for their confirmation, 1024 by default, of together MaxPendingBytes, 16 MiB by default.
	// Over either Publish returns ErrTooManyPending.
	MaxPending, MaxPendingBytes int
	// MaxFrameBytes bounds one frame from a gateway, 16 MiB by default: a larger one ends the connection.
	MaxFrameBytes int64
	// BackoffMin is the bound of the first pause before a new attempt, 250 ms by default; it doubles up to BackoffMax, 30 s by
	// default. The pause is a random part of the bound.
	BackoffMin, BackoffMax time.Duration
}

// RoomOptions say what to get of a room.
type RoomOptions struct {
	// Handler gets the room's events, one after the other, on the room's own goroutine. nil: they come from Room.Events.
	Handler func(Event)
	// History asks for the newest messages at the first join, and again where nothing can be recovered: 0 to 1000.
	History int
	// Recover continues after a place that the application has kept. If the log no longer has it, a Gap says so.
	Recover *protocol.Position
	// Presence has the room watched: who comes and goes is told by MemberJoined, MemberLeft and PresenceGap. The room's policy must
	// keep presence, or the join is refused. Room.Members tells who is there already. It means nothing for the inbox.
	Presence bool
	// Buffer events may wait for the application, 1024 by default, of together BufferBytes, 4 MiB by default. Over either,
	// messages of a room with history are read from the log later; elsewhere they are dropped, and a Gap counts them.
	Buffer, BufferBytes int
}

// InboxOptions say what to get of the messages to this user. Its fields mean what they do in RoomOptions; Handler is required.
// Where the gateways keep no inboxes, messages come while the client is connected.
type InboxOptions RoomOptions

// Status is a stage of a client's life.
type Status string

// The stages. A client goes from one to any other, and nowhere from StatusEnded.
const (
	StatusConnecting Status = "connecting"
	StatusConnected  Status = "connected"
	// StatusMoving: still connected, but the gateway asked to connect anew.
	StatusMoving Status = "moving"
	// StatusWaiting: not connected; State.Retry is the pause before the next attempt.
	StatusWaiting Status = "waiting"
	StatusEnded   Status = "ended"
)

// State is what OnState is told.
type State struct {
	Status Status
	// Node, ConnectionID and UserID are the gateway's words, while there is a connection.
	Node, ConnectionID, UserID string
	// Err says why the client waits or has ended; nil after Close.
	Err error
	// Retry is the pause before the next attempt.
	Retry time.Duration
}

// complete fills in the defaults and returns one sentence about what is wrong.
func (o *Options) complete() error {
	if len(o.URLs) == 0 {
		return errors.New("no address to connect to: give one such as ws://127.0.0.1:8080/ws")
	}
	for _, address := range o.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
			return fmt.Errorf("%q is no WebSocket address: write it like ws://127.0.0.1:8080/ws or wss://chat.example.com/ws", address)
		}
	}
	if o.UserID != "" {
		if err := protocol.CheckName(o.UserID); err != nil {
			return fmt.Errorf("the user id %w", err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BackoffMin < 0 || o.BackoffMax < 0 || o.MaxPending < 0 || o.MaxPendingBytes < 0 || o.MaxFrameBytes < 0 {
		return errors.New("bounds and pauses must not be negative; 0 stands for the default")
	}
	setDefault(&o.MaxPending, 1024)
	setDefault(&o.MaxPendingBytes, 16<<20)
	setDefault(&o.MaxFrameBytes, 16<<20)
	setDefault(&o.BackoffMin, shortestPause)
	setDefault(&o.BackoffMax, max(longestPause, o.BackoffMin))
	if o.BackoffMax < o.BackoffMin {
		return fmt.Errorf("BackoffMax %v is less than BackoffMin %v", o.BackoffMax, o.BackoffMin)
	}
	if o.Inbox != nil {
		if o.Inbox.Handler == nil {
			return errors.New("the inbox needs a Handler")
		}
		inbox := RoomOptions(*o.Inbox)
		if err := inbox.complete(); err != nil {
			return err
		}
		o.Inbox = (*InboxOptions)(&inbox)
	}
	return nil
}

func (o *RoomOptions) complete() error {
	if o.History < 0 || o.History > protocol.MaxLimit {
		return fmt.Errorf("history: %d is out of range; ask for 0 to %d messages", o.History, protocol.MaxLimit)
	}
	if r := o.Recover; r != nil && (r.Epoch == "" || r.Offset < 0 || r.Offset > protocol.MaxOffset) {
		return errors.New("recover must be the At of a message that has an offset")
	}
	if o.Buffer < 0 || o.BufferBytes < 0 {
		return errors.New("buffers must not be negative; 0 stands for the default")
	}
	setDefault(&o.Buffer, 1024)
	setDefault(&o.BufferBytes, 4<<20)
	return nil
}

func setDefault[N int | int64 | time.Duration](n *N, value N) {
	if *n == 0 {
		*n = value
	}
}
