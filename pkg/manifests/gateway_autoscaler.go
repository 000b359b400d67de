package manifests

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	autoscaling "k8s.io/client-go/applyconfigurations/autoscaling/v2"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// ConnectionsMetric is the pod metric that autoscaling on connections reads from custom.metrics.k8s.io.
const ConnectionsMetric = "wscluster_connections"

// defaultCPUPercent is aimed at when autoscaling names no target.
const defaultCPUPercent = 70

// gatewayAutoscaler scales the WebSocketCluster itself, not the Deployment: so kubectl scale, the autoscaler and a person
// who edits spec.replicas all write the same field.
func (b builder) gatewayAutoscaler() Object {
	wanted := b.cluster.Spec.Autoscaling
	spec := autoscaling.HorizontalPodAutoscalerSpec().
		WithScaleTargetRef(autoscaling.CrossVersionObjectReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind(v1alpha1.Kind).WithName(b.cluster.Name)).
		WithMinReplicas(wanted.MinReplicas).WithMaxReplicas(wanted.MaxReplicas).
		WithMetrics(autoscalerMetrics(wanted)...)
	if wanted.Behavior != nil {
		spec.WithBehavior(convert[autoscaling.HorizontalPodAutoscalerBehaviorApplyConfiguration](wanted.Behavior))
	}
	return autoscaling.HorizontalPodAutoscaler(GatewayName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(spec)
}

func autoscalerMetrics(wanted *v1alpha1.Autoscaling) []*autoscaling.MetricSpecApplyConfiguration {
	var metrics []*autoscaling.MetricSpecApplyConfiguration
	if connections := wanted.TargetConnectionsPerPod; connections != nil {
		metrics = append(metrics, autoscaling.MetricSpec().WithType(autoscalingv2.PodsMetricSourceType).
			WithPods(autoscaling.PodsMetricSource().
				WithMetric(autoscaling.MetricIdentifier().WithName(ConnectionsMetric)).
				WithTarget(autoscaling.MetricTarget().WithType(autoscalingv2.AverageValueMetricType).
					WithAverageValue(*resource.NewQuantity(int64(*connections), resource.DecimalSI)))))
	}
	percent := wanted.TargetCPUUtilizationPercentage
	if percent == nil && metrics == nil {
		standard := int32(defaultCPUPercent)
		percent = &standard
	}
	if percent != nil {
		metrics = append(metrics, autoscaling.MetricSpec().WithType(autoscalingv2.ResourceMetricSourceType).
			WithResource(autoscaling.ResourceMetricSource().WithName(corev1.ResourceCPU).
				WithTarget(autoscaling.MetricTarget().WithType(autoscalingv2.UtilizationMetricType).
					WithAverageUtilization(*percent))))
	}
	return metrics
}
