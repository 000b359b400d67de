package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page for users is written by hand; this holds it to the options as they are.
func TestThePageForUsersHasEveryOption(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `--") && len(cells) >= 4 {
			flag, _, _ := strings.Cut(strings.TrimPrefix(cells[0], "| `--"), "`")
			rows[flag] = cells
		}
	}
	standard := Default()
	for _, o := range options {
		cells, found := rows[o.flag]
		if !found {
			t.Errorf("docs/configuration.md has no row for --%s", o.flag)
			continue
		}
		delete(rows, o.flag)
		for _, part := range []struct{ what, cell, want string }{
			{"variable", cells[0], "`" + o.environment() + "`"},
			{"key", cells[1], "`" + o.key + "`"},
			{"key in the resource's shape", cells[1], "`" + o.path + "`"},
		} {
			if !strings.Contains(part.cell, part.want) {
				t.Errorf("the row of --%s lacks its %s %s", o.flag, part.what, part.want)
			}
		}
		value := o.bind(&standard).String()
		if value != "" && cells[2] != "`"+value+"`" {
			t.Errorf("the row of --%s says the default is %s, but it is %s", o.flag, cells[2], value)
		}
		if value == "" && strings.Contains(cells[2], "`") {
			t.Errorf("the row of --%s says the default is %s, but there is none", o.flag, cells[2])
		}
	}
	for flag := range rows {
		t.Errorf("docs/configuration.md has a row for --%s, which is no flag", flag)
	}
	for _, name := range []string{"--config", "--check", "--version", "`rooms`", "`inbox`", "`directMessages`"} {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/configuration.md does not mention %s", name)
		}
	}
	for _, o := range options {
		if o.reloads && !strings.HasPrefix(o.path, "limits.") && !strings.Contains(string(page), "- `"+o.path+"`\n") {
			t.Errorf("docs/configuration.md does not say that %s takes effect while the gateway runs", o.path)
		}
	}
}

// The example of the page must work.
func TestTheExampleOfThePageIsValid(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```yaml\n")
	if !found {
		t.Fatal("the page has no example")
	}
	example, _, _ := strings.Cut(rest, "```")
	s, err := Parse("docs/configuration.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Rooms) != 2 || s.Inbox == nil || s.DirectMessages.Publish != AccessAuthenticated {
		t.Errorf("the example says less than it shows: %+v", s)
	}
}
