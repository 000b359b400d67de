package local

import "testing"

func TestReadable(t *testing.T) {
	for line, want := range map[string]string{
		`time=2026-11-23T13:20:38.000Z level=WARN msg="the link broke" error="connection refused"`: `WARN the link broke error="connection refused"`,
		`time=2026-11-23T13:20:38.000Z level=INFO msg=drained`:                                     `drained`,
		`time=2026-11-23T13:20:38.000Z level=ERROR msg="a \"word\"" n=1`:                           `ERROR a "word" n=1`,
		`panic: runtime error`: `panic: runtime error`,
	} {
		if got := readable(line); got != want {
			t.Errorf("readable(%s)\n got %s\nwant %s", line, got, want)
		}
	}
}
