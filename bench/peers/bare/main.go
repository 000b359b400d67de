// Command bare is the least that a server can do: it keeps the sockets of a room and, for each message that comes, writes one
// frame to each of them with write(2), in a loop on one thread. What has come together is written together. It has no queues, no
// goroutine a client, no answers, no pings: it is the limit that the others are measured against.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/gorilla/websocket"
)

// room is the sockets of the clients of one room.
type room struct {
	mu   sync.Mutex
	fds  []int
	keep []net.Conn // an unreferenced net.Conn would close its socket
}

var (
	roomsMu sync.Mutex
	rooms   = map[string]*room{}
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/ws", serve)
	fmt.Println("listening", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, nil))
	os.Exit(1)
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func serve(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	name := r.URL.Query().Get("room")
	roomsMu.Lock()
	members := rooms[name]
	if members == nil {
		members = &room{}
		rooms[name] = members
	}
	roomsMu.Unlock()
	conn := ws.NetConn()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	fd := -1
	_ = raw.Control(func(descriptor uintptr) { fd = int(descriptor) }) // only fails on a closed connection
	members.mu.Lock()
	members.fds = append(members.fds, fd)
	members.keep = append(members.keep, conn)
	members.mu.Unlock()
	if r.URL.Query().Get("publish") != "" {
		go members.relay(conn)
	}
}

// relay reads the publisher's frames and writes them to everybody, all that one read brought in one write each.
func (m *room) relay(conn net.Conn) {
	runtime.LockOSThread()
	reader := bufio.NewReaderSize(conn, 256<<10)
	var out []byte
	for {
		out = out[:0]
		for {
			frame, err := readFrame(reader)
			if err != nil {
				return
			}
			out = appendFrame(out, frame)
			if reader.Buffered() == 0 {
				break
			}
		}
		m.mu.Lock()
		for _, fd := range m.fds {
			write(fd, out)
		}
		m.mu.Unlock()
	}
}

// write tries again until the socket has taken everything: a bare server has nowhere to put the rest.
func write(fd int, p []byte) {
	for len(p) > 0 {
		n, err := syscall.Write(fd, p)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		p = p[n:]
	}
}

// readFrame returns the payload of the next frame, unmasked. The payload is valid until the next call.
func readFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	header, size := 2, int(head[1]&0x7F)
	if size == 126 {
		if head, err = r.Peek(4); err != nil {
			return nil, err
		}
		header, size = 4, int(binary.BigEndian.Uint16(head[2:]))
	}
	frame, err := r.Peek(header + 4 + size)
	if err != nil {
		return nil, err
	}
	payload, key := frame[header+4:], frame[header:header+4]
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	_, err = r.Discard(len(frame))
	return payload, err
}

func appendFrame(dst, payload []byte) []byte {
	dst = append(dst, 0x81)
	if n := len(payload); n < 126 {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 126, byte(n>>8), byte(n))
	}
	return append(dst, payload...)
}
