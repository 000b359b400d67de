package socket

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// line serves arrivals that have said a line.
func line(t *testing.T, address string, patience time.Duration, serve func(*Arrival)) *Acceptor {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAcceptor(listener.(*net.TCPListener), AcceptorConfig{
		Enough:   func(said []byte) bool { return strings.HasSuffix(string(said), "\n") },
		Patience: patience, Logger: slog.New(slog.NewTextHandler(warnings, nil)), Serve: serve,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return a
}

// answer says what was heard, and by whom.
func answer(t *testing.T) func(*Arrival) {
	return func(arrival *Arrival) {
		if _, err := io.WriteString(arrival, arrival.Remote().String()+" said "+string(arrival.Bytes())); err != nil {
			t.Errorf("the answer cannot be written: %v", err)
		}
		if err := arrival.Close(); err != nil {
			t.Error(err)
		}
	}
}

func call(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func TestAnArrivalIsServedWhenItHasSaidEnough(t *testing.T) {
	for name, pieces := range map[string][]string{
		"at once":           {"hello\n"},
		"in pieces":         {"h", "el", "lo\n"},
		"after a long time": {"", "hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			a := line(t, "127.0.0.1:0", time.Minute, answer(t))
			conn := call(t, a.listener.Addr().String())
			for i, piece := range pieces {
				if i > 0 {
					waitUntil(t, "the acceptor waits for more", func() bool { return a.Waiting() == 1 })
				}
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(conn)
			if want := conn.LocalAddr().String() + " said hello\n"; err != nil || string(got) != want {
				t.Errorf("the answer is %q, %v; want %q", got, err, want)
			}
			if n := a.Waiting(); n != 0 {
				t.Errorf("%d are waited for still", n)
			}
		})
	}
}

func TestAnArrivalIsServedWhenMoreCannotCome(t *testing.T) {
	heard := make(chan int, 1)
	a := line(t, "127.0.0.1:0", time.Minute, func(arrival *Arrival) {
		heard <- len(arrival.Bytes())
		_ = arrival.Close()
	})
	half := call(t, a.listener.Addr().String())
	_, _ = io.WriteString(half, "half a li")
	_ = half.(*net.TCPConn).CloseWrite()
	if n := <-heard; n != 9 {
		t.Errorf("of one who hangs up in a line %d bytes were heard, want 9", n)
	}
	long := call(t, a.listener.Addr().String())
	_, _ = io.WriteString(long, strings.Repeat("x", 3*ArrivalBytes))
	if n := <-heard; n != ArrivalBytes {
		t.Errorf("of one who says too much %d bytes were heard, want %d", n, ArrivalBytes)
	}
	silent := call(t, a.listener.Addr().String())
	waitUntil(t, "the silent one is waited for", func() bool { return a.Waiting() == 1 })
	_ = silent.Close()
	waitUntil(t, "the silent one is forgotten", func() bool { return a.Waiting() == 0 })
	select {
	case n := <-heard:
		t.Errorf("one who said nothing is served, with %d bytes", n)
	default:
	}
}

func TestWhoSaysNothingHasNoGoroutine(t *testing.T) {
	const silent = 200
	a := line(t, "127.0.0.1:0", time.Minute, answer(t))
	before := runtime.NumGoroutine()
	for range silent {
		call(t, a.listener.Addr().String())
	}
	waitUntil(t, "all are waited for", func() bool { return a.Waiting() == silent })
	if more := runtime.NumGoroutine() - before; more > silent/2 {
		t.Errorf("%d clients that say nothing have %d goroutines", silent, more)
	}
}

func TestWhoTakesTooLongIsCut(t *testing.T) {
	a := line(t, "127.0.0.1:0", 100*time.Millisecond, answer(t))
	for i, said := range []string{"", "half a li", ""} {
		conn := call(t, a.listener.Addr().String())
		begin := time.Now()
		_, _ = io.WriteString(conn, said)
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("client %d is not cut: %v", i, err)
		}
		if early := 100*time.Millisecond - time.Since(begin); early > 50*time.Millisecond { // it was accepted before Dial returned
			t.Errorf("client %d is cut %v too early", i, early)
		}
	}
	if n := a.Waiting(); n != 0 {
		t.Errorf("%d are waited for still", n)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func TestAClosedAcceptorCutsWhoWaits(t *testing.T) {
	a := line(t, "127.0.0.1:0", time.Minute, answer(t))
	address := a.listener.Addr().String()
	conn := call(t, address)
	waitUntil(t, "it is waited for", func() bool { return a.Waiting() == 1 })
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("who was waited for is not cut: %v", err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing again says %v", err)
	}
	if late, err := net.Dial("tcp", address); err == nil {
		_ = late.Close()
		t.Error("the port is still open")
	}
}

// A process that has no descriptors left accepts again once it has some.
func TestAcceptingGoesOnAfterDescriptorsRanOut(t *testing.T) {
	a := line(t, "127.0.0.1:0", time.Minute, answer(t))
	port := a.listener.Addr().(*net.TCPAddr).Port
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 1 // the descriptors that are open stay
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	err = unix.Connect(client, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	_, werr := unix.Write(client, []byte("hello\n"))
	for range 3 { // it tries more than once
		select {
		case <-warnings:
		case <-time.After(10 * time.Second):
			t.Error("the acceptor did not say that it cannot accept")
		}
	}
	poll := []unix.PollFd{{Fd: int32(client), Events: unix.POLLIN}}
	answered, _ := unix.Poll(poll, 0)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err != nil || werr != nil || answered != 0 {
		t.Fatalf("connect: %v, write: %v, answers without a descriptor: %d", err, werr, answered)
	}
	if n, err := unix.Poll(poll, 30_000); n != 1 || err != nil {
		t.Errorf("no answer came within 30 s after there were descriptors again: %d, %v", n, err)
	}
}

// signal is a writer that tells of each write.
type signal chan struct{}

// warnings tells of what acceptors log.
var warnings = make(signal, 1)

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestAnArrivalsAddressIsTheClients(t *testing.T) {
	remotes := make(chan netip.AddrPort, 1)
	a := line(t, "[::]:0", time.Minute, func(arrival *Arrival) {
		remotes <- arrival.Remote()
		if got, want := arrival.RemoteAddr().String(), arrival.Remote().String(); got != want {
			t.Errorf("RemoteAddr is %s, Remote %s", got, want)
		}
		_ = arrival.Close()
	})
	_, port, _ := net.SplitHostPort(a.listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil && host == "::1" {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "hello\n")
		if got, want := (<-remotes).String(), conn.LocalAddr().String(); got != want {
			t.Errorf("the address of %s is seen as %s", want, got)
		}
		_ = conn.Close()
	}
}

func TestAnArrivalCanBecomeAnOrdinaryConnection(t *testing.T) {
	conns := make(chan net.Conn, 1)
	a := line(t, "127.0.0.1:0", time.Minute, func(arrival *Arrival) {
		delay, err := unix.GetsockoptInt(int(arrival.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
		if err != nil || delay != 1 {
			t.Errorf("TCP_NODELAY of an arrival is %d, %v: small frames would wait for each other", delay, err)
		}
		conn, err := arrival.NetConn()
		if err != nil {
			t.Error(err)
		}
		if _, err := arrival.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("an arrival that has become something else writes with %v", err)
		}
		if _, err := arrival.NetConn(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it becomes another connection, with %v", err)
		}
		conns <- conn
	})
	client := call(t, a.listener.Addr().String())
	_, _ = io.WriteString(client, "hello\n")
	conn := <-conns
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(client, "more")
	more := make([]byte, 4)
	if _, err := io.ReadFull(conn, more); err != nil || string(more) != "more" {
		t.Errorf("what came behind is read as %q, %v", more, err)
	}
	if conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("its remote address is %s, want %s", conn.RemoteAddr(), client.LocalAddr())
	}
	_, _ = io.WriteString(conn, "bye")
	_ = conn.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
		t.Errorf("the client reads %q, %v", got, err)
	}
}
