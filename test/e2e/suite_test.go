//go:build e2e

// Package e2e tests the whole product on a real Kubernetes: the operator installed by its chart, gateways and Redis as pods,
// clients that come through Services. It takes the build tag e2e and runs inside the network of the cluster that hack/cluster
// builds, since clients need source addresses of their own: make e2e.
//
// Every test has namespaces of its own, with the restricted Pod Security Standard enforced, and a deadline. When it fails, what
// is needed to understand why is put into a folder that the output names. Tests that harm what others use (the operator, the API
// server, a node) run one at a time before the others; those run side by side.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

var (
	artifacts = flag.String("artifacts", "", "folder for what is collected when a test fails; default: a new one in the system's folder for temporary files")
	keep      = flag.Bool("keep", false, "keep the namespaces of tests that failed")

	root = filepath.Join("..", "..")
	// api is an administrator's client, without a cache; typed is the same for logs, evictions and reviews.
	api   client.Client
	typed kubernetes.Interface
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	// Ctrl-C, too, must remove what the tests made: the default would leave it.
	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	unwatch := context.AfterFunc(signals, func() {
		removeNamespaces()
		os.Exit(130)
	})
	code := m.Run()
	unwatch() // or stop would pass for a signal
	stop()
	if err := wantNoRefusals(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// wantNoRefusals looks at what the operator was allowed, after all tests.
func wantNoRefusals() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := refusals(ctx)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("the API server refused the operator something:\n%s", strings.Join(found, "\n"))
	}
	return err
}

func prepare() error {
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	for _, name := range []string{"KUBECONFIG", "HELM", "KUBECTL"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set: run make e2e, which brings the cluster up and sets it", name)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, -1 // many tests share it
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if typed, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if *artifacts == "" {
		if *artifacts, err = os.MkdirTemp("", "wscluster-e2e-"); err != nil {
			return err
		}
		_ = os.Remove(*artifacts) // made again when there is something to keep
	}
	return addSources()
}

// sources are the addresses that clients connect from: session affinity sends each to one pod. scouts are more of them, to find
// out where a Service leads without tying a source to a pod.
var sources, scouts []net.IP

// addSources gives node 1's switch more addresses, so that this process looks like many machines.
func addSources() error {
	for last := 64; last < 240; last++ {
		ip := net.IPv4(198, 18, 255, byte(last))
		if out, err := exec.Command("ip", "address", "replace", ip.String()+"/32", "dev", "switch0").CombinedOutput(); err != nil {
			return fmt.Errorf("give the node's switch another address: %w: %s; the tests must run inside the cluster's network: make e2e", err, strings.TrimSpace(string(out)))
		}
		if last < 96 {
			sources = append(sources, ip)
		} else {
			scouts = append(scouts, ip)
		}
	}
	return nil
}

// patience bounds every single wait. It is generous: the machine may be busy, and who waits for an event waits no longer than needed.
const patience = 3 * time.Minute

// within gives the test a deadline. The machine's load decides how long things take, so it is there to end what hangs, not to
// measure.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the test's deadline of %v is over", limit))
	t.Cleanup(cancel)
	return ctx
}

// eventually calls check until it returns nil. What it returned last is why the test fails.
func eventually(ctx context.Context, t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %v", patience))
	defer cancel()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v, and still: %v", what, context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}
