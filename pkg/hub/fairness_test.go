package hub_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/socket"
)

// gate is the Sender of many members. It lets frames through until it is shut, and then lets its fan-out wait in the middle. It is
// no socket, since a test cannot have 100,000 of these, and a real one cannot be stopped at a chosen moment.
type gate struct {
	passed  atomic.Int64
	shut    int64 // the frame at which it waits
	reached chan struct{}
	open    chan struct{}
}

func (g *gate) Send(*socket.Buffer) {
	if g.passed.Add(1) == g.shut {
		close(g.reached)
		<-g.open
	}
}

func (*gate) Queued() int                         { return 0 }
func (*gate) Close(uint16, string, socket.Reason) {}

// A fan-out to 100,000 members takes the better part of a second. Nobody waits for it: everything here happens while it stands still.
func TestAFanOutToAHundredThousandMembersHoldsUpNobody(t *testing.T) {
	const members = 100_000
	h := newHub(t, memory.New())
	g := &gate{shut: members / 2, reached: make(chan struct{}), open: make(chan struct{})}
	clients := make([]*recipient, members)
	for i := range clients {
		clients[i] = arrive(h, fmt.Sprint("connection-", i), fmt.Sprint("user-", i%100))
		clients[i].Client.Sender = g
		enter(h, clients[i])
	}
	publish := func(room string, n int) {
		target := backplane.Target{Kind: backplane.Room, ID: room}
		acked := make(chan struct{})
		h.Publish(&backplane.Message{Target: target, Body: body("publisher", n)}, confirmed(func(backplane.Receipt, error) { close(acked) }))
		<-acked
	}
	publish("lobby", 0)
	<-g.reached

	newcomer := arrive(h, "newcomer", "somebody")
	enter(h, newcomer)
	h.Leave(&clients[0].Client, []byte("lobby"))
	h.Disconnect(&clients[1].Client)
	publish("lobby", 1)
	for i := range 1_000 { // more rooms than shards, so that some share the big one's
		room := fmt.Sprint("room-", i)
		joined := make(chan struct{})
		h.Join(&newcomer.Client, room, hub.Unseen, func() { close(joined) })
		<-joined
		publish(room, i)
		eventually(t, func() bool { return newcomer.has(i + 1) })
		h.Leave(&newcomer.Client, []byte(room))
	}
	if g.passed.Load() != members/2 {
		t.Fatalf("the fan-out went on to %d members, and was to stand still", g.passed.Load())
	}

	close(g.open)
	// The first message went to those who were there; the second to all but the two who left, and to the newcomer.
	eventually(t, func() bool { return g.passed.Load() == 2*members-2 && newcomer.has(1_001) })
}
