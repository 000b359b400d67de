package gateway

import (
	"errors"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// publication is one publish on its way: it keeps the encoded message until the backplane has confirmed, then answers the
// client. It is reused.
type publication struct {
	session   *session
	id        []byte // the command's
	messageID []byte
	body      []byte
	started   time.Time
}

var publications = sync.Pool{New: func() any { return new(publication) }}

// maxPooledBody keeps a few huge messages from holding their memory for ever.
const maxPooledBody = 64 << 10

func (s *session) publish(c *protocol.Command) *protocol.Error {
	g := s.gateway
	live := g.live.Load()
	if !s.mayPublish(&live.limits) {
		return &protocol.Error{Code: protocol.CodeRateLimited, Message: "too many messages: wait a moment, then send again"}
	}
	m := backplane.Message{Target: backplane.Target{Kind: backplane.User}}
	if c.RoomID != nil {
		var member bool
		m.Target, member = s.client.RoomTarget(c.RoomID)
		m.Keep = live.keepRoom(m.Target.ID)
		if err := live.policies.CanPublish(s.identity.Load(), m.Target.ID, member); err != nil {
			return refusal(err)
		}
	} else {
		if err := live.policies.CanMessageUser(s.identity.Load()); err != nil {
			return refusal(err)
		}
		m.Target.ID = string(c.TargetUserID)
		m.Keep = live.inboxOfSeen
	}
	if c.NoEcho {
		m.Exclude = s.client.ID
	}
	p := publications.Get().(*publication)
	p.session, p.started = s, time.Now()
	p.id = append(p.id[:0], c.ID...)
	p.messageID = g.sequence.next(p.messageID[:0])
	p.body = protocol.AppendMessage(p.body[:0], &protocol.Message{
		ID: p.messageID, RoomID: c.RoomID, TargetUserID: c.TargetUserID, From: s.client.UserID, Data: c.Data, TS: p.started.UnixMilli(),
	})
	m.Body, m.ID, m.Publisher = p.body, p.messageID, s.client.UserID
	if len(c.IdempotencyKey) > 0 {
		m.IdempotencyKey = string(c.IdempotencyKey)
		m.Data = p.body[len(p.body)-len(c.Data)-1 : len(p.body)-1] // data is the body's last field
	}
	g.hub.PublishFrom(&s.client, &m, p)
	return nil
}

// Published implements backplane.Confirmation.
func (p *publication) Published(r backplane.Receipt, err error) {
	s := p.session
	s.gateway.metrics.publishDuration.Observe(time.Since(p.started).Seconds())
	switch {
	case err != nil:
		s.gateway.logger.Debug("publish failed", "connection_id", s.client.ID, "user_id", s.client.UserID, "error", err)
		s.fail(p.id, publishError(err))
	case len(p.id) > 0:
		messageID := p.messageID
		if r.MessageID != "" {
			messageID = []byte(r.MessageID) // it was published before
		}
		s.send(func(dst []byte) []byte {
			return protocol.AppendPublishAck(dst, p.id, messageID, protocol.Position{Epoch: r.Epoch, Offset: r.Offset})
		})
	}
	p.session = nil
	if cap(p.body) <= maxPooledBody {
		publications.Put(p)
	}
}

func publishError(err error) *protocol.Error {
	switch {
	case errors.Is(err, backplane.ErrUnavailable):
		return &protocol.Error{Code: protocol.CodeUnavailable, Message: "not known to be published: try again with the same idempotency_key"}
	case errors.Is(err, backplane.ErrConflict):
		return &protocol.Error{Code: protocol.CodeConflict, Message: "this idempotency_key was used for other data: use a new key for new data"}
	case errors.Is(err, backplane.ErrUnconfirmed):
		return &protocol.Error{Code: protocol.CodeUnconfirmed, Message: "stored and passed on, but fewer replicas than asked for have confirmed"}
	}
	return &protocol.Error{Code: protocol.CodeInternal, Message: "the message could not be published"}
}
