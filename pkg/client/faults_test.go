package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestEveryMessageComesOnceWhenAGatewayIsKilled(t *testing.T) {
	noGoroutines(t)
	server := redistest.Start(t)
	one, two := startNode(t, server, named(1), nil), startNode(t, server, named(2), nil)
	publisher, _ := connect(t, client.Options{URLs: urls(one, two), UserID: "alice"})
	moved, _ := connect(t, client.Options{URLs: urls(one, two), UserID: "bob"})
	stayed, _ := connect(t, client.Options{URLs: urls(two), UserID: "carol"})
	_, atMoved := join(t, moved, "kept:1", client.RoomOptions{})
	_, atStayed := join(t, stayed, "kept:1", client.RoomOptions{})
	const count = 400
	publishEach(t, publisher, "kept:1", 1, count, one.kill)
	atStayed.wantEach(t, "who stayed", count)
	atMoved.wantEach(t, "who was cut off and came back", count)
}

func TestADrainMovesClientsWithoutAGap(t *testing.T) {
	for name, room := range map[string]string{"in a room with history": "kept:1", "in a room without history": "plain"} {
		t.Run(name, func(t *testing.T) {
			noGoroutines(t)
			server := redistest.Start(t)
			one, two := startNode(t, server, named(1), nil), startNode(t, server, named(2), nil)
			publisher, published := connect(t, client.Options{URLs: urls(one, two), UserID: "alice"})
			reader, read := connect(t, client.Options{URLs: urls(one, two), UserID: "bob"})
			_, at := join(t, reader, room, client.RoomOptions{})
			// Publish all the time: before, while both connections are open, and after.
			count := 0
			publish := func() {
				publishEach(t, publisher, room, count+1, count+20, nil)
				count += 20
			}
			publish()
			one.Drain()
			for published.last().Node != "node-2" || read.last().Node != "node-2" || one.runs() {
				publish()
			}
			publish()
			at.wantEach(t, "who moved", count)
			for who, states := range map[string]*states{"the publisher": published, "the reader": read} {
				if states.count(client.StatusWaiting) != 0 || states.count(client.StatusMoving) != 1 {
					t.Errorf("%s was told %v, want one move and no time without a connection", who, states.all)
				}
			}
		})
	}
}

// resumeAfter continues a paused Redis later, and not after the test, which ends it.
func resumeAfter(t *testing.T, s *redistest.Server, pause time.Duration) {
	resumed := make(chan struct{})
	time.AfterFunc(pause, func() {
		defer close(resumed)
		s.Resume()
	})
	t.Cleanup(func() { <-resumed })
}

func TestPublishesOutliveAnOutageOfRedis(t *testing.T) {
	for name, outage := range map[string]func(*testing.T, *node, *redistest.Server){
		"that answers nothing": func(t *testing.T, _ *node, s *redistest.Server) {
			s.Pause()
			resumeAfter(t, s, 4*time.Second)
		},
		"whose links are cut": func(_ *testing.T, n *node, _ *redistest.Server) {
			n.redis.Refuse()
			time.AfterFunc(4*time.Second, n.redis.Restore)
		},
	} {
		t.Run(name, func(t *testing.T) {
			noGoroutines(t)
			server := redistest.Start(t)
			one := startNode(t, server, named(1), nil)
			c, states := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
			_, at := join(t, c, "kept:1", client.RoomOptions{})
			const count = 200
			publishEach(t, c, "kept:1", 1, count, func() { outage(t, one, server) })
			at.wantEach(t, "the room", count)
			if states.count(client.StatusConnected) != 1 {
				t.Errorf("the client connected %d times, want once: an outage of Redis ends no connection", states.count(client.StatusConnected))
			}
		})
	}
}

func TestALogThatIsLostIsToldAsAGap(t *testing.T) {
	noGoroutines(t)
	server := redistest.Start(t)
	one := startNode(t, server, named(1), nil)
	c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	_, at := join(t, c, "kept:1", client.RoomOptions{})
	publishEach(t, c, "kept:1", 1, 10, nil)
	at.wantEach(t, "before", 10)
	server.Kill()
	server.Restart()
	publishEach(t, c, "kept:1", 11, 20, nil)
	eventually(t, "a gap is told", func() bool { return len(at.theGaps()) > 0 })
	if gap := at.theGaps()[0]; gap.Reason != client.GapEpochChanged || gap.From.Offset != 10 || gap.To.Epoch == gap.From.Epoch {
		t.Errorf("the gap is %+v, want epoch_changed from offset 10 to another epoch", gap)
	}
	publishEach(t, c, "kept:1", 21, 30, nil)
	eventually(t, "messages come again", func() bool { return at.len() >= 20 })
}

func TestALostConnectionMakesAGapWhereNoHistoryIsKept(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), nil)
	c, states := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	_, at := join(t, c, "plain", client.RoomOptions{})
	one.clients.Cut()
	eventually(t, "the client is back", func() bool { return states.count(client.StatusConnected) == 2 })
	eventually(t, "a gap is told", func() bool { return len(at.theGaps()) == 1 })
	if gap := at.theGaps()[0]; gap != (client.Gap{Reason: client.GapNoHistory}) {
		t.Errorf("the gap is %+v, want no_history", gap)
	}
	publishEach(t, c, "plain", 1, 1, nil)
	eventually(t, "messages come again", func() bool { return at.len() == 1 })
}

func TestAHalfOpenLinkIsLeft(t *testing.T) {
	noGoroutines(t)
	server := redistest.Start(t)
	often := func(s *settings.Settings) { s.Heartbeat = time.Second }
	one, two := startNode(t, server, named(1), often), startNode(t, server, named(2), often)
	c, states := connect(t, client.Options{URLs: urls(one, two), UserID: "alice"})
	_, at := join(t, c, "kept:1", client.RoomOptions{})
	begin := time.Now()
	one.clients.Blackhole()
	eventually(t, "the client is on the other gateway", func() bool { return states.last().Node == "node-2" })
	if took := time.Since(begin); took < time.Second || took > 10*time.Second {
		t.Errorf("a silent gateway was left after %v, want about 2.5 heartbeats of 1 s", took)
	}
	publishEach(t, c, "kept:1", 1, 10, nil)
	at.wantEach(t, "after the change", 10)
	one.clients.Cut()
}

func TestAPublishOnAHalfOpenLinkDoesNotWaitForTheHeartbeat(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, two := startNode(t, server, named(1), nil), startNode(t, server, named(2), nil) // with a heartbeat of 25 s
	c, _ := connect(t, client.Options{URLs: urls(one, two), UserID: "alice"})
	one.clients.Blackhole()
	begin := time.Now()
	if _, err := c.Publish(t.Context(), client.Publication{Room: "kept:1", Data: 1}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the publish took %v, want about 10 s", took)
	}
	one.clients.Cut()
}

func TestAGuestsPublishIsUncertainAfterABreak(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), func(s *settings.Settings) { s.Auth.Type = settings.AuthGuest })
	c, states := connect(t, client.Options{URLs: urls(one)})
	one.clients.Delay(300 * time.Millisecond)
	time.AfterFunc(100*time.Millisecond, func() {
		one.clients.Cut()
		one.clients.Restore()
	})
	if _, err := c.Publish(t.Context(), client.Publication{Room: "plain", Data: 1}); !errors.Is(err, client.ErrUncertain) {
		t.Errorf("the publish ended with %v, want ErrUncertain: a guest is another user on the next connection", err)
	}
	eventually(t, "the client is back", func() bool { return states.count(client.StatusConnected) == 2 })
}

func TestCloseWaitsForPublishes(t *testing.T) {
	noGoroutines(t)
	server := redistest.Start(t)
	one := startNode(t, server, named(1), nil)
	publish := func(c *client.Client) chan error {
		result := make(chan error, 1)
		go func() {
			_, err := c.Publish(context.Background(), client.Publication{Room: "kept:1", Data: 1})
			result <- err
		}()
		return result
	}
	server.Pause()
	patient, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	hasty, _ := connect(t, client.Options{URLs: urls(one), UserID: "bob"})
	kept, given := publish(patient), publish(hasty)
	time.Sleep(200 * time.Millisecond) // both are on their way
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := hasty.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close while a publish waits returns %v when its time is over, want that said", err)
	}
	if err := <-given; !errors.Is(err, client.ErrUncertain) {
		t.Errorf("the publish that was given up returns %v, want ErrUncertain", err)
	}
	resumeAfter(t, server, 500*time.Millisecond)
	if err := patient.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-kept; err != nil {
		t.Errorf("the publish that Close waited for returns %v", err)
	}
	if _, err := patient.Publish(t.Context(), client.Publication{Room: "kept:1", Data: 1}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Publish after Close returns %v, want ErrClosed", err)
	}
}
