package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// moveGrace is how long after its reconnect time a client may keep the old connection: it opens the new one first, joins its
// rooms there, and only then leaves. Clients that do not know reconnect frames are moved by the close.
const moveGrace = 5 * time.Second

// Drain has the process leave as if it had got SIGTERM. Only the first call counts; it returns at once.
func (g *Gateway) Drain() { g.drainOnce.Do(func() { close(g.drainNow) }) }

// drain leaves: it fails readiness, serves on for the delay while endpoints forget this process, then asks every client to
// connect elsewhere, no faster than the rate, and closes each with 1012 some time after its turn. It returns when all are
// gone, or when hard ends.
func (g *Gateway) drain(hard context.Context) {
	g.phase.Store(leaving)
	settings := g.settings.Drain
	g.logger.Info("draining: not ready any more", "connections", g.reactor.Open(), "delay", settings.Delay.String())
	if !sleep(hard, settings.Delay) {
		return
	}
	g.phase.Store(draining)
	sessions := g.allSessions()
	plan := planDrain(len(sessions), settings.Timeout, settings.Rate)
	if plan.hurried {
		g.metrics.drainHurried.Set(1)
		g.logger.Warn("the drain timeout is too short for the drain rate: clients are sent away faster", "connections", len(sessions),
			"timeout", settings.Timeout.String(), "rate", settings.Rate, "needed_timeout", (time.Duration(len(sessions))*time.Second/time.Duration(settings.Rate) + 2*moveGrace).String())
	}
	g.move(hard, sessions, protocol.ReconnectDraining, socket.Draining, plan)
	end := time.Now().Add(plan.grace)
	for g.reactor.Open() > 0 && time.Now().Before(end) {
		if !sleep(hard, 20*time.Millisecond) {
			return
		}
	}
	if left := g.reactor.Open(); left > 0 {
		g.logger.Warn("drained, but some clients did not answer their close", "connections", left)
		return
	}
	g.logger.Info("drained")
}

// drainPlan says when each of some clients has to go.
type drainPlan struct {
	// spread is the time between the first client's turn and the last's.
	spread time.Duration
	// grace is the time from a client's turn to its close.
	grace time.Duration
	// hurried is true if spread is shorter than the rate asks for.
	hurried bool
}

// planDrain spreads n reconnects by the rate (in clients a second). If the timeout, less the grace, is too short for that, the timeout wins.
func planDrain(n int, timeout time.Duration, rate int) drainPlan {
	p := drainPlan{grace: min(moveGrace, timeout/4)}
	p.spread = time.Duration(n) * time.Second / time.Duration(max(1, rate))
	if most := timeout - 2*p.grace; p.spread > most {
		p.spread, p.hurried = most, true
	}
	return p
}

// move asks the sessions to reconnect, each at its own time within the plan's spread, and closes each after the grace. It
// returns when the last was closed, or has gone by itself, or when ctx ends.
func (g *Gateway) move(ctx context.Context, sessions []*session, why protocol.ReconnectReason, reason socket.Reason, plan drainPlan) {
	start := time.Now()
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	turn := func(i int) time.Duration { return plan.spread * time.Duration(i) / time.Duration(len(sessions)) }
	for i, s := range sessions {
		s.moving.Store(true)
		g.attendance.exit(s) // the connection that takes its place counts
		delay := turn(i)
		if gap := plan.spread / time.Duration(len(sessions)); gap > 0 {
			delay += rand.N(gap) // no two clients at the same time, and no rhythm
		}
		s.send(func(dst []byte) []byte { return protocol.AppendReconnect(dst, why, delay.Milliseconds()) })
	}
	for i, s := range sessions {
		wait := time.Until(start.Add(turn(i) + plan.grace))
		for wait > 0 && g.present() > 0 {
			if !sleep(ctx, min(wait, 50*time.Millisecond)) {
				return
			}
			wait = time.Until(start.Add(turn(i) + plan.grace))
		}
		s.conn.Close(uint16(protocol.CloseRestart), "connect again", reason)
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *Gateway) register(s *session) {
	g.mu.Lock()
	g.sessions[s] = struct{}{}
	g.mu.Unlock()
}

func (g *Gateway) unregister(s *session) {
	g.mu.Lock()
	delete(g.sessions, s)
	g.mu.Unlock()
}

func (g *Gateway) registered(s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, is := g.sessions[s]
	return is
}

func (g *Gateway) present() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions)
}

func (g *Gateway) allSessions() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		all = append(all, s)
	}
	return all
}
