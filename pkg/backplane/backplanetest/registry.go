package backplanetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// RunRegistry tests that the backplanes made by open keep what package backplane promises of a Registry within one process. open
// returns one that is not started, and that is a Registry that no other test uses; RunRegistry starts and closes it.
func RunRegistry(t *testing.T, open func(t *testing.T) backplane.Backplane) {
	for _, c := range []struct {
		name string
		test func(*testing.T, backplane.Backplane, backplane.Registry)
	}{
		{"before anybody has announced anything there are no nodes", noNodes},
		{"what was announced last is listed, byte for byte", lastAnnouncement},
		{"announcing and listing fail when there is no time for it, and after close", registryFails},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			r, ok := b.(backplane.Registry)
			if !ok {
				t.Fatalf("%T is no registry", b)
			}
			b.Start(NewSink(t))
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = b.Close(ctx) // closed already by the test that is about it
			})
			AwaitStatus(t, b, "up", func(s backplane.Status) bool { return s.Up })
			c.test(t, b, r)
		})
	}
}

// AwaitNodes lists the nodes until their records, in any order, are those wanted; it returns the last list.
func AwaitNodes(t testing.TB, r backplane.Registry, want ...string) []backplane.Announcement {
	t.Helper()
	sorted := func(records []string) string {
		m := map[string]int{}
		for _, record := range records {
			m[record]++
		}
		return cmp.Diff(map[string]int{}, m)
	}
	var got []string
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		nodes, err := r.Nodes(context.Background())
		got = got[:0]
		for _, n := range nodes {
			got = append(got, string(n.Record))
		}
		if err == nil && sorted(got) == sorted(want) {
			return nodes
		}
		if time.Now().After(end) {
			t.Fatalf("the nodes are %q, %v, want %q", got, err, want)
		}
	}
}

func noNodes(t *testing.T, _ backplane.Backplane, r backplane.Registry) {
	AwaitNodes(t, r)
}

func lastAnnouncement(t *testing.T, _ backplane.Backplane, r backplane.Registry) {
	first, last := "first", "\x00 last \xff\r\n"+strings.Repeat("x", 2000)
	for _, record := range []string{first, last} {
		nodes, err := r.Announce(t.Context(), []byte(record))
		if nodes != 1 || err != nil {
			t.Fatalf("announcing returns %d nodes, %v, want 1", nodes, err)
		}
	}
	node := AwaitNodes(t, r, last)[0]
	if !node.Own || node.Age < 0 || node.Age > patience {
		t.Errorf("this process is listed with own %v and an age of %v", node.Own, node.Age)
	}
}

func registryFails(t *testing.T, b backplane.Backplane, r backplane.Registry) {
	none, cancel := context.WithCancel(t.Context())
	cancel()
	try := func(when string, ctx context.Context) {
		t.Helper()
		if _, err := r.Announce(ctx, []byte("record")); !errors.Is(err, backplane.ErrUnavailable) {
			t.Errorf("announcing %s ends with %v, want %v", when, err, backplane.ErrUnavailable)
		}
		if _, err := r.Nodes(ctx); !errors.Is(err, backplane.ErrUnavailable) {
			t.Errorf("listing nodes %s ends with %v, want %v", when, err, backplane.ErrUnavailable)
		}
	}
	try("without time", none)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	try("after close", t.Context())
}
