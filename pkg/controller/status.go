package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// report writes the status, if it changed, and then tells what changed as events. It is the only place that writes status.
func (r *Reconciler) report(ctx context.Context, v *visit) error {
	before := v.cluster
	after := before.DeepCopy()
	after.Status = newStatus(v)
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, after, client.MergeFrom(before), client.FieldOwner(manifests.ManagedBy)); err != nil {
		return fmt.Errorf("write status: %w", client.IgnoreNotFound(err))
	}
	r.announce(before, after)
	return nil
}

// newStatus computes the status from what the visit found. It is pure but for the time in conditions that changed.
func newStatus(v *visit) v1alpha1.WebSocketClusterStatus {
	cluster := v.cluster
	status := *cluster.Status.DeepCopy()
	status.ObservedGeneration = cluster.Generation
	status.Selector = manifests.Selector(cluster, manifests.ComponentGateway).String()
	if gateway := v.seen.gateway; gateway != nil {
		status.Replicas, status.ReadyReplicas, status.UpdatedReplicas = gateway.replicas, gateway.ready, gateway.updated
	} else if v.seen.err == nil {
		status.Replicas, status.ReadyReplicas, status.UpdatedReplicas = 0, 0, 0
	}
	status.Connections, status.Rooms = v.seen.fleet.counts()
	status.Endpoint = endpoint(cluster, v.seen.publicService)
	status.APIEndpoint = apiEndpoint(cluster)

	conditions := newConditions(v)
	status.Redis = v1alpha1.RedisStatus{
		Type:  cluster.Spec.Redis.Type,
		Ready: conditions[v1alpha1.ConditionRedisReady].status == metav1.ConditionTrue,
	}
	for _, kind := range conditionOrder {
		verdict, present := conditions[kind]
		if !present {
			meta.RemoveStatusCondition(&status.Conditions, kind)
			continue
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: verdict.status, Reason: verdict.reason, Message: verdict.message,
			ObservedGeneration: cluster.Generation,
		})
	}
	return status
}

// conditionOrder is the order in which conditions are written the first time, which is the order in which kubectl shows them.
var conditionOrder = []string{
	v1alpha1.ConditionReady,
	v1alpha1.ConditionProgressing,
	v1alpha1.ConditionStalled,
	v1alpha1.ConditionRedisReady,
	v1alpha1.ConditionGatewayReady,
	v1alpha1.ConditionAutoscaling,
	v1alpha1.ConditionDeliveryVerified,
	v1alpha1.ConditionInsecureAuth,
}

// verdict is one condition without its bookkeeping.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, format string, arguments ...any) verdict {
	return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, arguments...)}
}

func no(reason, format string, arguments ...any) verdict {
	return verdict{metav1.ConditionFalse, reason, fmt.Sprintf(format, arguments...)}
}

func unknown(format string, arguments ...any) verdict {
	return verdict{metav1.ConditionUnknown, v1alpha1.ReasonPending, fmt.Sprintf(format, arguments...)}
}

// newConditions decides every condition that the cluster should have.
func newConditions(v *visit) map[string]verdict {
	gateway := gatewayReady(v)
	redis := redisReady(v)
	stalled := stalled(v)
	conditions := map[string]verdict{
		v1alpha1.ConditionGatewayReady:     gateway,
		v1alpha1.ConditionRedisReady:       redis,
		v1alpha1.ConditionReady:            ready(redis, gateway),
		v1alpha1.ConditionStalled:          stalled,
		v1alpha1.ConditionProgressing:      progressing(v, stalled),
		v1alpha1.ConditionDeliveryVerified: deliveryVerified(v.cluster, v.seen.fleet),
	}
	if v.cluster.Spec.Autoscaling != nil {
		conditions[v1alpha1.ConditionAutoscaling] = autoscaling(v)
	}
	if verdict := insecureAuth(v.cluster); verdict.status == metav1.ConditionTrue {
		conditions[v1alpha1.ConditionInsecureAuth] = verdict
	}
	return conditions
}
