//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The nodes: the one that dies, and the one that stays and has the control plane.
const (
	mortal = "node-2"
	steady = "node-1"
)

// TestANodeDies cuts the power of one of two nodes with clients on both, brings it back, and drains it.
func TestANodeDies(t *testing.T) {
	ctx := within(t, 15*time.Minute)
	ensureOperator(ctx, t)
	t.Cleanup(func() { mend(t) })

	// What the test needs afterwards is put on the node that stays: the operator, and Redis, whose own death is another test.
	kubectl(ctx, t, "cordon", mortal)
	moveOperator(ctx, t)
	// Pods of a dead node are given up at once, not after the five minutes that Kubernetes adds by default.
	impatient := quick + `
    podTemplate:
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 0}`
	f := apply(ctx, t, newNamespace(ctx, t, "node"), strings.Replace(spec(0), quick, impatient, 1))
	eventually(ctx, t, "Redis is ready", func() error { return f.condition(ctx, "RedisReady", "True") })
	kubectl(ctx, t, "uncordon", mortal)
	awaitUntainted(ctx, t, mortal)
	f.patch(ctx, t, `{"replicas":4}`)
	f.awaitSettled(ctx, t)
	wantSpread(t, f.mustPods(ctx, t))

	l := startLoad(ctx, t, f, 120, true)
	cluster(ctx, t, "kill-node", "2")
	eventually(ctx, t, "the gateways of the dead node are replaced", func() error {
		ready, err := f.readyOn(ctx, steady)
		if err == nil && ready != 4 {
			err = fmt.Errorf("%d of 4 are ready on %s", ready, steady)
		}
		return err
	})
	r := l.finish(ctx, t)
	if r.Recovery.Count < 20 {
		t.Errorf("%d of 120 clients lost their connection and came back; with half of the pods gone they should be many", r.Recovery.Count)
	}

	cluster(ctx, t, "up")
	awaitUntainted(ctx, t, mortal)
	eventually(ctx, t, mortal+" has given up its old pods", func() error { return f.settled(ctx) })
	// New pods spread over both again.
	f.patch(ctx, t, `{"gateway":{"heartbeatSeconds":6}}`)
	f.awaitSettled(ctx, t)
	wantSpread(t, f.mustPods(ctx, t))

	l = startLoad(ctx, t, f, 120, true)
	watch := f.watchReady(ctx)
	kubectl(ctx, t, "drain", mortal, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout="+(2*patience).String())
	f.awaitSettled(ctx, t)
	if fewest := watch(); fewest != 3 {
		t.Errorf("while the node was drained the fewest gateways ready at a time were %d of 4; the disruption budget allows for one less", fewest)
	}
	if ready, err := f.readyOn(ctx, steady); err != nil || ready != 4 {
		t.Errorf("after the drain %d of 4 gateways are on %s: %v", ready, steady, err)
	}
	wantNobodyHurt(t, l.finish(ctx, t))
}

// awaitUntainted waits until the node takes pods again, which is a moment after it is ready or uncordoned.
func awaitUntainted(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	eventually(ctx, t, name+" takes pods", func() error {
		node := &corev1.Node{}
		if err := api.Get(ctx, client.ObjectKey{Name: name}, node); err != nil {
			return err
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("it has the taints %+v", node.Spec.Taints)
		}
		return nil
	})
}

// moveOperator has it run on the steady node.
func moveOperator(ctx context.Context, t *testing.T) {
	t.Helper()
	eventually(ctx, t, "the operator runs on "+steady, func() error {
		pods, err := operatorPods(ctx)
		if err != nil {
			return err
		}
		err = fmt.Errorf("there is no pod")
		for i := range pods {
			switch pod := &pods[i]; {
			case pod.Spec.NodeName == mortal && pod.DeletionTimestamp.IsZero():
				return fmt.Errorf("%s is on %s, and is deleted: %w", pod.Name, mortal, client.IgnoreNotFound(api.Delete(ctx, pod)))
			case pod.Spec.NodeName == steady && ready(pod):
				err = nil
			}
		}
		return err
	})
}

// mend leaves the cluster as other tests expect it.
func mend(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cluster(ctx, t, "up")
	kubectl(ctx, t, "uncordon", mortal)
}

// wantSpread fails unless the pods are on both nodes in equal numbers.
func wantSpread(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	on := map[string]int{}
	for i := range pods {
		on[pods[i].Spec.NodeName]++
	}
	if on[steady] != on[mortal] {
		t.Errorf("gateways by node: %v; want them spread evenly", on)
	}
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp.IsZero()
		}
	}
	return false
}

// readyOn counts gateways that are ready and not leaving; node "" means any.
func (f fleet) readyOn(ctx context.Context, node string) (int, error) {
	pods, err := f.pods(ctx)
	n := 0
	for i := range pods {
		if ready(&pods[i]) && (node == "" || pods[i].Spec.NodeName == node) {
			n++
		}
	}
	return n, err
}

// watchReady looks all the time how many gateways are ready; the function it returns ends that and tells the fewest.
func (f fleet) watchReady(ctx context.Context) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	fewest := make(chan int, 1)
	go func() {
		low := 1 << 30
		for ctx.Err() == nil {
			if n, err := f.readyOn(ctx, ""); err == nil {
				low = min(low, n)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		fewest <- low
	}()
	return func() int {
		cancel()
		return <-fewest
	}
}
