package socket

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// TestCompressedConformance holds compressed connections to the cases 12.1 to 12.5 of the Autobahn suite that have text: many
// messages of each size, whole and in fragments of 256 bytes, with what can be compressed well and what cannot. The suite's
// variants differ in parameters of the offer, none of which changes what travels without context takeover.
func TestCompressedConformance(t *testing.T) {
	s := newServer(t, false, func(c *Config) {
		c.Compression, c.MaxMessageBytes = true, func() int { return 1 << 20 }
	})
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
		for name, buffer := range map[string]int{"whole": 256 << 10, "in fragments of 256 bytes": 256} {
			for text, compose := range map[string]func(i int) string{
				"JSON": func(i int) string {
					return strings.Repeat(fmt.Sprintf(`{"id":%d,"name":"ünï","tags":["a","b"]},`, i), size/40+1)
				},
				"noise": func(int) string {
					b := new(strings.Builder)
					for b.Len() < size {
						b.WriteByte(' ' + byte(random.IntN(95)))
					}
					return b.String()
				},
			} {
				t.Run(fmt.Sprintf("12 %s of about %d bytes, %s", text, size, name), func(t *testing.T) {
					dialer := websocket.Dialer{EnableCompression: true, WriteBufferSize: buffer}
					ws, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), nil)
					if err != nil {
						t.Fatal(err)
					}
					defer ws.Close()
					if e := <-s.conns; !e.conn.deflate {
						t.Fatal("compression was not agreed on")
					}
					for i := range min(50, max(4, 1<<19/size)) {
						want := compose(i)
						if i%3 == 2 {
							ws.EnableWriteCompression(i%2 == 0) // plain messages may come between
						}
						if err := ws.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
							t.Fatal(err)
						}
						if _, got, err := ws.ReadMessage(); err != nil || string(got) != want {
							t.Fatalf("message %d of %d bytes came back as %d bytes, %v", i, len(want), len(got), err)
						}
					}
				})
			}
		}
	}
	t.Run("12 what the offer asks for is answered with no context takeover", func(t *testing.T) {
		for _, offer := range []string{"permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover; client_max_window_bits",
			"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=15"} {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Extensions": {offer}}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			const want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
			if got := response.Header.Get("Sec-WebSocket-Extensions"); got != want {
				t.Errorf("the offer %q is answered with %q, want %q", offer, got, want)
			}
			<-s.conns
		}
	})
}
