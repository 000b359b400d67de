package fleet

import "slices"

// Load is what one gateway pod carries, as its /statusz says; the JSON names are that endpoint's.
type Load struct {
	// Pod is the pod's name.
	Pod string `json:"-"`
	// Err says why nothing is known; the rest is empty then.
	Err error `json:"-"`

	// Phase is serving, leaving or draining.
	Phase string `json:"phase"`
	// Connections and Rooms are those of this pod.
	Connections int64 `json:"connections"`
	Rooms       int64 `json:"rooms"`
	// Canary says whether the pod's messages to itself come back through Redis; nil: it sends none.
	Canary *Canary `json:"canary"`
}

// Canary is what a pod's messages to itself show.
type Canary struct {
	// State is one of the Canary constants.
	State  string        `json:"state"`
	Shards []ShardCanary `json:"shards"`
}

// ShardCanary is the same for one shard of Redis.
type ShardCanary struct {
	// Shard names it: an address in a Redis Cluster, redis otherwise.
	Shard string `json:"shard"`
	State string `json:"state"`
	// Refusal is in which words the shard refuses to write; empty: it does not.
	Refusal string `json:"refusal"`
}

// The states of a canary.
const (
	CanaryPassing = "passing"
	CanaryFailing = "failing"
	// CanaryUnknown: none has come back or been missed yet.
	CanaryUnknown = "unknown"
)

// FailingShards returns the names of the shards through which the pod's messages do not come back, in order.
func (l *Load) FailingShards() []string {
	var failing []string
	if l.Canary != nil {
		for _, s := range l.Canary.Shards {
			if s.State == CanaryFailing {
				failing = append(failing, s.Shard)
			}
		}
	}
	slices.Sort(failing)
	return failing
}

// Refusals returns, by the name of the shard, in which words Redis refuses to write.
func (l *Load) Refusals() map[string]string {
	refusals := map[string]string{}
	if l.Canary != nil {
		for _, s := range l.Canary.Shards {
			if s.Refusal != "" {
				refusals[s.Shard] = s.Refusal
			}
		}
	}
	return refusals
}

// Totals are what the pods carry together.
type Totals struct{ Connections, Rooms int64 }

// Sum adds up the pods whose load is known, and says whether there is any.
func Sum(loads []Load) (total Totals, known bool) {
	for _, l := range loads {
		if l.Err != nil {
			continue
		}
		known = true
		total.Connections += l.Connections
		total.Rooms += l.Rooms
	}
	return total, known
}

// Rounded returns both numbers to two significant digits, so that a status that shows them changes when they do, and not with every
// client that comes or goes.
func (t Totals) Rounded() Totals { return Totals{twoDigits(t.Connections), twoDigits(t.Rooms)} }

// twoDigits rounds half away from zero.
func twoDigits(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}
