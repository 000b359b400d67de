package gateway

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheSessionInTheDocumentation types what docs/protocol.md types, and must get what it says. Values that differ from time
// to time are compared by being there.
func TestTheSessionInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^([<>]) (\{.*\})$`).FindAllStringSubmatch(string(page), -1)
	if len(lines) < 10 {
		t.Fatalf("docs/protocol.md has a session of only %d lines", len(lines))
	}
	volatile := regexp.MustCompile(`"(connection_id|message_id)":"[^"]*"|"(server_time|ts)":\d+`)
	n := start(t, "memory://", nil)
	c := n.dial(t, "alice")
	for i, line := range lines {
		direction, frame := line[1], line[2]
		want := volatile.ReplaceAllStringFunc(frame, func(field string) string {
			name, _, _ := strings.Cut(field, ":")
			return name + `:"` + anything + `"`
		})
		switch {
		case i == 0:
			if diff := difference(t, want, c.welcome); diff != "" {
				t.Errorf("the welcome differs from the documentation's (-want +got):\n%s", diff)
			}
		case direction == ">":
			c.send(frame)
		default:
			c.want(want)
		}
	}
	c.nothing()
}
