//go:build chart

package chart

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A release's life with the real helm on a real API server. Nobody runs pods here, so helm is not asked to wait for them;
// the end-to-end tests do that.
func TestInstallUpgradeRollbackUninstall(t *testing.T) {
	must := func(arguments ...string) string {
		t.Helper()
		out, err := helm(t, append(arguments, "--namespace", namespace)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	operator := client.ObjectKey{Namespace: namespace, Name: "wscluster-operator"}
	replicas := func() int32 {
		t.Helper()
		deployment := &appsv1.Deployment{}
		if err := api.Get(t.Context(), operator, deployment); err != nil {
			t.Fatal(err)
		}
		return *deployment.Spec.Replicas
	}

	createNamespace(t, namespace)
	t.Cleanup(func() { removeRelease(t) })
	notes := must("install", release, chartPath)
	for _, want := range []string{"rollout status deployment/wscluster-operator", "helm -n wscluster-system test wscluster", "kind: WebSocketCluster"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	if got := replicas(); got != 1 {
		t.Errorf("after install the operator has %d replicas, want 1", got)
	}

	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(schema.GroupVersionKind{Group: "wscluster.dev", Version: "v1alpha1", Kind: "WebSocketCluster"})
	cluster.SetNamespace("default")
	cluster.SetName("chat")
	if err := unstructured.SetNestedMap(cluster.Object, map[string]any{}, "spec"); err != nil {
		t.Fatal(err)
	}
	// The API server takes a moment to serve a new CRD, and helm was not asked to wait.
	var refused error
	served := func(ctx context.Context) (bool, error) {
		refused = api.Create(ctx, cluster)
		return !meta.IsNoMatchError(refused) && !apierrors.IsNotFound(refused), nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, served); err != nil || refused != nil {
		t.Fatalf("create a WebSocketCluster with an empty spec after install: %v", errors.Join(err, refused))
	}
	if got, _, _ := unstructured.NestedInt64(cluster.Object, "spec", "replicas"); got != 2 {
		t.Errorf("the installed CRD gives an empty spec %d replicas, want the default 2", got)
	}

	must("upgrade", release, chartPath, "--set", "replicas=2")
	if got := replicas(); got != 2 {
		t.Errorf("after upgrade the operator has %d replicas, want 2", got)
	}
	must("rollback", release, "1")
	if got := replicas(); got != 1 {
		t.Errorf("after rollback the operator has %d replicas, want 1", got)
	}

	must("uninstall", release)
	if err := api.Get(t.Context(), operator, &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("after uninstall the Deployment is still there: %v", err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
		t.Errorf("after uninstall the WebSocketCluster must still be there, since crds.keep is true: %v", err)
	}
	// The same release can come back and takes over the CRD that it left.
	must("install", release, chartPath)
}

// removeRelease removes a release if it is there, and the CRD that it leaves on purpose.
func removeRelease(t *testing.T) {
	// t.Context() itself has ended when this runs.
	ctx := context.WithoutCancel(t.Context())
	command := helmCommand(ctx, t.TempDir(), "uninstall", release, "--namespace", namespace, "--ignore-not-found")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("helm uninstall: %v\n%s", err, out)
	}
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	crd.SetName("websocketclusters.wscluster.dev")
	if err := client.IgnoreNotFound(api.Delete(ctx, crd)); err != nil {
		t.Error(err)
	}
	gone := func(ctx context.Context) (bool, error) {
		return apierrors.IsNotFound(api.Get(ctx, client.ObjectKeyFromObject(crd), crd)), nil
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, gone); err != nil {
		t.Errorf("the CRD does not go away: %v", err)
	}
}
