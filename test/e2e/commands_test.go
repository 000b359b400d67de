//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run runs a program and returns what it printed.
func run(ctx context.Context, input string, program string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Stdin = strings.NewReader(input)
	command.WaitDelay = 5 * time.Second
	var out, diagnostics bytes.Buffer
	command.Stdout, command.Stderr = &out, &diagnostics
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(program), strings.Join(arguments, " "), err, out.String(), diagnostics.String())
	}
	return out.String(), nil
}

func must(ctx context.Context, t *testing.T, input, program string, arguments ...string) string {
	t.Helper()
	out, err := run(ctx, input, program, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kubectl runs it as an administrator.
func kubectl(ctx context.Context, t *testing.T, arguments ...string) string {
	t.Helper()
	return must(ctx, t, "", os.Getenv("KUBECTL"), arguments...)
}

// helm runs it on the release's namespace, with a home of its own, so that nothing of the developer's is read or written.
func helm(ctx context.Context, t *testing.T, arguments ...string) string {
	t.Helper()
	home := t.TempDir()
	// env is a program everywhere, and this keeps the variables away from tests that run side by side.
	return must(ctx, t, "", "env", append([]string{"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
		os.Getenv("HELM"), "--namespace", systemNamespace}, arguments...)...)
}

// cluster runs hack/cluster/cluster.
func cluster(ctx context.Context, t *testing.T, arguments ...string) {
	t.Helper()
	must(ctx, t, "", filepath.Join(root, "hack", "cluster", "cluster"), arguments...)
}
