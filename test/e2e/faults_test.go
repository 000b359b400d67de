//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/pkg/bench"
)

// TestPodsThatGo takes pods away under clients that talk. A gateway that leaves in order costs nobody anything; with Redis goes
// what it held in memory, and clients are told.
func TestPodsThatGo(t *testing.T) {
	t.Parallel()
	ctx := within(t, 12*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "pods"), spec(3))
	f.awaitSettled(ctx, t)
	redis := func(t *testing.T) {
		t.Helper()
		pods, err := f.component(ctx, "redis")
		if err != nil || len(pods) != 1 {
			t.Fatalf("there are %d Redis pods, want 1: %v", len(pods), err)
		}
		deletePod(ctx, t, &pods[0])
	}
	for _, c := range []struct {
		name    string
		history history
		fault   func(t *testing.T)
		check   func(t *testing.T, r *bench.Report)
	}{
		{"fewer replicas", true, func(t *testing.T) {
			t.Helper()
			f.patch(ctx, t, `{"replicas":2}`)
		}, wantNobodyHurt},
		{"a gateway pod is deleted", false, func(t *testing.T) {
			t.Helper()
			deletePod(ctx, t, &f.mustPods(ctx, t)[0])
		}, wantNobodyHurt},
		{"the Redis pod is deleted, rooms without history", false, redis, wantNobodyThrownOut},
		{"the Redis pod is deleted, rooms with history", true, redis, wantNobodyThrownOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startLoad(ctx, t, f, 90, c.history)
			c.fault(t)
			f.awaitSettled(ctx, t)
			c.check(t, l.finish(ctx, t))
		})
	}
}

// TestTheOperatorIsKilledDuringARollout has another one finish what it began.
func TestTheOperatorIsKilledDuringARollout(t *testing.T) {
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "operator"), spec(3))
	f.awaitSettled(ctx, t)
	before := names(f.mustPods(ctx, t))
	l := startLoad(ctx, t, f, 60, true)
	f.patch(ctx, t, `{"gateway":{"heartbeatSeconds":6}}`)
	eventually(ctx, t, "the rollout has begun", func() error {
		if pods := names(f.mustPods(ctx, t)); fmt.Sprint(pods) == fmt.Sprint(before) {
			return fmt.Errorf("the pods are still %v", pods)
		}
		return nil
	})
	pods, err := operatorPods(ctx)
	if err != nil || len(pods) != 1 {
		t.Fatalf("there are %d operator pods, want 1: %v", len(pods), err)
	}
	// without a moment to say good-bye: the lease of the old one has to run out
	if err := api.Delete(ctx, &pods[0], client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	// changed again while nobody looks after it
	f.patch(ctx, t, `{"replicas":2}`)
	f.awaitSettled(ctx, t)
	wantNobodyHurt(t, l.finish(ctx, t))
}

// TestTheAPIServerIsRestarted touches no client, and the operator works on when it is back.
func TestTheAPIServerIsRestarted(t *testing.T) {
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	f := apply(ctx, t, newNamespace(ctx, t, "apiserver"), spec(2))
	f.awaitSettled(ctx, t)
	l := startLoad(ctx, t, f, 60, true)
	cluster(ctx, t, "exec", "pkill", "-KILL", "kube-apiserver")
	eventually(ctx, t, "the API server is back, and the operator acts on a change", func() error {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":3}}`))
		object, err := f.get(ctx)
		if err == nil {
			err = api.Patch(ctx, object, patch)
		}
		if err == nil {
			err = f.settled(ctx)
		}
		return err
	})
	r := l.finish(ctx, t)
	wantNobodyHurt(t, r)
	if r.Moved > 0 {
		t.Errorf("%d clients moved; want none to notice", r.Moved)
	}
}

// wantNobodyThrownOut allows for messages that were lost with Redis, as far as clients could know of them, but not for a
// connection that ended. That messages were lost for another reason is among the violations of the report already.
func wantNobodyThrownOut(t *testing.T, r *bench.Report) {
	t.Helper()
	if len(r.Closes) > 0 {
		t.Errorf("connections were closed while Redis was away, by code: %v; want none", r.Closes)
	}
	if r.Check.Unconfirmed == 0 && r.Check.InFlight == 0 && r.Check.Declared == 0 {
		t.Error("no publish was left unconfirmed and nothing was lost, so Redis was never away")
	}
}

// deletePod is kubectl delete pod: the pod has its grace period.
func deletePod(ctx context.Context, t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := api.Delete(ctx, pod); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "pod "+pod.Name+" is gone", func() error {
		err := api.Get(ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{})
		if err == nil {
			return fmt.Errorf("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
}
