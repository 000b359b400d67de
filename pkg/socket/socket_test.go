package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// server is a real HTTP server whose connections echo what they are sent.
type server struct {
	*httptest.Server
	reactor *Reactor
	conns   chan *echo
	// greeting is the size of a message that is sent before Start; 0: none is.
	greeting int
	dialer   websocket.Dialer
}

type echo struct {
	conn   *Conn
	closed chan Reason
	texts  chan string
}

func (e *echo) Text(p []byte) {
	b := NewBuffer()
	b.B = AppendText(b.B, p)
	e.conn.Send(b)
	b.Release()
	select {
	case e.texts <- string(p):
	default:
	}
}

func (e *echo) Closed(r Reason) { e.closed <- r }

// plainAndTLS runs a test on both kinds of connection.
func plainAndTLS(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("TLS", func(t *testing.T) { test(t, true) })
}

func newServer(t *testing.T, secure bool, change func(*Config)) *server {
	t.Helper()
	config := Config{Pollers: 2, Heartbeat: 25 * time.Second, SendQueueBytes: func() int { return 1 << 20 }, MaxMessageBytes: func() int { return 64 << 10 }, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&config)
	}
	r, err := NewReactor(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{reactor: r, conns: make(chan *echo, 100)}
	var upgrading sync.WaitGroup // the HTTP server does not wait for handlers whose connection was taken over
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		upgrading.Add(1)
		defer upgrading.Done()
		c, err := r.Upgrade(w, req, "", func(w http.ResponseWriter, status int, reason string) { http.Error(w, reason, status) })
		if err != nil {
			return
		}
		e := &echo{conn: c, closed: make(chan Reason, 1), texts: make(chan string, 1)}
		if s.greeting > 0 {
			e.greet(s.greeting)
		}
		select {
		case s.conns <- e:
		default:
		}
		if err := c.Start(e); err != nil {
			t.Error(err)
		}
	}))
	s.dialer = *websocket.DefaultDialer
	if secure {
		certified := httptest.NewTLSServer(nil) // for its certificate
		certified.Close()
		s.Listener = ListenTLS(s.Listener, certified.TLS)
		s.dialer.TLSClientConfig = certified.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		s.dialer.TLSClientConfig.ServerName = "example.com"
		s.dialer.TLSClientConfig.NextProtos = nil
	}
	s.Start()
	if secure {
		s.URL = "https" + strings.TrimPrefix(s.URL, "http")
	}
	t.Cleanup(func() {
		s.Close()
		upgrading.Wait()
		r.Stop()
		if n := r.Open(); n != 0 {
			t.Errorf("%d connections are open after Stop, want none", n)
		}
		if n := r.QueuedBytes(); n != 0 {
			t.Errorf("%d bytes are queued after Stop, want none", n)
		}
	})
	return s
}

func (s *server) dial(t *testing.T) (*websocket.Conn, *echo) {
	t.Helper()
	ws, _, err := s.dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws, <-s.conns
}

func wantClose(t *testing.T, ws *websocket.Conn, code int) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, _, err := ws.ReadMessage()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			t.Fatalf("the connection ended with %v, want close code %d", err, code)
		}
		return
	}
}

func wantReason(t *testing.T, e *echo, want Reason) {
	t.Helper()
	select {
	case got := <-e.closed:
		if got != want {
			t.Errorf("the connection ended for %v, want %v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("the connection was not closed, want %v", want)
	}
}

func TestMessagesOfEverySizeComeBackWhole(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(c *Config) { c.MaxMessageBytes = func() int { return 1 << 20 } })
		ws, _ := s.dial(t)
		for _, size := range []int{0, 1, 125, 126, 127, 4096, 65535, 65536, 65537, 1 << 20} {
			want := strings.Repeat("ä", size/2) + strings.Repeat("x", size%2)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
				t.Fatal(err)
			}
			_, got, err := ws.ReadMessage()
			if err != nil || string(got) != want {
				t.Fatalf("%d bytes came back as %d bytes, %v", size, len(got), err)
			}
		}
	})
}

func TestManyMessagesInOneSegmentKeepTheirOrder(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, nil)
		ws, _ := s.dial(t)
		const n = 5000
		go func() {
			for i := range n {
				_ = ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte{byte('a' + i%26)}, i%300))
			}
		}()
		for i := range n {
			_, got, err := ws.ReadMessage()
			if want := bytes.Repeat([]byte{byte('a' + i%26)}, i%300); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("message %d is %q, %v; want %q", i, got, err, want)
			}
		}
	})
}

func TestClosingHandshakes(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, nil)
		t.Run("the client closes and gets its code back", func(t *testing.T) {
			ws, e := s.dial(t)
			_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "bye"))
			wantClose(t, ws, 4000)
			wantReason(t, e, ClientClosed)
		})
		t.Run("the server closes after what it had to send", func(t *testing.T) {
			ws, e := s.dial(t)
			b := NewBuffer()
			b.B = AppendText(b.B, []byte("last words"))
			e.conn.Send(b)
			b.Release()
			e.conn.Close(1012, "restart", Draining)
			e.conn.Close(1011, "a second close does not count", SlowConsumer)
			if _, got, err := ws.ReadMessage(); err != nil || string(got) != "last words" {
				t.Fatalf("got %q, %v; want the last words", got, err)
			}
			wantClose(t, ws, 1012)
			wantReason(t, e, Draining)
		})
		t.Run("the client vanishes", func(t *testing.T) {
			ws, e := s.dial(t)
			cut(t, ws)
			wantReason(t, e, ClientGone)
		})
		t.Run("a client that never answers a close is let go", func(t *testing.T) {
			ws, e := s.dial(t)
			before := s.reactor.Open()
			e.conn.Close(1012, "restart", Draining)
			wantReason(t, e, Draining)
			for end := time.Now().Add(3 * lingerTime); s.reactor.Open() >= before; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the descriptor is still open")
				}
			}
			_ = ws
		})
	})
}

func TestASlowConsumerIsClosedAndToldSo(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(c *Config) { c.SendQueueBytes = func() int { return 256 << 10 } })
		ws, e := s.dial(t)
		b := NewBuffer()
		b.B = AppendText(b.B, bytes.Repeat([]byte("x"), 32<<10))
		for range 1000 { // 32 MB: more than the kernel's buffers and the queue hold
			e.conn.Send(b)
		}
		b.Release()
		wantReason(t, e, SlowConsumer)
		wantClose(t, ws, closeSlowConsumer)
	})
}

func TestWhatTheSocketDoesNotTakeFollowsInOrder(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(c *Config) { c.SendQueueBytes = func() int { return 64 << 20 } })
		ws, e := s.dial(t)
		const n = 2000
		for i := range n {
			b := NewBuffer()
			b.B = AppendText(b.B, bytes.Repeat([]byte{byte('a' + i%26)}, 10<<10))
			e.conn.Send(b)
			b.Release()
		}
		if s.reactor.QueuedBytes() == 0 {
			t.Fatal("20 MB did not fill the socket: the test shows nothing")
		}
		for i := range n {
			_, got, err := ws.ReadMessage()
			if err != nil || len(got) != 10<<10 || got[0] != byte('a'+i%26) || got[len(got)-1] != got[0] {
				t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
			}
		}
	})
}

func TestHeartbeats(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(c *Config) { c.Heartbeat = 500 * time.Millisecond })
		t.Run("a client that answers stays", func(t *testing.T) {
			ws, e := s.dial(t)
			pings := 0
			ws.SetPingHandler(func(string) error {
				pings++
				if pings == 3 {
					e.conn.Close(1000, "", Draining)
				}
				return ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
			})
			wantClose(t, ws, 1000)
		})
		t.Run("a silent one is cut", func(t *testing.T) {
			_, e := s.dial(t) // nobody reads, so nobody answers pings
			wantReason(t, e, HeartbeatTimeout)
		})
	})
}

func TestCloseFromManyGoroutinesWhileSending(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, nil)
		for range 50 {
			ws, e := s.dial(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					b := NewBuffer()
					defer b.Release()
					b.B = AppendText(b.B, []byte("hello"))
					for range 100 {
						e.conn.Send(b)
					}
					e.conn.Close(1001, "", Draining)
				})
			}
			wantClose(t, ws, 1001)
			wg.Wait()
		}
	})
}

// cut ends a connection as a broken network would: without any closing, with a reset.
func cut(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	conn := ws.NetConn()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestCompression(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, func(c *Config) { c.Compression = true })
		s.dialer.EnableCompression = true
		ws, e := s.dial(t)
		if !e.conn.deflate {
			t.Fatal("compression was not agreed on")
		}
		for _, size := range []int{0, 1, minDeflate - 1, minDeflate, 4096, 60000} {
			want := strings.Repeat("lorem ipsum ", size/12+1)[:size]
			if err := ws.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := ws.ReadMessage(); err != nil || string(got) != want {
				t.Fatalf("%d bytes came back as %d bytes, %v", size, len(got), err)
			}
		}
		t.Run("what inflates beyond the bound is too large", func(t *testing.T) {
			ws, _ := s.dial(t)
			_ = ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 10<<20))
			wantClose(t, ws, 1009)
		})
		t.Run("a client that offers none gets none", func(t *testing.T) {
			s.dialer.EnableCompression = false
			ws, e := s.dial(t)
			if e.conn.deflate {
				t.Error("compression without an offer")
			}
			_ = ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 1000))
			if _, got, err := ws.ReadMessage(); err != nil || len(got) != 1000 {
				t.Fatalf("%d bytes came back, %v", len(got), err)
			}
		})
	})
}
