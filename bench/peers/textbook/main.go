// Command textbook is the design that most tutorials end with, and that this project was seeded with: gorilla/websocket, two
// goroutines and a channel for each client, JSON decoded for every message, and one Redis channel for everything, which every
// process reads whole and filters.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"
)

// message is what travels, in both directions and through Redis.
type message struct {
	Type   string          `json:"type"`
	RoomID string          `json:"room_id"`
	Data   json.RawMessage `json:"data,omitempty"`
}

const globalChannel = "messages"

type hub struct {
	redis *redis.Client // nil: alone

	mu    sync.RWMutex
	rooms map[string]map[*client]struct{}
}

type client struct {
	conn *websocket.Conn
	send chan []byte
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	address := flag.String("redis", "", "address of Redis; empty: none")
	flag.Parse()
	h := &hub{rooms: map[string]map[*client]struct{}{}}
	if *address != "" {
		h.redis = redis.NewClient(&redis.Options{Addr: *address})
		go h.subscribe()
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/ws", h.serve)
	fmt.Println("listening", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, nil))
	os.Exit(1)
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{conn: conn, send: make(chan []byte, 256)}
	go c.write()
	h.read(context.WithoutCancel(r.Context()), c)
}

func (h *hub) read(ctx context.Context, c *client) {
	joined := map[string]bool{}
	defer func() {
		h.mu.Lock()
		for room := range joined {
			delete(h.rooms[room], c)
		}
		h.mu.Unlock()
		close(c.send)
	}()
	for {
		_, p, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(p, &m) != nil {
			continue
		}
		if m.Type == "join" {
			h.mu.Lock()
			if h.rooms[m.RoomID] == nil {
				h.rooms[m.RoomID] = map[*client]struct{}{}
			}
			h.rooms[m.RoomID][c] = struct{}{}
			joined[m.RoomID] = true
			h.mu.Unlock()
			c.send <- []byte(`{"type":"joined"}`)
			continue
		}
		out, _ := json.Marshal(m) // it was decoded a moment ago
		if h.redis == nil {
			h.broadcast(m.RoomID, out)
		} else {
			h.redis.Publish(ctx, globalChannel, out)
		}
	}
}

// broadcast drops for clients that are slow.
func (h *hub) broadcast(room string, p []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.rooms[room] {
		select {
		case c.send <- p:
		default:
		}
	}
}

func (h *hub) subscribe() {
	for received := range h.redis.Subscribe(context.Background(), globalChannel).Channel() {
		var m message
		if json.Unmarshal([]byte(received.Payload), &m) == nil {
			h.broadcast(m.RoomID, []byte(received.Payload))
		}
	}
}

func (c *client) write() {
	ticker := time.NewTicker(25 * time.Second)
	defer ticker.Stop()
	defer c.conn.Close()
	for {
		select {
		case p, ok := <-c.send:
			if !ok || c.conn.WriteMessage(websocket.TextMessage, p) != nil {
				return
			}
		case <-ticker.C:
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}
