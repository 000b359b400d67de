package socket

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// BenchmarkAppendText frames a message of the usual size.
func BenchmarkAppendText(b *testing.B) {
	for _, size := range []int{100, 1_000, 100_000} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			payload := make([]byte, size)
			var dst []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendText(dst[:0], payload)
			}
		})
	}
}

// BenchmarkSend writes frames to a real socket that somebody reads as fast as possible: nearly all of it is the kernel's.
func BenchmarkSend(b *testing.B) {
	for _, frames := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) {
			r, err := NewReactor(Config{
				Pollers: 1, Heartbeat: time.Minute, SendQueueBytes: func() int { return 1 << 30 },
				MaxMessageBytes: func() int { return 1 << 16 }, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Stop()
			upgraded := make(chan *Conn, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				c, err := r.Upgrade(w, req, "", func(http.ResponseWriter, int, string) {})
				if err == nil {
					err = c.Start(&nobody{})
				}
				if err != nil {
					b.Error(err)
				}
				upgraded <- c
			}))
			defer server.Close()
			ws, _, err := websocket.DefaultDialer.DialContext(b.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer ws.Close()
			go func() { _, _ = io.Copy(io.Discard, ws.NetConn()) }()
			c := <-upgraded
			buffer := NewBuffer()
			defer buffer.Release()
			for range frames {
				buffer.B = AppendText(buffer.B, make([]byte, 128))
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Send(buffer)
				for c.Queued() > 0 { // the reader is behind: queueing is not what is measured
					runtime.Gosched()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(frames), "ns/frame")
			c.Abort(Draining)
		})
	}
}

// nobody is a Handler that only counts.
type nobody struct{ texts int }

func (n *nobody) Text([]byte)   { n.texts++ }
func (n *nobody) Closed(Reason) {}

// BenchmarkParse takes apart what one read brings: a batch of a client's masked frames.
func BenchmarkParse(b *testing.B) {
	for _, frames := range []int{1, 16} {
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) {
			reactor := &Reactor{config: Config{MaxMessageBytes: func() int { return 1 << 16 }}}
			c := &Conn{poller: &poller{reactor: reactor}, handler: &nobody{}}
			var stream []byte
			for range frames {
				stream = append(stream, 0x81, 0x80|126, 0, 200, 1, 2, 3, 4)
				for i := range 200 {
					stream = append(stream, 'x'^byte(1+i%4))
				}
			}
			// Unmasking works in place, so each round needs the bytes anew.
			scratch := make([]byte, len(stream))
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				copy(scratch, stream)
				if consumed, _ := c.parse(scratch); consumed != len(stream) {
					b.Fatalf("%d of %d bytes were consumed", consumed, len(stream))
				}
			}
		})
	}
}
