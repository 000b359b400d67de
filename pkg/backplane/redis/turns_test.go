package redis

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestTurnsAreSharedAndLimited(t *testing.T) {
	server := redistest.Start(t)
	a, _ := start(t, Options{URL: server.URL()})
	b, _ := start(t, Options{URL: server.URL()})
	take := func(p *Backplane, count, left int) backplane.TurnGrant {
		t.Helper()
		got, err := p.TakeTurns(t.Context(), backplane.TurnRequest{Count: count, Left: left, Rate: 10, Horizon: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	near := func(name string, got, want time.Duration) {
		t.Helper()
		if got > want || got < want-10*time.Second {
			t.Errorf("%s begins in %v, want %v less the time since", name, got, want)
		}
	}
	first := take(a, 100, 300)
	if first.Count != 100 || first.Left != 300 {
		t.Errorf("the first gets %+v, want 100 turns and 300 needed", first)
	}
	near("the first", first.Start, 0)
	second := take(b, 100, 500)
	if second.Count != 100 || second.Left != 800 {
		t.Errorf("another process gets %+v, want 100 turns, and 800 needed by both", second)
	}
	near("the second", second.Start, 10*time.Second)
	if third := take(a, 1000, 0); third.Count < 400 || third.Count > 501 || third.Left != 500 {
		t.Errorf("beyond the horizon: %+v, want the 400 turns that are left of it, and 500 needed by the other process", third)
	}
	if none := take(b, 100, 1); none.Count > 100 || none.Start < 50*time.Second {
		t.Errorf("with the horizon full: %+v", none)
	}

	t.Run("a clock that was set back holds nobody up", func(t *testing.T) {
		client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
		defer client.Close()
		if err := client.Set(t.Context(), "test:{turns}:next", time.Now().Add(time.Hour).UnixMicro(), 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got := take(a, 10, 10); got.Count != 10 || got.Start != 0 {
			t.Errorf("got %+v, want 10 turns at once", got)
		}
	})
}
