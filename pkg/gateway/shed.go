package gateway

import (
	"context"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// shed asks up to count clients to connect anew, at the drain rate, and closes their old connections after the grace. It
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
	rate := g.settings.Drain.Rate
	plan := drainPlan{spread: time.Duration(len(sessions)) * time.Second / time.Duration(rate), grace: moveGrace}
	go g.move(context.Background(), sessions, protocol.ReconnectRebalancing, socket.Rebalancing, plan)
	return len(sessions)
}
