package gateway

import (
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/settings"
)

// allowance is what one user may publish over all connections to this process. It is one bucket here, and what is spent from it
// faster than an eighth of the rate is reported to the bucket that all gateways share, a few at a time. The answer lowers the
// bucket here to what the user has left of the rate on all gateways. So a user of ordinary habits costs Redis nothing, and nobody
// waits for it. Safe for concurrent use.
type allowance struct {
	user string

	mu         sync.Mutex
	tokens     bucket // as if the user were nowhere else
	quiet      bucket // what need not be reported
	unreported int
	reporting  bool
	holders    int // connections; guarded by allowances.mu
}

const (
	// quietShare is the part of the rate that need not be reported, and the part of the burst that is reported at once.
	quietShare = 8
	// maxRemembered bounds how long what a user spent is remembered without a connection.
	maxRemembered = time.Minute
)

// take takes a token; false if there is none. report says how many are to be reported now; 0: none.
func (a *allowance) take(now time.Time, rate, burst int) (ok bool, report int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.tokens.takeAt(now, rate, burst) {
		return false, 0
	}
	if a.quiet.takeAt(now, max(1, rate/quietShare), max(1, burst/quietShare)) {
		return true, 0
	}
	a.unreported = min(a.unreported+1, burst) // while Redis is away
	if a.reporting || a.unreported < burst/quietShare {
		return true, 0
	}
	report, a.unreported, a.reporting = a.unreported, 0, true
	return true, report
}

// reported takes over what is left of the rate on all gateways.
func (a *allowance) reported(count int, left float64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reporting = false
	if err != nil {
		a.unreported += count
		return
	}
	a.tokens.tokens = min(a.tokens.tokens, float32(left-float64(a.unreported)))
}

// allowances are those of the users who publish here.
type allowances struct {
	// Fixed by New.
	gateway *Gateway
	budgets backplane.Budgets // nil: there are no other gateways

	mu    sync.Mutex
	users map[string]*allowance
}

func newAllowances(g *Gateway, plane backplane.Backplane) *allowances {
	a := &allowances{gateway: g, users: map[string]*allowance{}}
	if g.settings.Auth.Type != settings.AuthGuest { // a guest has one connection
		a.budgets, _ = plane.(backplane.Budgets)
	}
	return a
}

// of returns the user's allowance, which the caller gives back.
func (all *allowances) of(user string) *allowance {
	all.mu.Lock()
	defer all.mu.Unlock()
	a := all.users[user]
	if a == nil {
		a = &allowance{user: user}
		all.users[user] = a
	}
	a.holders++
	return a
}

// giveBack forgets what nobody holds, once its bucket is full again: else a client would get another burst by connecting anew.
func (all *allowances) giveBack(a *allowance) {
	limits := &all.gateway.live.Load().limits
	wait := maxRemembered
	if limits.MessagesPerSecond > 0 {
		wait = min(wait, time.Duration(max(1, limits.MessageBurst))*time.Second/time.Duration(limits.MessagesPerSecond))
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	a.holders--
	if a.holders == 0 {
		time.AfterFunc(wait, func() { all.forget(a) })
	}
}

func (all *allowances) forget(a *allowance) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if a.holders == 0 && all.users[a.user] == a {
		delete(all.users, a.user)
	}
}

// mayPublish takes one of the user's messages for the session. It belongs to the session's reading goroutine.
func (s *session) mayPublish(limits *settings.Limits) bool {
	if limits.MessagesPerSecond == 0 {
		return true
	}
	all := s.gateway.allowances
	if s.messages == nil {
		s.messages = all.of(s.client.UserID)
	}
	a := s.messages
	ok, report := a.take(time.Now(), limits.MessagesPerSecond, limits.MessageBurst)
	if report > 0 {
		all.report(a, report, limits)
	}
	return ok
}

// report tells the other gateways what the user has spent here.
func (all *allowances) report(a *allowance, count int, limits *settings.Limits) {
	if all.budgets == nil || !all.gateway.backplane.Status().Up {
		a.reported(count, 0, backplane.ErrUnavailable)
		return
	}
	all.budgets.Spend(backplane.Target{Kind: backplane.User, ID: a.user}, count, limits.MessagesPerSecond, limits.MessageBurst,
		func(left float64, err error) { a.reported(count, left, err) })
}
