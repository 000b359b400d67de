package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Report is what came of a run.
type Report struct {
	// Clients wanted, Ready at the end, and GaveUp: those that the server told not to come back.
	Clients int `json:"clients"`
	Ready   int `json:"ready"`
	GaveUp  int `json:"gave_up"`
	// Nodes counts connections by the gateway's name.
	Nodes map[string]uint64 `json:"nodes,omitempty"`
	// Connect is the time from dialling to the last join of first connections.
	Connect Quantiles `json:"connect"`
	// Connects counts connections made, ConnectFailures attempts that failed, by reason.
	Connects        uint64            `json:"connects"`
	ConnectFailures map[string]uint64 `json:"connect_failures,omitempty"`
	JoinErrors      uint64            `json:"join_errors"`
	// Closes counts connections that the server ended, by close code (1006: without a close frame), Unexpected those of them
	// that were not announced by a reconnect frame. Moved counts clients that went to another connection when asked to.
	Closes     map[int]uint64 `json:"closes,omitempty"`
	Unexpected map[int]uint64 `json:"unexpected_closes,omitempty"`
	Moved      uint64         `json:"moved"`
	// Asked tells by gateway how it asked clients to connect anew.
	Asked map[string]Asked `json:"asked,omitempty"`
	// Recovery is the time from a lost connection to all rooms joined again.
	Recovery Quantiles `json:"recovery"`
	// Strange counts messages that could not be read or that nobody sent.
	Strange uint64 `json:"strange"`
	// Errors holds what the server said, by error code.
	Errors map[string]string `json:"errors,omitempty"`

	Load  *Phase       `json:"load,omitempty"`
	Check *CheckResult `json:"check,omitempty"`
	// Violations are sentences, each about something that must not happen; none: the run is good.
	Violations []string `json:"violations"`
}

// Report sums up the run so far, with the given phase. With a check it ends the check: call it once, after the last load.
func (g *Generator) Report(phase *Phase) *Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &Report{
		Clients: len(g.clients), Ready: g.ready, GaveUp: g.givenUp, Nodes: maps.Clone(g.nodes), Connect: g.connectTime.quantiles(),
		Connects: g.connects, ConnectFailures: maps.Clone(g.connectFails), JoinErrors: g.joinErrors,
		Closes: maps.Clone(g.closes), Unexpected: maps.Clone(g.unexpected), Moved: g.moved, Asked: g.askedReport(), Recovery: g.recovery.quantiles(),
		Strange: g.strange, Errors: maps.Clone(g.sentences), Load: phase,
	}
	if g.check != nil {
		r.Check = g.check.finish()
	}
	r.Violations = r.violations(g.options.History)
	return r
}

// violations lists what must not happen.
func (r *Report) violations(history bool) []string {
	list := []string{}
	add := func(n uint64, format string, args ...any) {
		if n > 0 {
			list = append(list, fmt.Sprintf(format, append([]any{n}, args...)...))
		}
	}
	add(uint64(r.Clients-r.Ready), "%d clients are not connected at the end")
	add(r.JoinErrors, "%d joins were refused")
	for _, code := range slices.Sorted(maps.Keys(r.Unexpected)) {
		if code != noCloseFrame { // a machine that dies closes nothing; its messages are counted below
			add(r.Unexpected[code], "%d connections were closed unexpectedly with code %d", code)
		}
	}
	add(r.Strange, "%d messages could not be read, or were sent by nobody")
	if c := r.Check; c != nil {
		if history {
			add(c.Lost, "%d acked messages were lost")
		} else {
			add(c.Lost, "%d acked messages were lost though no fault was near")
		}
		add(c.Doubled, "%d messages came twice on one connection")
		add(c.Reordered, "%d messages came after a later one of the same publisher")
		add(c.Misdirected, "%d messages came to clients that are not in their room")
		add(c.Refused, "%d messages were delivered though their publisher got an error")
		add(c.Conflicting, "%d messages had different offsets for different members")
	}
	return list
}

// Run connects, publishes for one phase, waits until clients that were thrown out are back, and reports. The error says why
// there is no report; a run that went badly has one, with Violations.
func Run(ctx context.Context, options Options, l Load) (*Report, error) {
	g, err := New(options)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := g.ValidateLoad(l); err != nil {
		return nil, err
	}
	if err := g.Connect(ctx); err != nil {
		return nil, err
	}
	phase, _ := g.Publish(ctx, l) // fails only if ctx ended, and then there is a phase to report all the same
	g.AwaitReturn(ctx, l.Grace)
	return g.Report(phase), nil
}

// AwaitReturn waits, at most for the grace, until every client that was thrown out is back. That ctx has ended, as after a
// Ctrl-C that cut a run short, does not cut this short.
func (g *Generator) AwaitReturn(ctx context.Context, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(grace, time.Second))
	defer cancel()
	_ = g.wait(ctx, func() bool { return g.ready+g.givenUp >= len(g.clients) }) // who is not back is in the report
}
