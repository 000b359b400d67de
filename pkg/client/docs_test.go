package client_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// TestTheModuleForPagesKeepsItsPromises runs the module of docs/clients.md in Node: while it publishes, its gateway is away for a
// moment, and later asks its clients to connect anew; every message comes once, in order.
func TestTheModuleForPagesKeepsItsPromises(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs (20 or later) to test the module of docs/clients.md")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```js\n// cluster.js\n")
	module, _, end := strings.Cut(rest, "\n```\n")
	if !found || !end {
		t.Fatal("docs/clients.md has no module cluster.js")
	}
	folder := t.TempDir()
	const program = `import { Cluster } from "./cluster.mjs";
// Node 20 tells of a failed handshake by an error only; browsers, and Node 22, by a close too.
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("error", () => setTimeout(() => this.onclose?.({ code: 1006 })));
  }
};
const got = [], gaps = [];
const url = new URL(process.argv[2]);
const cluster = new Cluster(url.href, (event) => (event.type === "message" ? got.push(event.data) : gaps.push(event)));
cluster.join("kept:1");
for (let i = 1; i <= 300; i++) {
  await cluster.publish({ room_id: "kept:1" }, i);
  if (i % 100 === 0) console.log("published " + i);
}
const end = Date.now() + 30000;
while (got.length < 300 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
console.log(JSON.stringify({ got, gaps }));
process.exit(0);
`
	for name, content := range map[string]string{"cluster.mjs": module, "main.mjs": program} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := redistest.Start(t)
	one := startNode(t, server, named(1), nil)
	watcher, _ := connect(t, client.Options{URLs: []string{"ws://" + one.Addr().String() + "/ws"}, UserID: "bob"})
	_, at := join(t, watcher, "kept:1", client.RoomOptions{})
	command := exec.CommandContext(t.Context(), node, "--experimental-websocket", "--no-warnings", filepath.Join(folder, "main.mjs"), one.url()+"?user_id=alice")
	var out output
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hundred messages are published", func() bool { return strings.Contains(out.String(), "published 100\n") })
	one.clients.Refuse()
	time.Sleep(300 * time.Millisecond) // a while without any gateway
	one.clients.Restore()
	eventually(t, "two hundred messages are published", func() bool { return strings.Contains(out.String(), "published 200\n") })
	shed(t, one)
	if err := command.Wait(); err != nil {
		t.Fatalf("node: %v\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var result struct {
		Got  []int
		Gaps []any
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	for i, number := range result.Got {
		if number != i+1 {
			t.Fatalf("the page got %v, want 1 to 300 in order", result.Got)
		}
	}
	if len(result.Got) != 300 || len(result.Gaps) != 0 {
		t.Errorf("the page got %d messages and %v, want 300 and nothing else", len(result.Got), result.Gaps)
	}
	at.wantEach(t, "who stayed", 300)
}
