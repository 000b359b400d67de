package redis

import (
	"regexp"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/pkg/backplane"
)

func TestChannelNames(t *testing.T) {
	n := newNames("ns.chat", false)
	for _, c := range []struct {
		target backplane.Target
		want   string
	}{
		{room("lobby"), "ns.chat:{r:lobby}:ch"},
		{backplane.Target{Kind: backplane.User, ID: "lobby"}, "ns.chat:{u:lobby}:ch"},
		{room("a b"), "ns.chat:{r:a%20b}:ch"},
		{room("A.z_0~9-"), "ns.chat:{r:A.z_0~9-}:ch"},
		{room("{}:%*?[]\\"), "ns.chat:{r:%7B%7D%3A%25%2A%3F%5B%5D%5C}:ch"},
		{room("ü"), "ns.chat:{r:%C3%BC}:ch"},
	} {
		if got := string(n.appendChannel(nil, c.target)); got != c.want {
			t.Errorf("channel of %v is %s, want %s", c.target, got, c.want)
		}
	}
}

func FuzzChannelNamesAreUniqueAndKeepToTheirForm(f *testing.F) {
	f.Add("a", "b")
	f.Add("{a}", "a")
	f.Add("%41", "A")
	f.Add("\xff", "\xfe")
	form := regexp.MustCompile(`^ns\.chat:\{[ru]:[A-Za-z0-9._~%-]*\}:ch$`)
	f.Fuzz(func(t *testing.T, a, b string) {
		n := newNames("ns.chat", false)
		one, other := string(n.appendChannel(nil, room(a))), string(n.appendChannel(nil, room(b)))
		if (a == b) != (one == other) {
			t.Errorf("%q and %q have the channels %s and %s", a, b, one, other)
		}
		if !form.MatchString(one) {
			t.Errorf("%q has the channel %s", a, one)
		}
		if len(a) <= 256 && len(one) > nameBuffer {
			t.Errorf("%q has a channel of %d bytes, more than fits the buffer", a, len(one))
		}
	})
}

func TestTargetsAreSpreadOverConnections(t *testing.T) {
	n := newNames("c", false)
	var counts [3]int
	for i := range 3000 {
		counts[n.spread(n.appendChannel(nil, room(strings.Repeat("x", i%50)+string(rune('a'+i%26)))), len(counts))]++
	}
	for i, count := range counts {
		if count < 300 {
			t.Errorf("connection %d carries %d of 3000 targets", i, count)
		}
	}
}
