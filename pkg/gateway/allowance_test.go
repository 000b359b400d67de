package gateway

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// flood publishes at four times the rate and as fast as it is answered, for a while, and returns how many publishes were taken.
func (c *client) flood(wait, pause time.Duration) (taken, sent int) {
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(pause) {
		sent++
		c.send(fmt.Sprintf(`{"id":"%d","type":"publish","target_user_id":"nobody","data":1}`, sent))
		switch frame := c.next(); {
		case frame["type"] == "ack":
			taken++
		case frame["code"] != "rate_limited":
			c.t.Errorf("unexpected frame %v", frame)
		}
	}
	return taken, sent
}

// The rate is a user's, not a connection's: on several gateways it is kept to the bound that docs/configuration.md names.
func TestTheRateIsAUsersOverAllGateways(t *testing.T) {
	const rate, burst, gateways, wait = 40, 40, 3, 6 * time.Second
	nodes, _ := startFleet(t, gateways, func(s *settings.Settings) { s.Limits.MessagesPerSecond, s.Limits.MessageBurst = rate, burst })
	var clients []*client
	for _, n := range nodes {
		clients = append(clients, n.dial(t, "alice"))
	}
	bob := nodes[0].dial(t, "bob")
	var mu sync.Mutex
	var flooding sync.WaitGroup
	total, begin := 0, time.Now()
	for _, c := range clients {
		flooding.Go(func() {
			taken, _ := c.flood(wait, 5*time.Millisecond)
			mu.Lock()
			total += taken
			mu.Unlock()
		})
	}
	flooding.Wait()
	seconds := time.Since(begin).Seconds()
	most := gateways*burst + int(seconds*(rate+gateways*rate/quietShare)) + gateways*burst/quietShare
	if shared := int(seconds * rate); total > most || total < shared/2 {
		t.Errorf("over %d gateways %d messages of one user were taken in %.1f s, want about %d and at most %d", gateways, total, seconds, shared, most)
	}
	if taken, sent := bob.flood(300*time.Millisecond, 20*time.Millisecond); taken != sent {
		t.Errorf("of another user's %d messages %d were taken, want all", sent, taken)
	}
}

func TestTheConnectionsOfAUserToOneGatewayShareTheRate(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MessagesPerSecond, s.Limits.MessageBurst = 1, 20 })
	begin, taken := time.Now(), 0
	for range 4 {
		c := n.dial(t, "alice")
		for i := range 10 {
			c.send(fmt.Sprintf(`{"id":"%d","type":"publish","target_user_id":"nobody","data":1}`, i))
			if c.next()["type"] == "ack" {
				taken++
			}
		}
		_ = c.ws.Close() // connecting anew brings no new burst
	}
	if most := 21 + int(time.Since(begin).Seconds()); taken < 20 || taken > most {
		t.Errorf("on four connections one after another %d messages were taken, want 20 to %d", taken, most)
	}
}

// What a publish costs Redis beside itself.
func TestWhatALimitOfTheRateCosts(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration
		share int // one command for so many publishes at most; 0: none at all
	}{
		"a user of ordinary habits costs nothing":               {60 * time.Millisecond, 0},
		"one at the limit a command for an eighth of the burst": {0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			n := start(t, server.URL(), func(s *settings.Settings) { s.Limits.MessagesPerSecond, s.Limits.MessageBurst = 200, 100 })
			eventually(t, "the gateway is ready", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
			c := n.dial(t, "alice")
			stop := server.Monitor()
			taken, _ := c.flood(1500*time.Millisecond, test.pause)
			commands := 0
			for _, line := range stop() {
				if containsAll(line, `"evalsha"`, ":rate") {
					commands++
				}
			}
			most := 0
			if test.share > 0 {
				most = taken/test.share + 1
			}
			if commands > most || taken == 0 {
				t.Errorf("%d publishes cost %d commands, want at most %d", taken, commands, most)
			}
		})
	}
}

func TestAnAllowanceTakesOverWhatIsLeftOnAllGateways(t *testing.T) {
	var a allowance
	spend := func(at time.Duration, count int) (taken, reported int) {
		for range count {
			ok, report := a.take(epoch.Add(at), 10, 40)
			if ok {
				taken++
			}
			if reported += report; report > 0 {
				a.mu.Lock()
				a.reporting = false // it was answered, and there is enough
				a.mu.Unlock()
			}
		}
		return taken, reported
	}
	if taken, reported := spend(0, 100); taken != 40 || reported != 35 {
		t.Errorf("of a full bucket %d are taken and %d reported, want the burst of 40, and all but an eighth of it reported", taken, reported)
	}
	a.reported(5, -30, nil) // others have spent more than there was
	if taken, _ := spend(3*time.Second, 10); taken != 0 {
		t.Errorf("3 s after the user has overdrawn by 30 at 10 a second %d are taken, want none", taken)
	}
	if taken, _ := spend(4*time.Second, 20); taken < 9 || taken > 10 {
		t.Errorf("another second later %d are taken, want 10", taken)
	}
	a.reported(5, 0, backplane.ErrUnavailable)
	if taken, _ := spend(time.Minute, 100); taken != 40 {
		t.Errorf("while Redis is away %d are taken, want the burst of 40", taken)
	}
}
