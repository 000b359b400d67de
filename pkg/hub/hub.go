// Package hub knows who is connected to this process: which connections are in which room and belong to which user. It joins
// them to the backplane's channels and fans messages out to them. It is the only owner of that knowledge.
//
// It does not know commands, policies or identities (package gateway), how bytes get to a client (package socket), or how
// they get to other processes (package backplane).
package hub

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/socket"
)

// Options is what a Hub is told at start.
type Options struct {
	Backplane backplane.Backplane
	// Linger is how long a channel without members stays subscribed, so that clients that reconnect do not make Redis
	// unsubscribe and subscribe again; 0: 5 s, longer than a reconnect with its first back-off takes.
	Linger time.Duration
	// HoldTimeout is how long a publication waits for the subscription of a member's own room; 0: 2 s, the time in which
	// every publish is answered.
	HoldTimeout time.Duration
	// SendQueueBytes is the bound of a connection's send queue; a recovering client is sent a quarter of it at a time; nil: 1 MiB.
	SendQueueBytes func() int
	// Control gets what PublishControl sent on any gateway, with the target's members here, which it must not change. It must
	// not block; nil: control messages are ignored.
	Control func(t backplane.Target, word string, members []*Client)
	Logger  *slog.Logger
}

// Hub owns the members of rooms and the connections of users. All methods are safe for concurrent use and none blocks,
// but for Close.
type Hub struct {
	// Fixed at start.
	backplane      backplane.Backplane
	log            backplane.Log      // nil: the backplane keeps no messages
	presence       backplane.Presence // nil: the backplane does not know who is in a room
	liveness       backplane.Liveness // nil: links do not break
	linger         time.Duration
	holdTimeout    time.Duration
	sendQueueBytes func() int
	onControl      func(backplane.Target, string, []*Client)
	logger         *slog.Logger
	seed           maphash.Seed

	shards     [shardCount]shard
	stats      counters
	recoveries chan struct{} // a place for each join that reads a log
	repairs    repairs

	running    context.Context // ends with Close
	stop       context.CancelFunc
	background sync.WaitGroup
}

// shardCount spreads channels over locks; more than the CPUs of any machine that a pod runs on.
const shardCount = 64

// shard owns a part of the channels.
type shard struct {
	// order keeps the backplane's Subscribe and Unsubscribe of one target in the order in which the channel was made and
	// dropped. It is taken before mu, and never by what the backplane calls.
	order sync.Mutex

	mu       sync.Mutex
	channels map[backplane.Target]*channel
	idle     []*channel // had no members at some time; looked at by the sweeper

	logs atomic.Bool // a channel may have a log
}

type counters struct {
	connections, rooms, users atomic.Int64
	deliveries, dropped       atomic.Uint64
	repairs, lost             atomic.Uint64
	lag                       LagHistogram
}

// Stats is a snapshot of what this process carries.
type Stats struct {
	// Connections, Rooms and Users count those with at least one connection here.
	Connections, Rooms, Users int64
	// Deliveries counts messages handed to connections, since the start.
	Deliveries uint64
	// Dropped counts messages that a room's backlog had no space for, since the start.
	Dropped uint64
	// Repairs counts reads of a log because of a possible hole, and Lost the messages that a log had forgotten by then.
	Repairs, Lost uint64
}

// New makes a hub and starts the backplane with it.
func New(o Options) *Hub {
	h := &Hub{backplane: o.Backplane, linger: o.Linger, holdTimeout: o.HoldTimeout, sendQueueBytes: o.SendQueueBytes, onControl: o.Control, logger: o.Logger,
		seed: maphash.MakeSeed(), recoveries: make(chan struct{}, recoveriesAtOnce)}
	h.log, _ = o.Backplane.(backplane.Log)
	h.presence, _ = o.Backplane.(backplane.Presence)
	h.liveness, _ = o.Backplane.(backplane.Liveness)
	h.running, h.stop = context.WithCancel(context.Background())
	if h.sendQueueBytes == nil {
		h.sendQueueBytes = func() int { return 1 << 20 }
	}
	if h.linger == 0 {
		h.linger = 5 * time.Second
	}
	if h.holdTimeout == 0 {
		h.holdTimeout = 2 * time.Second
	}
	for i := range h.shards {
		h.shards[i].channels = map[backplane.Target]*channel{}
	}
	h.backplane.Start(h)
	h.background.Go(h.sweep)
	if h.log != nil {
		h.background.Go(h.scrub)
	}
	return h
}

// Close stops the hub's own goroutines and closes the backplane, which waits for confirmations until ctx ends.
// The connections are the caller's to close.
func (h *Hub) Close(ctx context.Context) error {
	h.stop()
	err := h.backplane.Close(ctx) // from here on nothing calls back
	h.background.Wait()
	return err
}

// Stats returns a snapshot.
func (h *Hub) Stats() Stats {
	return Stats{
		Connections: h.stats.connections.Load(), Rooms: h.stats.rooms.Load(), Users: h.stats.users.Load(),
		Deliveries: h.stats.deliveries.Load(), Dropped: h.stats.dropped.Load(), Repairs: h.stats.repairs.Load(), Lost: h.stats.lost.Load(),
	}
}

// Lag returns how long deliveries took from the publishing gateway to the socket; the clocks of both machines count.
func (h *Hub) Lag() *LagHistogram { return &h.stats.lag }

func (h *Hub) shard(t backplane.Target) *shard {
	return &h.shards[maphash.Comparable(h.seed, t)%shardCount]
}

// find returns the channel of a target, or nil.
func (h *Hub) find(t backplane.Target) *channel {
	s := h.shard(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels[t]
}

// acquire returns the channel of a target with one more holder, so that it is not dropped; a new one is subscribed to.
func (h *Hub) acquire(t backplane.Target) *channel {
	s := h.shard(t)
	s.mu.Lock()
	ch := s.channels[t]
	if ch != nil {
		ch.hold()
		s.mu.Unlock()
		return ch
	}
	s.mu.Unlock()

	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	ch = s.channels[t]
	made := ch == nil
	if made {
		ch = &channel{hub: h, target: t}
		s.channels[t] = ch
	}
	ch.hold()
	s.mu.Unlock()
	if made {
		h.backplane.Subscribe(t)
	}
	return ch
}

// release gives a holder back; a channel without holders is dropped by the sweeper, a while later.
func (h *Hub) release(ch *channel) {
	if !ch.unhold() {
		return
	}
	s := h.shard(ch.target)
	s.mu.Lock()
	s.idle = append(s.idle, ch)
	s.mu.Unlock()
}

// sweep drops channels that have been without holders for the linger time.
func (h *Hub) sweep() {
	ticker := time.NewTicker(max(10*time.Millisecond, min(time.Second, h.linger/4)))
	defer ticker.Stop()
	for {
		select {
		case <-h.running.Done():
			return
		case now := <-ticker.C:
			for i := range h.shards {
				h.sweepShard(&h.shards[i], now)
			}
		}
	}
}

func (h *Hub) sweepShard(s *shard, now time.Time) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	var dropped []backplane.Target
	kept := s.idle[:0]
	for _, ch := range s.idle {
		switch idle, since := ch.idle(); {
		case !idle: // somebody came back; its next release lists it again
		case now.Sub(since) < h.linger:
			kept = append(kept, ch)
		default:
			delete(s.channels, ch.target)
			dropped = append(dropped, ch.target)
		}
	}
	clear(s.idle[len(kept):])
	s.idle = kept
	s.mu.Unlock()
	for _, t := range dropped {
		h.backplane.Unsubscribe(t)
	}
}

// Subscribed implements backplane.Sink.
func (h *Hub) Subscribed(t backplane.Target) {
	if ch := h.find(t); ch != nil {
		ch.verify() // before new joins begin, which have nothing to verify
		ch.goLive()
	}
}

// Interrupted implements backplane.Sink. Without history what is missed is lost; with it each channel looks for what it missed
// when its subscription is back.
func (h *Hub) Interrupted() {}

// Deliver implements backplane.Sink.
func (h *Hub) Deliver(m *backplane.Message) {
	ch := h.find(m.Target)
	switch {
	case ch == nil:
	case m.Changes != nil:
		ch.change(m.Changes)
	case !ch.control(m):
		ch.deliver(m)
	}
}

// Sender is where a client's frames go; *socket.Conn is the real one.
type Sender interface {
	// Send must not block, and must keep a reference of its own on what it keeps.
	Send(*socket.Buffer)
	// Queued returns how many bytes wait for the client.
	Queued() int
	// Close ends the connection after what is queued.
	Close(code uint16, text string, reason socket.Reason)
}
