package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

// attendance tells the backplane which users are connected here, where that matters: for the limit of connections of one user
// over all gateways, and for inboxes, which are kept for users who are known to exist. It tells what changed, and everything anew
// each hour, after an outage, and when another gateway asks. Safe for concurrent use.
type attendance struct {
	// Fixed by New.
	gateway *Gateway
	plane   backplane.Users // nil: the backplane remembers no users
	// wake has room for one: somebody is to be told of.
	wake chan struct{}

	mu    sync.Mutex
	users map[string]*attendee
	// due are those to tell of, in order; failed those of whom the backplane does not know the newest state.
	due        []*attendee
	failed     map[*attendee]struct{}
	flying     int
	reconnects uint64 // of the backplane, when they were looked at last
}

// attendee is a user who is connected here.
type attendee struct {
	user string
	// connections count against the limit, oldest first.
	connections []attending
	came        []attending // not told yet
	left        []string    // not told yet
	all         bool        // everything is to be told anew
	settle      bool        // a doubt is to be ended
	doubtful    bool        // a doubt is about to be settled
	told        time.Time   // when everything was told last
	listed      bool        // in due
	busy        bool        // being told
}

type attending struct {
	session *session
	opened  time.Time
}

const (
	// tellAtOnce bounds what is on its way to the backplane: enough to fill a pipeline, not enough to be in the way of messages.
	tellAtOnce = 64
	// tellAgain is how often a user who stays is told of anew: a third of the time for which the backplane remembers.
	tellAgain = time.Hour
	// retryTelling is how soon failures are repeated, and how soon it is seen that the backplane came back.
	retryTelling = time.Second
	// believed is how long another gateway that told of a user is believed to be alive when that user has too many connections.
	believed = 10 * time.Second
	// roundCall is how long all gateways have to tell of a user when one of them may be dead.
	roundCall = 1500 * time.Millisecond
)

// The words that gateways send each other by a user's channel.
const (
	// controlTell asks for everything about the user.
	controlTell = "tell"
	// controlReplace, with a connection's id behind a space, closes that connection.
	controlReplace = "replace"
)

func newAttendance(g *Gateway, plane backplane.Backplane) *attendance {
	a := &attendance{gateway: g, wake: make(chan struct{}, 1), users: map[string]*attendee{}, failed: map[*attendee]struct{}{}}
	a.plane, _ = plane.(backplane.Users)
	return a
}

// matters says whether anything is to be told at all. A guest's id is nobody else's, and never comes back.
func (a *attendance) matters(l *live) bool {
	return a.gateway.settings.Auth.Type != settings.AuthGuest && (l.limits.MaxConnectionsPerUser > 0 || l.inbox != nil)
}

// enter counts a connection.
func (a *attendance) enter(s *session) {
	if !a.matters(a.gateway.live.Load()) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enterLocked(s)
}

func (a *attendance) enterLocked(s *session) {
	if !a.gateway.registered(s) {
		return // it has ended meanwhile
	}
	u := a.users[s.client.UserID]
	if u == nil {
		u = &attendee{user: s.client.UserID, all: true}
		a.users[u.user] = u
	}
	if slices.ContainsFunc(u.connections, func(c attending) bool { return c.session == s }) {
		return
	}
	c := attending{s, time.Unix(0, s.opened)}
	u.connections = append(u.connections, c)
	slices.SortStableFunc(u.connections, func(x, y attending) int { return x.opened.Compare(y.opened) })
	if limit := a.gateway.live.Load().limits.MaxConnectionsPerUser; limit > 0 {
		u.came = append(u.came, c)
	} else if time.Since(u.told) < tellAgain && !u.all {
		return // the user is known to exist
	}
	a.list(u)
}

// exit counts a connection no more: it has ended, or its client is asked to open another in its place.
func (a *attendance) exit(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[s.client.UserID]
	if u == nil {
		return
	}
	is := func(c attending) bool { return c.session == s }
	if !slices.ContainsFunc(u.connections, is) {
		return
	}
	u.connections = slices.DeleteFunc(u.connections, is)
	u.came = slices.DeleteFunc(u.came, is)
	if a.gateway.live.Load().limits.MaxConnectionsPerUser > 0 {
		u.left = append(u.left, s.client.ID)
		a.list(u)
	}
	a.forget(u)
}

// list puts a user among those to tell of.
func (a *attendance) list(u *attendee) {
	if u.listed || u.busy {
		return // the answer lists it
	}
	u.listed = true
	a.due = append(a.due, u)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// forget lets go of a user who has no connection here and of whom nothing is to be told.
func (a *attendance) forget(u *attendee) {
	if len(u.connections) == 0 && !u.listed && !u.busy {
		delete(a.users, u.user)
		delete(a.failed, u)
	}
}

// run tells what is due until ctx ends.
func (a *attendance) run(ctx context.Context) {
	ticker := time.NewTicker(retryTelling)
	defer ticker.Stop()
	for {
		for a.next() {
		}
		select {
		case <-a.wake:
		case now := <-ticker.C:
			a.look(now)
		case <-ctx.Done():
			return
		}
	}
}

// next tells of one user. It returns false if there is nobody, or too many are being told of already.
func (a *attendance) next() bool {
	a.mu.Lock()
	if len(a.due) == 0 || a.flying >= tellAtOnce {
		a.mu.Unlock()
		return false
	}
	u := a.due[0]
	a.due[0] = nil
	a.due = a.due[1:]
	u.listed = false
	if a.plane == nil || !a.gateway.backplane.Status().Up {
		a.failedLocked(u)
		a.mu.Unlock()
		return true
	}
	told := a.take(u, time.Now())
	u.busy = true
	a.flying++
	a.mu.Unlock()
	a.plane.Attend(backplane.Target{Kind: backplane.User, ID: u.user}, told, func(answer backplane.Attended, err error) { a.answered(u, told, answer, err) })
	return true
}

// take returns what is to be told of a user.
func (a *attendance) take(u *attendee, now time.Time) backplane.Attendance {
	live := a.gateway.live.Load()
	told := backplane.Attendance{Limit: live.limits.MaxConnectionsPerUser, Left: u.left, Settle: u.settle, Fresh: believed}
	if told.Settle {
		told.Fresh = roundCall + roundCall/2
	}
	if live.inbox != nil && len(u.connections) > 0 {
		told.Seen = live.inbox.TTL + 2*tellAgain // so it is at least the TTL after the last connection has ended
	}
	came := u.came
	if u.all || len(u.connections) == 0 {
		came, told.All, u.told = u.connections, true, now
	}
	if told.Limit > 0 {
		for _, c := range came {
			told.Came = append(told.Came, backplane.Connection{ID: c.session.client.ID, Age: now.Sub(c.opened)})
		}
	}
	u.came, u.left, u.all, u.settle = nil, nil, false, false
	return told
}

// answered takes over what the backplane said of a user.
func (a *attendance) answered(u *attendee, told backplane.Attendance, answer backplane.Attended, err error) {
	// Without a lock: what the other gateways are told may come to this one at once.
	for _, word := range a.takeOver(u, told, answer, err) {
		a.gateway.hub.PublishControl(backplane.Target{Kind: backplane.User, ID: u.user}, word, unheard{})
	}
}

// takeOver is answered but for what other gateways have to be told, which it returns.
func (a *attendance) takeOver(u *attendee, told backplane.Attendance, answer backplane.Attended, err error) (words []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flying--
	u.busy = false
	select {
	case a.wake <- struct{}{}: // others may wait for a place
	default:
	}
	if err != nil {
		u.settle = u.settle || told.Settle
		a.failedLocked(u)
		return nil
	}
	delete(a.failed, u)
	for _, id := range answer.Replaced {
		if !u.replace(id) {
			words = append(words, controlReplace+" "+id)
		}
	}
	switch {
	case answer.Doubtful && !u.doubtful:
		u.doubtful = true
		words = append(words, controlTell)
		time.AfterFunc(roundCall, func() { a.settle(u) })
	case len(u.came)+len(u.left) > 0 || u.all || u.settle:
		a.list(u)
	}
	a.forget(u)
	return words
}

// settle ends a doubt: who has not told of the user by now is not there.
func (a *attendance) settle(u *attendee) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u.doubtful, u.settle = false, true
	if a.users[u.user] == u {
		a.list(u)
	}
}

// replace closes a connection. It returns false if it is not here.
func (u *attendee) replace(id string) bool {
	for i, c := range u.connections {
		if c.session.client.ID == id {
			u.connections = slices.Delete(u.connections, i, i+1)
			c.session.replaced()
			return true
		}
	}
	return false
}

// failedLocked remembers that the backplane does not know the newest state of a user. What can be counted here is bounded here.
func (a *attendance) failedLocked(u *attendee) {
	u.came, u.left, u.all = nil, nil, true
	a.failed[u] = struct{}{}
	if limit := a.gateway.live.Load().limits.MaxConnectionsPerUser; limit > 0 {
		for len(u.connections) > limit {
			u.connections[0].session.replaced()
			u.connections = u.connections[1:]
		}
	}
	a.forget(u)
}

// look finds what is to be told again.
func (a *attendance) look(now time.Time) {
	status := a.gateway.backplane.Status()
	if a.plane == nil || !status.Up {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for u := range a.failed {
		delete(a.failed, u)
		a.list(u)
	}
	lost := status.Reconnects != a.reconnects // it may have forgotten everything
	a.reconnects = status.Reconnects
	for _, u := range a.users {
		if lost || now.Sub(u.told) >= tellAgain {
			u.all = true
			a.list(u)
		}
	}
}

// tell has everything told anew of a user, since another gateway asked.
func (a *attendance) tell(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.users[user]; u != nil {
		u.all = true
		a.list(u)
	}
}

// replace closes a connection that another gateway found to be over the limit, if it is here and counts still.
func (a *attendance) replace(user, connection string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.users[user]; u != nil {
		u.replace(connection)
	}
}

// untold counts the users of whom the backplane does not know the newest state.
func (a *attendance) untold() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due) + len(a.failed)
}

// reload takes over changed settings.
func (a *attendance) reload() {
	matters := a.matters(a.gateway.live.Load())
	sessions := a.gateway.allSessions()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !matters {
		a.users, a.due, a.failed = map[string]*attendee{}, nil, map[*attendee]struct{}{}
		return
	}
	for _, s := range sessions {
		if !s.moving.Load() {
			a.enterLocked(s)
		}
	}
	for _, u := range a.users {
		u.all = true
		a.list(u)
	}
}

// replaced closes a connection whose user has opened too many since.
func (s *session) replaced() {
	s.conn.Close(uint16(protocol.CloseReplaced), "replaced: this user has opened more connections than allowed", socket.Replaced)
}

// unheard is told of confirmations that nobody waits for: what a lost word was about is found out again later.
type unheard struct{}

// Published implements backplane.Confirmation.
func (unheard) Published(backplane.Receipt, error) {}
