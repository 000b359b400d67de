package auth

import (
	"net/http"
	"sync/atomic"

	"github.com/wscluster/wscluster/pkg/settings"
)

// Policies decides who may join rooms, publish to them, and message users. It is safe for concurrent use; a check allocates
// nothing, takes no lock, and sees either the old policies or the new ones as a whole.
type Policies struct {
	current atomic.Pointer[policySet]
}

type policySet struct {
	rooms []roomPolicy
	// standard holds for rooms that no policy matches.
	standard roomPolicy
	direct   settings.Access
}

type roomPolicy struct {
	glob glob
	settings.RoomPolicy
}

// NewPolicies compiles the room policies and the rule for direct messages. The settings must be valid.
func NewPolicies(s settings.Settings) *Policies {
	p := &Policies{}
	p.Replace(s)
	return p
}

// Replace puts other policies in force for every check that starts afterwards. It copies what it keeps.
func (p *Policies) Replace(s settings.Settings) {
	set := &policySet{standard: compilePolicy(settings.DefaultRoomPolicy()), direct: s.DirectMessages.Publish}
	for _, policy := range s.Rooms {
		if policy.History != nil {
			history := *policy.History
			policy.History = &history
		}
		set.rooms = append(set.rooms, compilePolicy(policy))
	}
	if set.direct == "" {
		set.direct = settings.AccessAnyone
		if s.Auth.Type == settings.AuthJWT {
			set.direct = settings.AccessAuthenticated
		}
	}
	p.current.Store(set)
}

func compilePolicy(policy settings.RoomPolicy) roomPolicy {
	return roomPolicy{compileGlob(policy.Match), policy}
}

func (s *policySet) find(room string) *roomPolicy {
	for i := range s.rooms {
		if s.rooms[i].glob.match(room) {
			return &s.rooms[i]
		}
	}
	return &s.standard
}

// Policy returns the first policy whose glob matches the room, or the default one. Its History is shared and must not be changed.
func (p *Policies) Policy(room string) settings.RoomPolicy {
	return p.current.Load().find(room).RoomPolicy
}

// The refusals are made once: a client that asks for what it may not have costs nothing either.
var (
	errJoinNone          = forbidden("nobody may join this room")
	errJoinAuthenticated = forbidden("only clients with a verified token may join this room")
	errJoinToken         = forbidden("only clients whose token grants this room may join it")

	errPublishNone          = forbidden("nobody may publish to this room")
	errPublishServer        = forbidden("only the server API may publish to this room")
	errPublishAuthenticated = forbidden("only clients with a verified token may publish to this room")
	errPublishToken         = forbidden("only clients whose token grants this room may publish to it")
	errPublishMembers       = &Error{http.StatusForbidden, CodeNotJoined, "only members may publish to this room; join it first"}

	errDirectNone          = forbidden("nobody may publish to a user")
	errDirectServer        = forbidden("only the server API may publish to a user")
	errDirectAuthenticated = forbidden("only clients with a verified token may publish to a user")
)

// CanJoin returns nil if the identity may join the room, else an *Error with CodeForbidden.
func (p *Policies) CanJoin(identity *Identity, room string) error {
	switch p.current.Load().find(room).Join {
	case settings.AccessAnyone:
		return nil
	case settings.AccessAuthenticated:
		if identity.Verified {
			return nil
		}
		return errJoinAuthenticated
	case settings.AccessToken:
		if identity.grants(room) {
			return nil
		}
		return errJoinToken
	}
	return errJoinNone
}

// CanPublish returns nil if the identity may publish to the room; isMember says whether its connection has joined. Else it returns
// an *Error with CodeForbidden, or with CodeNotJoined where joining first would help.
func (p *Policies) CanPublish(identity *Identity, room string, isMember bool) error {
	switch p.current.Load().find(room).Publish {
	case settings.AccessAnyone:
		return nil
	case settings.AccessAuthenticated:
		if identity.Verified {
			return nil
		}
		return errPublishAuthenticated
	case settings.AccessMembers:
		if isMember {
			return nil
		}
		return errPublishMembers
	case settings.AccessToken:
		if identity.grants(room) {
			return nil
		}
		return errPublishToken
	case settings.AccessServer:
		return errPublishServer
	}
	return errPublishNone
}

// CanMessageUser returns nil if the identity may publish to a user, else an *Error with CodeForbidden.
func (p *Policies) CanMessageUser(identity *Identity) error {
	switch p.current.Load().direct {
	case settings.AccessAnyone:
		return nil
	case settings.AccessAuthenticated:
		if identity.Verified {
			return nil
		}
		return errDirectAuthenticated
	case settings.AccessServer:
		return errDirectServer
	}
	return errDirectNone
}

// grants says whether the identity's token names the room.
func (i *Identity) grants(room string) bool {
	if !i.Verified {
		return false
	}
	for _, pattern := range i.Rooms {
		if matchGlob(pattern, room) {
			return true
		}
	}
	return false
}
