package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/settings"
)

// startKeeping runs a gateway that believes ?user_id= and keeps a history of the rooms kept:*, and inboxes.
func startKeeping(t *testing.T) string {
	t.Helper()
	s := settings.Default()
	s.Listen, s.OpsListen, s.APIListen, s.Node, s.Auth.Type = "127.0.0.1:0", "127.0.0.1:0", "", "one", settings.AuthTrusted
	s.Rooms = []settings.RoomPolicy{
		{Match: "kept:*", Join: settings.AccessAnyone, Publish: settings.AccessMembers, History: &settings.History{Size: 100, TTL: time.Minute}},
		{Match: "hall", Join: settings.AccessAnyone, Publish: settings.AccessMembers, Presence: true},
		{Match: "closed", Join: settings.AccessNone, Publish: settings.AccessNone},
	}
	s.Inbox = &settings.Inbox{Size: 100, TTL: time.Minute, MaxBytes: 1 << 20}
	g, err := gateway.New(s, memory.New(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "ws://" + g.Addr().String() + "/ws"
}

// wscWith runs the tool with standard input.
func wscWith(ctx context.Context, in io.Reader, out, notes io.Writer, args ...string) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(notes)
	return execute(ctx, root)
}

// output can be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func await(t *testing.T, o *output, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(o.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q did not come; there is: %s", text, o)
		}
	}
}

func TestPublishAndTail(t *testing.T) {
	url := startKeeping(t)
	publish := func(in string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := wscWith(t.Context(), strings.NewReader(in), &out, io.Discard, append([]string{"publish", "--url", url, "--user", "alice"}, args...)...); err != nil {
			t.Fatalf("publish %v: %v", args, err)
		}
		return out.String()
	}
	if got := publish("", "--room", "kept:1", "hello, you"); !strings.HasPrefix(got, "message_id=") || !strings.Contains(got, " offset=1\n") {
		t.Errorf("the receipt is %q, want the message's id and offset 1", got)
	}
	var receipt struct{ Offset int }
	if err := json.Unmarshal([]byte(publish(`{"a": [1, "<b>"]}`+"\n", "--room", "kept:1", "--json")), &receipt); err != nil || receipt.Offset != 2 {
		t.Errorf("the receipt in JSON is %+v, %v; want offset 2", receipt, err)
	}
	first := publish("", "--room", "kept:1", "--key", "k", "42")
	if again := publish("", "--room", "kept:1", "--key", "k", "42"); again != first {
		t.Errorf("the same key gives the receipt %q, want the first one %q", again, first)
	}
	if got := publish("one\ntwo\n", "--room", "kept:1", "--lines"); strings.Count(got, "message_id=") != 2 {
		t.Errorf("two lines give the receipts %q", got)
	}

	t.Run("tail begins with the history and ends after a count", func(t *testing.T) {
		var out output
		if err := wscWith(t.Context(), nil, &out, io.Discard, "tail", "--url", url, "--user", "carol", "kept:1", "--history", "4", "--count", "4", "--json"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for text := range strings.Lines(out.String()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			got = append(got, fmt.Sprint(l.Type, " ", l.RoomID, " ", l.Offset, " ", l.From, " ", string(l.Data)))
		}
		want := []string{`message kept:1 2 alice {"a":[1,"<b>"]}`, `message kept:1 3 alice 42`, `message kept:1 4 alice "one"`, `message kept:1 5 alice "two"`}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("tail printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
	t.Run("tail prints rooms and the inbox as lines until it is stopped", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var out, notes output
		ended := make(chan error, 1)
		go func() {
			ended <- wscWith(ctx, nil, &out, &notes, "tail", "--url", url, "--user", "bob", "--inbox", "kept:1", "plain", "--history", "1")
		}()
		await(t, &notes, "connected to one as bob\n")
		await(t, &out, ` kept:1 #5 alice: "two"`+"\n")
		publish("", "--to", "bob", "for you")
		await(t, &out, ` (inbox) #1 alice: "for you"`+"\n")
		for !strings.Contains(out.String(), `plain alice: "to all"`) { // until it has joined
			publish("", "--room", "plain", "to all")
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("tail ended with %v", err)
		}
	})
}

func TestTailPrintsWhoComesAndGoes(t *testing.T) {
	url := startKeeping(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 3)
	tail := func(ctx context.Context, user string, out *output, args ...string) {
		go func() {
			ended <- wscWith(ctx, nil, out, io.Discard, append([]string{"tail", "--url", url, "--user", user, "--presence", "hall"}, args...)...)
		}()
	}
	var alice, carol output
	tail(ctx, "alice", &alice)
	await(t, &alice, " hall -- 1 here: alice\n")
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	tail(leaving, "bob", &output{})
	await(t, &alice, " hall -- bob has come\n")
	tail(ctx, "carol", &carol, "--json")
	await(t, &carol, `{"type":"members","room_id":"hall","users":3,"members":[{"user_id":"alice","connections":1},{"user_id":"bob","connections":1},{"user_id":"carol","connections":1}]}`+"\n")
	leave()
	await(t, &alice, " hall -- bob has gone\n")
	await(t, &carol, `{"type":"member_left","room_id":"hall","user_id":"bob"}`+"\n")
	stop()
	for range 3 {
		if err := <-ended; err != nil {
			t.Errorf("tail ended with %v", err)
		}
	}
}

func TestTheCommandsSayWhatIsWrong(t *testing.T) {
	url := startKeeping(t)
	for _, test := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{"publish", "x"}, "exactly one of --room and --to", exitUsage},
		{[]string{"publish", "--room", "a", "two", "words"}, "put it in quotes, like 'two words'", exitUsage},
		{[]string{"publish", "--room", "a", `{"a":`}, "begins like JSON but is none", exitUsage},
		{[]string{"publish", "--room", "a", "--lines", "x"}, "leave the data out", exitUsage},
		{[]string{"publish", "--room", "a", "--nonsense"}, "unknown flag", exitUsage},
		{[]string{"publish", "--room", "a", "--timeout", "0s", "x"}, "--timeout", exitUsage},
		{[]string{"publish", "--room", "a", "--token", "x", "--token-file", "y", "x"}, "not both", exitUsage},
		{[]string{"publish", "--room", "a", "--token-file", "/does/not/exist", "x"}, "--token-file", exitUsage},
		{[]string{"publish", "--room", "a", "--url", "http://x", "x"}, "is no WebSocket address", exitUsage},
		{[]string{"publish", "--room", "closed", "--user", "a", "--url", url, "x"}, "room", exitFailure},
		{[]string{"publish", "--room", "a", "--url", "ws://127.0.0.1:1/ws", "--timeout", "300ms", "x"}, "no connection within --timeout of 300ms: cannot connect", exitFailure},
		{[]string{"nonsense"}, "unknown command", exitUsage},
		{[]string{"version", "x"}, "unknown command", exitUsage},
		{[]string{"size"}, "--connections 100000", exitUsage},
		{[]string{"size", "--connections", "-5", "--messages-per-second", "1"}, "connections: -5 is out of range", exitUsage},
		{[]string{"bench", "--nonsense"}, "unknown flag", exitUsage},
		{[]string{"bench"}, "no address to connect to", exitUsage},
		{[]string{"bench", "--url", url, "--header", "x"}, "--header", exitUsage},
		{[]string{"bench", "--url", url, "--rate", "-1"}, "rate", exitUsage},
		{[]string{"bench", "--url", "ws://127.0.0.1:1/ws", "--connect-timeout", "300ms"}, "not every client could connect: 0 of 101", exitFailure},
		{[]string{"run"}, "wsc run -f", exitUsage},
		{[]string{"run", "-f", "x", "--port", "70000"}, "--port", exitUsage},
		{[]string{"run", "-f", "/does/not/exist.yaml"}, "/does/not/exist.yaml", exitFailure},
		{[]string{"tail"}, "name a room", exitUsage},
		{[]string{"tail", "kept:1", "--presence", "--user", "a", "--url", url}, "presence: Enabled", exitFailure},
		{[]string{"tail", "a", "--history", "5000"}, "0 to 1000", exitUsage},
		{[]string{"tail", "closed", "--user", "a", "--url", url}, "join closed: ", exitFailure},
		{[]string{"tail", "a", "--url", strings.Replace(url, "/ws", "/nothing", 1)}, "connect to /ws", exitFailure},
	} {
		err := wscWith(t.Context(), strings.NewReader(""), io.Discard, io.Discard, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || exitStatus(err) != test.status {
			t.Errorf("wsc %v: %v (status %d), want one sentence with %q and status %d", test.args, err, exitStatus(err), test.want, test.status)
		}
	}
	if got := exitStatus(fmt.Errorf("x: %w", &exitError{exitUncertain, client.ErrUncertain})); got != exitUncertain {
		t.Errorf("the status of a wrapped error is %d", got)
	}
	if !errors.Is(&exitError{exitUncertain, client.ErrUncertain}, client.ErrUncertain) {
		t.Error("an exit error hides what it is about")
	}
}
