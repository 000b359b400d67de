package client_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

// audience keeps who is in a room as its events tell.
type audience struct {
	mu      sync.Mutex
	here    map[string]bool
	events  []client.Event
	gaps    int
	blocked chan struct{} // if set, every event waits until it is closed
}

func (a *audience) handle(e client.Event) {
	if a.blocked != nil {
		<-a.blocked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.here == nil {
		a.here = map[string]bool{}
	}
	switch e := e.(type) {
	case client.MemberJoined:
		a.here[e.UserID] = true
	case client.MemberLeft:
		delete(a.here, e.UserID)
	case client.PresenceGap:
		a.gaps++
		return
	default:
		return
	}
	a.events = append(a.events, e)
}

func (a *audience) has(users ...string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	want := map[string]bool{}
	for _, user := range users {
		want[user] = true
	}
	return cmp.Equal(want, a.here)
}

func (a *audience) theGaps() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gaps
}

func withPresence(s *settings.Settings) {
	for i := range s.Rooms {
		s.Rooms[i].Presence = s.Rooms[i].Match == "*"
	}
}

func TestWhoIsInARoom(t *testing.T) {
	server := redistest.Start(t)
	nodes := []*node{startNode(t, server, named(1), withPresence), startNode(t, server, named(2), withPresence)}
	user := func(t *testing.T, name string, at *node) *client.Client {
		c, _ := connect(t, client.Options{URLs: urls(at), UserID: name})
		return c
	}

	t.Run("is told once per user, on whatever gateway", func(t *testing.T) {
		noGoroutines(t)
		seen := &audience{}
		room, _ := join(t, user(t, "alice", nodes[0]), "told", client.RoomOptions{Handler: seen.handle, Presence: true})
		var rooms []*client.Room
		for _, at := range nodes {
			r, _ := join(t, user(t, "bob", at), "told", client.RoomOptions{})
			rooms = append(rooms, r)
		}
		eventually(t, "alice sees bob", func() bool { return seen.has("bob") })
		eventually(t, "bob has two connections", func() bool {
			page, err := room.Members(t.Context(), "", 0)
			return err == nil && page.Count == 2 && len(page.Members) == 2 && page.Members[1] == client.Member{UserID: "bob", Connections: 2}
		})
		for _, r := range rooms {
			r.Leave()
		}
		eventually(t, "bob has left", func() bool { return seen.has() })
		seen.mu.Lock()
		defer seen.mu.Unlock()
		want := []client.Event{
			client.MemberJoined{Room: "told", UserID: "bob", Connections: 1}, client.MemberLeft{Room: "told", UserID: "bob"},
		}
		if diff := cmp.Diff(want, seen.events); diff != "" {
			t.Errorf("alice was told (-want +got):\n%s", diff)
		}
	})

	t.Run("is listed in pages", func(t *testing.T) {
		noGoroutines(t)
		var room *client.Room
		for i := range 5 {
			room, _ = join(t, user(t, fmt.Sprintf("user-%d", i), nodes[i%2]), "listed", client.RoomOptions{})
		}
		eventually(t, "all five are listed", func() bool {
			page, err := room.Members(t.Context(), "", 0)
			return err == nil && page.Count == 5
		})
		var got []string
		for next, pages := "", 0; next != "" || pages == 0; pages++ {
			page, err := room.Members(t.Context(), next, 2)
			if err != nil || page.Count != 5 || len(page.Members) > 2 {
				t.Fatalf("a page is %+v, %v; want two of five users", page, err)
			}
			for _, m := range page.Members {
				got = append(got, m.UserID)
			}
			next = page.Next
		}
		if diff := cmp.Diff([]string{"user-0", "user-1", "user-2", "user-3", "user-4"}, got); diff != "" {
			t.Errorf("the pages hold (-want +got):\n%s", diff)
		}
	})

	t.Run("stays right while the watcher moves to another gateway", func(t *testing.T) {
		noGoroutines(t)
		seen := &audience{}
		watcher, states := connect(t, client.Options{URLs: urls(nodes...), UserID: "alice"})
		room, _ := join(t, watcher, "moved", client.RoomOptions{Handler: seen.handle, Presence: true})
		others := user(t, "carol", nodes[1])
		before := states.count(client.StatusConnected)
		for i := range 20 {
			if i == 5 {
				shed(t, nodes[0])
			}
			r, _ := join(t, others, "moved", client.RoomOptions{})
			if i < 19 {
				r.Leave()
			}
		}
		eventually(t, "alice has moved", func() bool { return states.count(client.StatusConnected) > before })
		eventually(t, "the events tell who is there", func() bool { return seen.has("carol") })
		if page, err := room.Members(t.Context(), "", 0); err != nil || page.Count != 2 || seen.theGaps() > 0 {
			t.Errorf("got %+v, %v and %d gaps, want two members and no gap", page, err, seen.theGaps())
		}
	})

	t.Run("may have changed when the connection was away", func(t *testing.T) {
		noGoroutines(t)
		seen := &audience{}
		room, _ := join(t, user(t, "alice", nodes[0]), "away", client.RoomOptions{Handler: seen.handle, Presence: true})
		nodes[0].clients.Refuse()
		join(t, user(t, "dave", nodes[1]), "away", client.RoomOptions{})
		nodes[0].clients.Restore()
		eventually(t, "alice is told that she may have missed something", func() bool { return seen.theGaps() == 1 })
		eventually(t, "dave is listed", func() bool {
			page, err := room.Members(t.Context(), "", 0)
			return err == nil && page.Count == 2
		})
	})

	t.Run("is told again to a slow application when it takes events again", func(t *testing.T) {
		noGoroutines(t)
		seen := &audience{blocked: make(chan struct{})}
		room, _ := join(t, user(t, "alice", nodes[0]), "slow", client.RoomOptions{Handler: seen.handle, Presence: true, Buffer: 1})
		for i := range 15 {
			join(t, user(t, fmt.Sprintf("user-%d", i), nodes[1]), "slow", client.RoomOptions{})
		}

		eventually(t, "all are there", func() bool {
			page, err := room.Members(t.Context(), "", 0)
			return err == nil && page.Count == 16
		})
		close(seen.blocked)
		eventually(t, "alice is told that she missed something", func() bool { return seen.theGaps() >= 1 })
	})

	t.Run("is refused where nobody keeps it", func(t *testing.T) {
		noGoroutines(t)
		c := user(t, "alice", nodes[0])
		var refusal *protocol.Error
		if _, err := c.Join(t.Context(), "kept:1", client.RoomOptions{Presence: true}); !errors.As(err, &refusal) || refusal.Code != protocol.CodeBadRequest {
			t.Errorf("the join that watches: %v, want bad_request", err)
		}
		room, _ := join(t, c, "kept:1", client.RoomOptions{})
		if _, err := room.Members(t.Context(), "", 0); !errors.As(err, &refusal) || refusal.Code != protocol.CodeBadRequest {
			t.Errorf("asking who is there: %v, want bad_request", err)
		}
		if _, err := room.Members(t.Context(), "", -1); err == nil {
			t.Error("a limit of -1 is taken")
		}
		room.Leave()
		if _, err := room.Members(t.Context(), "", 0); !errors.Is(err, client.ErrClosed) {
			t.Errorf("asking after leaving: %v, want %v", err, client.ErrClosed)
		}
	})
}
