//go:build linux

// Command forward serves a TCP port of this machine from an address that exists only inside a node of hack/cluster.
//
// A socket belongs to the network namespace it was made in, whoever holds it. So the program listens here, then goes on
// inside the node's network namespace with the listening socket in hand, and dials from there.
//
//	forward -listen 127.0.0.1:PORT -target IP:PORT -pid PID
//
// Port 0 takes a free one. The first line on stdout is the address.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address on this machine")
	target := flag.String("target", "", "address inside the node")
	pid := flag.Int("pid", 0, "a process of the node")
	inherited := flag.Int("inherited", -1, "internal: file descriptor of the listening socket, once inside the node")
	flag.Parse()
	var err error
	switch {
	case *target == "" || flag.NArg() > 0:
		flag.Usage()
		os.Exit(2)
	case *inherited >= 0:
		err = serve(*inherited, *target)
	default:
		err = enter(*listen, *target, *pid)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}

// enter listens and continues as serve inside the node; it returns only on failure.
func enter(address, target string, pid int) error {
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken; choose another port, or 0 for a free one", address)
	}
	if err != nil {
		return err
	}
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	fd, err := syscall.Dup(int(file.Fd())) // a duplicate survives exec, Go's own descriptors do not
	if err != nil {
		return err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return syscall.Exec(nsenter, []string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--",
		self, "-target", target, "-inherited", strconv.Itoa(fd)}, os.Environ())
}

// serve accepts until the socket or the process ends.
func serve(fd int, target string) error {
	listener, err := net.FileListener(os.NewFile(uintptr(fd), "listener"))
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go relay(client, target)
	}
}

// relay copies both ways and passes each side's end of stream on, so that a half-closed connection stays usable.
func relay(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			if _, err := io.Copy(pair[0], pair[1]); err != nil { // a reset of one side is a reset of both
				_ = client.Close()
				_ = server.Close()
				return
			}
			_ = pair[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}
