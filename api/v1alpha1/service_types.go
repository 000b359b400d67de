package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// Service is the public Service that clients connect to.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'LoadBalancer' || !has(self.loadBalancerClass) || size(self.loadBalancerClass) == 0",message="service.loadBalancerClass works only with service.type LoadBalancer; set that type, or remove the class"
// +kubebuilder:validation:XValidation:rule="self.type == 'LoadBalancer' || !has(self.loadBalancerSourceRanges) || size(self.loadBalancerSourceRanges) == 0",message="service.loadBalancerSourceRanges works only with service.type LoadBalancer; set that type, or remove the ranges"
type Service struct {
	// type is ClusterIP (default), NodePort or LoadBalancer.
	// +kubebuilder:default=ClusterIP
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	// +optional
	Type corev1.ServiceType `json:"type,omitempty"`
	// port of the Service, 1 to 65535, default 80; it leads to 8080 of the pods.
	// +kubebuilder:default=80
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`
	// sessionAffinity is ClientIP (default: a client comes back to the same pod within the timeout) or None.
	// +kubebuilder:default=ClientIP
	// +kubebuilder:validation:Enum=ClientIP;None
	// +optional
	SessionAffinity corev1.ServiceAffinity `json:"sessionAffinity,omitempty"`
	// sessionAffinityTimeoutSeconds since a client's last new connection, 1 to 86400 s, default 60.
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +optional
	SessionAffinityTimeoutSeconds int32 `json:"sessionAffinityTimeoutSeconds,omitempty"`
	// annotations for the Service, such as those that a cloud's load balancer reads, at most 32.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// loadBalancerClass picks a load balancer; only with type LoadBalancer, and not to be changed later. Empty: the cluster's default one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// loadBalancerSourceRanges limits who may connect, in CIDR notation, at most 64; only with type LoadBalancer.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="write a network in CIDR notation, such as 203.0.113.0/24; one address is 203.0.113.7/32"
	// +optional
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges,omitempty"`
}

// Ingress in front of the public Service.
type Ingress struct {
	// className of the ingress controller; absent: the cluster's default.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ClassName *string `json:"className,omitempty"`
	// host name that clients use.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="write a host name without scheme, port or path, such as chat.example.com"
	// +required
	Host string `json:"host,omitempty"`
	// path that leads to the gateway, default /ws. The gateway itself serves /ws: another path needs a rewrite by annotations.
	// +kubebuilder:default=/ws
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="a path starts with a slash, such as /ws"
	// +optional
	Path string `json:"path,omitempty"`
	// tlsSecretName names a Secret of type kubernetes.io/tls for the host; absent: no TLS at the Ingress.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	TLSSecretName string `json:"tlsSecretName,omitempty"`
	// annotations for the Ingress, such as timeouts of its controller, at most 32.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// NetworkPolicy says whether NetworkPolicies guard the pods.
type NetworkPolicy struct {
	// mode is Enabled (default: Redis takes connections from the gateways only, and gateways reach nothing but what they need) or Disabled.
	// +kubebuilder:default=Enabled
	// +optional
	Mode Mode `json:"mode,omitempty"`
}
