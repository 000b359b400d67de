package redis

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// testLogger writes to the test's log.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// open returns a backplane that is not started.
func open(t testing.TB, o Options) *Backplane {
	t.Helper()
	if o.Cluster == "" {
		o.Cluster = "test"
	}
	if o.Logger == nil {
		o.Logger = testLogger(t)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start returns a backplane that is connected and closed at the end of the test.
func start(t testing.TB, o Options) (*Backplane, *backplanetest.Sink) {
	t.Helper()
	b, sink := open(t, o), backplanetest.NewSink(t)
	b.Start(sink)
	t.Cleanup(func() { closeNow(b) })
	awaitUp(t, b)
	return b, sink
}

// closeNow closes b, however it is.
func closeNow(b *Backplane) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = b.Close(ctx) // may be closed already, or have no link to publish over
}

func awaitUp(t testing.TB, b *Backplane) {
	t.Helper()
	backplanetest.AwaitStatus(t, b, "up", func(s backplane.Status) bool { return s.Up })
}

func awaitDown(t testing.TB, b *Backplane) {
	t.Helper()
	backplanetest.AwaitStatus(t, b, "down", func(s backplane.Status) bool { return !s.Up })
}

func room(id string) backplane.Target { return backplane.Target{Kind: backplane.Room, ID: id} }

func text(target backplane.Target, body string) *backplane.Message {
	return &backplane.Message{Target: target, Body: []byte(body)}
}

func TestContract(t *testing.T) {
	server := redistest.Start(t)
	for _, c := range []struct {
		name                    string
		subscribers, publishers int
	}{
		{"one connection each", 1, 1},
		{"several connections each", 3, 3},
		{"defaults", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			backplanetest.Run(t, func(t *testing.T) backplane.Backplane {
				return open(t, Options{URL: server.URL(), Subscribers: c.subscribers, Publishers: c.publishers})
			})
		})
	}
}
