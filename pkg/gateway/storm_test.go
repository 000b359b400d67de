package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wscluster/wscluster/pkg/bench"
)

// storm is clients that all connect at the same moment and come back as they are told.
type storm struct {
	address              string
	in, refused, trouble atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
	waits []int // what Retry-After said
}

// run returns when count clients are in, or ctx ends.
func (s *storm) run(ctx context.Context, count int) {
	var clients sync.WaitGroup
	for i := range count {
		clients.Go(func() { s.client(ctx, i) })
	}
	clients.Wait()
}

// client tries until it is in. It backs off as docs/protocol.md asks: what Retry-After says, and a random pause on top.
func (s *storm) client(ctx context.Context, i int) {
	for backoff := time.Second; ctx.Err() == nil; backoff = min(2*backoff, 8*time.Second) {
		after, err := s.attempt(ctx, i)
		if after == 0 && err == nil {
			s.in.Add(1)
			return
		}
		if err != nil {
			s.trouble.Add(1)
		} else {
			s.refused.Add(1)
		}
		sleep(ctx, time.Duration(after)*time.Second+rand.N(backoff))
	}
}

// attempt makes one handshake. after is what Retry-After of a refusal says, 0 if there was none.
func (s *storm) attempt(ctx context.Context, i int) (after int, err error) {
	// One address has 28,000 ports; refused connections use some of them for a while.
	dialer := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%16))}}
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return 0, err
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // fails only on a closed connection, and then the write does too
	if _, err = fmt.Fprintf(conn, "GET /ws?user_id=storm-%d HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", i, s.address); err != nil {
		_ = conn.Close()
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		_ = conn.Close()
		return 0, err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		return 0, nil
	}
	_, _ = io.Copy(io.Discard, response.Body) // the status and the header say it all
	_ = response.Body.Close()
	_ = conn.Close()
	after, err = strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || response.StatusCode != http.StatusServiceUnavailable {
		return 0, fmt.Errorf("refused with %s and Retry-After %q", response.Status, response.Header.Get("Retry-After"))
	}
	s.mu.Lock()
	s.waits = append(s.waits, after)
	s.mu.Unlock()
	return after, nil
}

func (s *storm) close() {
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}

// stormSize is 20,000 clients at 1,000 a second, as the project's promise says, or as much as this machine's limit of open
// files and the race detector allow.
func stormSize(t *testing.T) (clients, rate int) {
	if raceDetector || testing.Short() {
		return 2000, 200
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	clients = min(20_000, int(limit.Cur)-2*spareDescriptors-100)
	if clients < 20_000 {
		t.Logf("the limit of open files is %d: %d clients in place of 20,000", limit.Cur, clients)
	}
	return clients, 1000
}

// A storm of 20,000 reconnects on a pod that can take 1,000 a second neither kills it nor starves the connected.
func TestAStormOfReconnects(t *testing.T) {
	clients, rate := stormSize(t)
	p := startProcess(t, "--connects-per-second="+strconv.Itoa(rate), "--max-connections=30000", "--messages-per-second=0", "--heartbeat=10m",
		"--drain-delay=0s", "--drain-timeout=1s")
	url := "ws://" + p.public + "/ws"
	connected, err := bench.New(bench.Options{URLs: []string{url}, Publishers: 4, Subscribers: 40, Rooms: 4, ConnectRate: 100, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := connected.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	load := bench.Load{Rate: 100, Duration: 3 * time.Second, Grace: patience}
	calm, err := connected.Publish(ctx, load)
	if err != nil {
		t.Fatal(err)
	}

	s := &storm{address: p.public}
	defer s.close()
	begin := time.Now()
	var took time.Duration
	go func() {
		s.run(ctx, clients)
		took = time.Since(begin)
		time.Sleep(time.Second) // and a moment after
		connected.EndLoad()
	}()
	load.Duration = 3 * time.Minute
	stormy, err := connected.Publish(ctx, load)
	if err != nil {
		t.Fatalf("the storm did not end, %d of %d clients are in, %d refusals, %d attempts without an answer: %v", s.in.Load(), clients, s.refused.Load(), s.trouble.Load(), err)
	}
	slices.Sort(s.waits)
	t.Logf("%d clients were in after %.1f s, with %d refusals (Retry-After up to %d s) and %d attempts without an answer; resident memory %.0f MiB",
		clients, took.Seconds(), s.refused.Load(), s.waits[len(s.waits)-1], s.trouble.Load(), p.metric(t, "process_resident_memory_bytes")/(1<<20))
	t.Logf("the connected: before, lag %.1f ms median, %.1f ms p99; in the storm %.1f ms median, %.1f ms p99, %.1f ms at most", calm.Latency.P50, calm.Latency.P99, stormy.Latency.P50, stormy.Latency.P99, stormy.Latency.Max)

	// The pod was not killed, took no more than it can take, and told the others when to come back.
	if least := time.Duration(clients-rate) * time.Second / time.Duration(rate); took < least {
		t.Errorf("%d clients were in after %v, want at most %d a second", clients, took, rate)
	}
	if got := p.metric(t, `wscluster_connects_total{result="throttled"}`); got < float64(clients)/2 || got > 5*float64(clients) {
		t.Errorf("%v attempts were throttled: either this was no storm, or the refused were told to come back too early", got)
	}
	if got := p.metric(t, "wscluster_connections"); got != float64(clients+44) {
		t.Errorf("%v clients are connected, want %d", got, clients+44)
	}
	if got := p.metric(t, "process_resident_memory_bytes"); got > 512<<20 {
		t.Errorf("the gateway takes %.0f MiB, more than a pod has by default", got/(1<<20))
	}
	// The connected were not starved: nobody lost the connection or a message, and messages came in good time.
	report := connected.Report(stormy)
	if report.Connects != 44 || len(report.Closes)+len(report.Unexpected)+len(report.Violations) > 0 {
		t.Errorf("the connected made %d connections for 44 clients; closed %v %v; %s", report.Connects, report.Closes, report.Unexpected, strings.Join(report.Violations, "; "))
	}
	if stormy.Acked != stormy.Published || stormy.Delivered != stormy.Expected || len(stormy.Failed) > 0 {
		t.Errorf("in the storm %d of %d publishes were acked, %v failed, %d of %d deliveries came", stormy.Acked, stormy.Published, stormy.Failed, stormy.Delivered, stormy.Expected)
	}
	// The bounds are wide: most of the lag is this process's, which is the storm, and shares two cores with the pod.
	if stormy.Latency.P50 > calm.Latency.P50+1000 || stormy.Latency.P99 > calm.Latency.P99+10_000 {
		t.Errorf("in the storm the lag was %.0f ms median and %.0f ms p99, before it %.0f and %.0f: who was connected had to wait for those who came", stormy.Latency.P50, stormy.Latency.P99, calm.Latency.P50, calm.Latency.P99)
	}
}

// metric returns a sample of the process's /metrics.
func (p *process) metric(t *testing.T, name string) float64 {
	t.Helper()
	return sample(t, request(t, http.MethodGet, "http://"+p.ops+"/metrics", nil).body, name)
}
