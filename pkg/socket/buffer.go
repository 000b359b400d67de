package socket

import (
	"sync"
	"sync/atomic"
)

// Buffer holds frames that are ready to be written, shared by all connections that they go to. It is made by NewBuffer with
// one reference, which its maker gives back by Release; a connection that has to queue it takes a reference of its own.
// Append to B before the first Send and never change it afterwards.
type Buffer struct {
	B    []byte
	refs atomic.Int32

	deflateOnce sync.Once
	compressed  *Buffer // the same frames for connections that take them compressed; nil until one does
}

// maxPooledBytes keeps a few huge messages from holding their memory for ever.
const maxPooledBytes = 256 << 10

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// NewBuffer returns an empty buffer with one reference.
func NewBuffer() *Buffer {
	b := buffers.Get().(*Buffer)
	b.refs.Store(1)
	return b
}

// Release gives one reference back; the last one returns the memory to a pool.
func (b *Buffer) Release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	if b.compressed != nil {
		b.compressed.Release()
		b.compressed, b.deflateOnce = nil, sync.Once{}
	}
	if cap(b.B) <= maxPooledBytes {
		b.B = b.B[:0]
		buffers.Put(b)
	}
}

func (b *Buffer) retain() { b.refs.Add(1) }
