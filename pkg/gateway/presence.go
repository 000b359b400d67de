package gateway

import (
	"encoding/json"
	"net/http"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// presencePage is how many users an answer lists when no limit is given.
const presencePage = 100

var (
	errNoPresence = &protocol.Error{Code: protocol.CodeBadRequest, Message: "nobody keeps who is in this room: give it a policy with presence: Enabled"}
	errMembers    = &protocol.Error{Code: protocol.CodeUnavailable, Message: "who is in the room cannot be known now: try again"}
)

// keepsPresence tells whether the room's policy asks for presence.
func (g *Gateway) keepsPresence(room string) bool {
	return g.hub.HasPresence() && g.live.Load().policies.Policy(room).Presence
}

// presenceOf says what a join has to do with who is in the room.
func (s *session) presenceOf(c *protocol.Command, room string) (hub.Presence, *protocol.Error) {
	switch keeps := s.gateway.keepsPresence(room); {
	case keeps && c.Presence:
		return hub.Watching, nil
	case keeps:
		return hub.Seen, nil
	case c.Presence:
		return hub.Unseen, errNoPresence
	}
	return hub.Unseen, nil
}

// presence answers a presence command with a page of the users in the room. Who may join may see who is there.
func (s *session) presence(c *protocol.Command) *protocol.Error {
	target, _ := s.client.RoomTarget(c.RoomID)
	if err := s.gateway.live.Load().policies.CanJoin(s.identity.Load(), target.ID); err != nil {
		return refusal(err)
	}
	if !s.gateway.keepsPresence(target.ID) {
		return errNoPresence
	}
	after, err := pageAfter(string(c.Next))
	if err != nil || len(c.ID) == 0 {
		return err
	}
	limit := presencePage
	if c.Limit > 0 {
		limit = c.Limit
	}
	id := []byte(string(c.ID)) // the frame is overwritten before the ack is sent
	s.gateway.hub.Members(target, after, limit, func(l hub.MemberListing, err error) {
		if err != nil {
			s.fail(id, errMembers)
			return
		}
		s.send(func(dst []byte) []byte { return protocol.AppendPresenceAck(dst, id, l.Members, l.Users, l.Last) })
	})
	return nil
}

// pageAfter reads the next of an earlier answer: the last user of that page.
func pageAfter(next string) (string, *protocol.Error) {
	if next != "" && protocol.CheckName(next) != nil {
		return "", &protocol.Error{Code: protocol.CodeBadRequest, Message: "next must be as the last answer gave it"}
	}
	return next, nil
}

// apiMembers answers GET /v1/rooms/{room_id}/members?limit=&next=.
func (g *Gateway) apiMembers(w http.ResponseWriter, r *http.Request) {
	room, err := apiName(r, "room_id")
	if err != nil {
		apiError(w, err)
		return
	}
	if !g.keepsPresence(room) {
		apiError(w, errNoPresence)
		return
	}
	limit, err := apiNumber(r, "limit", presencePage, protocol.MaxLimit)
	if err != nil {
		apiError(w, err)
		return
	}
	after, err := pageAfter(r.URL.Query().Get("next"))
	if err != nil {
		apiError(w, err)
		return
	}
	listing, failure := g.hub.ReadMembers(r.Context(), backplane.Target{ID: room}, after, int(limit))
	if failure != nil {
		apiError(w, errMembers)
		return
	}
	apiAnswer(w, http.StatusOK, struct {
		Members json.RawMessage `json:"members"`
		Count   int             `json:"count"`
		Next    string          `json:"next,omitempty"`
	}{append(append([]byte{'['}, listing.Members...), ']'), listing.Users, listing.Last})
}
