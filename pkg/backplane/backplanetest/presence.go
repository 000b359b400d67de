package backplanetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// RunPresence tests that the backplanes made by open keep what package backplane promises of a Presence within one process. open
// returns one that is not started, and that is a Presence; RunPresence starts and closes it. No test uses a room that another
// has used.
func RunPresence(t *testing.T, open func(t *testing.T) backplane.Backplane) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *roll)
	}{
		{"a room that nobody is in has no members", emptyRoom},
		{"what was told is listed at once", listedAtOnce},
		{"a user is listed once, with all connections", severalConnections},
		{"a user comes and goes once, whatever the number of connections", changesOnce},
		{"leaving more often than entering changes nothing", leaveTooOften},
		{"rooms are apart", roomsAreApart},
		{"any id is kept as it is", anyID},
		{"pages are in order and leave nobody out", membersInPages},
		{"a page continues behind a user who has left meanwhile", pageAfterGone},
		{"changes and messages come in one order", changesAmongMessages},
		{"many users come and go at once", crowd},
		{"listing fails when there is no time for it, and after close", listingFails},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			p, ok := b.(backplane.Presence)
			if !ok {
				t.Fatalf("%T knows no presence", b)
			}
			r := &roll{Backplane: b, Presence: p, sink: NewSink(t), run: rand.Text()[:8]}
			b.Start(r.sink)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = b.Close(ctx) // closed already by the test that is about it
			})
			c.test(t, r)
		})
	}
}

// roll is the backplane under test with its sink.
type roll struct {
	backplane.Backplane
	backplane.Presence
	sink *Sink
	run  string // makes the rooms of this test its own
}

func (r *roll) room(id string) backplane.Target { return room(id + " " + r.run) }

func membersText(members []backplane.Member, separator string) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = fmt.Sprintf("%s=%d", m.User, m.Connections)
	}
	return strings.Join(parts, separator)
}

// Changes returns everything that was told of who came to the room and left it, in order: user=connections.
func (s *Sink) Changes(target backplane.Target) []string {
	var changes []string
	for _, e := range s.Events() {
		if e.Name == "changes" && e.Target == target {
			changes = append(changes, strings.Split(e.Changes, "\n")...)
		}
	}
	return changes
}

// AwaitChanges waits until n changes were told of the room, and returns them.
func (s *Sink) AwaitChanges(target backplane.Target, n int) []string {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for len(s.Changes(target)) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("after %v the changes of %v are %q, want %d", patience, target, s.Changes(target), n)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return s.Changes(target)
}

// AwaitMembers waits until the room's members are those, as user=connections with a space in between.
func AwaitMembers(t testing.TB, p backplane.Presence, target backplane.Target, want string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		roster, err := p.Members(t.Context(), target, "", 1000)
		if err == nil && membersText(roster.Members, " ") == want && roster.Users == len(roster.Members) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v the members of %v are %q of %d (%v), want %q", patience, target, membersText(roster.Members, " "), roster.Users, err, want)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *roll) page(t *testing.T, target backplane.Target, after string, limit int) backplane.Roster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	roster, err := r.Members(ctx, target, after, limit)
	if err != nil {
		t.Fatalf("list the members of %v: %v", target, err)
	}
	return roster
}

func (r *roll) want(t *testing.T, target backplane.Target, want string) {
	t.Helper()
	roster := r.page(t, target, "", 1000)
	if got := membersText(roster.Members, " "); got != want || roster.Users != len(roster.Members) || roster.More {
		t.Fatalf("the members are %q of %d (more: %v), want %q", got, roster.Users, roster.More, want)
	}
}

// awaitTold waits until the store knows everything, however slow it is.
func (r *roll) awaitTold(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); r.PresenceStatus().Untold > 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v the status is %+v, want nothing untold", patience, r.PresenceStatus())
		}
	}
}

func emptyRoom(t *testing.T, r *roll) { r.want(t, r.room("empty"), "") }

func listedAtOnce(t *testing.T, r *roll) {
	target := r.room("soon")
	r.Enter(target, "alice")
	r.want(t, target, "alice=1")
	r.Enter(target, "bob")
	r.Leave(target, "alice")
	r.want(t, target, "bob=1")
	if status := r.PresenceStatus(); status.Members != 1 || status.Untold != 0 {
		t.Errorf("the status is %+v, want one member and nothing untold", status)
	}
	r.Leave(target, "bob")
	r.want(t, target, "")
	if status := r.PresenceStatus(); status != (backplane.PresenceStatus{}) {
		t.Errorf("the status is %+v, want that nobody is here", status)
	}
}

func severalConnections(t *testing.T, r *roll) {
	target := r.room("several")
	for range 3 {
		r.Enter(target, "alice")
	}
	r.Enter(target, "bob")
	r.want(t, target, "alice=3 bob=1")
	r.Leave(target, "alice")
	r.want(t, target, "alice=2 bob=1")
	r.Leave(target, "alice")
	r.Leave(target, "alice")
	r.want(t, target, "bob=1")
}

func changesOnce(t *testing.T, r *roll) {
	target := r.room("once")
	subscribe(r, r.sink, target)
	r.Enter(target, "alice")
	r.want(t, target, "alice=1") // so that the store has heard of one before the next
	r.Enter(target, "alice")
	r.want(t, target, "alice=2")
	r.Leave(target, "alice")
	r.want(t, target, "alice=1")
	r.Leave(target, "alice")
	r.want(t, target, "")
	r.Enter(target, "bob")
	r.want(t, target, "bob=1")
	if got, want := r.sink.AwaitChanges(target, 3), []string{"alice=1", "alice=0", "bob=1"}; !slices.Equal(got, want) {
		t.Errorf("the changes are %q, want %q", got, want)
	}
}

func leaveTooOften(t *testing.T, r *roll) {
	target := r.room("too often")
	r.Leave(target, "alice")
	r.Enter(target, "bob")
	r.Leave(target, "alice")
	r.want(t, target, "bob=1")
	r.Enter(target, "alice")
	r.want(t, target, "alice=1 bob=1")
}

func roomsAreApart(t *testing.T, r *roll) {
	one, two := r.room("one"), r.room("two")
	subscribe(r, r.sink, one)
	r.Enter(one, "alice")
	r.Enter(two, "bob")
	r.want(t, one, "alice=1")
	r.want(t, two, "bob=1")
	r.Enter(one, "carol")
	if got, want := r.sink.AwaitChanges(one, 2), []string{"alice=1", "carol=1"}; !slices.Equal(got, want) {
		t.Errorf("the changes are %q, want %q", got, want)
	}
	r.want(t, user(one.ID), "")
}

func anyID(t *testing.T, r *roll) {
	target := r.room("}{:* ü")
	users := []string{"+", "-inf", "[a", "(a", "0", "1:2", "a b\\\"", "ÿ", "😀", strings.Repeat("x", 256), "\u00a0"}
	slices.Sort(users)
	subscribe(r, r.sink, target)
	var want []string
	for _, u := range users {
		r.Enter(target, u)
		want = append(want, u+"=1")
	}
	var got []string
	for _, m := range r.page(t, target, "", 100).Members {
		got = append(got, m.User)
	}
	if !slices.Equal(got, users) {
		t.Errorf("the users are %q, want %q", got, users)
	}
	if changes := slices.Sorted(slices.Values(r.sink.AwaitChanges(target, len(want)))); !slices.Equal(changes, slices.Sorted(slices.Values(want))) {
		t.Errorf("the changes are %q, want %q", changes, want)
	}
	for i, u := range users[:len(users)-1] {
		if after := r.page(t, target, u, 1); len(after.Members) != 1 || after.Members[0].User != users[i+1] {
			t.Errorf("after %q comes %+v, want %q", u, after.Members, users[i+1])
		}
	}
}

func membersInPages(t *testing.T, r *roll) {
	target := r.room("pages")
	const users = 2500
	for i := range users {
		r.Enter(target, fmt.Sprintf("user-%04d", (i*7919)%users))
	}
	r.awaitTold(t)
	seen, after, pages := 0, "", 0
	for {
		page := r.page(t, target, after, 300)
		if page.Users != users {
			t.Fatalf("page %d says %d users, want %d", pages, page.Users, users)
		}
		for _, m := range page.Members {
			if want := fmt.Sprintf("user-%04d", seen); m.User != want || m.Connections != 1 {
				t.Fatalf("member %d is %+v, want %s with one connection", seen, m, want)
			}
			seen++
		}
		pages++
		if !page.More {
			break
		}
		after = page.Members[len(page.Members)-1].User
	}
	if seen != users || pages != 9 {
		t.Errorf("%d users on %d pages, want %d on 9", seen, pages, users)
	}
	if most := r.page(t, target, "", 5000); len(most.Members) != 1000 || !most.More {
		t.Errorf("a page of 5,000 has %d members (more: %v), want 1,000 and more", len(most.Members), most.More)
	}
	if none := r.page(t, target, "", 0); len(none.Members) != 0 || none.Users != users || !none.More {
		t.Errorf("a page of nothing is %+v, want no members and the count", none)
	}
	if last := r.page(t, target, "user-2499", 10); len(last.Members) != 0 || last.More {
		t.Errorf("after the last there is %+v, want nothing", last)
	}
}

func pageAfterGone(t *testing.T, r *roll) {
	target := r.room("gone")
	for _, u := range []string{"a", "b", "c", "d"} {
		r.Enter(target, u)
	}
	if page := r.page(t, target, "", 2); membersText(page.Members, " ") != "a=1 b=1" || !page.More {
		t.Fatalf("the first page is %+v", page)
	}
	r.Leave(target, "b")
	r.Enter(target, "bb")
	if page := r.page(t, target, "b", 2); membersText(page.Members, " ") != "bb=1 c=1" || !page.More || page.Users != 4 {
		t.Errorf("the page after b is %+v, want bb and c, and more, of 4", page)
	}
}

func changesAmongMessages(t *testing.T, r *roll) {
	target := r.room("order")
	subscribe(r, r.sink, target)
	for i := range 50 {
		r.Enter(target, fmt.Sprint("user-", i))
		r.page(t, target, "", 0) // told
		MustPublish(t, r, message(target, fmt.Sprint(i)))
	}
	r.sink.AwaitBodies(target, 50)
	came, published := 0, 0
	for _, e := range r.sink.Events() {
		switch e.Name {
		case "changes":
			came++
		case "deliver":
			published++
		}
		if came < published {
			t.Fatalf("message %d came before the user who was there first", published)
		}
	}
}

func crowd(t *testing.T, r *roll) {
	target := r.room("crowd")
	subscribe(r, r.sink, target)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for round := range 50 {
				u := fmt.Sprint("user-", (i+round)%10)
				r.Enter(target, u)
				r.Enter(target, u)
				r.Leave(target, u)
				r.Leave(target, u)
			}
			r.Enter(target, fmt.Sprint("stays-", i))
		})
	}
	all.Wait()
	r.want(t, target, "stays-0=1 stays-1=1 stays-2=1 stays-3=1 stays-4=1 stays-5=1 stays-6=1 stays-7=1")
	MustPublish(t, r, message(target, "last"))
	r.sink.AwaitBodies(target, 1)
	// Of every user what was told alternates, and ends with what is.
	here := map[string]bool{}
	for _, change := range r.sink.Changes(target) {
		u, connections, _ := strings.Cut(change, "=")
		if came := connections != "0"; came == here[u] {
			t.Fatalf("it was told twice in a row that %s is here: %v", u, came)
		}
		here[u] = !here[u]
	}
	for u, is := range here {
		if is != strings.HasPrefix(u, "stays") {
			t.Errorf("the last that was told of %s is that it is here: %v", u, is)
		}
	}
}

func listingFails(t *testing.T, r *roll) {
	target := r.room("closed")
	r.Enter(target, "alice")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Members(ended, target, "", 1); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("listing with an ended context: %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
	r.Enter(target, "late") // changes nothing, and does not panic
	r.Leave(target, "alice")
	if _, err := r.Members(ctx, target, "", 1); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("listing after close: %v, want ErrUnavailable", err)
	}
}
