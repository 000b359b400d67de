package gateway

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// TestWhatFollowsFromCanaries plays rounds, a letter each: p passes; f fails while nothing is known of the others, o while others pass, s
// while none does. R stands behind a round after which the links are made anew, U behind one after which the gateway is not ready.
func TestWhatFollowsFromCanaries(t *testing.T) {
	for name, rounds := range map[string]string{
		"while all pass nothing happens":                                                       "p p p p p p p p",
		"one that is lost now and then is no reason for anything":                              "p f p o p s p f p o p",
		"links are made anew after the second failure, and then every third round":             "p f fR f f fR f f fR f",
		"a gateway that fails over new links too while others pass goes out":                   "p f fR o oU oRU oU oU",
		"it comes back after three passes in a row":                                            "f fR o oU pU pU p p p",
		"passes that are interrupted do not count":                                             "f fR o oU pU pU oU pU fU pU pU p",
		"an outage that all share takes nobody out":                                            "p f sR s s sR s s sR s s sR s p",
		"who cannot read the registry stays ready":                                             "p f fR f f fR f f fR f f fR f p",
		"when a shared outage ends, one round in which others have passed first is not enough": "p f sR s s sR o p p",
		"nor are two with a round between in which nothing is known":                           "p f fR o f oR f o fR o p",
		"one who is out is ready again when none of the others passes any more":                "f fR o oU sRU sU sU sRU sU s sR s",
		"but not for a moment in which none did":                                               "f fR o oU sRU sU sU sRU sU oU sRU sU sU sRU sU oU",
		"nor because the registry cannot be read":                                              "f fR o oU fRU fU fU fRU fU fU fRU fU fU",
		"once ready again it needs new evidence to go out":                                     "f fR o oU pU pU p f fR o oU",
	} {
		t.Run(name, func(t *testing.T) {
			var c canaryState
			now := time.Unix(1_000_000, 0)
			var played []string
			for round := range strings.FieldsSeq(rounds) {
				r := canaryRound{began: now, ended: now.Add(time.Second)}
				switch round[0] {
				case 'f':
					r.err = errors.New("lost")
				case 'o':
					r.err, r.others = errors.New("lost"), othersPassed
				case 's':
					r.err, r.others = errors.New("lost"), othersFailed
				}
				var redial bool
				c, redial = c.observe(r)
				got := round[:1]
				if redial {
					got += "R"
				}
				if c.out {
					got += "U"
				}
				played = append(played, got)
				now = now.Add(fleetInterval)
			}
			if got := strings.Join(played, " "); got != rounds {
				t.Errorf("\ngot  %s\nwant %s", got, rounds)
			}
		})
	}
}

// At the brim Redis refuses one write and takes the next.
func TestRedisTakesWritesAgainAfterThreeInARow(t *testing.T) {
	var c canaryState
	for i, step := range []struct {
		wrote   bool
		refusal string
		refuses bool
	}{
		{true, "", false}, {true, "OOM", true}, {true, "", true}, {true, "", true}, {true, "OOM", true},
		{true, "", true}, {false, "", true}, {true, "", true}, {true, "", false}, {false, "", false},
	} {
		c, _ = c.observe(canaryRound{wrote: step.wrote, refusal: step.refusal})
		if got := c.refusal != ""; got != step.refuses {
			t.Errorf("round %d: it refuses is %v, want %v", i+1, got, step.refuses)
		}
	}
}

// sendsNone stands for a Redis.
type sendsNone struct{ backplane.Canary }

func TestTheVerdictOfCanaries(t *testing.T) {
	pass := canaryRound{began: time.Unix(1, 0), ended: time.Unix(2, 0)}
	fail := canaryRound{began: time.Unix(1, 0), ended: time.Unix(2, 0), err: errors.New("lost")}
	states := map[string]canaryState{}
	play := func(shard string, rounds ...canaryRound) {
		for _, r := range rounds {
			states[shard], _ = states[shard].observe(r)
		}
	}
	c := newCanary(nil)
	c.plane, c.states = sendsNone{}, states
	for _, step := range []struct {
		shard  string
		rounds []canaryRound
		want   string
	}{
		{"", nil, canaryUnknown},
		{"a", []canaryRound{fail}, canaryUnknown},
		{"a", []canaryRound{pass}, canaryPassing},
		{"b", []canaryRound{fail}, canaryUnknown},
		{"b", []canaryRound{pass, fail}, canaryPassing},
		{"a", []canaryRound{fail, fail}, canaryFailing},
		{"c", []canaryRound{pass}, canaryFailing},
		{"a", []canaryRound{pass}, canaryPassing},
	} {
		play(step.shard, step.rounds...)
		if got := c.verdict(); got != step.want {
			t.Errorf("after shard %q: %s, want %s", step.shard, got, step.want)
		}
	}
}
