package local

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// report prints one line for each thing that happens. It is safe for concurrent use.
type report struct {
	mu   sync.Mutex
	out  io.Writer
	now  func() time.Time
	said map[string]time.Time // lines of childOnce
}

// event prints a line with the time before it.
func (r *report) event(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "%s  %s\n", r.now().Format("15:04:05"), text)
}

// text prints lines as they are.
func (r *report) text(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(r.out, text)
}

// child prints a line of a child's log under its name.
func (r *report) child(name, line string) { r.event("%s | %s", name, readable(line)) }

// onceFor is how long childOnce stays silent about what it has said.
const onceFor = 10 * time.Second

// childOnce is child, but what several children say at the same time it prints once.
func (r *report) childOnce(name, line string) {
	text, now := readable(line), r.now()
	r.mu.Lock()
	if r.said == nil {
		r.said = map[string]time.Time{}
	}
	repeated := now.Sub(r.said[text]) < onceFor
	if !repeated {
		r.said[text] = now
	}
	for old, at := range r.said {
		if now.Sub(at) >= onceFor {
			delete(r.said, old)
		}
	}
	r.mu.Unlock()
	if !repeated {
		r.event("%s | %s", name, text)
	}
}

var logLine = regexp.MustCompile(`^time=\S+ level=(\S+) msg=(.*)$`)

// readable takes the time off a line of slog's text format, which the event has already, and the quotes off its message.
func readable(line string) string {
	found := logLine.FindStringSubmatch(line)
	if found == nil {
		return line
	}
	level, message, rest := found[1], found[2], ""
	if quoted, err := strconv.QuotedPrefix(message); err == nil {
		rest = message[len(quoted):]
		message, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
	}
	if level == "INFO" {
		level = ""
	}
	return strings.TrimSpace(level + " " + message + rest)
}
