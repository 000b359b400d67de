package hub_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// TestALinkThatIsBackHasAllRoomsLookedAtInTurn has far more rooms than repairs may run at a time, and a store of which a part
// does not answer.
func TestALinkThatIsBackHasAllRoomsLookedAtInTurn(t *testing.T) {
	const rooms, away, atOnce = 1000, 100, 64
	synctest.Test(t, func(t *testing.T) {
		s := open(t, func(o *hub.Options) { o.Linger = time.Hour })
		target := func(i int) backplane.Target {
			return backplane.Target{Kind: backplane.Room, ID: fmt.Sprint("room ", i)}
		}
		publish := func(i int, data string) {
			s.link.Publish(&backplane.Message{Target: target(i), Keep: s.keep, Body: protocol.AppendMessage(nil, &protocol.Message{
				ID: []byte("m"), RoomID: []byte(target(i).ID), Data: []byte(data), TS: 1,
			})}, confirmed(func(_ backplane.Receipt, err error) {
				if err != nil {
					t.Errorf("publish: %v", err)
				}
			}))
		}
		var members []*listener
		for i := range rooms {
			l := s.connect(t)
			s.hub.JoinLog(l.client, target(i).ID, hub.Wanted{}, l.joined)
			members = append(members, l)
		}
		// One room has been left, but is still subscribed to.
		synctest.Wait()
		for _, m := range members {
			if len(m.acked()) != 1 {
				t.Fatalf("%s is not acked", m.client.ID)
			}
		}
		s.hub.Leave(members[rooms-1].client, []byte(target(rooms-1).ID))
		publish(rooms-1, "1")

		var reading, most, ofLeft atomic.Int64
		awayTargets := map[backplane.Target]bool{}
		for i := range away {
			awayTargets[target(i)] = true
		}
		var back atomic.Bool
		s.link.reading = func(from backplane.Target, _ backplane.Cursor) error {
			n := reading.Add(1)
			defer reading.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if from == target(rooms-1) {
				ofLeft.Add(1)
			}
			time.Sleep(time.Millisecond) // a round trip
			if awayTargets[from] && !back.Load() {
				return fmt.Errorf("%w: away", backplane.ErrUnavailable)
			}
			return nil
		}
		s.link.breakLink()
		for i := range rooms {
			publish(i, "2")
		}
		s.link.restoreLink()
		wait(time.Second)
		for _, m := range members[away : rooms-1] {
			m.mustHave([]string{"2"}, "a second after the link is back")
		}
		if got := most.Load(); got > atOnce+1 { // one more is the scrub's
			t.Errorf("%d logs were read at a time, want at most %d", got, atOnce)
		}
		if got := ofLeft.Load(); got != 0 {
			t.Errorf("the log of a room without members was read %d times", got)
		}
		members[0].mustHave(nil, "while its part of the store is away")
		back.Store(true)
		wait(5 * time.Second)
		for _, m := range members[:away] {
			m.mustHave([]string{"2"}, "when all of the store is back")
		}
	})
}
