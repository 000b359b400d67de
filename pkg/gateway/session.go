package gateway

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// session is one client's connection: it decodes what the client says and does it.
type session struct {
	// Fixed at start.
	gateway *Gateway
	conn    *socket.Conn
	opened  int64 // ns since 1970

	// The reading goroutine's.
	client    hub.Client
	messages  *allowance // what the client's user may publish; nil: nothing was published yet
	commands  bucket     // everything else that the client may ask for
	badFrames int

	// identity is who the client is; an auth command replaces it.
	identity atomic.Pointer[auth.Identity]
	expiry   expiry
	renewing atomic.Bool
	// moving is set once the client has been asked to connect anew.
	moving atomic.Bool
}

// commandsPerMessage: what costs this process less than a publish costs the whole fleet may come more often.
const commandsPerMessage = 10

var decoders = sync.Pool{New: func() any { return new(protocol.Command) }}

// Text implements socket.Handler.
func (s *session) Text(frame []byte) {
	c := decoders.Get().(*protocol.Command)
	defer decoders.Put(c)
	err := c.Decode(frame)
	s.gateway.metrics.received[c.Type].Add(1)
	if err != nil {
		s.badFrames++
		s.fail(c.ID, err)
		if s.badFrames >= protocol.MaxBadFrames {
			s.conn.Close(uint16(protocol.ClosePolicy), fmt.Sprintf("%d bad frames in a row", protocol.MaxBadFrames), socket.BadFrames)
		}
		return
	}
	s.badFrames = 0
	if err := s.do(c); err != nil {
		s.fail(c.ID, err)
	}
}

// Closed implements socket.Handler.
func (s *session) Closed(reason socket.Reason) {
	g := s.gateway
	s.expiry.stop()
	g.hub.Disconnect(&s.client)
	g.unregister(s)
	g.attendance.exit(s)
	if s.messages != nil {
		g.allowances.giveBack(s.messages)
	}
	g.admitted.Add(-1)
	g.metrics.disconnects[reason].Add(1)
	g.logger.Debug("disconnected", "connection_id", s.client.ID, "user_id", s.client.UserID, "reason", reason.String())
}

// do carries one command out. It never blocks: what has to wait is acked later.
func (s *session) do(c *protocol.Command) *protocol.Error {
	if c.Type == protocol.CommandPublish {
		return s.publish(c)
	}
	limits := &s.gateway.live.Load().limits
	if !s.commands.take(limits.MessagesPerSecond*commandsPerMessage, limits.MessageBurst*commandsPerMessage) {
		return &protocol.Error{Code: protocol.CodeRateLimited, Message: "too many commands: wait a moment"}
	}
	switch c.Type {
	case protocol.CommandJoin:
		return s.join(c)
	case protocol.CommandLeave:
		s.gateway.hub.Leave(&s.client, c.RoomID)
		if len(c.ID) > 0 {
			s.send(func(dst []byte) []byte { return protocol.AppendJoinAck(dst, c.ID, c.RoomID) })
		}
		return nil
	case protocol.CommandPresence:
		return s.presence(c)
	case protocol.CommandHistory:
		return s.history(c)
	case protocol.CommandAuth:
		return s.renew(c)
	case protocol.CommandPing:
		if len(c.ID) > 0 {
			s.send(func(dst []byte) []byte { return protocol.AppendAck(dst, c.ID) })
		}
		return nil
	}
	return &protocol.Error{Code: protocol.CodeUnknownType, Message: c.Type.String() + " is not in this version"}
}

func (s *session) join(c *protocol.Command) *protocol.Error {
	live := s.gateway.live.Load()
	if (c.Recover || c.History > 0) && len(c.ID) == 0 {
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: "recover and history need an id: the ack carries the messages"}
	}
	target, member := s.client.RoomTarget(c.RoomID)
	if err := live.policies.CanJoin(s.identity.Load(), target.ID); err != nil {
		return refusal(err)
	}
	if !member && s.client.Rooms() >= live.limits.MaxRoomsPerConnection {
		return &protocol.Error{Code: protocol.CodeRoomLimit, Message: fmt.Sprintf("a connection may be in at most %d rooms: leave one first", live.limits.MaxRoomsPerConnection)}
	}
	as, refused := s.presenceOf(c, target.ID)
	if refused != nil {
		return refused
	}
	id := []byte(string(c.ID)) // the frame is overwritten before the ack is sent
	if s.gateway.hub.HasLog() && live.keepRoom(target.ID) != nil {
		return s.joinLog(c, id, target.ID, as)
	}
	if !s.gateway.hub.Join(&s.client, target.ID, as, func() {
		if len(id) > 0 {
			s.send(func(dst []byte) []byte { return protocol.AppendJoinAck(dst, id, []byte(target.ID)) })
		}
	}) {
		return errJoinsWait
	}
	return nil
}

var errJoinsWait = &protocol.Error{Code: protocol.CodeRateLimited, Message: "too many joins of this room wait for their acks already"}

// joinLog joins a room with history.
func (s *session) joinLog(c *protocol.Command, id []byte, room string, as hub.Presence) *protocol.Error {
	wanted := hub.Wanted{Presence: as, Recover: c.Recover, From: protocol.Position{Epoch: string(c.RecoverEpoch), Offset: c.RecoverOffset}, History: c.History}
	if !s.gateway.hub.JoinLog(&s.client, room, wanted, func(r protocol.Recovery) {
		if len(id) > 0 {
			s.send(func(dst []byte) []byte { return protocol.AppendRecoveryAck(dst, id, []byte(room), &r) })
		}
	}) {
		return errJoinsWait
	}
	return nil
}

// refusal makes an error frame of what package auth says.
func refusal(err error) *protocol.Error {
	if r, ok := errors.AsType[*auth.Error](err); ok {
		return &protocol.Error{Code: protocol.Code(r.Code), Message: r.Message}
	}
	return &protocol.Error{Code: protocol.CodeInternal, Message: "the room's policy could not be applied"}
}

// welcome sends the first frame.
func (s *session) welcome(inbox *protocol.Position) {
	g := s.gateway
	w := protocol.Welcome{
		ConnectionID: s.client.ID, UserID: s.client.UserID, Node: g.settings.Node, ServerTime: time.Now().UnixMilli(),
		HeartbeatMS: g.settings.Heartbeat.Milliseconds(), MaxMessageBytes: g.live.Load().limits.MaxMessageBytes,
	}
	w.Inbox = inbox
	end := s.identity.Load().ExpiresAt
	if !end.IsZero() {
		w.ExpiresAt = end.UnixMilli()
	}
	s.send(func(dst []byte) []byte { return protocol.AppendWelcome(dst, &w) })
	if !end.IsZero() {
		s.expiry.watch(s, end) // after the welcome: a token that is about to end has a frame sent at once
	}
}

// fail sends an error frame.
func (s *session) fail(id []byte, err *protocol.Error) {
	s.gateway.metrics.errors[err.Code].Add(1)
	s.send(func(dst []byte) []byte { return protocol.AppendError(dst, id, err.Code, err.Message) })
}

// send frames what encode appends and sends it.
func (s *session) send(encode func(dst []byte) []byte) {
	b := socket.NewBuffer()
	defer b.Release()
	b.B = socket.AppendTextFrom(b.B, encode)
	s.conn.Send(b)
}
