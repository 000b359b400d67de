package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// serve answers like a gateway of that name, which is on its own: it acks everything with answers and hears nobody.
func serve(t *testing.T, node string, answers ...string) string {
	t.Helper()
	server := httptest.NewServer(gateway(node, answers...))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1)
}

func gateway(node string, answers ...string) http.Handler {
	upgrader := websocket.Upgrader{Subprotocols: []string{"wscluster.v1.json"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		err = conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"welcome","node":%q,"user_id":%q}`, node, r.URL.Query().Get("user_id")))
		for err == nil {
			_, _, err = conn.ReadMessage()
			for i := 0; err == nil && i < len(answers); i++ {
				err = conn.WriteMessage(websocket.TextMessage, []byte(answers[i]))
			}
		}
	})
}

// Two that talk are shown by make quickstart and its run in CI; here is what it says when they cannot.
func TestWhatKeepsThemFromTalkingIsSaid(t *testing.T) {
	const ack, failure = `{"type":"ack"}`, `{"type":"error","code":"unavailable"}`
	one := serve(t, "one", ack)
	for name, c := range map[string]struct {
		urls []string
		want string
	}{
		"all connections lead to one gateway": {[]string{one, one}, "every connection led to the gateway one; give more addresses"},
		"nobody is there":                     {[]string{"ws://127.0.0.1:1/ws"}, "alice cannot connect to ws://127.0.0.1:1/ws"},
		"no WebSocket address":                {[]string{"127.0.0.1"}, "write it like ws://127.0.0.1:8080/ws"},
		"a message does not arrive":           {[]string{one, serve(t, "two", ack, failure)}, `bob wanted the message "Hello, is anybody there?" of alice and got ` + failure},
		"a command is refused":                {[]string{serve(t, "one", failure), serve(t, "two", ack)}, "alice wanted an ack and got " + failure},
	} {
		t.Run(name, func(t *testing.T) {
			err := talk(t.Context(), t.Output(), c.urls, nil, 0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// The Service of pods that have just become ready refuses connections until the node's rules name them.
func TestAGatewayThatIsNotThereYetIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	server := make(chan *http.Server, 1)
	time.AfterFunc(500*time.Millisecond, func() {
		s := &http.Server{Addr: address, Handler: gateway("one"), ReadHeaderTimeout: time.Minute}
		server <- s
		_ = s.ListenAndServe()
	})
	c, err := connectUntil(t.Context(), time.Now().Add(time.Minute), t.Output(), "alice", "ws://"+address+"/ws", nil)
	(<-server).Close()
	if err != nil || c.gateway != "one" {
		t.Errorf("got %v, want a connection to the gateway that came late", err)
	}
}
