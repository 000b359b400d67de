//go:build chart

package chart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The operator's own binary runs beside the API server with the arguments, the environment and the ServiceAccount that the
// chart gives it; then the pod of `helm test` runs the same way. So the chart's rights are enough, and the test can fail.
func TestTheOperatorWorksWithTheRightsOfTheChart(t *testing.T) {
	for name, c := range map[string]struct {
		values          []string
		withoutOperator bool // first see that the check can fail
	}{
		"all namespaces":  {withoutOperator: true},
		"two namespaces":  {values: []string{"--set", "watchNamespaces={team-a,team-b}"}},
		"without metrics": {values: []string{"--set", "metrics.enabled=false"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ns := range []string{namespace, "team-a", "team-b"} {
				createNamespace(t, ns)
			}
			t.Cleanup(func() { removeRelease(t) })
			if _, err := helm(t, append([]string{"install", release, chartPath, "--namespace", namespace}, c.values...)...); err != nil {
				t.Fatal(err)
			}
			hooks := render(t, append([]string{"--show-only", "templates/tests/check.yaml"}, c.values...)...)
			pod := find(hooks, "Pod", "wscluster-operator-check")
			for _, object := range hooks {
				if object == pod {
					continue // nobody would run it; its process is started below
				}
				if err := api.Create(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = api.Delete(context.WithoutCancel(t.Context()), object) })
			}
			checkArguments := argumentsOf(firstOf(t, pod, "spec", "containers"))

			if c.withoutOperator {
				out, err := start(t, "wscluster-operator-check", append(checkArguments, "--timeout=10s")...).wait()
				if err == nil || !strings.Contains(out, "no operator looked after the WebSocketCluster") {
					t.Errorf("without an operator the check must fail and say so, got %v:\n%s", err, out)
				}
			}

			container := operatorContainer(t, render(t, c.values...))
			arguments := []string{"--leader-election-namespace=" + namespace} // a pod would find its own
			for _, a := range argumentsOf(container) {
				if flag, _, isAddress := strings.Cut(a, "-bind-address="); isAddress && !strings.HasSuffix(a, "=0") {
					a = flag + "-bind-address=127.0.0.1:0"
				}
				arguments = append(arguments, a)
			}
			operator := start(t, "wscluster-operator", arguments...)
			out, err := start(t, "wscluster-operator-check", append(checkArguments, "--timeout=30s")...).wait()
			if err != nil {
				t.Errorf("the check of helm test fails: %v\n%s", err, out)
			}
			if want := "ok: the operator looked after a WebSocketCluster"; !strings.Contains(out, want) {
				t.Errorf("the check printed no %q:\n%s", want, out)
			}
			if err := operator.process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			log, err := operator.wait()
			if err != nil {
				t.Errorf("the operator must end well after SIGTERM: %v\n%s", err, log)
			}
			if strings.Contains(log, "forbidden") {
				t.Errorf("the operator was refused something:\n%s", log)
			}
		})
	}
}

type process struct {
	process *exec.Cmd
	output  *bytes.Buffer
}

// start runs cmd/operator as a ServiceAccount of the release.
func start(t *testing.T, serviceAccount string, arguments ...string) process {
	t.Helper()
	p := process{exec.CommandContext(t.Context(), operatorBinary, arguments...), &bytes.Buffer{}}
	p.process.Env = append(os.Environ(), "KUBECONFIG="+kubeconfigOf(t, serviceAccount))
	p.process.Stdout, p.process.Stderr = p.output, p.output
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// wait returns what the process printed. An exit status other than 0 is the error.
func (p process) wait() (string, error) {
	p.process.WaitDelay = 10 * time.Second
	err := p.process.Wait()
	return p.output.String(), err
}

// kubeconfigOf makes a kubeconfig with a token of the ServiceAccount, as the kubelet would mount it into a pod.
func kubeconfigOf(t *testing.T, serviceAccount string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}}
	token := &authenticationv1.TokenRequest{}
	if err := api.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatalf("get a token of the ServiceAccount %s: %v", serviceAccount, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
