//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/pkg/bench"
)

// TestAutoscalingByCPU has messages heat a gateway up: the autoscaler raises the replicas of the WebSocketCluster, and lowers
// them when the load is over. How long its timers are is the cluster's business.
func TestAutoscalingByCPU(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	ensureOperator(ctx, t)
	// The load takes some 100 m of CPU, which is far above half of the request.
	f := apply(ctx, t, newNamespace(ctx, t, "hpa"), spec(1, `autoscaling:
    minReplicas: 1
    maxReplicas: 3
    targetCPUUtilizationPercentage: 50
    behavior:
      scaleUp: {stabilizationWindowSeconds: 0}
      scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 100, periodSeconds: 5}]}`))
	f.awaitSettled(ctx, t)
	eventually(ctx, t, "the autoscaler can scale", func() error { return f.condition(ctx, "Autoscaling", "True") })

	g, err := bench.New(bench.Options{URLs: []string{f.url(ctx, t)}, LocalAddresses: sources, Publishers: 20, Subscribers: 60, Rooms: 20, RoomsPerSubscriber: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := g.Publish(ctx, bench.Load{Rate: 300, Duration: 9 * time.Minute})
		done <- err
	}()
	eventually(ctx, t, "the autoscaler raises the replicas, and the pods are there", func() error {
		return f.replicas(ctx, func(wanted, ready int32) bool { return wanted > 1 && ready == wanted })
	})
	autoscaler := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := api.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: f.name + "-gateway"}, autoscaler); err != nil {
		t.Fatal(err)
	}
	if ref := autoscaler.Spec.ScaleTargetRef; ref.Kind != "WebSocketCluster" || ref.Name != f.name {
		t.Errorf("the autoscaler scales %s %s, want the WebSocketCluster", ref.Kind, ref.Name)
	}
	g.EndLoad()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.Close()
	eventually(ctx, t, "the autoscaler lowers the replicas again", func() error {
		return f.replicas(ctx, func(wanted, ready int32) bool { return wanted == 1 && ready == 1 })
	})
}

// TestKubectlScale scales the WebSocketCluster as one scales a Deployment.
func TestKubectlScale(t *testing.T) {
	t.Parallel()
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "scale"), spec(1))
	f.awaitSettled(ctx, t)
	for _, replicas := range []int32{4, 0, 1} {
		kubectl(ctx, t, "-n", f.namespace, "scale", "wsc/chat", fmt.Sprintf("--replicas=%d", replicas))
		eventually(ctx, t, fmt.Sprintf("there are %d gateways", replicas), func() error {
			if pods, err := f.pods(ctx); err != nil || len(pods) != int(replicas) {
				return fmt.Errorf("%d gateway pods exist: %w", len(pods), err)
			}
			return f.replicas(ctx, func(wanted, ready int32) bool { return wanted == replicas && ready == replicas })
		})
	}
}

// replicas returns nil if what is wanted and what is ready satisfy the test.
func (f fleet) replicas(ctx context.Context, enough func(wanted, ready int32) bool) error {
	object, err := f.get(ctx)
	if err != nil {
		return err
	}
	if !enough(*object.Spec.Replicas, object.Status.ReadyReplicas) {
		return fmt.Errorf("%d replicas are wanted, %d are ready", *object.Spec.Replicas, object.Status.ReadyReplicas)
	}
	return nil
}

// condition returns nil if the condition has that status.
func (f fleet) condition(ctx context.Context, kind, status string) error {
	object, err := f.get(ctx)
	if err != nil {
		return err
	}
	for _, c := range object.Status.Conditions {
		if c.Type == kind && string(c.Status) == status {
			return nil
		}
	}
	return fmt.Errorf("the conditions are %+v", object.Status.Conditions)
}
