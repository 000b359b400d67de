//go:build linux

package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// forwardTo serves in this process, as the program does once it is inside the node, and returns a connection through it.
func forwardTo(t *testing.T, target string) *net.TCPConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serve(int(file.Fd()), target) }() // ends with the test process, as it ends with the node
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client.(*net.TCPConn)
}

func TestAnAnswerArrivesAfterTheClientHasClosedItsSide(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request, err := io.ReadAll(conn) // returns only when the client's end of stream was passed on
		if err == nil {
			_, _ = io.WriteString(conn, "got "+string(request))
		}
	}()

	client := forwardTo(t, server.Addr().String())
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "got hello" {
		t.Errorf("the client got %q, %v; want the server's answer to its whole request", answer, err)
	}
}

func TestAConnectionToNobodyIsClosed(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	client := forwardTo(t, gone.Addr().String())
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v from a target that is not there; want the connection to be closed", n, err)
	}
}

func TestATakenPortIsSaidInOneSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = enter(taken.Addr().String(), "127.0.0.1:1", 1)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()+" is taken; choose another port") {
		t.Errorf("got error %v", err)
	}
}
