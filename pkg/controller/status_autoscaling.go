package controller

import (
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// autoscaling tells in the spec's words what the HorizontalPodAutoscaler says about itself.
func autoscaling(v *visit) verdict {
	hpa := v.seen.autoscaler
	switch {
	case hpa == nil && v.seen.err != nil:
		return unknown("%s", statusMessage(v.seen.err))
	case hpa == nil || len(hpa.Status.Conditions) == 0:
		return unknown("the HorizontalPodAutoscaler has not looked at the cluster yet")
	}
	able := hpaCondition(hpa, autoscalingv2.AbleToScale)
	active := hpaCondition(hpa, autoscalingv2.ScalingActive)
	switch {
	case able != nil && able.Status == corev1.ConditionFalse:
		return no(v1alpha1.ReasonCannotScale, "the HorizontalPodAutoscaler cannot scale: %s", detail(able.Message))
	case active != nil && active.Status == corev1.ConditionFalse && active.Reason == "ScalingDisabled":
		return no(v1alpha1.ReasonSuspended, "spec.replicas is 0, which switches autoscaling off; raise it to switch it on")
	case active != nil && active.Status == corev1.ConditionFalse && active.Reason == "InvalidSelector":
		// it looked before the first status was written, which names the pods; it looks again within its sync period
		return unknown("the HorizontalPodAutoscaler has not learned yet which pods to look at")
	case active != nil && active.Status == corev1.ConditionFalse:
		return no(v1alpha1.ReasonMetricsMissing, "%s: %s", missingMetricsAdvice(active.Reason), detail(active.Message))
	case active != nil && active.Status == corev1.ConditionTrue:
		return yes(v1alpha1.ReasonScaling, "%d replicas wanted, between %d and %d",
			hpa.Status.DesiredReplicas, v.cluster.Spec.Autoscaling.MinReplicas, v.cluster.Spec.Autoscaling.MaxReplicas)
	}
	return unknown("the HorizontalPodAutoscaler has not computed replicas yet")
}

// missingMetricsAdvice says what serves the metric that is missing.
func missingMetricsAdvice(reason string) string {
	if strings.Contains(reason, "PodsMetric") {
		return "targetConnectionsPerPod needs the custom metrics API (custom.metrics.k8s.io) to serve " + manifests.ConnectionsMetric +
			" for the gateway pods; install an adapter such as prometheus-adapter, or use targetCPUUtilizationPercentage"
	}
	return "targetCPUUtilizationPercentage needs the resource metrics API (metrics.k8s.io); install metrics-server, and give it a minute after pods start"
}

func hpaCondition(hpa *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) *autoscalingv2.HorizontalPodAutoscalerCondition {
	for i := range hpa.Status.Conditions {
		if hpa.Status.Conditions[i].Type == kind {
			return &hpa.Status.Conditions[i]
		}
	}
	return nil
}
