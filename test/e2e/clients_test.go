//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClientsOnTwoPodsReachEachOther applies the sample as the README says and talks through its Service.
func TestClientsOnTwoPodsReachEachOther(t *testing.T) {
	t.Parallel()
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	f := fleet{newNamespace(ctx, t, "clients"), "chat"}
	kubectl(ctx, t, "-n", f.namespace, "apply", "-f", filepath.Join(root, "config", "samples", "chat.yaml"))
	kubectl(ctx, t, "-n", f.namespace, "wait", "--for=condition=Ready", "wsc/chat", "--timeout="+patience.String())

	row := strings.Fields(kubectl(ctx, t, "-n", f.namespace, "get", "wsc", "chat", "--no-headers"))
	if len(row) < 3 || row[0] != "chat" || row[1] != "True" || row[2] != "3" {
		t.Errorf("kubectl get wsc prints %q, want chat, ready, with 3 replicas", row)
	}

	address := f.url(ctx, t)
	alice, bob := dialApart(ctx, t, address, "alice", "bob")
	pods := names(f.mustPods(ctx, t))
	for _, c := range []*conn{alice, bob} {
		if !strings.Contains(strings.Join(pods, " "), c.node) {
			t.Errorf("%s was welcomed by %s, which is none of the pods %v", c.user, c.node, pods)
		}
		c.join(ctx, "lobby")
	}
	alice.say(ctx, "lobby", "hello from another pod")
	bob.hears(ctx, "lobby", "alice", "hello from another pod")
	bob.say(ctx, "lobby", "and back")
	alice.hears(ctx, "lobby", "bob", "and back")
	alice.tell(ctx, "bob", "only you")
	bob.hears(ctx, "", "alice", "only you")
	bob.tell(ctx, "alice", "only you too")
	alice.hears(ctx, "", "bob", "only you too")

	// Each new connection begins the affinity's time anew; the sample's is 10 s, and a connect takes milliseconds.
	for i, source := range sources[:8] {
		first := dial(ctx, t, address, fmt.Sprint("roamer-", i), source)
		var nodes []string
		for range 5 {
			again := dial(ctx, t, address, fmt.Sprint("roamer-", i), source)
			nodes = append(nodes, again.node)
			_ = again.socket.Close()
		}
		want := []string{first.node, first.node, first.node, first.node, first.node}
		if diff := cmp.Diff(want, nodes); diff != "" {
			t.Errorf("a client at %v was not sent back to its pod; -want +got:\n%s", source, diff)
		}
	}
}
