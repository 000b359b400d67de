package manifests

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	policy "k8s.io/client-go/applyconfigurations/policy/v1"
)

// gatewayDisruptionBudget lets nodes be drained one gateway at a time, so that the reconnects of one are over before
// the next begins. A pod that is not ready holds nobody up.
func (b builder) gatewayDisruptionBudget() Object {
	return policy.PodDisruptionBudget(GatewayName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(policy.PodDisruptionBudgetSpec().
			WithMaxUnavailable(intstr.FromInt32(1)).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentGateway))))
}
