package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// The tests of this file run the operator as a process of its own, logged in as the ServiceAccount of config/default with
// exactly its rights, against a real kube-apiserver.

// asOperator in the environment makes the test binary be the operator.
const asOperator = "WSCLUSTER_TEST_AS_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		os.Exit(run(os.Args[1:], os.Environ()))
	}
	os.Exit(m.Run())
}

// cluster is an API server with config/default applied.
type cluster struct {
	t              *testing.T
	assets, server string
	admin          string
	operator       string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set, so there is no kube-apiserver to test against: make test builds it (about 7 minutes once) and sets the variable")
	}
	environment := &envtest.Environment{}
	t.Cleanup(func() { _ = environment.Stop() })
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start kube-apiserver and etcd from %s: %v", assets, err)
	}
	user, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, config)
	if err != nil {
		t.Fatal(err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, assets: assets, server: config.Host, admin: filepath.Join(t.TempDir(), "admin")}
	writeFile(t, c.admin, string(text))
	c.kubectl("apply", "--server-side", "--kustomize", "../../config/default")
	c.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/websocketclusters.wscluster.dev")
	c.operator = c.kubeconfigOf("wscluster-operator", config.CAData)
	return c
}

// kubeconfigOf logs in as a ServiceAccount of the operator's namespace.
func (c *cluster) kubeconfigOf(account string, ca []byte) string {
	c.t.Helper()
	folder := c.t.TempDir()
	caFile, path := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "kubeconfig")
	writeFile(c.t, caFile, string(ca))
	writeFile(c.t, path, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %s}}]
users: [{name: test, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, strings.TrimPrefix(c.server, "https://"), caFile, c.token(account)))
	return path
}

func (c *cluster) token(account string) string {
	c.t.Helper()
	return c.kubectl("create", "token", account, "--namespace", "wscluster-system")
}

// kubectl runs the real kubectl as administrator.
func (c *cluster) kubectl(arguments ...string) string {
	c.t.Helper()
	output, err := c.tryKubectl(arguments...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

func (c *cluster) tryKubectl(arguments ...string) (string, error) {
	command := exec.Command(filepath.Join(c.assets, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.admin, "HOME="+filepath.Dir(c.admin))
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// process is a running operator.
type process struct {
	command         *exec.Cmd
	output          *bytes.Buffer
	health, metrics string
}

func (c *cluster) startOperator(arguments ...string) *process {
	c.t.Helper()
	p := &process{output: &bytes.Buffer{}, health: freeAddress(c.t), metrics: freeAddress(c.t)}
	p.command = exec.Command(os.Args[0], append([]string{
		"--leader-election-namespace=wscluster-system", "--health-probe-bind-address=" + p.health, "--metrics-bind-address=" + p.metrics,
	}, arguments...)...)
	p.command.Env = append(os.Environ(), asOperator+"=1", "KUBECONFIG="+c.operator)
	p.command.Stderr = p.output
	if err := p.command.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
		if c.t.Failed() {
			c.t.Logf("the operator said:\n%s", p.output)
		}
	})
	return p
}

// end sends SIGTERM and expects a clean end.
func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.command.Process.Signal(syscall.SIGTERM)
	if err := p.command.Wait(); err != nil {
		t.Errorf("after SIGTERM the operator ends with %v, want status 0", err)
	}
}

func TestTheOperatorRunsWithTheRightsOfConfigDefault(t *testing.T) {
	c := startCluster(t)
	first := c.startOperator()
	waitFor(t, "/readyz answers", func() error { return get(t, "http://"+first.health+"/readyz", "", http.StatusOK) })
	waitFor(t, "/healthz answers", func() error { return get(t, "http://"+first.health+"/healthz", "", http.StatusOK) })

	c.kubectl("apply", "--filename", "../../config/samples/chat.yaml", "--namespace", "default")
	c.waitObject("deployment/chat-gateway", "default")
	c.waitObject("poddisruptionbudget/chat-gateway", "default")

	t.Run("metrics are for those who may", func(t *testing.T) {
		url := "https://" + first.metrics + "/metrics"
		waitFor(t, "without a token: 401", func() error { return get(t, url, "", http.StatusUnauthorized) })
		waitFor(t, "without the right: 403", func() error { return get(t, url, c.token("wscluster-operator"), http.StatusForbidden) })
		c.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=wscluster-operator-metrics-reader", "--serviceaccount=wscluster-system:prometheus")
		c.kubectl("create", "serviceaccount", "prometheus", "--namespace", "wscluster-system")
		waitFor(t, "with it: 200", func() error { return get(t, url, c.token("prometheus"), http.StatusOK) })
	})

	t.Run("a second operator takes over when the first one ends", func(t *testing.T) {
		second := c.startOperator()
		waitFor(t, "/readyz answers while it waits", func() error { return get(t, "http://"+second.health+"/readyz", "", http.StatusOK) })
		holder := func() string {
			return c.kubectl("get", "lease", leaderElectionID, "--namespace", "wscluster-system", "--output", "jsonpath={.spec.holderIdentity}")
		}
		before := holder()
		first.end(t)
		waitFor(t, "the lease has another holder", func() error {
			if now := holder(); now == before || now == "" {
				return fmt.Errorf("the holder is %q", now)
			}
			return nil
		})
		c.kubectl("create", "namespace", "later")
		c.kubectl("apply", "--filename", "../../config/samples/minimal.yaml", "--namespace", "later")
		c.waitObject("deployment/chat-gateway", "later")
		second.end(t)
	})
}

func TestOnlyTheNamedNamespacesAreWatched(t *testing.T) {
	c := startCluster(t)
	for _, namespace := range []string{"one", "two", "three"} {
		c.kubectl("create", "namespace", namespace)
		c.kubectl("apply", "--filename", "../../config/samples/minimal.yaml", "--namespace", namespace)
	}
	p := c.startOperator("--watch-namespaces=one,three", "--log-format=text")
	c.waitObject("deployment/chat-gateway", "one")
	c.waitObject("deployment/chat-gateway", "three")
	// what the operator would do in "two" it would have done before the last object of "three", which it saw later
	c.waitObject("poddisruptionbudget/chat-gateway", "three")
	if output, err := c.tryKubectl("get", "deployment/chat-gateway", "--namespace", "two"); err == nil {
		t.Errorf("the operator works in a namespace that it was not told to watch:\n%s", output)
	}
	p.end(t)
}

func TestABadFlagEndsWithStatus2AndOneLine(t *testing.T) {
	command := exec.Command(os.Args[0], "--log-level=loud")
	command.Env = append(os.Environ(), asOperator+"=1")
	output, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != exitUsage || strings.Count(string(output), "\n") != 1 {
		t.Errorf("ends with %v and says\n%s\nwant status %d and one line", err, output, exitUsage)
	}
}

func TestVersionIsPrinted(t *testing.T) {
	command := exec.Command(os.Args[0], "--version")
	command.Env = append(os.Environ(), asOperator+"=1")
	if output, err := command.Output(); err != nil || strings.TrimSpace(string(output)) != "dev" {
		t.Errorf("--version prints %q, %v", output, err)
	}
}

func (c *cluster) waitObject(object, namespace string) {
	c.t.Helper()
	waitFor(c.t, object+" is in namespace "+namespace, func() error {
		output, err := c.tryKubectl("get", object, "--namespace", namespace)
		if err != nil {
			return fmt.Errorf("%s", output)
		}
		return nil
	})
}

// get expects a status; the operator's own certificate is self-signed.
func get(t *testing.T, url, token string, want int) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("%s answers %d %s, want %d", url, response.StatusCode, body, want)
	}
	return nil
}

// waitFor calls check until it is satisfied, for at most 30 s: a lease takes up to 15 s to change hands when nobody gave it back.
func waitFor(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
