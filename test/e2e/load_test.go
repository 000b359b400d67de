//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"
)

// load is clients that talk in rooms of a fleet while something happens to it, with the checker of messages watching.
type load struct {
	generator *bench.Generator
	clients   int
	published chan published
}

type published struct {
	phase *bench.Phase
	err   error
}

// history says whether the rooms keep a log: then nothing that was acked may be missing from anybody.
type history bool

// startLoad connects clients from many addresses, has some of them publish, and returns when messages flow.
func startLoad(ctx context.Context, t *testing.T, f fleet, clients int, withHistory history) *load {
	t.Helper()
	o := bench.Options{
		URLs:           []string{f.url(ctx, t)},
		LocalAddresses: sources,
		Publishers:     clients / 6, Subscribers: clients - clients/6,
		Rooms: clients / 15, RoomsPerSubscriber: 2,
		Check: true, History: bool(withHistory),
		// a busy machine is slow to answer, which is no fault of a gateway's
		DialTimeout: 20 * time.Second, MaxBackoff: 2 * time.Second, FaultMargin: 5 * time.Second,
	}
	if withHistory {
		o.RoomPrefix = "log-"
	}
	g, err := bench.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	connecting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := g.Connect(connecting); err != nil {
		t.Fatal(err)
	}
	l := &load{generator: g, clients: clients, published: make(chan published, 1)}
	go func() {
		phase, err := g.Publish(ctx, bench.Load{Rate: 40, Duration: 20 * time.Minute, Grace: 20 * time.Second})
		l.published <- published{phase, err}
	}()
	l.awaitDeliveries(ctx, t)
	return l
}

// awaitDeliveries returns once messages have come again.
func (l *load) awaitDeliveries(ctx context.Context, t *testing.T) {
	t.Helper()
	before := l.generator.Delivered()
	eventually(ctx, t, "messages are delivered", func() error {
		if now := l.generator.Delivered(); now < before+uint64(l.clients) {
			return fmt.Errorf("%d were delivered since", now-before)
		}
		return nil
	})
}

// finish waits until every client is in its rooms and messages flow, ends the load, and reports. What must not happen, whatever
// was done to the fleet, fails the test: clients that did not come back, messages that were lost, doubled or reordered without
// a fault that explains it, connections that were closed with an unexpected code.
func (l *load) finish(ctx context.Context, t *testing.T) *bench.Report {
	t.Helper()
	eventually(ctx, t, "every client is back in its rooms", func() error {
		if ready := l.generator.Ready(); ready != l.clients {
			return fmt.Errorf("%d of %d are", ready, l.clients)
		}
		return nil
	})
	l.awaitDeliveries(ctx, t)
	l.generator.EndLoad()
	var p published
	select {
	case p = <-l.published:
	case <-ctx.Done():
		t.Fatalf("the load did not end: %v", context.Cause(ctx))
	}
	if p.err != nil {
		t.Fatalf("publish: %v", p.err)
	}
	r := l.generator.Report(p.phase)
	l.generator.Close()
	t.Log(summary(r))
	if len(r.Violations) > 0 {
		t.Errorf("the checker of messages found: %s", strings.Join(r.Violations, "; "))
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepReport(t, r)
		}
	})
	return r
}

var reports atomic.Int64

// summary is what the checker says, in a line.
func summary(r *bench.Report) string {
	c := r.Check
	return fmt.Sprintf("%d messages acked, %d unconfirmed; %d deliveries owed: %d lost, %d lost in flight, %d missed while away, %d declared lost; %d clients moved, %d came back after %.0f ms at most; closes %v, failed connects %v",
		c.Acked, c.Unconfirmed, c.Owed, c.Lost, c.InFlight, c.Away, c.Declared, r.Moved, r.Recovery.Count, r.Recovery.Max, r.Closes, r.ConnectFailures)
}

// keepReport puts the whole report beside the bundle; a test may have several.
func keepReport(t *testing.T, r *bench.Report) {
	folder := filepath.Join(*artifacts, strings.ReplaceAll(t.Name(), "/", "_"))
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, fmt.Sprintf("load-%d.json", reports.Add(1))), text, 0o644)
	}
	if err != nil {
		t.Logf("the load's report cannot be kept: %v", err)
	}
}

// wantNobodyHurt fails unless clients were at most asked to move: nothing was lost, nobody was thrown out. A connect that failed
// hurts nobody who still has the old connection: on a busy machine kube-proxy may send it to a pod that is leaving.
func wantNobodyHurt(t *testing.T, r *bench.Report) {
	t.Helper()
	c := r.Check
	if missing := c.Lost + c.InFlight + c.Away + c.Declared; missing > 0 || c.Unconfirmed > 0 {
		t.Errorf("%d deliveries are missing and %d publishes were not confirmed, though pods left in order: %s", missing, c.Unconfirmed, summary(r))
	}
	if len(r.Unexpected) > 0 {
		t.Errorf("unexpected closes by code: %v; want none", r.Unexpected)
	}
}

// wantRateKept fails if a pod sent clients away faster than the drain rate. A window of a second holds one more than the rate
// when its ends fall on turns, and frames that come late on a busy machine move turns, by up to half a second here.
func wantRateKept(t *testing.T, r *bench.Report, rate int) {
	t.Helper()
	if len(r.Asked) == 0 {
		t.Error("no pod asked its clients to move, so nothing is known about the rate")
	}
	for pod, asked := range r.Asked {
		if limit := rate + rate/2 + 1; asked.PeakPerSecond > limit {
			t.Errorf("pod %s sent %d of %d clients away within a second; the drain rate is %d", pod, asked.PeakPerSecond, asked.Clients, rate)
		}
	}
}
