package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

const (
	// turnHorizon is how far ahead clients are told when to go. It is as long as a gateway that begins to drain later than
	// another waits at most for its first turn.
	turnHorizon = 2 * time.Second
	// turnPatience is how long Redis may take to hand out turns; then the gateway takes its own share.
	turnPatience = 300 * time.Millisecond
	// turnBatches is how many times a second each gateway asks for turns at most, once the horizon is full.
	turnBatches = 4
	// departureTick is how late a connection may be closed.
	departureTick = 20 * time.Millisecond
)

// departures sends clients to other gateways, at a rate that all gateways share. Each client is told its turn, and its
// connection is closed the grace after it. The goroutine of run owns it.
//
// Turns are taken from the backplane a few at a time, so that gateways that drain at the same time take them in turns. Without
// the backplane the gateway takes its own: the rate by the number of gateways there were last. If there is an end, and the
// turns that all gateways need reach beyond it, the end wins: what is left is spread over the time that is left.
type departures struct {
	// Fixed at start.
	gateway *Gateway
	why     protocol.ReconnectReason
	reason  socket.Reason
	rate    int
	grace   time.Duration
	// end is when the last turn must be; zero: there is no end.
	end time.Time

	waiting []*session // not told yet
	told    []departure
	own     ownTurns
	hurried bool
	askAt   time.Time
}

// departure is a client that was told to go.
type departure struct {
	session *session
	closeAt time.Time
}

// run asks the sessions to reconnect and closes each after the grace. It returns when the last was closed, or all have gone by
// themselves, or when ctx ends.
func (d *departures) run(ctx context.Context, sessions []*session) {
	d.waiting = sessions
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	for _, s := range sessions {
		s.moving.Store(true)
	}
	for {
		now := time.Now()
		d.waiting = d.gateway.stillHere(d.waiting)
		if len(d.waiting) > 0 && !now.Before(d.askAt) {
			d.ask(ctx, now)
		}
		now = time.Now()
		for len(d.told) > 0 && !now.Before(d.told[0].closeAt) {
			d.told[0].session.conn.Close(uint16(protocol.CloseRestart), "connect again", d.reason)
			d.told = d.told[1:]
		}
		if len(d.waiting)+len(d.told) == 0 || d.gateway.present() == 0 {
			break
		}
		if len(d.waiting) > 0 && !time.Now().Before(d.askAt) {
			continue // turns are left within the horizon
		}
		if !sleep(ctx, departureTick) {
			break
		}
	}
	d.done(ctx)
}

// ask takes turns and tells clients, or all that are left where there is no time to wait for turns.
func (d *departures) ask(ctx context.Context, now time.Time) {
	request := backplane.TurnRequest{Count: min(len(d.waiting), max(1, d.rate/turnBatches)), Left: len(d.waiting), Rate: d.rate, Horizon: turnHorizon}
	if d.end.IsZero() {
		request.Left = 0 // nobody has to hurry because of these
	}
	grant, rate := d.turns(ctx, request, now)
	now = time.Now()
	gap := time.Second / time.Duration(rate)
	if left := d.end.Sub(now); !d.end.IsZero() {
		needed := grant.Start + time.Duration(float64(max(grant.Left, len(d.waiting)))/float64(rate)*float64(time.Second))
		if tooLate(needed, left) {
			d.hurry(grant.Left, needed, left)
			d.tell(len(d.waiting), now, 0, max(0, left)/time.Duration(len(d.waiting)))
			return
		}
	}
	if grant.Count == 0 {
		// At random, so that of gateways that drain together none is always right behind another.
		d.askAt = now.Add(time.Second/turnBatches/2 + rand.N(time.Second/turnBatches))
		return
	}
	d.tell(grant.Count, now, grant.Start, gap)
}

// tooLate says whether the turns that are needed take longer than there is time left. A little more is no hurry: the measure
// itself takes time.
func tooLate(needed, left time.Duration) bool { return needed > left+left/100+turnHorizon/10 }

// turns takes turns from the backplane, or else the gateway's own share of them. It returns at which rate they come.
func (d *departures) turns(ctx context.Context, request backplane.TurnRequest, now time.Time) (backplane.TurnGrant, int) {
	nodes := 1
	if shared, ok := d.gateway.backplane.(backplane.Turns); ok {
		if d.gateway.backplane.Status().Up {
			patience, cancel := context.WithTimeout(ctx, turnPatience)
			grant, err := shared.TakeTurns(patience, request)
			cancel()
			if err == nil {
				return grant, request.Rate
			}
			d.gateway.logger.Debug("turns of all gateways cannot be had: taking a share", "error", err)
		}
		nodes = d.gateway.LiveNodes()
	}
	request.Rate = max(1, request.Rate/nodes)
	return d.own.take(now, request), request.Rate
}

// tell asks the next count clients to reconnect, the first in start, the others gap after one another.
func (d *departures) tell(count int, now time.Time, start, gap time.Duration) {
	for i, s := range d.waiting[:count] {
		delay := start + gap*time.Duration(i)
		if gap > 0 {
			delay += rand.N(gap) // no two clients at the same time, and no rhythm
		}
		d.gateway.attendance.exit(s) // the connection that takes its place counts
		s.send(func(dst []byte) []byte { return protocol.AppendReconnect(dst, d.why, delay.Milliseconds()) })
		d.told = append(d.told, departure{s, now.Add(delay + d.grace)})
	}
	d.waiting = d.waiting[count:]
}

// hurry says that the end comes before the turns.
func (d *departures) hurry(left int, needed, have time.Duration) {
	if d.hurried {
		return
	}
	d.hurried = true
	g := d.gateway
	g.metrics.drainHurried.Set(1)
	timeout := g.settings.Drain.Timeout
	g.logger.Warn("the drain timeout is too short for the drain rate: clients are sent away faster", "connections", len(d.waiting),
		"connections_of_all_draining", max(left, len(d.waiting)), "timeout", timeout.String(), "rate", d.rate,
		"needed_timeout", (timeout - have + needed - 2*d.grace + 2*moveGrace).Round(time.Millisecond).String())
}

// done tells the other gateways that this one needs no more turns.
func (d *departures) done(ctx context.Context) {
	if shared, ok := d.gateway.backplane.(backplane.Turns); ok && !d.end.IsZero() && d.gateway.backplane.Status().Up {
		patience, cancel := context.WithTimeout(ctx, turnPatience)
		defer cancel()
		_, _ = shared.TakeTurns(patience, backplane.TurnRequest{Rate: d.rate, Horizon: turnHorizon}) // they find out by themselves within 5 s
	}
}

// ownTurns hands out turns within this process. Its zero value is ready for use.
type ownTurns struct{ next time.Time }

func (o *ownTurns) take(now time.Time, want backplane.TurnRequest) backplane.TurnGrant {
	if o.next.Before(now) {
		o.next = now
	}
	gap := time.Second / time.Duration(want.Rate)
	free := now.Add(want.Horizon).Sub(o.next)
	grant := backplane.TurnGrant{Start: o.next.Sub(now), Left: want.Left}
	if free > 0 {
		grant.Count = min(want.Count, int((free+gap-1)/gap))
		o.next = o.next.Add(gap * time.Duration(grant.Count))
	}
	return grant
}

// stillHere returns those of the sessions that have not ended.
func (g *Gateway) stillHere(sessions []*session) []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	here := sessions[:0]
	for _, s := range sessions {
		if _, is := g.sessions[s]; is {
			here = append(here, s)
		}
	}
	return here
}
