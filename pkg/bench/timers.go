package bench

import (
	"container/heap"
	"time"
)

// timers are calls to make later, the earliest first.
type timers struct{ heap timerHeap }

type timer struct {
	at time.Duration
	f  func()
}

func (t *timers) add(at time.Duration, f func()) { heap.Push(&t.heap, timer{at, f}) }

func (t *timers) next() (time.Duration, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// run calls what is due; calls that are added meanwhile wait for the next time.
func (t *timers) run(now time.Duration) {
	for n := len(t.heap); n > 0 && len(t.heap) > 0 && t.heap[0].at <= now; n-- {
		heap.Pop(&t.heap).(timer).f()
	}
}

// timerHeap implements heap.Interface.
type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return t
}
