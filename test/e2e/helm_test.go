//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestHelmRelease takes a release through its life, with clients on a cluster that it looks after all the while.
func TestHelmRelease(t *testing.T) {
	ctx := within(t, 15*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "helm"), spec(2))
	f.awaitSettled(ctx, t)
	if out := helm(ctx, t, "test", releaseName, "--timeout", patience.String()); !strings.Contains(out, "Succeeded") {
		t.Errorf("helm test printed:\n%s", out)
	}
	wantImage := func(version string) {
		t.Helper()
		awaitOperator(ctx, t, "wscluster.dev/operator:"+version)
		image := "wscluster.dev/gateway:" + version
		eventually(ctx, t, "the gateways run "+image, func() error { return everyPodRuns(f.mustPods(ctx, t), image) })
		f.awaitSettled(ctx, t)
	}
	wantImage(thisVersion)

	// An upgrade to the next release rolls the gateways; whoever names no image gets the release's.
	l := startLoad(ctx, t, f, 60, true)
	install(ctx, t, "--set", "images.operator.tag="+nextVersion, "--set", "images.gateway.tag="+nextVersion)
	wantImage(nextVersion)
	helm(ctx, t, "rollback", releaseName, "--wait", "--timeout", patience.String())
	wantImage(thisVersion)
	wantNobodyHurt(t, l.finish(ctx, t))

	// Without the operator clients stay and messages flow; the CRD and its objects are kept.
	before := names(f.mustPods(ctx, t))
	l = startLoad(ctx, t, f, 60, true)
	helm(ctx, t, "uninstall", releaseName, "--wait", "--timeout", patience.String())
	eventually(ctx, t, "the operator is gone", func() error {
		pods, err := operatorPods(ctx)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("its pods are %v", names(pods))
		}
		return err
	})
	if _, err := f.get(ctx); err != nil {
		t.Errorf("the WebSocketCluster did not survive helm uninstall: %v", err)
	}
	l.awaitDeliveries(ctx, t)

	// The next install takes over what it finds: no pod is replaced, and changes have an effect again.
	install(ctx, t)
	f.awaitSettled(ctx, t)
	if after := names(f.mustPods(ctx, t)); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the pods were %v and are %v; a new install must not replace them", before, after)
	}
	f.patch(ctx, t, `{"replicas":3}`)
	f.awaitSettled(ctx, t)
	wantNobodyHurt(t, l.finish(ctx, t))
}

// everyPodRuns returns nil if all pods have that image.
func everyPodRuns(pods []corev1.Pod, image string) error {
	for i := range pods {
		if got := pods[i].Spec.Containers[0].Image; got != image {
			return fmt.Errorf("pod %s has image %s", pods[i].Name, got)
		}
	}
	if len(pods) == 0 {
		return fmt.Errorf("there is no pod")
	}
	return nil
}
