package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kind is one way in which something breaks.
type kind string

const (
	gatewayKilled  kind = "gateway killed, restarted"
	gatewayDrained kind = "gateway drained, restarted"
	gatewayStopped kind = "gateway stopped, continued"
	redisKilled    kind = "Redis killed, restarted"
	redisStopped   kind = "Redis stopped, continued"
	redisFailed    kind = "Redis failed over to a replica"
	redisFull      kind = "Redis full"
	redisClock     kind = "Redis's clock jumps"
	gatewayClock   kind = "gateway's clock jumps"
	redisLinkCut   kind = "Redis link cut"
	redisLinkDown  kind = "Redis link refused"
	redisLinkSlow  kind = "Redis link delayed"
	redisLinkHalf  kind = "Redis link half-open"
	clientLinkCut  kind = "client link cut"
	clientLinkDown kind = "client link refused"
	clientLinkSlow kind = "client link delayed"
	clientLinkHalf kind = "client link half-open"
)

var kinds = []kind{
	gatewayKilled, gatewayDrained, gatewayStopped, gatewayClock, redisKilled, redisStopped, redisFailed, redisFull, redisClock,
	redisLinkCut, redisLinkDown, redisLinkSlow, redisLinkHalf,
	clientLinkCut, clientLinkDown, clientLinkSlow, clientLinkHalf,
}

// fault is one thing that breaks and is mended.
type fault struct {
	kind    kind
	gateway int // whose, where the kind is about one
	side    int // which half of the clients, where the kind is about their links
	at, dur time.Duration
	// delay is that of a slow link; at a failover it is how long the replica gets nothing before the primary dies.
	delay time.Duration
	// room is that whose primary or slot it is about, where the kind is about one.
	room int
	// jump is how far a clock jumps.
	jump time.Duration
}

func (f fault) String() string {
	text := string(f.kind)
	switch {
	case strings.HasPrefix(text, "client"):
		text += fmt.Sprintf(" (gateway %d, side %d)", f.gateway, f.side)
	case f.onStore():
		text += fmt.Sprintf(" (of room %d)", f.room)
	case !f.onRedis():
		text += fmt.Sprintf(" (gateway %d)", f.gateway)
	}
	if f.delay > 0 {
		text += fmt.Sprintf(", delay %v", f.delay)
	}
	if f.jump != 0 {
		text += fmt.Sprintf(" by %v", f.jump)
	}
	return fmt.Sprintf("%s from %v for %v", text, f.at, f.dur)
}

func (f fault) onRedis() bool {
	switch f.kind {
	case redisKilled, redisStopped, redisFailed, redisFull, redisClock:
		return true
	}
	return false
}

// target names what the fault is done to. A run does one thing at most to each target, so that mending one fault does not
// disturb another.
func (f fault) target() string {
	switch {
	case f.onRedis(), f.onStore():
		return "redis"
	case strings.HasPrefix(string(f.kind), "gateway"):
		return fmt.Sprintf("gateway %d", f.gateway)
	case strings.HasPrefix(string(f.kind), "Redis link"):
		return fmt.Sprintf("Redis link %d", f.gateway)
	}
	return fmt.Sprintf("client link %d %d", f.gateway, f.side)
}

// plan is everything about a run that is chosen: the same seed gives the same plan.
type plan struct {
	seed       uint64
	topology   topology
	gateways   int
	appendOnly bool
	clients    int
	rooms      int
	rate       int // messages a second of each client
	scope      scope
	faults     []fault
	// length is how long clients publish, unless quietAt says that they fall silent before, in the middle of the faults: nothing
	// that comes later shows what was lost then.
	length, quietAt time.Duration
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d gateways, Redis %s, %d clients in %d %s at %d messages/s each, %v", p.seed, p.gateways, p.store(), p.clients, p.rooms, p.scope, p.rate, p.length)
	for _, f := range p.faults {
		fmt.Fprintf(&b, "; %v", f)
	}
	if p.quietAt > 0 {
		fmt.Fprintf(&b, "; silence after %v", p.quietAt)
	}
	return b.String()
}

func (p plan) store() string {
	if p.topology != oneRedis {
		return string(p.topology)
	}
	if p.appendOnly {
		return "append-only"
	}
	return "memory only"
}

func (p plan) has(k kind) bool {
	return slices.ContainsFunc(p.faults, func(f fault) bool { return f.kind == k })
}

// sides is how many links to each gateway there are; a client uses that of its number modulo sides.
const sides = 2

// afterwards is how long clients go on publishing when everything is mended.
const afterwards = 800 * time.Millisecond

func makePlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	topology, number := topologyOf(seed)
	kinds := topology.kinds()
	p := plan{seed: seed, topology: topology, scope: scopeOf(number, topology.firsts()), gateways: 2 + r.IntN(2), appendOnly: r.IntN(2) == 0, clients: 6, rooms: 3, rate: 20 + r.IntN(41)}
	between := func(least, most int) time.Duration {
		return time.Duration(least+r.IntN(most-least+1)) * time.Millisecond
	}
	taken := map[string]bool{}
	wanted := 1 + r.IntN(3)
	at := between(200, 600)
	if p.scope == plainRooms {
		at += quietBefore
	}
	for len(p.faults) < wanted {
		k := kinds[r.IntN(len(kinds))]
		if len(p.faults) == 0 {
			k = topology.first(number) // in as many runs as there are kinds each comes at least once
		}
		f := fault{kind: k, gateway: r.IntN(p.gateways), side: r.IntN(sides), at: at}
		switch f.kind {
		case gatewayKilled, gatewayDrained:
			f.dur = between(100, 800)
		case primaryKilled, primaryStopped, slotMoved:
			f.dur, f.room = between(50, 1200), r.IntN(p.rooms)
		case redisKilled, redisFull:
			f.dur = between(50, 1200)
		case redisStopped, gatewayStopped:
			f.dur = between(200, 3000)
		case redisClock, gatewayClock:
			f.dur, f.jump = between(50, 1500), clockJump(r)
		case redisFailed:
			f.dur, f.delay = between(400, 1500), between(0, 300)
		case redisLinkSlow, clientLinkSlow:
			f.dur, f.delay = between(500, 1500), between(20, 300)
		default:
			f.dur = between(50, 2000)
		}
		if taken[f.target()] {
			continue
		}
		taken[f.target()] = true
		p.faults = append(p.faults, f)
		// Half of the faults come on the heels of the one before, so that they meet.
		if r.IntN(2) == 0 {
			at += between(0, 200)
		} else {
			at += between(0, 1500)
		}
	}
	if r.IntN(4) == 0 && p.scope != plainRooms {
		p.quietAt = p.faults[wanted-1].at + between(0, 300)
	}
	for _, f := range p.faults {
		p.length = max(p.length, f.at+f.dur+afterwards)
	}
	return p
}

func TestASeedGivesAlwaysTheSamePlan(t *testing.T) {
	found := map[kind]int{}
	for seed := range uint64(400) {
		p := makePlan(seed)
		if diff := cmp.Diff(p.String(), makePlan(seed).String()); diff != "" {
			t.Fatalf("two plans of seed %d differ: %s", seed, diff)
		}
		var targets []string
		for _, f := range p.faults {
			found[f.kind]++
			targets = append(targets, f.target())
		}
		slices.Sort(targets)
		if n := len(targets); n < 1 || n > 3 || len(slices.Compact(targets)) != n {
			t.Errorf("plan %v: want 1 to 3 faults, each on a target of its own", p)
		}
	}
	for _, topology := range topologies {
		for _, k := range topology.kinds() {
			if found[k] < 10 {
				t.Errorf("of 400 plans only %d have %q", found[k], k)
			}
		}
		pairs := topology.firsts() * uint64(len(scopes))
		together := map[string]bool{}
		for seed := range 5 * pairs {
			if of, number := topologyOf(seed); of == topology && number < pairs {
				p := makePlan(seed)
				together[fmt.Sprint(p.faults[0].kind, p.scope)] = true
			}
		}
		if uint64(len(together)) != pairs {
			t.Errorf("%s: only %d of %d pairs of kinds and scopes meet", topology, len(together), pairs)
		}
	}
}
