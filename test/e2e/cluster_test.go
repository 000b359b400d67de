//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// fleet is one WebSocketCluster of a test.
type fleet struct{ namespace, name string }

// quick has pods leave within seconds and the rate at which they send clients away be seen with few clients. Redis is small, as
// its memory is a request.
const quick = `
    resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 256Mi}}
    limits: {maxConnections: 600, messagesPerSecond: 0}
    heartbeatSeconds: 5
    drain: {delaySeconds: 2, timeoutSeconds: 30, reconnectsPerSecond: 20}`

// smallRedis asks for little.
const smallRedis = `{standalone: {maxMemory: 32Mi, resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 128Mi}}}}`

// spec returns the spec of a WebSocketCluster for tests: believed user ids, short drains, rooms log-* with history. The fields
// given as lines of YAML are added.
func spec(replicas int, fields ...string) string {
	return fmt.Sprintf("\n  replicas: %d\n  auth: {type: TrustedUserID}\n  gateway:%s\n  redis: %s\n  rooms:\n  - {match: \"log-*\", history: {size: 20000}}\n  %s\n",
		replicas, quick, smallRedis, strings.Join(fields, "\n  "))
}

// apply applies a WebSocketCluster chat, given its spec in YAML, as a user would.
func apply(ctx context.Context, t *testing.T, namespace, spec string) fleet {
	t.Helper()
	text := fmt.Sprintf("apiVersion: wscluster.dev/v1alpha1\nkind: WebSocketCluster\nmetadata: {name: chat, namespace: %s}\nspec:%s", namespace, spec)
	must(ctx, t, text, os.Getenv("KUBECTL"), "apply", "-f", "-")
	return fleet{namespace, "chat"}
}

// patch changes the spec, given as JSON.
func (f fleet) patch(ctx context.Context, t *testing.T, spec string) {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`))
	if err := api.Patch(ctx, &v1alpha1.WebSocketCluster{ObjectMeta: f.meta()}, patch); err != nil {
		t.Fatalf("patch %s: %v", f.name, err)
	}
}

func (f fleet) get(ctx context.Context) (*v1alpha1.WebSocketCluster, error) {
	object := &v1alpha1.WebSocketCluster{}
	return object, api.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: f.name}, object)
}

func (f fleet) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: f.namespace, Name: f.name}
}

// awaitVerified waits until the operator has seen that messages come back to every gateway, and has counted the connections.
func (f fleet) awaitVerified(ctx context.Context, t *testing.T, connections int64) {
	t.Helper()
	eventually(ctx, t, "the status says that messages are delivered, and to how many", func() error {
		object, err := f.get(ctx)
		if err != nil {
			return err
		}
		verified := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionDeliveryVerified)
		if verified == nil || verified.Status != metav1.ConditionTrue {
			return fmt.Errorf("DeliveryVerified is %+v", verified)
		}
		if got, rooms := ptr.Deref(object.Status.Connections, -1), ptr.Deref(object.Status.Rooms, -1); got != connections || rooms < 1 {
			return fmt.Errorf("status.connections is %d and status.rooms %d; want %d and some", got, rooms, connections)
		}
		return nil
	})
	kubectl(ctx, t, "wait", "--namespace", f.namespace, "--for=condition=DeliveryVerified", "--timeout=10s", "wsc/"+f.name)
}

// settled returns nil when the cluster is ready and nothing is under way any more: the operator has seen the newest spec, every
// pod is of the newest template and ready, and none is left over, not even one that is leaving.
func (f fleet) settled(ctx context.Context) error {
	object, err := f.get(ctx)
	if err != nil {
		return err
	}
	if object.Status.ObservedGeneration != object.Generation {
		return fmt.Errorf("the operator has seen generation %d of %d", object.Status.ObservedGeneration, object.Generation)
	}
	ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
	progressing := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionProgressing)
	switch {
	case ready == nil || ready.Status != "True":
		return fmt.Errorf("%s is not ready: %+v", f.name, ready)
	case progressing == nil || progressing.Status != "False":
		return fmt.Errorf("%s is not done: %+v", f.name, progressing)
	}
	pods, err := f.pods(ctx)
	if err != nil {
		return err
	}
	if wanted := int(*object.Spec.Replicas); len(pods) != wanted {
		return fmt.Errorf("%d gateway pods exist, %d are wanted", len(pods), wanted)
	}
	return nil
}

func (f fleet) awaitSettled(ctx context.Context, t *testing.T) {
	t.Helper()
	eventually(ctx, t, f.name+" is ready and settled", func() error { return f.settled(ctx) })
}

// pods returns the gateway pods by name, also those that are leaving.
func (f fleet) pods(ctx context.Context) ([]corev1.Pod, error) { return f.component(ctx, "gateway") }

func (f fleet) component(ctx context.Context, name string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := api.List(ctx, &list, client.InNamespace(f.namespace), client.MatchingLabels{
		"app.kubernetes.io/instance": f.name, "app.kubernetes.io/component": name,
	})
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, err
}

func (f fleet) mustPods(ctx context.Context, t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := f.pods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

func names(pods []corev1.Pod) []string {
	all := make([]string, len(pods))
	for i := range pods {
		all[i] = pods[i].Name
	}
	return all
}

// url returns the address of the public Service, once that leads to every gateway. It is the ClusterIP: names resolve only in pods.
func (f fleet) url(ctx context.Context, t *testing.T) string {
	t.Helper()
	url := "ws://" + f.address(ctx, t, f.name) + "/ws"
	f.awaitRouted(ctx, t, url)
	return url
}

// address returns host:port of one of the cluster's Services.
func (f fleet) address(ctx context.Context, t *testing.T, service string) string {
	t.Helper()
	object := &corev1.Service{}
	if err := api.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: service}, object); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", object.Spec.ClusterIP, object.Spec.Ports[0].Port)
}
