package gateway

import (
	"strconv"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
)

var errNoHistory = &protocol.Error{Code: protocol.CodeBadRequest, Message: "no history is kept there: give the room a policy with history, or turn inboxes on"}

// history answers a history command with a page of a room's log, or of the user's own inbox.
func (s *session) history(c *protocol.Command) *protocol.Error {
	live := s.gateway.live.Load()
	target := backplane.Target{Kind: backplane.User, ID: s.client.UserID}
	kept := live.inbox != nil
	if !c.Inbox {
		target, _ = s.client.RoomTarget(c.RoomID)
		if err := live.policies.CanJoin(s.identity.Load(), target.ID); err != nil {
			return refusal(err)
		}
		kept = live.keepRoom(target.ID) != nil
	}
	if !kept || !s.gateway.hub.HasLog() {
		return errNoHistory
	}
	from := backplane.Cursor{Since: c.Since, Limit: protocol.MaxAckMessages, Reverse: c.Reverse}
	if c.Limit > 0 {
		from.Limit = min(c.Limit, protocol.MaxAckMessages)
	}
	if len(c.Next) > 0 {
		offset, err := strconv.ParseInt(string(c.Next), 10, 64)
		if err != nil || offset < 1 || offset > protocol.MaxOffset {
			return &protocol.Error{Code: protocol.CodeBadRequest, Message: "next must be as an ack gave it"}
		}
		from.Since = offset
	}
	id := []byte(string(c.ID)) // the frame is overwritten before the ack is sent
	s.gateway.hub.History(target, from, func(l hub.Listing, err error) {
		if err != nil {
			s.fail(id, &protocol.Error{Code: protocol.CodeUnavailable, Message: "the history cannot be read now: try again"})
			return
		}
		if len(id) == 0 {
			return
		}
		next := ""
		if l.More {
			next = strconv.FormatInt(l.Last, 10)
		}
		s.send(func(dst []byte) []byte { return protocol.AppendHistoryAck(dst, id, l.At, l.Messages, next) })
	})
	return nil
}
