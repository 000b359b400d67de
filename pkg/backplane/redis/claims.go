package redis

import "time"

// claimKept is how long a claim on a slot outlives the last look that found it, if only older claims are found since: much longer than
// the nodes of a cluster take to hear of a failover, and short for a cluster that was put back to what it was before.
const claimKept = 5 * time.Second

// claims remembers the newest claim on each slot that any look at the topology has found. Each look asks some nodes only, and those that
// have not heard of a failover yet, or cannot, would take a slot back to the primary of before, and with it the subscriptions, which
// then miss what comes until the next look. Its methods are for one goroutine.
type claims struct {
	addrs  [slotCount]string
	epochs [slotCount]int64
	// since is when a look found older claims only, of some slot, and none has found better since; zero: none has.
	since time.Time
}

// uphold puts newer claims that are known into a topology, in place of the older ones that were found. What the claimant itself does not
// say any more is not upheld, and neither is anything for longer than claimKept.
func (c *claims) uphold(t *topology, now time.Time) {
	upheld := false
	for slot, addr := range &t.slots {
		known := c.addrs[slot]
		if addr == "" || known == "" || t.epochs[slot] >= c.epochs[slot] || t.hasAnswered(known) || !c.since.IsZero() && now.Sub(c.since) >= claimKept {
			c.addrs[slot], c.epochs[slot] = addr, t.epochs[slot]
			continue
		}
		t.slots[slot], t.epochs[slot] = known, c.epochs[slot]
		upheld = true
	}
	switch {
	case !upheld:
		c.since = time.Time{}
	case c.since.IsZero():
		c.since = now
	}
}
