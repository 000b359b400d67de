//go:build chart

// Package chart tests the Helm chart: what it renders is taken by a real API server, equals config/default, and can be
// installed, upgraded, rolled back and uninstalled. It takes the build tag chart, since it needs helm, kustomize and the
// operator's binary: make test-chart.
package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	release   = "wscluster"
	namespace = "wscluster-system"
)

var (
	root      = filepath.Join("..", "..")
	chartPath = filepath.Join(root, "charts", "wscluster")
	// api is an administrator's client of the API server, without a cache.
	api client.Client
	// admin is how to reach it, and kubeconfig the same for programs.
	admin      *rest.Config
	kubeconfig string
	// operatorBinary is cmd/operator.
	operatorBinary string
)

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (int, error) {
	for _, name := range []string{"HELM", "KUSTOMIZE", "KUBEBUILDER_ASSETS"} {
		if os.Getenv(name) == "" {
			return 0, fmt.Errorf("%s is not set: run make test-chart, which builds the tools and sets it", name)
		}
	}
	environment := &envtest.Environment{}
	var err error
	if admin, err = environment.Start(); err != nil {
		return 0, fmt.Errorf("start kube-apiserver and etcd: %w", err)
	}
	defer func() { _ = environment.Stop() }()
	if api, err = client.New(admin, client.Options{}); err != nil {
		return 0, err
	}
	folder, err := os.MkdirTemp("", "wscluster-chart")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	operatorBinary = filepath.Join(folder, "operator")
	if out, err := exec.Command("go", "build", "-o", operatorBinary, filepath.Join(root, "cmd", "operator")).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build cmd/operator: %w\n%s", err, out)
	}
	kubeconfig = filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// helmCommand is helm with a home of its own, so that nothing of the developer's is read or written.
func helmCommand(ctx context.Context, home string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Getenv("HELM"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return command
}

func helm(t *testing.T, arguments ...string) (stdout string, err error) {
	t.Helper()
	command := helmCommand(t.Context(), t.TempDir(), arguments...)
	var out, diagnostics bytes.Buffer
	command.Stdout, command.Stderr = &out, &diagnostics
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", arguments[0], err, diagnostics.String())
	}
	return out.String(), nil
}

// render returns what the chart makes of the values, given as arguments of helm.
func render(t *testing.T, values ...string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, append([]string{"template", release, chartPath, "--namespace", namespace, "--kube-version", "1.37"}, values...)...)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

func parse(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("the output is no YAML: %v", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// find returns the object of that kind and name, or nil.
func find(objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	return nil
}

// dryRun has the API server check the object strictly and fill in its defaults, without storing it.
func dryRun(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	return api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.DryRunAll, client.ForceOwnership, client.FieldOwner("test"))
}

func createNamespace(t *testing.T, name string) {
	t.Helper()
	err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
}
