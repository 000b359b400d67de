package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/fleet"
)

// maxNamed bounds the pods that a message names.
const maxNamed = 5

// deliveryVerified tells whether the messages that gateways send to themselves come back. What is known to be wrong speaks
// first, then what is not known. A pod that is leaving does not count, nor one that is starting and does not answer yet: GatewayReady
// tells of those. Its message stays the same while nothing changes, whatever the errors and numbers behind it.
func deliveryVerified(cluster *v1alpha1.WebSocketCluster, view fleetView) verdict {
	if ptr.Deref(cluster.Spec.Replicas, 1) == 0 {
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "spec.replicas is 0: no gateway runs that could send messages to itself"}
	}
	var passing, failing, shards, unobserved, silent, pending []string
	refusals := map[string]string{}
	for _, g := range view.gateways {
		if !g.leaving {
			maps.Copy(refusals, g.Refusals())
		}
		switch {
		case g.leaving || g.Err != nil && !g.ready:
		case g.Err != nil:
			unobserved = append(unobserved, fmt.Sprintf("%s (%v)", g.Pod, g.Err))
		case g.Canary == nil:
			silent = append(silent, g.Pod)
		case g.Canary.State == fleet.CanaryFailing:
			failing = append(failing, g.Pod)
			shards = append(shards, g.FailingShards()...)
		case g.Canary.State == fleet.CanaryPassing:
			passing = append(passing, g.Pod)
		default:
			pending = append(pending, g.Pod)
		}
	}
	slices.Sort(shards)
	through := strings.Join(slices.Compact(shards), ", ")
	switch {
	case len(failing) > 0 && len(passing) > 0:
		return no(v1alpha1.ReasonGatewayNotDelivering,
			"what these gateways publish does not come back to them through Redis (shard %s), and what others publish does: %s; see the network and the node of each, and the log of the pod", through, named(failing))
	case len(failing) > 0:
		return no(v1alpha1.ReasonNothingDelivered,
			"what the gateways publish does not come back to any of them through Redis (shard %s); see Redis, and the network that leads to it", through)
	case len(refusals) > 0:
		shard := slices.Min(slices.Collect(maps.Keys(refusals)))
		return no(v1alpha1.ReasonWritesRefused, "Redis (shard %s) takes no writes: %s; publishers get unavailable wherever messages are kept; %s",
			strings.Join(slices.Sorted(maps.Keys(refusals)), ", "), detail(refusals[shard]), writesAdvice(cluster, refusals[shard]))
	case len(unobserved) > 0:
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, fmt.Sprintf(
			"gateways that are ready cannot be asked at their ops port: %s; see the NetworkPolicies between the operator and these pods", named(unobserved))}
	case len(silent) > 0:
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, fmt.Sprintf(
			"gateways say nothing of it: %s; spec.image may be older than the operator", named(silent))}
	case len(pending) > 0:
		return unknown("gateways have not sent themselves a message yet: %s", named(pending))
	case len(passing) == 0:
		return unknown("no gateway has been asked yet")
	}
	return yes(v1alpha1.ReasonVerified, "what gateways publish comes back to each of them through Redis")
}

// writesAdvice says what makes Redis take writes again.
func writesAdvice(cluster *v1alpha1.WebSocketCluster, refusal string) string {
	keepLess := "keep less in history and inbox of the spec"
	switch own := cluster.Spec.Redis.Type == v1alpha1.RedisStandalone; {
	case own && strings.HasPrefix(refusal, "OOM"):
		return "raise redis.standalone.maxMemory, or " + keepLess
	case own && cluster.Spec.Redis.Standalone != nil && cluster.Spec.Redis.Standalone.Storage != nil:
		return "see the log of the Redis pod, and whether its volume is full"
	case strings.HasPrefix(refusal, "OOM"):
		return "raise its maxmemory, or " + keepLess
	}
	return "see the log of Redis"
}

// named lists pods in order, the first few by name.
func named(pods []string) string {
	slices.Sort(pods)
	if more := len(pods) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(pods[:maxNamed], ", "), more)
	}
	return strings.Join(pods, ", ")
}
