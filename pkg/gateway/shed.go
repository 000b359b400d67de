package gateway

import (
	"context"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// shed asks up to count clients to connect anew, at the drain rate, which all gateways share, and closes their old connections after the grace. It
// returns at once with the number of clients asked; those that are moving already are not asked again.
func (g *Gateway) shed(count int) int {
	var sessions []*session
	for _, s := range g.allSessions() {
		if len(sessions) == count {
			break
		}
		if !s.moving.Load() {
			sessions = append(sessions, s)
		}
	}
	if len(sessions) == 0 {
		return 0
	}
	leave := departures{gateway: g, why: protocol.ReconnectRebalancing, reason: socket.Rebalancing, rate: g.settings.Drain.Rate, grace: moveGrace}
	asked := len(sessions)
	for _, s := range sessions {
		s.moving.Store(true) // before another shed looks
	}
	go leave.run(context.Background(), sessions)
	return asked
}
