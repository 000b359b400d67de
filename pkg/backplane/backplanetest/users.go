package backplanetest

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// RunUsers tests that the backplanes made by open keep what package backplane promises of Users, on the terms of RunLog.
func RunUsers(t *testing.T, open func(t *testing.T) backplane.Backplane) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *store, backplane.Target)
	}{
		{"the oldest connections over the limit are replaced", oldestIsReplaced},
		{"a connection that is told of again keeps its place", placeIsKept},
		{"connections that left count no more", leftCountsNoMore},
		{"what is not among all of a process's connections is forgotten", allIsAll},
		{"a smaller limit replaces those that are over it", limitShrinks},
		{"without a limit nothing is counted", noLimit},
		{"users have connections of their own", usersAreApart},
		{"nothing is kept for a user who was never seen, but passed on", unseenIsPassedOn},
		{"messages are kept for a user who was seen", seenIsKept},
		{"messages are kept where a log is", logIsKeptOn},
		{"a key works for a user who was never seen", keyOfUnseen},
		{"a user is forgotten in time", seenEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			s := &store{Backplane: b, Log: b.(backplane.Log), sink: NewSink(t), run: rand.Text()[:8]}
			b.Start(s.sink)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = b.Close(ctx) // nothing is on its way
			})
			c.test(t, s, user("alice "+s.run))
		})
	}
}

// Attend tells b of a user and returns the answer.
func Attend(t testing.TB, b backplane.Backplane, who backplane.Target, a backplane.Attendance) backplane.Attended {
	t.Helper()
	type answer struct {
		attended backplane.Attended
		err      error
	}
	answers := make(chan answer, 1)
	b.(backplane.Users).Attend(who, a, func(attended backplane.Attended, err error) { answers <- answer{attended, err} })
	select {
	case got := <-answers:
		if got.err != nil {
			t.Fatalf("attend: %v", got.err)
		}
		return got.attended
	case <-time.After(patience):
		t.Fatal("attend was not answered")
	}
	return backplane.Attended{}
}

// Came returns connections with the given ids, the first the oldest.
func Came(ids ...string) (came []backplane.Connection) {
	for i, id := range ids {
		came = append(came, backplane.Connection{ID: id, Age: time.Duration(len(ids)-i) * time.Second})
	}
	return came
}

// wantReplaced tells of a user and compares who is replaced.
func (s *store) wantReplaced(t *testing.T, who backplane.Target, a backplane.Attendance, want ...string) {
	t.Helper()
	a.Fresh = time.Minute
	got := Attend(t, s.Backplane, who, a)
	if got.Doubtful || !slices.Equal(got.Replaced, want) {
		t.Fatalf("%+v is answered with %+v, want %q replaced", a, got, want)
	}
}

func oldestIsReplaced(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: Came("a")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "b"}}})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "c"}}}, "a")
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "d"}}}, "b")
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "older", Age: time.Hour}}}, "older")
}

func placeIsKept(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: Came("a", "b")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "a"}}}) // as if it had come just now
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "c"}}}, "a")
}

func leftCountsNoMore(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: Came("a", "b")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Left: []string{"b", "never here"}})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "c"}}})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: []backplane.Connection{{ID: "d"}}, Left: []string{"a"}})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, All: true}) // none at all
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, Came: Came("e", "f")})
}

func allIsAll(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 3, Came: Came("a", "b", "c")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 3, All: true, Came: Came("a", "c")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 3, Came: []backplane.Connection{{ID: "d"}}})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 3, Came: []backplane.Connection{{ID: "e"}}}, "a")
}

func limitShrinks(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 5, Came: Came("a", "b", "c", "d")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 2, All: true, Came: Came("a", "b", "c", "d")}, "a", "b")
}

func noLimit(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Came: Came("a", "b", "c"), Seen: time.Hour})
}

func usersAreApart(t *testing.T, s *store, alice backplane.Target) {
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 1, Came: Came("a")})
	s.wantReplaced(t, user("bob "+s.run), backplane.Attendance{Limit: 1, Came: Came("b")})
	s.wantReplaced(t, alice, backplane.Attendance{Limit: 1, Came: []backplane.Connection{{ID: "c"}}}, "a")
}

// forSeen is a message of one user to another.
func forSeen(target backplane.Target, body string) *backplane.Message {
	m := kept(target, body)
	m.Keep.OnlySeen = true
	return m
}

func unseenIsPassedOn(t *testing.T, s *store, alice backplane.Target) {
	subscribe(s.Backplane, s.sink, alice)
	if got := s.publish(t, forSeen(alice, "one")); got != (backplane.Receipt{}) {
		t.Errorf("the receipt is %+v, want one without a place", got)
	}
	if got := s.sink.AwaitBodies(alice, 1); !slices.Equal(got, []string{"one"}) {
		t.Errorf("delivered %q, want the message", got)
	}
	if page := s.all(t, alice); len(page.Messages) != 0 {
		t.Errorf("the log holds %q", bodies(page))
	}
}

func seenIsKept(t *testing.T, s *store, alice backplane.Target) {
	Attend(t, s.Backplane, alice, backplane.Attendance{Seen: time.Hour})
	for i, body := range []string{"one", "two"} {
		if got := s.publish(t, forSeen(alice, body)); got.Offset != int64(i+1) || got.Epoch == "" {
			t.Errorf("the receipt of %q is %+v, want offset %d", body, got, i+1)
		}
	}
	if got := bodies(s.all(t, alice)); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the log holds %q, want both", got)
	}
}

func logIsKeptOn(t *testing.T, s *store, alice backplane.Target) {
	s.publish(t, kept(alice, "from the server"))
	if got := s.publish(t, forSeen(alice, "from a user")); got.Offset != 2 {
		t.Errorf("the receipt is %+v, want offset 2 of the log that is there", got)
	}
}

func keyOfUnseen(t *testing.T, s *store, alice backplane.Target) {
	subscribe(s.Backplane, s.sink, alice)
	send := func(id, data string) Outcome {
		m := keyed(alice, "bob", "key", id, data)
		m.Keep = &backplane.Keep{Size: 10, TTL: time.Hour, OnlySeen: true}
		return Publish(t, s.Backplane, m)
	}
	if got := send("m-1", "1"); got.Err != nil || got.Receipt != (backplane.Receipt{}) {
		t.Errorf("the first publication ended with %+v", got)
	}
	if got := send("m-2", "1"); got.Err != nil || got.Receipt != (backplane.Receipt{MessageID: "m-1"}) {
		t.Errorf("its repeat ended with %+v, want the first one's id", got)
	}
	if got := send("m-3", "2"); got.Err == nil {
		t.Error("other data under the same key is taken")
	}
	s.publish(t, forSeen(alice, "marker"))
	if got := s.sink.AwaitBodies(alice, 2); len(got) != 2 {
		t.Errorf("delivered %q, want the first publication and the marker", got)
	}
}

func seenEnds(t *testing.T, s *store, alice backplane.Target) {
	Attend(t, s.Backplane, alice, backplane.Attendance{Seen: time.Millisecond})
	time.Sleep(20 * time.Millisecond)
	if diff := cmp.Diff(backplane.Receipt{}, s.publish(t, forSeen(alice, "late"))); diff != "" {
		t.Errorf("the receipt has a place (-want +got):\n%s", diff)
	}
}
