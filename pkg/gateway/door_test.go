package gateway

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/socket"
)

// doorHandler stands for the gateway: it takes over who asks for /ws as "good", and refuses others.
func doorHandler(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Query().Get("user_id") == "panics":
		panic("as asked")
	case r.URL.Path != "/ws" || r.URL.Query().Get("user_id") != "good":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+r.Host+" "+r.Header.Get("X-Extra"))
	default:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX-Remote: "+r.RemoteAddr[:strings.LastIndex(r.RemoteAddr, ":")]+"\r\n\r\nhello")
		_ = conn.Close()
	}
}

// startDoor serves doorHandler behind a door, or by net/http alone.
func startDoor(t *testing.T, door bool, patience time.Duration) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(doorHandler), ReadHeaderTimeout: patience, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	if door {
		if listener, err = newPatientDoor(listener, doorHandler, patience, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	return address
}

// exchange sends pieces, one write each, and returns the status line, the headers but those that may differ, and the body.
func exchange(t *testing.T, address string, pieces []string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for _, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			break // refused already
		}
		time.Sleep(time.Millisecond) // so that pieces are mostly read apart; the answer must be the same if they are not
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return []string{"no answer"}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	answer := []string{response.Proto + " " + response.Status}
	for name, values := range response.Header {
		if name != "Date" && name != "Connection" {
			answer = append(answer, name+": "+strings.Join(values, ","))
		}
	}
	slices.Sort(answer[1:])
	return append(answer, string(body))
}

const goodHandshake = "GET /ws?user_id=good HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// TestTheDoorAnswersAsNetHTTPDoes sends the same bytes through a door and to net/http alone.
func TestTheDoorAnswersAsNetHTTPDoes(t *testing.T) {
	door, plain := startDoor(t, true, 10*time.Second), startDoor(t, false, 10*time.Second)
	refused := strings.Replace(goodHandshake, "good", "bad", 1)
	for name, test := range map[string]struct {
		pieces []string
		status string
	}{
		"a handshake":                               {[]string{goodHandshake + "\r\n"}, "101"},
		"a handshake that is refused":               {[]string{refused + "X-Extra: one\r\n\r\n"}, "503"},
		"a handshake byte by byte":                  {strings.Split(goodHandshake+"\r\n", ""), "101"},
		"a handshake cut in its last line":          {[]string{goodHandshake[:len(goodHandshake)-1], "\n\r", "\n"}, "101"},
		"a header of 5 KB":                          {[]string{goodHandshake + "Cookie: " + strings.Repeat("x", 5000) + "\r\n\r\n"}, "101"},
		"a header of 5 KB in two pieces":            {[]string{goodHandshake + "Cookie: " + strings.Repeat("x", 3000), strings.Repeat("x", 2000) + "\r\n\r\n"}, "101"},
		"a header of exactly 4 KB":                  {[]string{goodHandshake + "Cookie: " + strings.Repeat("x", socket.ArrivalBytes-len(goodHandshake)-len("Cookie: \r\n\r\n")) + "\r\n\r\n"}, "101"},
		"a header over the limit":                   {[]string{goodHandshake + "Cookie: " + strings.Repeat("x", 40<<10) + "\r\n\r\n"}, "431"},
		"another path":                              {[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, "503"},
		"a path that only begins alike":             {[]string{strings.Replace(refused, "/ws?", "/wsx?", 1) + "\r\n"}, "503"},
		"an absolute URL":                           {[]string{strings.Replace(refused, "/ws?", "http://other.example.com/ws?", 1) + "\r\n"}, "503"},
		"a percent-encoded path":                    {[]string{strings.Replace(refused, "/ws?", "/w%73?", 1) + "\r\n"}, "503"},
		"another method":                            {[]string{strings.Replace(refused, "GET", "POST", 1) + "Content-Length: 0\r\n\r\n"}, "503"},
		"no upgrade":                                {[]string{"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"}, "503"},
		"HTTP/1.0":                                  {[]string{strings.Replace(refused, "1.1", "1.0", 1) + "\r\n"}, "503"},
		"a version that does not exist":             {[]string{strings.Replace(goodHandshake, "1.1", "3.7", 1) + "\r\n"}, "505"},
		"no host":                                   {[]string{strings.Replace(goodHandshake, "Host: example.com:8080\r\n", "", 1) + "\r\n"}, "400"},
		"two hosts":                                 {[]string{goodHandshake + "Host: other.example.com\r\n\r\n"}, "400"},
		"a host that is none":                       {[]string{strings.Replace(goodHandshake, "example.com", "exam ple.com", 1) + "\r\n"}, "400"},
		"a host with strange characters":            {[]string{strings.Replace(refused, "example.com", "ex~am$ple", 1) + "\r\n"}, "503"},
		"a body":                                    {[]string{refused + "Content-Length: 5\r\n\r\nhello"}, "503"},
		"a chunked body":                            {[]string{refused + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}, "503"},
		"an unknown transfer encoding":              {[]string{goodHandshake + "Transfer-Encoding: smoke\r\n\r\n"}, "501"},
		"a length and chunks at once":               {[]string{goodHandshake + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}, "101"},
		"an expectation":                            {[]string{refused + "Expect: miracles\r\n\r\n"}, "417"},
		"a continued header line":                   {[]string{refused + "X-Extra: one\r\n two\r\n\r\n"}, ""},
		"lines that end with a line feed only":      {[]string{strings.ReplaceAll(refused, "\r\n", "\n") + "\n"}, "503"},
		"a line feed only, once":                    {[]string{refused + "X-Extra: one\n\r\n"}, "503"},
		"a control character in a value":            {[]string{goodHandshake + "X-Extra: \x01\r\n\r\n"}, "400"},
		"a null character in a value":               {[]string{goodHandshake + "X-Extra: a\x00b\r\n\r\n"}, "400"},
		"a header name with a space":                {[]string{goodHandshake + "X Extra: one\r\n\r\n"}, "400"},
		"a header line without a colon":             {[]string{goodHandshake + "X-Extra\r\n\r\n"}, "400"},
		"an empty header name":                      {[]string{goodHandshake + ": one\r\n\r\n"}, "400"},
		"bytes beyond ASCII in a value":             {[]string{refused + "X-Extra: ünï\r\n\r\n"}, "503"},
		"a URL that is none":                        {[]string{strings.Replace(goodHandshake, "/ws?", "/ws%zz?", 1) + "\r\n"}, "400"},
		"a second request behind the first":         {[]string{refused + "\r\n" + refused + "\r\n"}, "503"},
		"a request that ends in the middle":         {[]string{goodHandshake}, ""},
		"nothing":                                   {nil, "no answer"},
		"a TLS handshake":                           {[]string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500)}, "400"},
		"an empty line before":                      {[]string{"\r\n" + refused + "\r\n"}, ""},
		"a handler that panics takes only this one": {[]string{strings.Replace(goodHandshake, "good", "panics", 1) + "\r\n"}, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := exchange(t, plain, test.pieces), exchange(t, door, test.pieces)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the door's answer differs (-net/http +door):\n%s", diff)
			}
			if !strings.Contains(got[0], test.status) {
				t.Errorf("the answer is %s, want %s", got[0], test.status)
			}
		})
	}
}

// wantEnd waits until the server ends the connection.
func wantEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Error("the connection is still open after 20 s")
		}
	}
}

func TestTheDoorCutsSlowClients(t *testing.T) {
	address := startDoor(t, true, 200*time.Millisecond)
	for name, begun := range map[string]string{
		"one that says nothing":                     "",
		"one that stops in an ordinary handshake":   goodHandshake,
		"one that stops in another request":         "POST / HTTP/1.1\r\nHost: a",
		"one that stops in a header of several KBs": goodHandshake + "Cookie: " + strings.Repeat("x", 2*socket.ArrivalBytes),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, begun); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, conn)
		})
	}
}

// TestTheTimeForAHeaderIsOne sends so much that the door passes the connection on, when most of the time is over.
func TestTheTimeForAHeaderIsOne(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	recorder := &deadlines{Conn: server}
	ends := time.Now().Add(time.Minute)
	conn := &begunConn{Conn: recorder, begun: []byte("GET"), deadline: ends}
	_ = conn.SetReadDeadline(ends.Add(time.Hour))
	_ = conn.SetReadDeadline(ends.Add(time.Hour))
	if want := []time.Time{ends, ends.Add(time.Hour)}; !slices.Equal(recorder.set, want) {
		t.Errorf("the deadlines are %v, want %v: the first header is waited for once, later ones anew", recorder.set, want)
	}
}

type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestAClosedDoorCutsWhoWaits(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDoor(listener, doorHandler, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "the connection waits", func() bool { return d.Waiting() == 1 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, conn)
	if _, err := d.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed door accepts with %v, want net.ErrClosed", err)
	}
	if err := d.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing again says %v, want net.ErrClosed", err)
	}
}
