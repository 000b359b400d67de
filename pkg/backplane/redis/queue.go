package redis

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// overheadBytes is what a waiting publication costs beyond its channel and envelope.
	overheadBytes = 512
	// keptBufferBytes is the largest buffer that is kept for the next publication.
	keptBufferBytes = 16 << 10
)

// publication is a message that waits to be published. It is pooled.
type publication struct {
	// buf holds the channel, up to split, and the envelope.
	buf      []byte
	split    int
	deadline time.Time
	done     backplane.Confirmation
	// log is nil for what is only passed on.
	log *logRequest
	// err is why the command that was sent has failed; nil: it has not.
	err  error
	next *publication
}

var publicationPool = sync.Pool{New: func() any { return &publication{} }}

func (p *publication) size() int64 { return int64(len(p.buf) + overheadBytes) }

// appendCommand appends the command that carries the publication out.
func (p *publication) appendCommand(dst []byte, replicationID string) []byte {
	if p.log != nil {
		return appendCommand(dst, p.log.command(replicationID, p.buf[:p.split], p.buf[p.split:])...)
	}
	dst = append(dst, "*3\r\n$7\r\nPUBLISH\r\n"...)
	return appendBulk(appendBulk(dst, p.buf[:p.split]), p.buf[p.split:])
}

// readReply reads the answer to that command.
func (p *publication) readReply(r *respReader) {
	if p.log != nil {
		p.log.reply, p.err = r.value()
		return
	}
	_, p.err = r.integer() // how many are subscribed: nobody's concern
}

func (p *publication) minReplicas() int {
	if p.log == nil || p.log.keep == nil {
		return 0
	}
	return p.log.keep.MinReplicas
}

// release gives p back to the pool. Nobody may use it afterwards.
func (p *publication) release() {
	if cap(p.buf) > keptBufferBytes {
		p.buf = nil
	}
	p.buf, p.split, p.done, p.log, p.err, p.next = p.buf[:0], 0, nil, nil, nil, nil
	publicationPool.Put(p)
}

// budget bounds the bytes of all queues together.
type budget struct {
	limit    int64
	bytes    atomic.Int64
	messages atomic.Int64
}

func (b *budget) take(size int64) bool {
	if b.bytes.Add(size) > b.limit {
		b.bytes.Add(-size)
		return false
	}
	b.messages.Add(1)
	return true
}

func (b *budget) give(size int64) {
	b.bytes.Add(-size)
	b.messages.Add(-1)
}

// queue is a list of publications in the order of their deadlines. All methods are safe for concurrent use.
type queue struct {
	// wake has room for one: there may be something to take, or the queue is closed.
	wake chan struct{}

	mu          sync.Mutex
	first, last *publication
	closed      bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// push appends p, and says no when the queue is closed.
func (q *queue) push(p *publication) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if p.log != nil {
		p.log.sequence = p.log.writer.next() // under the lock: in the order of the queue
	}
	wasEmpty := q.first == nil
	if wasEmpty {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	q.mu.Unlock()
	if wasEmpty {
		q.poke()
	}
	return true
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes up to count publications of together up to size bytes, but at least one if there is any, and appends them to dst.
func (q *queue) take(dst []*publication, count, size int) []*publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && count > 0 && (size >= len(q.first.buf) || len(dst) == 0) {
		p := q.first
		q.first, p.next = p.next, nil
		count--
		size -= len(p.buf)
		dst = append(dst, p)
	}
	return dst
}

// takeDue removes those whose deadline is not after now, and appends them to dst.
func (q *queue) takeDue(dst []*publication, now time.Time) []*publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && !q.first.deadline.After(now) {
		p := q.first
		q.first, p.next = p.next, nil
		dst = append(dst, p)
	}
	return dst
}

// putBack puts publications that take returned in front again.
func (q *queue) putBack(batch []*publication) {
	if len(batch) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		q.last = batch[len(batch)-1]
	}
	for _, p := range slices.Backward(batch) {
		p.next = q.first
		q.first = p
	}
}

// close lets nobody push any more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

// drained is true once the queue is closed and empty.
func (q *queue) drained() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && q.first == nil
}
