package gateway

import "time"

// The bounds of the decisions about canaries, in rounds, which are a fleetInterval apart. Everything takes more than one round, so
// that a Redis that pauses for a moment moves nobody, and nothing flaps.
const (
	// failingAfter is from when on a shard counts as failing; its links are made anew then, and every redialEvery rounds after.
	failingAfter = 2
	redialEvery  = 3
	// unreadyAfter is from when on a gateway may go unready: two rounds after its links were made anew. Others must have passed
	// in contradictedAfter rounds in a row: in the moment in which a shared outage ends, others may pass first.
	unreadyAfter      = 4
	contradictedAfter = 2
	// readyAfter is how many canaries must come back before it is ready again, and how many writes Redis must take before it counts as
	// taking them again; sharedAfter in how many rounds none
	// of the others' may have passed.
	readyAfter  = 3
	sharedAfter = 6
)

// others is what the other gateways' canaries did through a shard since this gateway's last one was sent.
type others int

const (
	othersUnknown others = iota // the registry cannot be read, or was not asked
	othersPassed                // at least one came back
	othersFailed                // there are none, or none came back
)

// canaryRound is how one canary ended.
type canaryRound struct {
	began, ended time.Time
	err          error // nil: it came back
	others       others
	// wrote says that Redis was asked to take a write and answered, refusal how it refused; empty: it took it.
	wrote   bool
	refusal string
}

// canaryState is what the canaries of one shard have shown. It is a value: observe returns the next one.
type canaryState struct {
	// rounds in a row that failed or passed.
	failing, passing int
	// contradicted counts rounds in a row that failed while another gateway's passed, and shared those, while out, in which none did.
	contradicted, shared int
	// out says that this gateway is to get no new clients because of this shard.
	out bool

	failures, redials uint64
	// began is when the last one was sent, lastPass when one came back last, and roundTrip how long that took.
	began, lastPass time.Time
	roundTrip       time.Duration
	// lastError says how the last one failed; empty: it passed.
	lastError string
	// refusal is in which words the shard refuses to write, and taken how many writes in a row it took since.
	refusal string
	taken   int
}

// observe takes the end of a round, and says whether the links of the shard are to be made anew. A gateway goes out only if its canaries
// fail also over new links while those of others pass: an outage that all share takes nobody out. Without a word of the others
// nothing changes: who cannot read the registry cannot tell the one from the other.
func (c canaryState) observe(r canaryRound) (next canaryState, redial bool) {
	c.began = r.began
	c = c.observeWrite(r)
	if r.err == nil {
		c.failing, c.contradicted, c.shared, c.lastError = 0, 0, 0, ""
		c.passing++
		c.lastPass, c.roundTrip = r.ended, r.ended.Sub(r.began)
		c.out = c.out && c.passing < readyAfter
		return c, false
	}
	c.passing, c.lastError = 0, r.err.Error()
	c.failing++
	c.failures++
	switch r.others {
	case othersPassed:
		c.shared = 0
		c.contradicted++
		c.out = c.out || c.failing >= unreadyAfter && c.contradicted >= contradictedAfter
	case othersFailed:
		c.contradicted = 0
		c.shared++
		c.out = c.out && c.shared < sharedAfter
	default:
		c.contradicted, c.shared = 0, 0
	}
	redial = c.failing >= failingAfter && (c.failing-failingAfter)%redialEvery == 0
	if redial {
		c.redials++
	}
	return c, redial
}

// observeWrite takes the answer to a write. At the brim Redis refuses one write and takes the next: only several in a row say that
// there is room again.
func (c canaryState) observeWrite(r canaryRound) canaryState {
	switch {
	case !r.wrote:
	case r.refusal != "":
		c.refusal, c.taken = r.refusal, 0
	default:
		c.taken++
		if c.taken >= readyAfter {
			c.refusal = ""
		}
	}
	return c
}

// asksOthers says whether the next round needs to know of the others if it fails.
func (c canaryState) asksOthers() bool { return c.out || c.failing >= failingAfter }

// The words for what canaries show.
const (
	canaryUnknown = "unknown" // none has come back or been missed yet
	canaryPassing = "passing"
	canaryFailing = "failing"
	canaryNone    = "none" // there is nothing between the process and itself
)

// verdict is one of the words above.
func (c canaryState) verdict() string {
	switch {
	case c.failing >= failingAfter:
		return canaryFailing
	case c.lastPass.IsZero():
		return canaryUnknown
	}
	return canaryPassing
}
