package hub

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// sink is a Sender that takes everything at once: what is measured is the hub.
type sink struct{ buffers, bytes atomic.Int64 }

func (s *sink) Send(b *socket.Buffer) {
	s.buffers.Add(1)
	s.bytes.Add(int64(len(b.B)))
}

func (s *sink) Queued() int { return 0 }

func (s *sink) Close(uint16, string, socket.Reason) {}

// confirmed is a Confirmation that counts.
type confirmed struct{ n atomic.Int64 }

func (c *confirmed) Published(backplane.Receipt, error) { c.n.Add(1) }

// BenchmarkFanOut publishes into a room over the backplane of one process. Small rooms are written by the publisher's goroutine,
// large ones by one of their own. Allocations are shown for each delivery: there must be none, however large the room.
func BenchmarkFanOut(b *testing.B) {
	for _, members := range []int{1, 10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			h := New(Options{Backplane: memory.New(), Logger: slog.New(slog.DiscardHandler)})
			defer func() { _ = h.Close(b.Context()) }()
			target := &sink{}
			clients := make([]Client, members)
			for i := range clients {
				clients[i] = Client{ID: fmt.Sprint("c", i), UserID: fmt.Sprint("u", i), Sender: target}
				h.Connect(b.Context(), &clients[i], false, func(*protocol.Position) {})
				h.Join(&clients[i], "room", Unseen, func() {})
			}
			body := protocol.AppendMessage(nil, &protocol.Message{
				ID: []byte("m-1"), RoomID: []byte("room"), From: "u1", Data: make([]byte, 128), TS: time.Now().UnixMilli(),
			})
			message := backplane.Message{Target: backplane.Target{Kind: backplane.Room, ID: "room"}, Body: body}
			done := &confirmed{}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				h.Publish(&message, done)
				for done.n.Load() == 0 || h.Stats().Deliveries < uint64(done.n.Load())*uint64(members) {
					runtime.Gosched() // the room's own goroutine is still at it
				}
			}
			runtime.ReadMemStats(&after)
			deliveries := float64(b.N) * float64(members)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/deliveries, "allocs/delivery")
		})
	}
}

// BenchmarkJoinLeave is a client that enters and leaves a room in which others stay.
func BenchmarkJoinLeave(b *testing.B) {
	h := New(Options{Backplane: memory.New(), Logger: slog.New(slog.DiscardHandler)})
	defer func() { _ = h.Close(b.Context()) }()
	clients := make([]Client, 2)
	for i := range clients {
		clients[i] = Client{ID: fmt.Sprint("c", i), UserID: fmt.Sprint("u", i), Sender: &sink{}}
		h.Connect(b.Context(), &clients[i], false, func(*protocol.Position) {})
	}
	h.Join(&clients[0], "room", Unseen, func() {})
	room := []byte("room")
	b.ReportAllocs()
	for b.Loop() {
		h.Join(&clients[1], "room", Unseen, func() {})
		h.Leave(&clients[1], room)
	}
}

// BenchmarkPublishToNobodyHere is a message for a room without members on this process.
func BenchmarkPublishToNobodyHere(b *testing.B) {
	h := New(Options{Backplane: memory.New(), Logger: slog.New(slog.DiscardHandler)})
	defer func() { _ = h.Close(b.Context()) }()
	message := backplane.Message{Target: backplane.Target{Kind: backplane.Room, ID: "nobody"}, Body: []byte(`{"type":"message","ts":1}`)}
	done := &confirmed{}
	b.ReportAllocs()
	for b.Loop() {
		h.Publish(&message, done)
	}
}
