package manifests

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// The pods of one revision are kept apart, by node and by zone, as far as there are nodes and zones. A pod is never held back for
// it: a full node beside an empty one is better than a gateway less.
//
// Two constraints would be the plain way to say it, but the scheduler ignores all of a pod's constraints on nodes that lack the
// label of one of them, and many clusters have no zones. Anti-affinity just finds nothing to avoid there.

// spreadOverNodes returns the spec's own constraints, or one that spreads over nodes.
func (b builder) spreadOverNodes(extra v1alpha1.PodTemplate) []*core.TopologySpreadConstraintApplyConfiguration {
	if len(extra.TopologySpreadConstraints) > 0 {
		return convertAll[core.TopologySpreadConstraintApplyConfiguration](extra.TopologySpreadConstraints)
	}
	return []*core.TopologySpreadConstraintApplyConfiguration{
		core.TopologySpreadConstraint().
			WithTopologyKey(corev1.LabelHostname).WithMaxSkew(1).WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentGateway))).
			WithMatchLabelKeys(appsv1.DefaultDeploymentUniqueLabelKey),
	}
}

// affinity returns the spec's own affinity, with a preference for other zones where the spec says nothing of how pods are kept
// apart; nil if there is neither.
func (b builder) affinity(extra v1alpha1.PodTemplate) *core.AffinityApplyConfiguration {
	var affinity *core.AffinityApplyConfiguration
	if extra.Affinity != nil {
		affinity = convert[core.AffinityApplyConfiguration](extra.Affinity)
	}
	if len(extra.TopologySpreadConstraints) > 0 || extra.Affinity != nil && extra.Affinity.PodAntiAffinity != nil {
		return affinity
	}
	if affinity == nil {
		affinity = core.Affinity()
	}
	const strongest = 100
	return affinity.WithPodAntiAffinity(core.PodAntiAffinity().WithPreferredDuringSchedulingIgnoredDuringExecution(
		core.WeightedPodAffinityTerm().WithWeight(strongest).WithPodAffinityTerm(core.PodAffinityTerm().
			WithTopologyKey(corev1.LabelTopologyZone).
			WithLabelSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentGateway))).
			WithMatchLabelKeys(appsv1.DefaultDeploymentUniqueLabelKey))))
}
