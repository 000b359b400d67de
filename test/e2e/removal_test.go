//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// kinds are all that a WebSocketCluster can consist of, and their consequences.
const kinds = "all,cm,secret,sa,pdb,hpa,netpol,ingress,endpointslice,pvc"

// TestDeletingLeavesNothing deletes a WebSocketCluster that has every part, and one whose volume is to be kept.
func TestDeletingLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	everything := `autoscaling: {minReplicas: 1, maxReplicas: 2}
  ingress: {host: chat.example.com}
  service: {type: NodePort}`
	for _, c := range []struct {
		onDelete string
		want     []string
	}{
		{"Delete", nil},
		{"Retain", []string{"persistentvolumeclaim/data-chat-redis-0"}},
	} {
		namespace := newNamespace(ctx, t, "removal")
		// Kubernetes puts some into every namespace, a moment after it is made
		eventually(ctx, t, "the namespace has its default ServiceAccount", func() error {
			if !slices.Contains(objectsOf(ctx, t, namespace), "serviceaccount/default") {
				return fmt.Errorf("it is not there")
			}
			return nil
		})
		before := objectsOf(ctx, t, namespace)
		storage := strings.Replace(smallRedis, "standalone: {", "standalone: {storage: {size: 64Mi, onDelete: "+c.onDelete+"}, ", 1)
		f := apply(ctx, t, namespace, strings.Replace(spec(1, everything), smallRedis, storage, 1))
		f.awaitSettled(ctx, t)
		during := strings.Join(objectsOf(ctx, t, namespace), " ")
		for _, part := range []string{
			"pod/chat-gateway-", "pod/chat-redis-0", "service/chat ", "service/chat-api ", "service/chat-ops ", "service/chat-redis ", "deployment.apps/chat-gateway ", "statefulset.apps/chat-redis ",
			"configmap/chat-gateway ", "configmap/chat-redis ", "secret/chat-redis ", "secret/chat-api-key ", "secret/chat-ops ", "serviceaccount/chat-gateway ", "poddisruptionbudget.policy/chat-gateway ",
			"horizontalpodautoscaler.autoscaling/chat-gateway ", "networkpolicy.networking.k8s.io/chat-gateway ", "networkpolicy.networking.k8s.io/chat-redis ", "ingress.networking.k8s.io/chat ", "persistentvolumeclaim/data-chat-redis-0 ",
		} {
			if !strings.Contains(during+" ", part) {
				t.Errorf("%sis not there while the WebSocketCluster is, so its removal would show nothing:\n%s", part, during)
			}
		}
		kubectl(ctx, t, "-n", namespace, "delete", "wsc", "chat", "--timeout="+patience.String())
		eventually(ctx, t, "what belonged to the WebSocketCluster is gone, with onDelete: "+c.onDelete, func() error {
			var left []string
			for _, object := range objectsOf(ctx, t, namespace) {
				if !slices.Contains(before, object) {
					left = append(left, object)
				}
			}
			if !slices.Equal(left, c.want) {
				return fmt.Errorf("there is %v, want %v", left, c.want)
			}
			return nil
		})
	}
}

func objectsOf(ctx context.Context, t *testing.T, namespace string) []string {
	t.Helper()
	return strings.Fields(kubectl(ctx, t, "-n", namespace, "get", kinds, "-o", "name", "--ignore-not-found"))
}
