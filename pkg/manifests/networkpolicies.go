package manifests

import (
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	networking "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// gatewayNetworkPolicy lets everybody reach the public port, pods of the cluster reach the other two, and gateways reach
// names, Redis and the key set of tokens. Policies add up: a further one can allow more.
func (b builder) gatewayNetworkPolicy() Object {
	egress := []*networking.NetworkPolicyEgressRuleApplyConfiguration{
		networking.NetworkPolicyEgressRule().WithPorts(policyPort(corev1.ProtocolUDP, 53), policyPort(corev1.ProtocolTCP, 53)),
	}
	switch external := b.cluster.Spec.Redis.External; {
	case external != nil && external.Mode == v1alpha1.ExternalStandalone:
		egress = append(egress, networking.NetworkPolicyEgressRule().WithPorts(portsOf(external.Addresses)...))
	case external != nil:
		// Sentinels, and the nodes of a Redis Cluster, name others with ports of their own: nobody knows which.
		egress = append(egress, networking.NetworkPolicyEgressRule())
	default:
		egress = append(egress, networking.NetworkPolicyEgressRule().
			WithTo(networking.NetworkPolicyPeer().WithPodSelector(
				meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentRedis)))).
			WithPorts(policyPort(corev1.ProtocolTCP, RedisPort)))
	}
	if jwt := b.cluster.Spec.Auth.JWT; jwt != nil && jwt.JWKSURL != "" {
		egress = append(egress, networking.NetworkPolicyEgressRule().WithPorts(policyPort(corev1.ProtocolTCP, portOfURL(jwt.JWKSURL))))
	}
	return b.networkPolicy(GatewayName(b.cluster), ComponentGateway, networking.NetworkPolicySpec().
		WithPolicyTypes(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress).
		WithIngress(
			networking.NetworkPolicyIngressRule().WithPorts(policyPort(corev1.ProtocolTCP, PublicPort)),
			networking.NetworkPolicyIngressRule().
				WithFrom(networking.NetworkPolicyPeer().WithNamespaceSelector(meta.LabelSelector())).
				WithPorts(policyPort(corev1.ProtocolTCP, APIPort), policyPort(corev1.ProtocolTCP, OpsPort))).
		WithEgress(egress...))
}

// redisNetworkPolicy lets only this cluster's gateways reach Redis, and Redis reach nothing.
func (b builder) redisNetworkPolicy() Object {
	return b.networkPolicy(RedisName(b.cluster), ComponentRedis, networking.NetworkPolicySpec().
		WithPolicyTypes(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress).
		WithIngress(networking.NetworkPolicyIngressRule().
			WithFrom(networking.NetworkPolicyPeer().WithPodSelector(
				meta.LabelSelector().WithMatchLabels(Selector(b.cluster, ComponentGateway)))).
			WithPorts(policyPort(corev1.ProtocolTCP, RedisPort))))
}

func (b builder) networkPolicy(name, component string, spec *networking.NetworkPolicySpecApplyConfiguration) Object {
	return networking.NetworkPolicy(name, b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, component)).WithOwnerReferences(ownerReference(b.cluster)).
		WithSpec(spec.WithPodSelector(meta.LabelSelector().WithMatchLabels(Selector(b.cluster, component))))
}

func policyPort(protocol corev1.Protocol, port int32) *networking.NetworkPolicyPortApplyConfiguration {
	return networking.NetworkPolicyPort().WithProtocol(protocol).WithPort(intstr.FromInt32(port))
}

// portsOf returns the ports of host:port addresses, each once.
func portsOf(addresses []string) []*networking.NetworkPolicyPortApplyConfiguration {
	var ports []*networking.NetworkPolicyPortApplyConfiguration
	seen := map[string]bool{}
	for _, address := range addresses {
		_, port, err := net.SplitHostPort(address)
		if err != nil || seen[port] {
			continue
		}
		seen[port] = true
		ports = append(ports, policyPort(corev1.ProtocolTCP, portNumber(port, RedisPort)))
	}
	return ports
}

func portOfURL(text string) int32 {
	address, err := url.Parse(text)
	if err == nil && address.Scheme == "http" {
		return portNumber(address.Port(), 80)
	}
	if err != nil {
		return 443
	}
	return portNumber(address.Port(), 443)
}

func portNumber(text string, standard int32) int32 {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return standard
	}
	return int32(number)
}
