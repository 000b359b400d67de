package local

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// echoBackend answers every connection with its name and a line break, and then with what it reads.
func echoBackend(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, name+"\n") // a client that is gone is the test's affair
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func startBalancer(t *testing.T, now func() time.Time) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBalancer(listener, now)
	served := make(chan error, 1)
	go func() { served <- b.serve(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() {
		b.close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return b
}

// connectFrom connects from an address of this machine and returns the name of the backend that answers.
func connectFrom(t *testing.T, b *balancer, source string) (net.Conn, string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
	conn, err := dialer.Dial("tcp", b.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	name, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil {
		t.Fatalf("no backend answered: %v", err)
	}
	return conn, name[:len(name)-1]
}

func TestAClientComesBackToItsGatewayWithinTheTimeout(t *testing.T) {
	var passed atomic.Int64 // time, as the balancer sees it
	start := time.Now()
	b := startBalancer(t, func() time.Time { return start.Add(time.Duration(passed.Load())) })
	b.setAffinity(60 * time.Second)
	b.ready("a", echoBackend(t, "a"))
	b.ready("b", echoBackend(t, "b"))

	_, first := connectFrom(t, b, "127.0.0.1")
	_, other := connectFrom(t, b, "127.0.0.2")
	if first == other {
		t.Errorf("two addresses came to %s both, want the second at the gateway with fewer connections", first)
	}
	for range 3 {
		passed.Add(int64(50 * time.Second)) // each new connection renews the memory
		if _, again := connectFrom(t, b, "127.0.0.1"); again != first {
			t.Fatalf("50 s after its last new connection the client came to %s, want back to %s", again, first)
		}
	}
	passed.Add(int64(61 * time.Second))
	if _, later := connectFrom(t, b, "127.0.0.1"); later != other {
		t.Errorf("after the timeout the client came to %s, want %s, which has fewer connections", later, other)
	}
}

func TestWithoutAffinityClientsTakeTurns(t *testing.T) {
	b := startBalancer(t, time.Now)
	b.ready("a", echoBackend(t, "a"))
	b.ready("b", echoBackend(t, "b"))
	counts := map[string]int{}
	for range 10 {
		_, name := connectFrom(t, b, "127.0.0.1")
		counts[name]++
	}
	if counts["a"] != 5 || counts["b"] != 5 {
		t.Errorf("of 10 connections %v, want 5 each", counts)
	}
}

func TestAGatewayThatIsUnreadyKeepsItsConnectionsAndLosesItsClients(t *testing.T) {
	b := startBalancer(t, time.Now)
	b.setAffinity(time.Hour)
	b.ready("a", echoBackend(t, "a"))
	open, _ := connectFrom(t, b, "127.0.0.1")
	b.ready("b", echoBackend(t, "b"))
	b.unready("a")
	if _, moved := connectFrom(t, b, "127.0.0.1"); moved != "b" {
		t.Errorf("the client came to %s, want b", moved)
	}
	if _, err := io.WriteString(open, "x"); err != nil {
		t.Fatalf("the open connection was cut: %v", err)
	}
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Errorf("the open connection was cut: %v", err)
	}
	b.ready("a", echoBackend(t, "a"))
	if _, stays := connectFrom(t, b, "127.0.0.1"); stays != "b" {
		t.Errorf("with a ready again the client came to %s, want it to stay at b", stays)
	}
}

func TestAGatewayThatDoesNotAnswerIsPassedOver(t *testing.T) {
	b := startBalancer(t, time.Now)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	b.ready("a", gone.Addr().String())
	b.ready("b", echoBackend(t, "b"))
	for range 2 {
		if _, name := connectFrom(t, b, "127.0.0.1"); name != "b" {
			t.Errorf("came to %s, want b", name)
		}
	}
}

func TestAClientWaitsForTheFirstReadyGateway(t *testing.T) {
	b := startBalancer(t, time.Now)
	address := echoBackend(t, "a")
	time.AfterFunc(200*time.Millisecond, func() { b.ready("a", address) })
	if _, name := connectFrom(t, b, "127.0.0.1"); name != "a" {
		t.Errorf("came to %s, want a", name)
	}
}

func TestWithoutAReadyGatewayTheAnswerIs503(t *testing.T) {
	b := startBalancer(t, time.Now)
	response, err := http.Get("http://" + b.listener.Addr().String() + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusServiceUnavailable || err != nil || string(body) != nobodyReady || response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q, body %q, %v; want 503 with a Retry-After and the reason", response.StatusCode, response.Header.Get("Retry-After"), body, err)
	}
}

func TestAHalfClosedConnectionStillGetsItsAnswer(t *testing.T) {
	b := startBalancer(t, time.Now)
	b.ready("a", echoBackend(t, "a"))
	conn, _ := connectFrom(t, b, "127.0.0.1")
	if _, err := io.WriteString(conn, "the end"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != "the end" || err != nil {
		t.Errorf("read %q, %v; want what was sent before the close", rest, err)
	}
}

func TestAffinityForgetsWhatIsOld(t *testing.T) {
	a := affinity{timeout: time.Second}
	start := time.Now()
	for i := range 200 {
		a.remember(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), "a", start)
	}
	a.remember(netip.MustParseAddr("127.0.0.1"), "a", start.Add(3*time.Second))
	if len(a.entries) != 1 {
		t.Errorf("%d clients are remembered after the timeout, want 1", len(a.entries))
	}
}
