package redis

import (
	"errors"
	"log/slog"
	"testing"
)

func TestTheBackplaneIsUpWhenAllItsShardsAre(t *testing.T) {
	h := newHealth(slog.New(slog.DiscardHandler))
	slots := h.addVirtual()
	a, b := h.add("a", 2), h.add("b", 1)
	want := func(when string, up, everUp bool, reconnects uint64, lastError string) {
		t.Helper()
		gotUp, gotEver, got, gotError := h.status()
		if gotUp != up || gotEver != everUp || got != reconnects || gotError != lastError {
			t.Errorf("%s: up %v, ever up %v, %d reconnects, %q; want %v, %v, %d, %q", when, gotUp, gotEver, got, gotError, up, everUp, reconnects, lastError)
		}
	}
	want("at first", false, false, 0, "not connected to Redis yet")
	slots.up(0)
	want("with the slots known", false, false, 0, "not connected to Redis yet")
	a.up(0)
	want("with one of two links to a shard", false, false, 0, "not connected to Redis yet")
	a.up(1)
	want("with one of two shards", false, true, 0, "not connected to Redis yet")
	b.up(0)
	want("with both", true, true, 0, "")
	lives := h.allLives()
	b.down(0, errors.New("cut"))
	want("without one again", false, true, 0, "cut")
	if !a.allUp() || b.allUp() {
		t.Error("the outage of a shard is not its own")
	}
	before := b.life()
	b.up(0)
	want("when it is back", true, true, 1, "")
	if b.life() == before || h.allLives() == lives {
		t.Error("a shard that was away goes on in the same life")
	}
	b.down(0, errors.New("gone"))
	b.count(false)
	want("when nothing depends on what is away", true, true, 1, "")
	c := h.add("c", 1)
	want("with its successor not there yet", false, true, 1, "not connected to Redis yet")
	c.up(0)
	want("with its successor", true, true, 2, "")
	b.remove()
	c.down(0, errors.New("gone too"))
	want("without the successor", false, true, 2, "gone too")
}
