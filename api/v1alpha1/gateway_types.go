package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// Gateway configures the gateway pods. Changes of limits, allowedOrigins reach running pods without a restart; other changes
// roll the pods.
//
// +kubebuilder:validation:XValidation:rule="!has(self.drain) || !has(self.limits) || self.drain.timeoutSeconds * self.drain.reconnectsPerSecond >= self.limits.maxConnections",message="a full pod could not drain in time: drain.timeoutSeconds must be at least limits.maxConnections ÷ drain.reconnectsPerSecond (20000 connections at 500 a second need 40 s); raise drain.timeoutSeconds or drain.reconnectsPerSecond, or lower limits.maxConnections"
type Gateway struct {
	// resources of one gateway container; absent or empty: requests of 250m CPU and 256Mi memory, and a limit of 512Mi memory.
	// +kubebuilder:default={requests: {cpu: "250m", memory: "256Mi"}, limits: {memory: "512Mi"}}
	// +optional
	Resources Resources `json:"resources,omitzero"`
	// limits bounds what clients may use.
	// +kubebuilder:default={}
	// +optional
	Limits Limits `json:"limits,omitzero"`
	// heartbeatSeconds is the time between two pings of the server, 1 to 600 s, default 25; a client silent for 2.5 times as long is closed.
	// +kubebuilder:default=25
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=600
	// +optional
	HeartbeatSeconds int32 `json:"heartbeatSeconds,omitempty"`
	// compression offers permessage-deflate to clients: Disabled (default) or Enabled. It costs memory and CPU per connection.
	// +kubebuilder:default=Disabled
	// +optional
	Compression Mode `json:"compression,omitempty"`
	// allowedOrigins lists the origins that browsers may connect from, at most 64. Empty: the same origin only; "*": any; https://*.example.com: any host below.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=300
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self == 'null' || self.matches('^[A-Za-z][A-Za-z0-9+.-]*://([*][.])?[][A-Za-z0-9._:-]+$')",message="write an origin as scheme and host without a path, such as https://chat.example.com, https://*.example.com or http://localhost:3000, or \"*\" for any"
	// +kubebuilder:validation:XValidation:rule="size(self) == 1 || !self.exists(o, o == '*')",message="\"*\" allows every origin already; write either \"*\" alone or a list of origins"
	// +optional
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
	// trustedProxies lists the networks whose X-Forwarded-For header is believed, in CIDR notation, at most 64.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="write a network in CIDR notation, such as 10.0.0.0/8 or fd00::/8; one address is 192.0.2.7/32"
	// +optional
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// tls has the gateways themselves serve TLS on the public port; absent: plain. A renewed certificate is taken over without a
	// restart. What leads here from outside, such as the controller of an Ingress, then has to speak TLS too.
	// +optional
	TLS *GatewayTLS `json:"tls,omitempty"`
	// drain says how a pod leaves; terminationGracePeriodSeconds of the pods follows from it.
	// +kubebuilder:default={}
	// +optional
	Drain Drain `json:"drain,omitzero"`
	// podTemplate adds to the gateway pods.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// GatewayTLS is the certificate that clients are shown.
type GatewayTLS struct {
	// secretName names a Secret of type kubernetes.io/tls in the namespace of the WebSocketCluster.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	SecretName string `json:"secretName,omitempty"`
}

// Limits bounds what clients may use. Over a limit there is one named outcome, given with each field.
//
// +kubebuilder:validation:XValidation:rule="!has(self.sendQueueBytes) || !has(self.maxMessageBytes) || self.sendQueueBytes >= self.maxMessageBytes",message="limits.sendQueueBytes must be at least limits.maxMessageBytes, since the queue has to hold one message; raise sendQueueBytes or lower maxMessageBytes"
type Limits struct {
	// maxConnections of one pod, 1 to 1000000, default 20000; over it: HTTP 503 overloaded, and the pod is not ready.
	// +kubebuilder:default=20000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MaxConnections int32 `json:"maxConnections,omitempty"`
	// maxConnectionsPerUser over the whole fleet, 0 to 100000, default 0 (no limit); over it the oldest connection is closed with 4409.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxConnectionsPerUser int32 `json:"maxConnectionsPerUser,omitempty"`
	// maxRoomsPerConnection bounds the rooms that one connection may be in, 1 to 10000, default 100; over it: error room_limit.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	MaxRoomsPerConnection int32 `json:"maxRoomsPerConnection,omitempty"`
	// maxMessageBytes is the largest frame from a client, 1024 to 16777216 bytes, default 65536; over it the connection is closed with 1009.
	// +kubebuilder:default=65536
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=16777216
	// +optional
	MaxMessageBytes int32 `json:"maxMessageBytes,omitempty"`
	// sendQueueBytes waits at most for one slow client, 4096 to 268435456 bytes, default 1048576; over it the client is closed with 4408.
	// +kubebuilder:default=1048576
	// +kubebuilder:validation:Minimum=4096
	// +kubebuilder:validation:Maximum=268435456
	// +optional
	SendQueueBytes int32 `json:"sendQueueBytes,omitempty"`
	// messagesPerSecond that one user may publish on average, over the whole fleet, 0 to 1000000, default 50; 0: no limit; over it: error rate_limited.
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MessagesPerSecond *int32 `json:"messagesPerSecond,omitempty"`
	// messageBurst is how many messages may come at once before messagesPerSecond counts, 1 to 1000000, default 100.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MessageBurst int32 `json:"messageBurst,omitempty"`
	// connectsPerSecond are the connection attempts that one pod looks at, 0 to 1000000, default 5000; 0: no limit; over it: HTTP 503 overloaded with Retry-After.
	// +kubebuilder:default=5000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	ConnectsPerSecond *int32 `json:"connectsPerSecond,omitempty"`
	// connectsPerSecondPerAddress are the connection attempts of one client address that one pod looks at, 0 to 1000000, default 0 (no limit); over it: HTTP 429 rate_limited with Retry-After. Behind a proxy it needs trustedProxies, else the proxy is the one address.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	ConnectsPerSecondPerAddress int32 `json:"connectsPerSecondPerAddress,omitempty"`
}

// Drain says how a pod leaves: it fails its readiness, waits delaySeconds, tells every client to reconnect at no more than
// reconnectsPerSecond, and is gone after timeoutSeconds more.
type Drain struct {
	// delaySeconds between failing readiness and the first reconnect, 0 to 300 s, default 5: the time that load balancers need to look elsewhere.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=300
	// +optional
	DelaySeconds *int32 `json:"delaySeconds,omitempty"`
	// timeoutSeconds after the delay at which what is left is closed, 1 to 86400 s, default 60.
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// reconnectsPerSecond is the whole cluster's budget of clients sent away a second, 1 to 100000, default 500.
	// +kubebuilder:default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	ReconnectsPerSecond int32 `json:"reconnectsPerSecond,omitempty"`
}

// Resources of one container, as in a pod.
//
// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || self.requests.all(r, !(r in self.limits) || quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)",message="a request may not be above its limit; raise the limit or lower the request"
type Resources struct {
	// requests is what a pod is promised, by resource name, at most 6.
	// +kubebuilder:validation:MaxProperties=6
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// limits is what a pod may use at most, by resource name, at most 6.
	// +kubebuilder:validation:MaxProperties=6
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// PodTemplate adds to the gateway pods. Changing it rolls them.
type PodTemplate struct {
	// labels for the pods, at most 32; app.kubernetes.io/* are the operator's own.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('wscluster.dev/'))",message="labels app.kubernetes.io/* and wscluster.dev/* are the operator's own; choose another prefix"
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// annotations for the pods, at most 32; wscluster.dev/* are the operator's own.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('wscluster.dev/'))",message="annotations wscluster.dev/* are the operator's own; choose another prefix"
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// nodeSelector restricts the nodes, at most 32 labels.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of node taints, at most 32.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// affinity to nodes and pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// topologySpreadConstraints replaces the default, which spreads over nodes and zones as far as it can. At most 8.
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +kubebuilder:validation:MaxItems=8
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// priorityClassName of the pods.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// env adds environment variables to the gateway container, at most 64; names starting with WSC_ are the operator's own.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(e, !e.name.startsWith('WSC_'))",message="variables WSC_* override the gateway's settings behind the operator's back; set the field of spec.gateway instead"
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// volumes adds volumes to the pods, at most 16; names starting with wscluster- are the operator's own.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(v, !v.name.startsWith('wscluster-'))",message="volumes wscluster-* are the operator's own; choose another name"
	// +optional
	Volumes []corev1.Volume `json:"volumes,omitempty"`
	// volumeMounts adds mounts to the gateway container, at most 16; paths under /etc/wscluster are the operator's own.
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(m, m.mountPath != '/etc/wscluster' && !m.mountPath.startsWith('/etc/wscluster/'))",message="/etc/wscluster is where the operator mounts settings and secrets; choose another mountPath"
	// +optional
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
}
