package client

import "sync"

// queue holds events until the application takes them. It is bounded; it is safe for concurrent use.
type queue struct {
	maxEvents, maxBytes int

	mu     sync.Mutex
	events []Event
	head   int // the first event not yet taken
	bytes  int
	filled bool // push has returned false since the queue was last half empty
	ended  bool
	// wake has a place for one token: something came, or the queue has ended.
	wake chan struct{}
}

func newQueue(maxEvents, maxBytes int) *queue {
	return &queue{maxEvents: maxEvents, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// push returns false if the queue is full. An empty queue takes an event of any size.
func (q *queue) push(e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := len(q.events) - q.head
	if waiting >= q.maxEvents || waiting > 0 && q.bytes+size(e) > q.maxBytes {
		q.filled = true
		return false
	}
	q.addLocked(e)
	return true
}

// pushGap takes a gap beyond the bound; several in a row become one.
func (q *queue) pushGap(g Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last := len(q.events) - 1; last >= q.head {
		if before, ok := q.events[last].(Gap); ok {
			before.Reason, before.To = g.Reason, g.To
			if before.Missed == 0 || g.Missed == 0 {
				before.Missed = 0
			} else {
				before.Missed += g.Missed
			}
			q.events[last] = before
			return
		}
	}
	q.addLocked(g)
}

// end makes e the last event.
func (q *queue) end(e Ended) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.addLocked(e)
		q.ended = true
	}
}

func (q *queue) addLocked(e Event) {
	if q.ended {
		return
	}
	q.events = append(q.events, e)
	q.bytes += size(e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pop returns the next event, or false if there is none now. drained is true once when a queue that was full is half empty.
func (q *queue) pop() (e Event, ok, drained bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.events) {
		drained, q.filled = q.filled, false
		return nil, false, drained
	}
	e = q.events[q.head]
	q.events[q.head] = nil
	q.head++
	q.bytes -= size(e)
	if 2*q.head >= len(q.events) {
		left := copy(q.events, q.events[q.head:])
		clear(q.events[left:])
		q.events, q.head = q.events[:left], 0
	}
	if q.filled && 2*(len(q.events)-q.head) <= q.maxEvents && 2*q.bytes <= q.maxBytes {
		q.filled, drained = false, true
	}
	return e, true, drained
}

// room returns how many events the queue has place for, as far as their number counts; 0 too if its bytes are used up.
func (q *queue) room() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	free := q.maxEvents - (len(q.events) - q.head)
	if free <= 0 || q.bytes >= q.maxBytes {
		q.filled = true
		return 0
	}
	return free
}
