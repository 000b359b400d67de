package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestASlowApplication(t *testing.T) {
	server := redistest.Start(t)
	one := startNode(t, server, named(1), nil)
	const count = 1000
	t.Run("gets every message of a room with history, later", func(t *testing.T) {
		noGoroutines(t)
		c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
		at := &record{hold: make(chan struct{})}
		join(t, c, "kept:1", client.RoomOptions{Handler: at.handle, Buffer: 20})
		publishEach(t, c, "kept:1", 1, count, nil)
		close(at.hold)
		at.wantEach(t, "the slow application", count)
	})
	t.Run("is told how many messages it missed of a room without history", func(t *testing.T) {
		noGoroutines(t)
		c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
		at := &record{hold: make(chan struct{})}
		join(t, c, "plain", client.RoomOptions{Handler: at.handle, Buffer: 20})
		publishEach(t, c, "plain", 1, count, nil)
		close(at.hold)
		eventually(t, "every message has come or is counted as missed", func() bool {
			sum := int64(at.len())
			for _, gap := range at.theGaps() {
				if gap.Reason != client.GapOverflow {
					t.Fatalf("the gap is %+v, want overflow", gap)
				}
				sum += gap.Missed
			}
			return sum == count
		})
		if at.len() == count {
			t.Error("nothing was missed, though only 20 messages could wait")
		}
	})
	t.Run("may publish from its handler though its room's queue is full", func(t *testing.T) {
		noGoroutines(t)
		c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
		var answers atomic.Int64
		join(t, c, "kept:2", client.RoomOptions{Buffer: 5, Handler: func(client.Event) {
			if _, err := c.Publish(t.Context(), client.Publication{Room: "answers", Data: 1}); err != nil {
				t.Errorf("publish by the handler: %v", err)
			}
			answers.Add(1)
		}})
		publishEach(t, c, "kept:2", 1, 100, nil)
		eventually(t, "every message was answered", func() bool { return answers.Load() == 100 })
	})
}

func TestHistoryAndRecoveryAcrossRestartsOfTheApplication(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), nil)
	c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	for i := 1; i <= 10; i++ {
		publishEach(t, c, "kept:1", i, i, nil)
	}
	room, newest := join(t, c, "kept:1", client.RoomOptions{History: 3})
	eventually(t, "the newest three came", func() bool { return newest.len() == 3 })
	if _, err := c.Join(t.Context(), "kept:1", client.RoomOptions{}); !errors.Is(err, client.ErrAlreadyJoined) {
		t.Errorf("joining again returns %v, want ErrAlreadyJoined", err)
	}
	room.Leave()
	if err := room.Err(); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after Leave Err is %v, want ErrClosed", err)
	}
	place := newest.all()[0].At // of message 8
	again, err := c.Join(t.Context(), "kept:1", client.RoomOptions{Recover: &place})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"9", "10"} {
		if m, ok := (<-again.Events()).(client.Message); !ok || string(m.Data) != want {
			t.Errorf("recovered %+v, want message %s", m, want)
		}
	}
	again.Leave()
	if _, open := <-again.Events(); open {
		t.Error("after Leave an event came, want the end")
	}
	_, after := join(t, c, "kept:1", client.RoomOptions{Recover: &protocol.Position{Epoch: "another", Offset: 3}, History: 2})
	eventually(t, "the newest two came", func() bool { return after.len() == 2 })
	if gaps := after.theGaps(); len(gaps) != 1 || gaps[0].Reason != client.GapEpochChanged || gaps[0].From.Epoch != "another" {
		t.Errorf("from another epoch the gaps are %+v, want one that says so", gaps)
	}
}

func TestALogThatWasTrimmedMeanwhileIsToldAsAGap(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), func(s *settings.Settings) { s.Rooms[0].History.Size = 10 })
	c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	first, err := c.Publish(t.Context(), client.Publication{Room: "kept:1", Data: 1})
	if err != nil {
		t.Fatal(err)
	}
	publishEach(t, c, "kept:1", 2, 200, nil)
	_, at := join(t, c, "kept:1", client.RoomOptions{Recover: &first.At})
	eventually(t, "what the log still has came", func() bool { n := at.len(); return n > 0 && at.all()[n-1].At.Offset == 200 })
	gaps, got := at.theGaps(), int64(at.len())
	if len(gaps) != 1 || gaps[0].Reason != client.GapTrimmed || gaps[0].From != first.At || gaps[0].Missed+got != 199 {
		t.Errorf("the gaps are %+v with %d messages after them, want one, trimmed, and together 199", gaps, got)
	}
}

func TestAnInboxIsReadToItsEnd(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), nil)
	alice, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	at := &record{}
	bob, states := connect(t, client.Options{URLs: urls(one), UserID: "bob", BackoffMin: time.Second, BackoffMax: 2 * time.Second, Inbox: &client.InboxOptions{Handler: at.handle}})
	send := func(first, last int) {
		for i := first; i <= last; i++ {
			if _, err := alice.Publish(t.Context(), client.Publication{User: "bob", Data: i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(1, 10)
	at.wantEach(t, "the inbox", 10)
	one.clients.Cut() // both; alice is back first
	send(11, 400)
	at.wantEach(t, "the inbox after a break", 400)
	if states.count(client.StatusConnected) < 2 {
		t.Error("the connection was not broken")
	}
	if err := bob.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(401, 401)
	later := &record{}
	connect(t, client.Options{URLs: urls(one), UserID: "bob", Inbox: &client.InboxOptions{Handler: later.handle, History: 5}})
	newest := func() string { return string(later.all()[later.len()-1].Data) }
	eventually(t, "the newest five came", func() bool { return later.len() >= 5 && newest() == "401" })
	// The welcome may be of a moment before the last message.
	if gaps := later.theGaps(); len(gaps) != 0 || later.len() > 6 {
		t.Errorf("%d messages came with the gaps %v, want the newest five and none", later.len(), gaps)
	}
	place := later.all()[later.len()-2].At
	from := &record{}
	connect(t, client.Options{URLs: urls(one), UserID: "bob", Inbox: &client.InboxOptions{Handler: from.handle, Recover: &place}})
	eventually(t, "what came after the kept place came", func() bool { return from.len() == 1 })
}

const secret = "a secret of thirty-two bytes, or more"

func token(t *testing.T, life time.Duration) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(life).Unix(), "rooms": []string{"*"}}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func withTokens(t *testing.T) func(*settings.Settings) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s *settings.Settings) { s.Auth.Type, s.Auth.JWT.SecretFile = settings.AuthJWT, file }
}

func TestTokens(t *testing.T) {
	t.Parallel()
	one := startNode(t, redistest.Start(t), named(1), withTokens(t))
	t.Run("are renewed on the open connection before they end", func(t *testing.T) {
		var asked atomic.Int64
		c, states := connect(t, client.Options{URLs: urls(one), Token: func(context.Context) (string, error) {
			if asked.Add(1) == 2 {
				return "", errors.New("the issuer is away") // asked again
			}
			return token(t, 6*time.Second), nil
		}})
		_, at := join(t, c, "kept:1", client.RoomOptions{})
		// One at the start, one that failed, and one each 4 s: by then the first token has ended, with its leeway of 5 s.
		eventually(t, "five tokens were asked for", func() bool { return asked.Load() >= 5 })
		publishEach(t, c, "kept:1", 1, 10, nil)
		at.wantEach(t, "the room", 10)
		if n := states.count(client.StatusConnected); n != 1 {
			t.Errorf("the client connected %d times, want once", n)
		}
	})
	t.Run("that are refused are replaced", func(t *testing.T) {
		var asked atomic.Int64
		connect(t, client.Options{URLs: urls(one), Token: func(context.Context) (string, error) {
			if asked.Add(1) == 1 {
				return token(t, -time.Minute), nil
			}
			return token(t, time.Minute), nil
		}})
		if asked.Load() != 2 {
			t.Errorf("%d tokens were asked for, want 2", asked.Load())
		}
	})
	t.Run("that are refused and never change end the client", func(t *testing.T) {
		noGoroutines(t)
		_, err := client.Dial(t.Context(), client.Options{URLs: urls(one), Token: client.StaticToken(token(t, -time.Minute))})
		if !errors.Is(err, client.ErrTokenRefused) {
			t.Errorf("Dial returns %v, want ErrTokenRefused", err)
		}
	})
	t.Run("that end and never change end the client", func(t *testing.T) {
		noGoroutines(t)
		c, states := connect(t, client.Options{URLs: urls(one), Token: client.StaticToken(token(t, 2*time.Second))})
		room, at := join(t, c, "kept:1", client.RoomOptions{})
		select {
		case <-c.Done():
		case <-time.After(patience):
			t.Fatal("the client did not end")
		}
		eventually(t, "the room has ended", func() bool { at.mu.Lock(); defer at.mu.Unlock(); return at.ended != nil })
		for what, err := range map[string]error{"the client": c.Err(), "its room": room.Err(), "the room's last event": at.ended, "its last state": states.last().Err} {
			if !errors.Is(err, client.ErrTokenRefused) {
				t.Errorf("%s has %v, want ErrTokenRefused", what, err)
			}
		}
		if _, err := c.Publish(t.Context(), client.Publication{Room: "kept:1", Data: 1}); !errors.Is(err, client.ErrTokenRefused) {
			t.Errorf("Publish returns %v, want ErrTokenRefused", err)
		}
	})
}

func TestWhatAGatewayRefuses(t *testing.T) {
	noGoroutines(t)
	one := startNode(t, redistest.Start(t), named(1), func(s *settings.Settings) {
		s.Rooms = []settings.RoomPolicy{{Match: "closed", Join: settings.AccessToken, Publish: settings.AccessToken}}
		s.Limits.MaxMessageBytes = 4096
	})
	c, states := connect(t, client.Options{URLs: urls(one), UserID: "alice"})
	for what, err := range map[string]error{
		"joining a closed room": func() error { _, err := c.Join(t.Context(), "closed", client.RoomOptions{}); return err }(),
		"publishing to it": func() error {
			_, err := c.Publish(t.Context(), client.Publication{Room: "closed", Data: 1})
			return err
		}(),
	} {
		if refused, ok := errors.AsType[*protocol.Error](err); !ok || refused.Code != protocol.CodeForbidden {
			t.Errorf("%s returns %v, want forbidden", what, err)
		}
	}
	_, err := c.Publish(t.Context(), client.Publication{User: "bob", Data: strings.Repeat("x", 5000)})
	if refused, ok := errors.AsType[*protocol.Error](err); !ok || refused.Code != protocol.CodeBadRequest {
		t.Errorf("a message over the gateway's bound returns %v, want bad_request", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Publish(ctx, client.Publication{User: "bob", Data: 1}); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUncertain) {
		t.Errorf("Publish with an ended context returns %v, want that, and no doubt", err)
	}
	if states.count(client.StatusConnected) != 1 {
		t.Errorf("the client was told %v, want one connection", states.all)
	}
	for _, p := range []client.Publication{{Data: 1}, {Room: "a", User: "b"}, {Room: "a\x00", Data: 1}, {Room: "a", Data: make(chan int)}, {Room: "a", IdempotencyKey: strings.Repeat("k", 129)}} {
		if _, err := c.Publish(t.Context(), p); err == nil || !strings.HasPrefix(err.Error(), "publish: ") {
			t.Errorf("Publish of %+v returns %v, want what is wrong with it", p, err)
		}
	}
}

func TestPendingPublishesAreBounded(t *testing.T) {
	noGoroutines(t)
	server := redistest.Start(t)
	one := startNode(t, server, named(1), nil)
	c, _ := connect(t, client.Options{URLs: urls(one), UserID: "alice", MaxPending: 3})
	server.Pause()
	results := make(chan error, 5)
	for i := range 5 {
		go func() {
			_, err := c.Publish(t.Context(), client.Publication{Room: "kept:1", Data: i})
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; !errors.Is(err, client.ErrTooManyPending) {
			t.Errorf("a publish over the bound returns %v, want ErrTooManyPending", err)
		}
	}
	server.Resume()
	for range 3 {
		if err := <-results; err != nil {
			t.Errorf("a publish within the bound returns %v", err)
		}
	}
}

// answering is a server that answers each connection attempt with the next of some behaviours, and the last one for ever.
func answering(t *testing.T, behaviours ...http.HandlerFunc) string {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := min(int(asked.Add(1)), len(behaviours)) - 1
		behaviours[i](w, r)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
}

// welcomes lets a client in and then closes with a code; 0: when the client does.
func welcomes(code protocol.CloseCode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, protocol.AppendWelcome(nil, &protocol.Welcome{ConnectionID: "c", UserID: "u", Node: "n", HeartbeatMS: 25_000}))
		if code != 0 {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), "why"), time.Now().Add(time.Second))
		}
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	}
}

func refuses(status int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"code":"overloaded","message":"this gateway is full"}`))
	}
}

func TestCloseCodesSayWhetherToConnectAgain(t *testing.T) {
	for code, again := range map[protocol.CloseCode]bool{
		protocol.CloseNormal: true, protocol.CloseGoingAway: true, protocol.CloseRestart: true, protocol.CloseInternal: true, protocol.CloseSlowConsumer: true,
		protocol.CloseForbidden: false, protocol.CloseReplaced: false, protocol.ClosePolicy: false, protocol.CloseTooBig: false, protocol.CloseNoToken: false,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			noGoroutines(t)
			c, states := connect(t, client.Options{URLs: []string{answering(t, welcomes(code), welcomes(0))}})
			if again {
				eventually(t, "the client has connected again", func() bool { return states.count(client.StatusConnected) == 2 })
				return
			}
			<-c.Done()
			if closed, ok := errors.AsType[*client.ClosedError](c.Err()); !ok || closed.Code != code || closed.Reason != "why" {
				t.Errorf("the client ended with %v, want close code %d", c.Err(), code)
			}
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	t.Run("that may pass are tried again, not before Retry-After", func(t *testing.T) {
		begin := time.Now()
		_, states := connect(t, client.Options{URLs: []string{answering(t, refuses(http.StatusServiceUnavailable, "1"), refuses(http.StatusTooManyRequests, ""), refuses(http.StatusBadGateway, ""), welcomes(0))}})
		if took := time.Since(begin); took < time.Second {
			t.Errorf("it connected after %v, want not before the second that was asked for", took)
		}
		if n := states.count(client.StatusWaiting); n != 3 {
			t.Errorf("it waited %d times, want 3", n)
		}
	})
	for name, status := range map[string]int{"for a bad request": http.StatusBadRequest, "for the origin": http.StatusForbidden, "at a wrong address": http.StatusNotFound} {
		t.Run(name+" are final", func(t *testing.T) {
			_, err := client.Dial(t.Context(), client.Options{URLs: []string{answering(t, refuses(status, ""))}})
			want := &client.RefusedError{Status: status, Code: protocol.CodeOverloaded, Message: "this gateway is full"}
			got, _ := errors.AsType[*client.RefusedError](err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("at nothing that listens end with the context, and say why", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := client.Dial(ctx, client.Options{URLs: []string{"ws://127.0.0.1:1/ws"}})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Dial returns %v, want that time is over and that the connection was refused", err)
		}
	})
}

func TestOptionsThatAreWrong(t *testing.T) {
	for want, o := range map[string]client.Options{
		"no address":        {},
		"no WebSocket":      {URLs: []string{"http://x/ws"}},
		"the user id":       {URLs: []string{"ws://x/ws"}, UserID: "a\nb"},
		"BackoffMax":        {URLs: []string{"ws://x/ws"}, BackoffMin: time.Minute, BackoffMax: time.Second},
		"negative":          {URLs: []string{"ws://x/ws"}, MaxPending: -1},
		"needs a Handler":   {URLs: []string{"ws://x/ws"}, Inbox: &client.InboxOptions{}},
		"history: 1001 is ": {URLs: []string{"ws://x/ws"}, Inbox: &client.InboxOptions{Handler: func(client.Event) {}, History: 1001}},
	} {
		if _, err := client.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) returns %v, want a sentence with %q", o, err, want)
		}
	}
}
