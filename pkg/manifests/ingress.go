package manifests

import (
	networkingv1 "k8s.io/api/networking/v1"
	networking "k8s.io/client-go/applyconfigurations/networking/v1"
)

// ingress leads a host name to the public Service.
func (b builder) ingress() Object {
	wanted := b.cluster.Spec.Ingress
	spec := networking.IngressSpec().WithRules(networking.IngressRule().WithHost(wanted.Host).
		WithHTTP(networking.HTTPIngressRuleValue().WithPaths(networking.HTTPIngressPath().
			WithPath(wanted.Path).WithPathType(networkingv1.PathTypePrefix).
			WithBackend(networking.IngressBackend().WithService(networking.IngressServiceBackend().
				WithName(PublicServiceName(b.cluster)).
				WithPort(networking.ServiceBackendPort().WithName(publicPortName)))))))
	spec.IngressClassName = wanted.ClassName
	if wanted.TLSSecretName != "" {
		spec.WithTLS(networking.IngressTLS().WithHosts(wanted.Host).WithSecretName(wanted.TLSSecretName))
	}
	return networking.Ingress(b.cluster.Name, b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithAnnotations(wanted.Annotations).WithSpec(spec)
}
