package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestUsersContract(t *testing.T) {
	server := redistest.Start(t)
	backplanetest.RunUsers(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: server.URL()}) })
}

func TestUsersContractOnTheEmbeddedRedis(t *testing.T) {
	server := miniredis.RunT(t)
	backplanetest.RunUsers(t, func(t *testing.T) backplane.Backplane {
		if strings.HasSuffix(t.Name(), "a_user_is_forgotten_in_time") {
			t.Skip("the clock of the embedded Redis is advanced by whoever embeds it")
		}
		return open(t, Options{URL: "redis://" + server.Addr()})
	})
}

func TestUsersContractOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	backplanetest.RunUsers(t, func(t *testing.T) backplane.Backplane {
		return open(t, Options{URL: cluster.URL()})
	})
}

func alice() backplane.Target { return backplane.Target{Kind: backplane.User, ID: "alice"} }

func TestConnectionsOfAUserAreCountedOverProcesses(t *testing.T) {
	server := redistest.Start(t)
	a, _ := start(t, Options{URL: server.URL()})
	b, _ := start(t, Options{URL: server.URL()})
	attend := func(p *Backplane, at backplane.Attendance) backplane.Attended {
		t.Helper()
		if at.Fresh == 0 {
			at.Fresh = time.Minute
		}
		at.Limit = 2
		return backplanetest.Attend(t, p, alice(), at)
	}
	attend(a, backplane.Attendance{Came: []backplane.Connection{{ID: "a1"}}})
	attend(b, backplane.Attendance{Came: []backplane.Connection{{ID: "b1"}}})
	if got := attend(b, backplane.Attendance{Came: []backplane.Connection{{ID: "b2"}}}); !slices.Equal(got.Replaced, []string{"a1"}) {
		t.Fatalf("the third connection is answered with %+v, want a1 of the other process replaced", got)
	}

	t.Run("one that was not heard of lately is doubted first", func(t *testing.T) {
		// a may be dead as far as b knows, and b1 and b2 are b's own.
		attend(b, backplane.Attendance{Left: []string{"b1"}})
		attend(a, backplane.Attendance{Came: []backplane.Connection{{ID: "a2"}}})
		time.Sleep(20 * time.Millisecond)
		if got := attend(b, backplane.Attendance{Came: []backplane.Connection{{ID: "b3"}}, Fresh: time.Millisecond}); !got.Doubtful || len(got.Replaced) > 0 {
			t.Fatalf("a third connection is answered with %+v, want a doubt and nobody replaced", got)
		}
	})
	t.Run("one that is not heard of any more is forgotten, and nobody is replaced", func(t *testing.T) {
		if got := attend(b, backplane.Attendance{Settle: true, Fresh: time.Millisecond}); got.Doubtful || len(got.Replaced) > 0 {
			t.Fatalf("settling is answered with %+v, want nothing: b has its two connections", got)
		}
	})
	t.Run("one that comes back counts again", func(t *testing.T) {
		if got := attend(a, backplane.Attendance{All: true, Came: []backplane.Connection{{ID: "a2"}}}); !slices.Equal(got.Replaced, []string{"b2"}) {
			t.Fatalf("answered with %+v, want the oldest replaced", got)
		}
	})
	t.Run("and whoever has told in time keeps its place", func(t *testing.T) {
		time.Sleep(20 * time.Millisecond)
		if got := attend(b, backplane.Attendance{Came: []backplane.Connection{{ID: "b4"}}, Fresh: 10 * time.Millisecond}); !got.Doubtful {
			t.Fatalf("answered with %+v, want a doubt", got)
		}
		if got := attend(a, backplane.Attendance{All: true, Came: []backplane.Connection{{ID: "a2"}}}); !slices.Equal(got.Replaced, []string{"b3"}) {
			t.Fatalf("the doubted process is answered with %+v, want the oldest of all, b3, replaced", got)
		}
		if got := attend(b, backplane.Attendance{Settle: true, Fresh: time.Minute}); got.Doubtful || len(got.Replaced) > 0 {
			t.Fatalf("settling is answered with %+v, want nothing: two are left", got)
		}
	})
}

// Whoever sends to a thousand invented users must not have them begin a thousand logs.
func TestInventedUsersTakeNoMemory(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	keep := &backplane.Keep{Size: 100, TTL: time.Hour, OnlySeen: true}
	for i := range 1000 {
		m := text(backplane.Target{Kind: backplane.User, ID: fmt.Sprint("nobody-", i)}, "x")
		m.Keep = keep
		if got := backplanetest.Publish(t, b, m); got.Err != nil || got.Receipt.Offset != 0 {
			t.Fatalf("a message to an invented user ended with %+v", got)
		}
	}
	if keys, err := client.DBSize(context.Background()).Result(); err != nil || keys != 0 {
		t.Errorf("Redis has %d keys (%v), want none", keys, err)
	}
}

// A message that is not kept has no place by which a second attempt could be told from the first, so there is none.
func TestWhatIsPassedOnIsNotPassedOnTwice(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	m := text(alice(), "x")
	m.Keep = &backplane.Keep{Size: 100, TTL: time.Hour, OnlySeen: true}
	r := newLogRequest(b.writer, string(b.names.appendTag(nil, alice())), m)
	r.sequence = b.writer.next()
	backplanetest.MustPublish(t, b, m) // brings the scripts
	for _, test := range []struct {
		sent bool
		want string
	}{{false, "A - 0"}, {true, "S - 0"}} {
		r.sent = test.sent
		command := r.command("PUBLISH", "id", []byte("test:{u:alice}:ch"), []byte("\x01\x00x"))
		got, err := client.Do(context.Background(), command...).Result()
		if err != nil || got != test.want {
			t.Errorf("sent before: %v: the script answers %v, %v; want %s", test.sent, got, err, test.want)
		}
	}
}
