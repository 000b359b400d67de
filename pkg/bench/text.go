package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// listedInText bounds the lists of rooms and clients that WriteText shows.
const listedInText = 10

// WriteText writes the report as tables for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "Clients\t%d connected of %d, %s to connect and join (99 %%: %s)\n", r.Ready, r.Clients, ms(r.Connect.P50), ms(r.Connect.P99))
	if len(r.Nodes) > 0 {
		fmt.Fprintf(t, "Gateways\t%s\n", list(r.Nodes))
	}
	if l := r.Load; l != nil {
		l.writeText(t)
	}
	if r.Moved > 0 {
		fmt.Fprintf(t, "Moved\t%d clients when asked to\n", r.Moved)
	}
	if len(r.Closes) > 0 {
		fmt.Fprintf(t, "Closed by server\t%s\n", list(r.Closes))
	}
	if r.Recovery.Count > 0 {
		fmt.Fprintf(t, "Came back\t%d times, after %s (99 %%: %s, longest: %s)\n", r.Recovery.Count, ms(r.Recovery.P50), ms(r.Recovery.P99), ms(r.Recovery.Max))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.ConnectFailures)) {
		fmt.Fprintf(t, "Could not connect\t%d times: %s\n", r.ConnectFailures[reason], reason)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(t, "Server said\t%s: %s\n", code, r.Errors[code])
	}
	if r.Check != nil {
		r.Check.writeText(t)
	}
	if len(r.Violations) == 0 {
		fmt.Fprintln(t, "Verdict\tgood")
	} else {
		fmt.Fprintf(t, "Verdict\tbad: %s\n", strings.Join(r.Violations, "; "))
	}
	return t.Flush()
}

func (p *Phase) writeText(t io.Writer) {
	fmt.Fprintf(t, "Published\t%d messages in %.1f s, %.0f a second\n", p.Published, p.PublishSeconds, float64(p.Published)/p.PublishSeconds)
	fmt.Fprintf(t, "Acked\t%d, after %s (99 %%: %s)\n", p.Acked, ms(p.AckLatency.P50), ms(p.AckLatency.P99))
	if len(p.Failed) > 0 {
		fmt.Fprintf(t, "Errors\t%s\n", list(p.Failed))
	}
	if p.Unsent+p.LeftOut > 0 {
		fmt.Fprintf(t, "Not sent\t%d without a connection, %d because this generator could not keep the rate\n", p.Unsent, p.LeftOut)
	}
	fmt.Fprintf(t, "Delivered\t%d of %d, %.0f a second\n", p.Delivered, p.Expected, p.DeliveredPerSecond)
	fmt.Fprintf(t, "Latency\t50 %%: %s, 90 %%: %s, 99 %%: %s, 99.9 %%: %s, longest: %s\n", ms(p.Latency.P50), ms(p.Latency.P90), ms(p.Latency.P99), ms(p.Latency.P999), ms(p.Latency.Max))
	fmt.Fprintf(t, "Longest pause\t%s without a delivery; this generator was at most %s late\n", ms(p.LongestPause), ms(p.MaxSendLag))
}

func (c *CheckResult) writeText(t io.Writer) {
	fmt.Fprintf(t, "Check\t%d deliveries owed, %d came; %d publishes were not confirmed\n", c.Owed, c.Delivered, c.Unconfirmed)
	fmt.Fprintf(t, "Lost\t%d; in flight at a fault: %d; missed while away: %d; declared lost: %d\n", c.Lost, c.InFlight, c.Away, c.Declared)
	fmt.Fprintf(t, "Doubled\t%d; on both connections of a move: %d\n", c.Doubled, c.Overlapped)
	fmt.Fprintf(t, "Reordered\t%d\n", c.Reordered)
	for i, room := range c.Rooms[:min(len(c.Rooms), listedInText)] {
		fmt.Fprintf(t, "%s\t%s: %s\n", label(i, c.TroubledRooms, "room"), room.Room, room.Trouble)
	}
	for i, client := range c.Clients[:min(len(c.Clients), listedInText)] {
		fmt.Fprintf(t, "%s\tnumber %d: %s\n", label(i, c.TroubledUsers, "client"), client.Client, client.Trouble)
	}
}

// label heads a list.
func label(i, n int, what string) string {
	if i > 0 {
		return ""
	}
	return fmt.Sprintf("Worst of %d %ss", n, what)
}

// String lists what is not zero.
func (t Trouble) String() string {
	var parts []string
	for _, part := range []struct {
		n    uint64
		text string
	}{{t.Lost, "lost"}, {t.Doubled, "doubled"}, {t.Reordered, "reordered"}, {t.InFlight, "lost in flight"}, {t.Away, "missed while away"}, {t.Declared, "declared lost"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return strings.Join(parts, ", ")
}

// list writes counts by name or number.
func list[K interface{ ~int | ~string }](counts map[K]uint64) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%v: %d", key, counts[key]))
	}
	return strings.Join(parts, ", ")
}

// ms writes milliseconds as people do.
func ms(x float64) string {
	switch {
	case x >= 10_000:
		return fmt.Sprintf("%.1f s", x/1000)
	case x >= 100:
		return fmt.Sprintf("%.0f ms", x)
	case x >= 1:
		return fmt.Sprintf("%.1f ms", x)
	}
	return fmt.Sprintf("%.2f ms", x)
}
