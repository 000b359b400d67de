package socket

import (
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Reactor is told at start.
type Config struct {
	// Pollers is the number of goroutines that read; 0: one for each CPU that Go may use.
	Pollers int
	// Heartbeat is the time between two pings; a client that is silent for 2.5 times as long is cut.
	Heartbeat time.Duration
	// SendQueueBytes tells how much may wait for one client; more closes it with SlowConsumer. It is asked whenever something
	// has to wait, so that it can change.
	SendQueueBytes func() int
	// MaxQueuedBytes bounds what waits for all clients together; 0: no bound. Over it, whoever has to queue is closed as if
	// its own queue were full.
	MaxQueuedBytes int64
	// MaxMessageBytes tells how large a message from a client may be. It is asked for every frame, so that it can change.
	MaxMessageBytes func() int
	// Compression agrees to permessage-deflate where a client offers it.
	Compression bool
	Logger      *slog.Logger
}

// Reactor reads from and pings many connections with few goroutines. It is made by NewReactor; its methods are safe for
// concurrent use.
type Reactor struct {
	config      Config
	start       time.Time
	pollers     []*poller
	next        atomic.Uint32
	open        atomic.Int64
	queuedBytes atomic.Int64
	table       table
	running     sync.WaitGroup
}

var errStopped = errors.New("this process is stopping")

// NewReactor starts the pollers.
func NewReactor(config Config) (*Reactor, error) {
	if config.Pollers == 0 {
		config.Pollers = runtime.GOMAXPROCS(0)
	}
	r := &Reactor{config: config, start: time.Now()}
	for range config.Pollers {
		p, err := newPoller(r)
		if err != nil {
			r.Stop()
			return nil, err
		}
		r.pollers = append(r.pollers, p)
		r.running.Add(1)
		go p.run()
	}
	return r, nil
}

// Open returns the number of connections whose descriptors are in use, closing ones included.
func (r *Reactor) Open() int { return int(r.open.Load()) }

// QueuedBytes returns how many bytes wait for clients that read too slowly.
func (r *Reactor) QueuedBytes() int64 { return r.queuedBytes.Load() }

// Stop cuts every connection that is left and waits until all are gone.
func (r *Reactor) Stop() {
	for _, p := range r.pollers {
		p.mu.Lock()
		p.stopped = true
		conns := slices.Concat(p.turns...)
		p.mu.Unlock()
		for _, c := range conns {
			c.Abort(Draining)
		}
		p.wake()
	}
	r.running.Wait()
}

func (r *Reactor) elapsed() time.Duration { return time.Since(r.start) }

// table finds a connection by its descriptor without a lock: descriptors are small numbers, and a block of places is only
// ever added.
type table struct {
	mu     sync.Mutex
	blocks atomic.Pointer[[]*[tableBlock]atomic.Pointer[Conn]]
}

const tableBlock = 1024

func (t *table) get(fd int32) *Conn {
	blocks := t.blocks.Load()
	if blocks == nil || int(fd)/tableBlock >= len(*blocks) {
		return nil
	}
	return (*blocks)[fd/tableBlock][fd%tableBlock].Load()
}

func (t *table) set(fd int32, c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var blocks []*[tableBlock]atomic.Pointer[Conn]
	if old := t.blocks.Load(); old != nil {
		blocks = *old
	}
	if grown := blocks; int(fd)/tableBlock >= len(blocks) {
		for int(fd)/tableBlock >= len(grown) {
			grown = append(slices.Clip(grown), new([tableBlock]atomic.Pointer[Conn]))
		}
		t.blocks.Store(&grown)
		blocks = grown
	}
	blocks[fd/tableBlock][fd%tableBlock].Store(c)
}
