package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

// TestClientsThatVanishLeaveNothingBehind opens 10,000 connections, a quarter at a time, each of a user of its own and in two
// rooms, and lets their clients fall silent: the kernel goes on acknowledging, as a network that swallows everything but keeps
// its proxies' connections open would look from here, so that only heartbeats can notice.
func TestClientsThatVanishLeaveNothingBehind(t *testing.T) {
	const total, atOnce = 10_000, 2_500
	// keptBytes bounds what the heap may have grown by: less for each connection than the smallest thing that one has.
	const keptBytes = total * 50
	nodes, _ := startFleet(t, 1, func(s *settings.Settings) {
		s.Heartbeat, s.LogLevel = time.Second, "info"
	})
	n := nodes[0]
	http.DefaultClient.CloseIdleConnections() // they have goroutines
	come := func(from int) usage {
		for first := 0; first < total; first += atOnce {
			vanish(t, n, from+first, atOnce)
		}
		n.wantEmpty(t)
		return snapshot()
	}
	// Maps, lists and pools keep the size that they once had, so a first round brings them to it. A second is measured, and if it
	// has grown by more, a third and a fourth: what is left behind comes anew with each, what was a little larger once does not.
	before, rounds := come(0), 1
	for ; ; rounds++ {
		after := come(rounds * total)
		t.Logf("round %d: heap %d → %d bytes, goroutines %d → %d", rounds, before.heap, after.heap, before.goroutines, after.goroutines)
		grown := int64(after.heap) - int64(before.heap)
		if grown <= keptBytes && after.goroutines <= before.goroutines {
			break
		}
		if rounds < 3 {
			before = after
			continue
		}
		stacks := make([]byte, 1<<20)
		t.Errorf("each %d connections that come and go leave something behind: the heap has %d bytes more than before, want at most %d; %d goroutines became %d:\n%s",
			total, grown, keptBytes, before.goroutines, after.goroutines, stacks[:runtime.Stack(stacks, true)])
		break
	}
	if got, want := n.metrics.disconnects[socket.HeartbeatTimeout].Load(), uint64((rounds+1)*total); got != want {
		t.Errorf("%d connections ended by heartbeat_timeout, want %d", got, want)
	}
}

// vanish connects users first, first+1, … and joins each to its own room and to one of fifty, then answers nothing until the
// gateway has cut all of them.
func vanish(t *testing.T, n *node, first, count int) {
	t.Helper()
	conns := make([]net.Conn, count)
	var dialing sync.WaitGroup
	for worker := range 4 {
		dialing.Go(func() {
			for i := worker; i < count; i += 4 {
				user := first + i
				conn, err := dialRaw(t.Context(), n.Addr().String(), user)
				if err != nil {
					t.Errorf("connect user %d: %v", user, err)
					return
				}
				conns[i] = conn
			}
		})
	}
	dialing.Wait()
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	if t.Failed() {
		t.FailNow()
	}
	eventually(t, "the gateway has cut all silent clients", func() bool { return n.reactor.Open() == 0 })
}

// dialRaw connects with as little as possible on the client's side: no goroutine, and nothing that would answer a ping.
func dialRaw(ctx context.Context, addr string, user int) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "GET /ws?user_id=user-%d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, 1024)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("refused with %s", response.Status)
	}
	for _, room := range []string{fmt.Sprintf("own-%d", user), fmt.Sprintf("shared-%d", user%50)} {
		if _, err := conn.Write(maskedText(`{"type":"join","id":"1","room_id":"` + room + `"}`)); err != nil {
			return nil, err
		}
	}
	for frames := 0; frames < 3; { // the welcome and two acks; pings may come between
		first, err := reader.ReadByte()
		if err != nil {
			return nil, err
		}
		size, err := reader.ReadByte()
		length := int(size)
		if size == 126 {
			var b [2]byte
			_, err = io.ReadFull(reader, b[:])
			length = int(binary.BigEndian.Uint16(b[:]))
		}
		if err != nil {
			return nil, err
		}
		if _, err := reader.Discard(length); err != nil {
			return nil, err
		}
		if first == 0x81 {
			frames++
		}
	}
	return conn, nil
}

// maskedText is a text frame of at most 125 bytes, masked with zeros.
func maskedText(s string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}, s...)
}

// wantEmpty waits until nothing of any client is left.
func (n *node) wantEmpty(t *testing.T) {
	t.Helper()
	eventually(t, "nothing of any client is left", func() bool {
		stats := n.hub.Stats()
		return n.reactor.Open() == 0 && n.reactor.QueuedBytes() == 0 && n.present() == 0 && n.admitted.Load() == 0 &&
			stats.Connections == 0 && stats.Rooms == 0 && stats.Users == 0 && n.backplane.Status().Subscriptions == 0
	})
}

type usage struct {
	goroutines int
	heap       uint64
}

func snapshot() usage {
	// A goroutine that has done its last thing may not have ended yet: the smallest of some counts counts.
	u := usage{goroutines: runtime.NumGoroutine()}
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		u.goroutines = min(u.goroutines, runtime.NumGoroutine())
	}
	for range 3 { // pools let go of what they hold at the second
		runtime.GC()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u.heap = memory.HeapAlloc
	return u
}
