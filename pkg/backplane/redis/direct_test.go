package redis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// tcpPair returns both ends of a TCP connection, the first as the backplane uses it.
func tcpPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours = direct(dialed)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func TestADirectConnectionCarriesMoreThanTheSocketTakesAtOnce(t *testing.T) {
	ours, theirs := tcpPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB: the writer has to wait for the reader
	written := make(chan error, 1)
	go func() {
		n, err := ours.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		written <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("what came is not what was written: %v", err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = theirs.Write(got) }()
	back := make([]byte, len(sent))
	if _, err := io.ReadFull(ours, back); err != nil || !bytes.Equal(back, sent) {
		t.Fatalf("what was read is not what came: %v", err)
	}
}

func TestADirectConnectionEndsAsOthersDo(t *testing.T) {
	t.Run("the end of the stream", func(t *testing.T) {
		ours, theirs := tcpPair(t)
		_ = theirs.Close()
		if n, err := ours.Read(make([]byte, 8)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader promises io.EOF itself
			t.Errorf("reading gives %d, %v, want 0 and io.EOF", n, err)
		}
	})
	t.Run("a deadline", func(t *testing.T) {
		ours, _ := tcpPair(t)
		_ = ours.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := ours.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading gives %v, want a deadline that is over", err)
		}
		n, err := ours.Write(make([]byte, 64<<20)) // nobody reads
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 64<<20 {
			t.Errorf("writing gives %d, %v, want a deadline that is over", n, err)
		}
	})
	t.Run("closed while somebody reads", func(t *testing.T) {
		ours, _ := tcpPair(t)
		read := make(chan error, 1)
		go func() {
			_, err := ours.Read(make([]byte, 8))
			read <- err
		}()
		_ = ours.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading gives %v, want net.ErrClosed", err)
		}
	})
	t.Run("reset by the other end", func(t *testing.T) {
		ours, theirs := tcpPair(t)
		_ = theirs.(*net.TCPConn).SetLinger(0)
		_ = theirs.Close()
		if _, err := ours.Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading gives %v, want a reset", err)
		}
	})
	t.Run("nothing to read into", func(t *testing.T) {
		ours, _ := tcpPair(t)
		if n, err := ours.Read(nil); n != 0 || err != nil {
			t.Errorf("reading gives %d, %v, want nothing at once", n, err)
		}
	})
}
