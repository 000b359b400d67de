package backplane

import "context"

// Canary is a backplane that can prove that messages pass: it sends itself one as any other is sent, and waits until it is back.
// A link may look sound, with every ping answered, and yet bring nothing: what is published goes to one server while the
// subscriptions are at another, or a subscription was lost.
type Canary interface {
	// Shards names the parts of the store that messages pass through, in order; every process has the same names for them. There
	// are none before the store was reached first, if it has more than one.
	Shards() []string
	// Probe sends a message to this process through every subscription link of a shard and returns when all are back, or with
	// an error that says what did not happen when ctx ends. It blocks; at most one call for a shard may run at a time.
	Probe(ctx context.Context, shard string) error
	// Refusal asks a shard to take a write, and returns the words in which it refuses: its memory is full, or it cannot save; empty: it
	// takes it. Messages that are kept nowhere still pass then, so it is no failure of Probe. The error says that it is not known.
	// It blocks until ctx ends at most, and may not run at the same time as Probe of the shard.
	Refusal(ctx context.Context, shard string) (words string, err error)
	// Redial makes those links anew that the last Probe of the shard did not pass over. It does not block.
	Redial(shard string)
}

// SoleShard names the shard of a store that has only one.
const SoleShard = "redis"
