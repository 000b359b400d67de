package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// TestClientsThatComeAndGoMissNothingWhileMessagesFlow runs in real time, so that everything may meet everything: clients stay
// for a moment, and come back with where they stood; meanwhile the link repeats, delays, loses and breaks. What a client has
// got over all its connections must be every message once.
func TestClientsThatComeAndGoMissNothingWhileMessagesFlow(t *testing.T) {
	const clients, messages = 24, 2000
	s := open(t, func(o *hub.Options) { o.Linger = 20 * time.Millisecond })
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	s.link.deliver = func(*backplane.Message) fate {
		switch random.IntN(100) {
		case 0, 1:
			return never
		case 2, 3:
			return twice
		case 4:
			return later
		}
		return once
	}
	epoch := s.publish(1).Epoch

	var wg sync.WaitGroup
	last := make(chan struct{}) // closed when the last message is published
	wg.Go(func() {
		defer close(last)
		for i := range messages {
			s.publish(1)
			switch i % 200 {
			case 50:
				s.link.release()
			case 100:
				s.link.breakLink()
			case 120:
				s.link.restoreLink()
			}
			if i%4 == 0 {
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			}
		}
		s.link.restoreLink()
		s.link.release()
	})
	connections := make([]int, clients)
	for c := range clients {
		wg.Go(func() {
			at := protocol.Position{Epoch: epoch}
			var had []string
			for at.Offset < messages+1 {
				l := s.connect(t)
				s.join(l, hub.Wanted{Recover: true, From: at})
				stay(l, last, messages+1)
				got, now, acks := l.state() // what comes from here on, the client does not see
				s.hub.Disconnect(l.client)
				connections[c]++
				if len(acks) > 0 {
					if !acks[0].Recovered {
						t.Errorf("client %d came back from %+v and is not recovered: %+v", c, at, acks[0].At)
					}
					had, at = append(had, got...), now
				}
				if t.Failed() {
					return
				}
			}
			for i, data := range had {
				if data != fmt.Sprint(i+1) {
					t.Errorf("over %d connections client %d got %q where %d was due", connections[c], c, data, i+1)
					return
				}
			}
			if len(had) != messages+1 {
				t.Errorf("client %d got %d messages, want %d", c, len(had), messages+1)
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range connections {
		total += n
	}
	stats := s.hub.Stats()
	t.Logf("%d connections of %d clients; %+v", total, clients, stats)
	if total < 3*clients || stats.Repairs == 0 {
		t.Errorf("%d connections and %d repairs: the test has hardly tried anything", total, stats.Repairs)
	}
	if stats.Connections != 0 || stats.Rooms != 0 || stats.Users != 0 || stats.Lost != 0 {
		t.Errorf("when all are gone the hub counts %+v", stats)
	}
}

// stay waits a moment, or after the last message until the client has it.
func stay(l *listener, last <-chan struct{}, newest int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(50))*time.Millisecond)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-last:
		for deadline := time.Now().Add(10 * time.Second); l.position().Offset < newest && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
}

// state returns what the client has and where it stands, of one moment.
func (l *listener) state() (got []string, at protocol.Position, acks []protocol.Recovery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotLocked(), l.at, l.acks
}
