package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/ptr"
)

// Names of the ports, in Services and pods.
const (
	publicPortName = "ws"
	apiPortName    = "api"
	opsPortName    = "ops"
	redisPortName  = "redis"
)

// publicService is what clients connect to.
func (b builder) publicService() Object {
	wanted := b.cluster.Spec.Service
	// appProtocol tells Gateway API implementations to pass the upgrade on (GEP-1911)
	protocol := "kubernetes.io/ws"
	if b.cluster.Spec.Gateway.TLS != nil {
		protocol = "kubernetes.io/wss"
	}
	port := servicePort(publicPortName, wanted.Port).WithAppProtocol(protocol)
	spec := core.ServiceSpec().WithType(wanted.Type).
		WithSelector(Selector(b.cluster, ComponentGateway)).
		WithPorts(port).
		WithSessionAffinity(wanted.SessionAffinity)
	if wanted.SessionAffinity == corev1.ServiceAffinityClientIP {
		spec.WithSessionAffinityConfig(core.SessionAffinityConfig().WithClientIP(
			core.ClientIPConfig().WithTimeoutSeconds(wanted.SessionAffinityTimeoutSeconds)))
	}
	if wanted.Type == corev1.ServiceTypeLoadBalancer {
		// with Cluster every client would come with a node's address, and affinity would put them all on one pod
		spec.WithExternalTrafficPolicy(corev1.ServiceExternalTrafficPolicyLocal)
		if class := ptr.Deref(wanted.LoadBalancerClass, ""); class != "" {
			spec.WithLoadBalancerClass(class)
		}
		spec.WithLoadBalancerSourceRanges(wanted.LoadBalancerSourceRanges...)
	}
	return b.service(PublicServiceName(b.cluster), ComponentGateway).WithAnnotations(wanted.Annotations).WithSpec(spec)
}

// apiService is where servers reach the HTTP API; it never leaves the cluster.
func (b builder) apiService() Object {
	return b.service(APIServiceName(b.cluster), ComponentGateway).WithSpec(core.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithSelector(Selector(b.cluster, ComponentGateway)).
		WithPorts(servicePort(apiPortName, APIPort)))
}

// opsService gives every pod an address of its own, for metrics and for the operator. A draining or full pod stays in it:
// that is when its figures matter.
func (b builder) opsService() Object {
	return b.service(OpsName(b.cluster), ComponentGateway).WithSpec(core.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).WithClusterIP(corev1.ClusterIPNone).
		WithPublishNotReadyAddresses(true).
		WithSelector(Selector(b.cluster, ComponentGateway)).
		WithPorts(servicePort(opsPortName, OpsPort)))
}

func (b builder) service(name, component string) *core.ServiceApplyConfiguration {
	return core.Service(name, b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, component)).WithOwnerReferences(ownerReference(b.cluster))
}

// servicePort leads to the container port of the same name.
func servicePort(name string, port int32) *core.ServicePortApplyConfiguration {
	return core.ServicePort().WithName(name).WithProtocol(corev1.ProtocolTCP).
		WithPort(port).WithTargetPort(intstr.FromString(name))
}
