package model

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// step is one thing that a run does. It is carried out as far as it is possible then, so that any part of a run is a run too.
type step struct {
	do   deed
	slot int // which client, or for faults which gateway
	// target is a room, or a user as @name.
	target target
	// pick is a number for what is chosen when the step is carried out: which gateway, which key, how far back.
	pick int
	// mode is how: see the deeds.
	mode mode
	// watch asks to be told who comes and goes; quiet is echo: false.
	watch, quiet bool
	history      int
	size         int // of the data, in bytes
	count        int // of messages that are published at once
	pause        time.Duration
}

type deed string

const (
	connect deed = "connect"
	// join joins a room: plain, recovering from where the client stands, or from further back.
	join  deed = "join"
	leave deed = "leave"
	// publish publishes: without a key, with a new one, with one that was used for this data, or for other data.
	publish deed = "publish"
	read    deed = "read"   // a page of the log
	hangUp  deed = "cut"    // the client's connection ends
	settle  deed = "settle" // everything is mended, and all has to be as the reference says

	killGateway  deed = "kill the gateway"
	drainGateway deed = "drain the gateway"
	startGateway deed = "start the gateway"
	cutLink      deed = "cut the gateway's links to Redis"
	refuseLink   deed = "refuse the gateway's links to Redis"
	swallowLink  deed = "swallow what passes on the gateway's links to Redis"
	mendLink     deed = "mend the gateway's links to Redis"
	flushRedis   deed = "flush Redis"
	restartRedis deed = "restart Redis"
	stopRedis    deed = "stop Redis for a moment"
)

type mode string

const (
	plain  mode = ""
	resume mode = "recover"
	rewind mode = "recover from further back"
	keyed  mode = "with a new key"
	again  mode = "again with its key"
	clash  mode = "with a key that was used for other data"
	// calmly settles with links that are certain to be new, so that the steps that follow begin without a fault.
	calmly mode = "calmly"
)

func (s step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", s.do)
	switch s.do {
	case connect, join, leave, publish, read, hangUp:
		fmt.Fprintf(&b, ": client %d", s.slot)
	case settle, flushRedis, restartRedis, stopRedis:
	default:
		fmt.Fprintf(&b, " %d", s.slot)
	}
	for _, part := range []struct {
		show bool
		text string
	}{
		{s.target != "", string(s.target)},
		{s.mode != plain, string(s.mode)},
		{s.count > 1, fmt.Sprintf("%d times", s.count)},
		{s.history > 0, fmt.Sprintf("history %d", s.history)},
		{s.watch, "presence"},
		{s.quiet, "without echo"},
		{s.pause > 0, fmt.Sprintf("then %v", s.pause)},
	} {
		if part.show {
			b.WriteString(", " + part.text)
		}
	}
	return b.String()
}

// scheme is what is fixed for a whole run.
type scheme struct {
	seed     uint64
	gateways int
	// lasting is a Redis with an append-only file, which loses nothing when it is killed.
	lasting bool
	inbox   bool // direct messages are kept
	steps   []step
}

func (s scheme) String() string {
	store, direct := "memory only", "passed on"
	if s.lasting {
		store = "append-only"
	}
	if s.inbox {
		direct = "kept"
	}
	return fmt.Sprintf("seed %d: %d gateways, Redis %s, direct messages are %s, %d steps", s.seed, s.gateways, store, direct, len(s.steps))
}

const (
	slots = 6
	users = 4
	// segments are ended by settling, with stepsBetween steps each.
	segments     = 4
	stepsBetween = 50
)

func userOf(slot int) string { return fmt.Sprintf("user-%d", slot%users) }

// target is a room by its name, or a user with an @ before it.
type target string

func (t target) user() (string, bool) { return strings.CutPrefix(string(t), "@") }

// Rooms whose name begins with kept, short or seen have history, that of short ones is short; in those that begin with seen or here
// presence is kept.
var rooms = []target{"kept-1", "kept-2", "short-1", "seen-1", "here-1", "plain-1"}

const (
	keptSize  = 500
	shortSize = 6
)

// kept is how many messages the target's log holds; 0: there is none.
func (s scheme) kept(t target) int {
	_, user := t.user()
	switch {
	case user && s.inbox, strings.HasPrefix(string(t), "kept"), strings.HasPrefix(string(t), "seen"):
		return keptSize
	case strings.HasPrefix(string(t), "short"):
		return shortSize
	}
	return 0
}

func (t target) hasPresence() bool {
	return strings.HasPrefix(string(t), "seen") || strings.HasPrefix(string(t), "here")
}

// generate makes a run of its seed.
func generate(seed uint64) scheme {
	r := rand.New(rand.NewPCG(seed, 1))
	s := scheme{seed: seed, gateways: 2 + r.IntN(2), lasting: r.IntN(2) == 0, inbox: r.IntN(2) == 0}
	for slot := range slots {
		s.steps = append(s.steps, step{do: connect, slot: slot, pick: r.IntN(1000)})
		for range 2 {
			s.steps = append(s.steps, step{do: join, slot: slot, target: rooms[r.IntN(len(rooms))], watch: r.IntN(2) == 0})
		}
	}
	for range segments {
		// Half of the segments have no fault: there nothing at all may be missed.
		faults := r.IntN(2) == 0
		for range stepsBetween {
			s.steps = append(s.steps, randomStep(r, s.gateways, faults))
		}
		end := step{do: settle}
		if r.IntN(4) > 0 {
			end.mode = calmly
		}
		s.steps = append(s.steps, end)
	}
	return s
}

func randomStep(r *rand.Rand, gateways int, faults bool) step {
	s := step{slot: r.IntN(slots), pick: r.IntN(1000), target: rooms[r.IntN(len(rooms))]}
	if r.IntN(4) == 0 {
		s.pause = time.Duration(r.IntN(5000)) * time.Microsecond
	}
	roll := r.IntN(100)
	if !faults {
		roll = r.IntN(90)
	}
	switch {
	case roll < 10:
		s.do, s.target = connect, ""
	case roll < 28:
		s.do, s.watch = join, r.IntN(2) == 0
		s.mode = []mode{plain, resume, resume, rewind}[r.IntN(4)]
		if r.IntN(3) == 0 {
			s.history = 1 + r.IntN(20)
		}
	case roll < 33:
		s.do = leave
	case roll < 79:
		s.do, s.quiet = publish, r.IntN(5) == 0
		s.count = 1
		if r.IntN(4) == 0 {
			s.count = 1 + r.IntN(15)
		}
		s.mode = []mode{plain, plain, plain, plain, keyed, keyed, keyed, again, again, clash}[r.IntN(10)]
		if r.IntN(4) == 0 {
			s.target = target("@" + userOf(r.IntN(users)))
		}
		if r.IntN(5) == 0 {
			s.size = r.IntN(6000)
		}
	case roll < 83:
		s.do = read
	case roll < 90:
		s.do, s.target = hangUp, ""
	default:
		s.slot, s.target = r.IntN(gateways), ""
		s.do = []deed{
			killGateway, drainGateway, startGateway, startGateway, cutLink, cutLink, refuseLink, swallowLink, mendLink, mendLink,
			flushRedis, restartRedis, stopRedis,
		}[r.IntN(13)]
		if s.pause == 0 && r.IntN(2) == 0 {
			s.pause = time.Duration(r.IntN(150)) * time.Millisecond
		}
	}
	return s
}
