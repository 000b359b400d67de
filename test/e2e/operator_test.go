//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The release that the tests share.
const (
	systemNamespace = "wscluster-system"
	releaseName     = "wscluster"
	operatorName    = "wscluster-operator"

	// The images of the cluster are tagged with their version. The next one is the same source, built as another release.
	thisVersion = "dev"
	nextVersion = "e2e"
)

var chartPath = filepath.Join(root, "charts", "wscluster")

var installed sync.Once

// ensureSystemNamespace makes the operator's namespace, where the restricted Pod Security Standard is enforced too.
func ensureSystemNamespace(ctx context.Context, t *testing.T) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}
	if err := client.IgnoreAlreadyExists(api.Create(ctx, namespace)); err != nil {
		t.Fatal(err)
	}
	patch := client.MergeFrom(namespace.DeepCopy())
	namespace.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	if err := api.Patch(ctx, namespace, patch); err != nil {
		t.Fatal(err)
	}
}

// ensureOperator installs the chart with its default values, if this run has not done so yet.
func ensureOperator(ctx context.Context, t *testing.T) {
	t.Helper()
	installed.Do(func() {
		ensureSystemNamespace(ctx, t)
		before, err := operatorPods(ctx)
		if err != nil {
			t.Fatal(err)
		}
		install(ctx, t)
		// of an earlier run, perhaps with an image of the same tag and another content
		for i := range before {
			if err := client.IgnoreNotFound(api.Delete(ctx, &before[i])); err != nil {
				t.Fatal(err)
			}
		}
		awaitOperator(ctx, t, "wscluster.dev/operator:"+thisVersion)
	})
}

func install(ctx context.Context, t *testing.T, values ...string) {
	t.Helper()
	helm(ctx, t, append([]string{"upgrade", "--install", releaseName, chartPath, "--wait", "--timeout", patience.String()}, values...)...)
}

// operatorPods returns the operator's pods, also those that are leaving.
func operatorPods(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := api.List(ctx, &list, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/name": operatorName})
	return list.Items, err
}

// awaitOperator waits until all of the operator's pods run the image and are ready.
func awaitOperator(ctx context.Context, t *testing.T, image string) {
	t.Helper()
	eventually(ctx, t, "the operator runs "+image, func() error {
		d := &appsv1.Deployment{}
		if err := api.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: operatorName}, d); err != nil {
			return err
		}
		s := d.Status
		if got := d.Spec.Template.Spec.Containers[0].Image; got != image || s.ObservedGeneration < d.Generation || s.UpdatedReplicas != s.Replicas || s.ReadyReplicas != s.Replicas || s.Replicas == 0 {
			return fmt.Errorf("the Deployment has image %s and status %+v", got, s)
		}
		return nil
	})
}
