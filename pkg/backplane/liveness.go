package backplane

// Liveness is a backplane whose links can break, and that knows which targets are affected.
type Liveness interface {
	// IsLive says whether the store has confirmed the target's subscription on a link that is not known to be broken: then
	// everything published from now on is delivered, or Interrupted is called. If not, Subscribed follows as long as the
	// target is wanted. It does not block, and calls no sink.
	IsLive(Target) bool
}
