package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// Where the table stands in the document.
const (
	begin = "<!-- bench:begin: written by make bench, do not edit -->"
	end   = "<!-- bench:end -->"
)

// Markdown returns the table, the growth lines and how they were measured.
func (r *Results) Markdown(machine string, chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of up to %d interleaved rounds, smallest and largest in brackets; %s, %s.\n", r.Rounds, machine, time.Now().UTC().Format("2006-01-02"))
	if chart != "" {
		fmt.Fprintf(&b, "\n![What a delivery costs: bars for each server](%s)\n", chart)
	}
	b.WriteString("\n| work | unit |")
	names := []string{}
	for _, c := range contestant.All() {
		if r.has(c.Name) {
			names = append(names, c.Name)
			fmt.Fprintf(&b, " %s |", c.Title)
		}
	}
	b.WriteString(" goal |\n| --- | --- |" + strings.Repeat(" --- |", len(names)+1) + "\n")
	title := ""
	for _, w := range r.rows {
		if w.title != title {
			title = w.title
			fmt.Fprintf(&b, "| **%s** | |%s |\n", title, strings.Repeat(" |", len(names)))
		}
		fmt.Fprintf(&b, "| %s | %s |", w.metric, w.unit)
		for _, name := range names {
			fmt.Fprintf(&b, " %s |", w.cellText(name))
		}
		fmt.Fprintf(&b, " %s |\n", w.goals())
	}
	if lines := r.growthLines(); len(lines) > 0 {
		b.WriteString("\n")
		for _, line := range lines {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	return b.String()
}

func (w *row) cellText(name string) string {
	c := w.cells[name]
	if c == nil {
		return ""
	}
	low, high := c.spread()
	if len(c.rounds) == 1 || number(low) == number(high) {
		return number(c.median())
	}
	return fmt.Sprintf("%s (%s–%s)", number(c.median()), number(low), number(high))
}

func (r *Results) has(name string) bool {
	for _, w := range r.rows {
		if w.cells[name] != nil {
			return true
		}
	}
	return false
}

// Write puts the table into the document between its markers, and the chart beside it.
func (r *Results) Write(document, machine string) error {
	chart := strings.TrimSuffix(filepath.Base(document), filepath.Ext(document)) + ".svg"
	if err := os.WriteFile(filepath.Join(filepath.Dir(document), chart), []byte(r.SVG()), 0o644); err != nil {
		return err
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q: the table goes between them", document, begin, end)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(begin + "\n")
	b.WriteString(r.Markdown(machine, chart))
	b.WriteString(end)
	b.Write(tail)
	return os.WriteFile(document, b.Bytes(), 0o644)
}
