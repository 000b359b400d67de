package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/bench"
	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/sizing"
)

// wsc runs the tool with arguments and returns what it printed.
func wsc(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	err := execute(t.Context(), root)
	return out.String(), err
}

// startGateway runs a real gateway in this process and returns its address.
func startGateway(t *testing.T) string {
	t.Helper()
	s := settings.Default()
	s.Listen, s.OpsListen, s.APIListen, s.Node = "127.0.0.1:0", "127.0.0.1:0", "", "one"
	g, err := gateway.New(s, memory.New(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
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

func TestBenchReportsInJSON(t *testing.T) {
	out, err := wsc(t, "bench", "--url", startGateway(t), "--subscribers", "20", "--publishers", "2", "--rooms", "2", "--rate", "40", "--duration", "500ms", "--check", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if report.Check == nil || report.Check.Owed == 0 || report.Check.Owed != report.Check.Delivered || len(report.Violations) != 0 {
		t.Errorf("the report is %s", out)
	}
}

func TestBenchSaysWhatIsBadAndFails(t *testing.T) {
	// A gateway takes 50 messages a second of one client, 100 at once: most of these are refused, and that is no violation of
	// delivery; a room that nobody may join is.
	out, err := wsc(t, "bench", "--url", startGateway(t), "--subscribers", "1", "--rate", "1000", "--duration", "500ms", "--check")
	if err != nil {
		t.Fatalf("%v: refusals are counted, not violations\n%s", err, out)
	}
	if !strings.Contains(out, "rate_limited") || !strings.Contains(out, "good") {
		t.Errorf("the report neither names the rate limit nor calls the deliveries good:\n%s", out)
	}
	_, err = wsc(t, "bench", "--url", startGateway(t), "--subscribers", "1", "--room-prefix", strings.Repeat("x", 256), "--duration", "100ms", "--connect-timeout", "5s")
	if err == nil || !strings.Contains(err.Error(), "room_id") {
		t.Errorf("joins that are refused end with %v, want the gateway's sentence about room_id", err)
	}
}

func TestBenchNamesBadFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "no address to connect to"},
		{[]string{"--url", "http://x"}, "is no WebSocket address"},
		{[]string{"--url", "ws://x/ws", "--rate", "5", "--outstanding", "5"}, "not both"},
		{[]string{"--url", "ws://x/ws", "--header", "nonsense"}, `--header "nonsense"`},
		{[]string{"--url", "ws://x/ws", "--token-file", "/does/not/exist"}, "--token-file"},
		{[]string{"--url", "ws://x/ws", "--payload", "3"}, "bytes of payload: 3 is out of range"},
	} {
		begin := time.Now()
		if _, err := wsc(t, append([]string{"bench"}, test.args...)...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("wsc bench %v: %v, want a sentence with %q", test.args, err, test.want)
		}
		if time.Since(begin) > 5*time.Second {
			t.Errorf("wsc bench %v: it connected before it looked at its flags", test.args)
		}
	}
}

// TestTheDocumentShowsWhatSizePrints compares the block in docs/scale.md that begins with "$ wsc size".
func TestTheDocumentShowsWhatSizePrints(t *testing.T) {
	text, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "$ wsc ")
	command, rest, _ := strings.Cut(rest, "\n")
	want, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/scale.md has no block with $ wsc size")
	}
	got, err := wsc(t, strings.Fields(command)...)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("docs/scale.md shows\n%s\nwsc %s prints\n%s", want, command, got)
	}
}

func TestSizePrintsAnEstimate(t *testing.T) {
	out, err := wsc(t, "size", "--connections", "1000000", "--messages-per-second", "10000")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1,000,000 connections", "50 (decided by the connections)", "a Redis Cluster of 3 shards", "Extrapolated"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	out, err = wsc(t, "size", "--connections", "1000", "--json")
	var c sizing.Cluster
	if err := errors.Join(err, json.Unmarshal([]byte(out), &c)); err != nil || c.Pods != 2 {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := wsc(t, "size"); err == nil || !strings.Contains(err.Error(), "wsc size --connections 100000") {
		t.Errorf("without connections: %v", err)
	}
}
