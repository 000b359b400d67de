package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// seedsDefault is how many runs a plain `go test` does; MODEL_SEEDS says otherwise. MODEL_SEED is the first one's seed.
	seedsDefault = 12
	// shrinkDefault bounds the search for the shortest run that fails, in seconds; MODEL_SHRINK says otherwise.
	shrinkDefault = 60
)

func number(name string, absent uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s must be a whole number, not %q", name, text))
	}
	return n
}

func TestGatewaysDoWhatTheReferenceSays(t *testing.T) {
	first, seeds := number("MODEL_SEED", 0), number("MODEL_SEEDS", seedsDefault)
	if first == 0 {
		first = rand.Uint64N(1_000_000_000) + 1
	}
	t.Logf("%d runs, the first with seed %d", seeds, first)
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			s := generate(seed)
			started := time.Now()
			problems, events := run(t, s)
			t.Logf("%v: %v in %v", s, tally(events), time.Since(started).Round(time.Millisecond))
			if len(problems) == 0 {
				return
			}
			t.Errorf("%v\n%s\nthe same again: MODEL_SEED=%d MODEL_SEEDS=1 go test ./pkg/internal/model", s, strings.Join(problems, "\n"), seed)
			shortest := shrink(t, s, time.Now().Add(time.Duration(number("MODEL_SHRINK", shrinkDefault))*time.Second), &problems, &events)
			t.Errorf("the shortest run found that fails: %v\n%s\n\nsteps:\n%s\n\nevents:\n%s", shortest, strings.Join(problems, "\n"), lines(shortest.steps), lines(pointers(events)))
		})
	}
}

// run carries a run out, and returns what was not as it should be, and all that happened.
func run(t *testing.T, s scheme) (problems []string, events []event) {
	t.Helper()
	w := newWorld(t, s)
	for _, step := range append(slices.Clone(s.steps), step{do: settle, mode: calmly}) {
		w.do(step)
		if step.do != settle {
			continue
		}
		if problems = w.settle(step.mode); len(problems) > 0 {
			break
		}
	}
	return problems, w.trace.copy()
}

// shrink leaves steps out, half of them, a quarter and so on, for as long as what is left fails. What fails depends on the
// machine too, so the result is a help and no proof.
func shrink(t *testing.T, s scheme, end time.Time, problems *[]string, events *[]event) scheme {
	t.Helper()
	for size := len(s.steps) / 2; size > 0; size /= 2 {
		for at := 0; at < len(s.steps); {
			if time.Now().After(end) {
				return s
			}
			shorter := s
			shorter.steps = slices.Delete(slices.Clone(s.steps), at, min(at+size, len(s.steps)))
			var p []string
			var e []event
			t.Run(fmt.Sprintf("%d steps", len(shorter.steps)), func(t *testing.T) { p, e = run(t, shorter) })
			if len(p) == 0 {
				at += size
				continue
			}
			s, *problems, *events = shorter, p, e
		}
	}
	return s
}

func pointers(events []event) (all []*event) {
	for i := range events {
		all = append(all, &events[i])
	}
	return all
}

func lines[T fmt.Stringer](all []T) string {
	var b strings.Builder
	for _, one := range all {
		fmt.Fprintln(&b, one)
	}
	return b.String()
}

// tally counts events by what they are.
func tally(events []event) map[what]int {
	counts := map[what]int{}
	for i := range events {
		counts[events[i].what]++
	}
	return counts
}
