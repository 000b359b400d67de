package controller

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// ready follows from its two parts; the first one that is not True speaks.
func ready(redis, gateway verdict) verdict {
	switch {
	case gateway.reason == v1alpha1.ReasonSuspended:
		return no(v1alpha1.ReasonSuspended, "%s", gateway.message)
	case redis.status == metav1.ConditionFalse:
		return no(v1alpha1.ReasonRedisNotReady, "%s", redis.message)
	case gateway.status == metav1.ConditionFalse:
		return no(v1alpha1.ReasonGatewayNotReady, "%s", gateway.message)
	case redis.status == metav1.ConditionUnknown:
		return unknown("%s", redis.message)
	case gateway.status == metav1.ConditionUnknown:
		return unknown("%s", gateway.message)
	}
	return yes(v1alpha1.ReasonAvailable, "clients can connect: %s", gateway.message)
}

// gatewayReady is True while as many gateways are ready as are wanted, old ones and new ones alike: a rollout that goes wrong
// leaves the old ones serving, and is Stalled's to tell; one that goes well does not touch it.
func gatewayReady(v *visit) verdict {
	gateway := v.seen.gateway
	diagnosis := diagnose(gateway)
	switch {
	case gateway == nil && v.seen.err != nil:
		return unknown("%s", statusMessage(v.seen.err))
	case gateway == nil && len(v.problems) > 0:
		return no(v.problems[0].reason, "%s", v.problems[0].message())
	case gateway == nil:
		return unknown("the gateways are being made")
	case v.cluster.Spec.Replicas != nil && *v.cluster.Spec.Replicas == 0:
		return no(v1alpha1.ReasonSuspended, "spec.replicas is 0; raise it to let clients connect")
	case gateway.ready >= gateway.desired:
		return yes(v1alpha1.ReasonAvailable, "%s", podCount(gateway, "gateway"))
	case len(v.seen.missingSecrets) > 0:
		return no(v1alpha1.ReasonSecretMissing, "%s", strings.Join(v.seen.missingSecrets, "; "))
	case diagnosis.reason != "":
		return no(diagnosis.reason, "%s: %s", podCount(gateway, "gateway"), diagnosis.message)
	case gateway.ready > 0:
		return no(v1alpha1.ReasonDegraded, "%s", podCount(gateway, "gateway"))
	}
	return no(v1alpha1.ReasonStarting, "%s; they are starting, or have not reached Redis yet", podCount(gateway, "gateway"))
}

// redisReady looks at the operator's own Redis through its pods, and at an external one through the gateways: they become ready only
// after they have reached it once.
func redisReady(v *visit) verdict {
	if v.cluster.Spec.Redis.Type == v1alpha1.RedisExternal {
		return externalRedisReady(v)
	}
	redis := v.seen.redis
	diagnosis := diagnose(redis)
	switch {
	case redis == nil && v.seen.err != nil:
		return unknown("%s", statusMessage(v.seen.err))
	case redis == nil && len(v.problems) > 0:
		return no(v.problems[0].reason, "%s", v.problems[0].message())
	case redis == nil:
		return unknown("Redis is being made")
	case redis.ready >= redis.desired:
		return yes(v1alpha1.ReasonAvailable, "%s", podCount(redis, "Redis"))
	case diagnosis.reason != "":
		return no(diagnosis.reason, "%s: %s", podCount(redis, "Redis"), diagnosis.message)
	case len(redis.pods) == 0 && redis.current:
		return no(v1alpha1.ReasonStarting, "no Redis pod exists yet; if that stays, kubectl describe %s %s says why", strings.ToLower(redis.kind), redis.name)
	}
	return no(v1alpha1.ReasonStarting, "%s; it is starting", podCount(redis, "Redis"))
}

func externalRedisReady(v *visit) verdict {
	address := strings.Join(v.cluster.Spec.Redis.External.Addresses, ", ")
	gateway := v.seen.gateway
	switch {
	case gateway != nil && gateway.ready > 0:
		return yes(v1alpha1.ReasonReachedByGateways, "the ready gateways have reached Redis at %s", address)
	case gateway != nil && running(gateway):
		return no(v1alpha1.ReasonNotReached, "gateways run, but none has reached Redis at %s; check redis.external, the Secrets that it names and what lies between; their logs say more", address)
	}
	return unknown("no gateway runs that could have reached Redis at %s", address)
}

// running tells whether any pod of the workload runs, ready or not.
func running(w *workload) bool {
	for i := range w.pods {
		if w.pods[i].Status.Phase == corev1.PodRunning && w.pods[i].DeletionTimestamp.IsZero() {
			return true
		}
	}
	return false
}

func podCount(w *workload, name string) string {
	if w.desired == 1 {
		return fmt.Sprintf("%d of 1 %s pod is ready", w.ready, name)
	}
	return fmt.Sprintf("%d of %d %s pods are ready", w.ready, w.desired, name)
}
