package gateway

import (
	"context"
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
	spread, grace := drainTimes(settings.Timeout)
	leave := departures{
		gateway: g, why: protocol.ReconnectDraining, reason: socket.Draining, rate: settings.Rate, grace: grace, end: time.Now().Add(spread),
	}
	leave.run(hard, g.allSessions())
	end := time.Now().Add(grace)
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

// drainTimes divides the drain timeout: the last client's turn is after the spread at the latest, and each connection is closed
// the grace after its turn.
func drainTimes(timeout time.Duration) (spread, grace time.Duration) {
	grace = min(moveGrace, timeout/4)
	return timeout - 2*grace, grace
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
