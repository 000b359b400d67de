package v1alpha1

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WebSocketCluster is a set of WebSocket gateways that pass messages to each other through Redis, so that every client seems
// connected to one machine. An empty spec is a valid, working, safe cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=wsc,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="Connections",type=integer,JSONPath=`.status.connections`
// +kubebuilder:printcolumn:name="Redis",type=string,JSONPath=`.status.conditions[?(@.type=="RedisReady")].status`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.status.endpoint`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 45",message="metadata.name may be at most 45 characters long, since the names of Services and pods are made from it; choose a shorter name"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must start with a letter and hold only lower-case letters, digits and '-', since Services are named after it; write for example chat-eu-1"
type WebSocketCluster struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what the user wants.
	// +kubebuilder:default={}
	// +optional
	Spec WebSocketClusterSpec `json:"spec,omitzero"`
	// status is what the operator last saw.
	// +optional
	Status WebSocketClusterStatus `json:"status,omitzero"`
}

// WebSocketClusterList is a list of WebSocketClusters.
//
// +kubebuilder:object:root=true
type WebSocketClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []WebSocketCluster `json:"items"`
}

// WebSocketClusterSpec is what the user wants.
//
// +kubebuilder:validation:XValidation:rule="!has(self.autoscaling) || has(self.autoscaling.targetConnectionsPerPod) && !has(self.autoscaling.targetCPUUtilizationPercentage) || has(self.gateway.resources) && (!has(self.gateway.resources.requests) && !has(self.gateway.resources.limits) || has(self.gateway.resources.requests) && 'cpu' in self.gateway.resources.requests || has(self.gateway.resources.limits) && 'cpu' in self.gateway.resources.limits)",message="autoscaling on CPU measures against the request: set gateway.resources.requests.cpu (for example 250m), or leave gateway.resources out to get the default"
type WebSocketClusterSpec struct {
	// replicas is the number of gateway pods, 0 to 1000, default 2. 0 suspends the cluster: no gateway runs, Redis stays.
	// It is the field of the scale subresource; with autoscaling the HorizontalPodAutoscaler owns it (leave it out of Git then).
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// image of the gateway; default: the one that the operator was released with.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[A-Za-z0-9][A-Za-z0-9._/:@-]*$')",message="write an image reference such as registry.example.com/wscluster/gateway:v1.0.0"
	// +optional
	Image string `json:"image,omitempty"`
	// imagePullSecrets names Secrets of this namespace with registry credentials; used by gateway and Redis pods. At most 16.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	ImagePullSecrets []SecretReference `json:"imagePullSecrets,omitempty"`
	// autoscaling makes, when present, a HorizontalPodAutoscaler that writes replicas.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// gateway configures the gateway pods.
	// +kubebuilder:default={}
	// +optional
	Gateway Gateway `json:"gateway,omitzero"`
	// auth says who a client is.
	// +kubebuilder:default={}
	// +optional
	Auth Auth `json:"auth,omitzero"`
	// rooms are policies by room id; the first match wins, at most 64. Changes reach running pods without a restart.
	// A room that no policy matches: join anyone, publish members, no history, no presence.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(r, self.exists_one(other, other.match == r.match))",message="each match may appear once, since the first one wins; merge the policies with the same match into one"
	// +kubebuilder:validation:XValidation:rule="!self.exists(r, r.match == '*') || self[size(self) - 1].match == '*'",message="match \"*\" takes every room, so the policies after it never apply; move it to the end"
	// +optional
	Rooms []RoomPolicy `json:"rooms,omitempty"`
	// directMessages says who may publish to a user; default anyone with auth.type Guest and TrustedUserID, authenticated with JWT.
	// +optional
	DirectMessages *DirectMessages `json:"directMessages,omitempty"`
	// inbox keeps messages to users who are away; absent: off.
	// +optional
	Inbox *Inbox `json:"inbox,omitempty"`
	// api is the HTTP API for servers, on its own port and Service.
	// +kubebuilder:default={}
	// +optional
	API ServerAPI `json:"api,omitzero"`
	// redis is where the gateways meet.
	// +kubebuilder:default={}
	// +optional
	Redis Redis `json:"redis,omitzero"`
	// service is the public Service that clients connect to.
	// +kubebuilder:default={}
	// +optional
	Service Service `json:"service,omitzero"`
	// ingress makes, when present, an Ingress in front of the public Service.
	// +optional
	Ingress *Ingress `json:"ingress,omitempty"`
	// networkPolicy says whether NetworkPolicies guard the gateway and Redis pods.
	// +kubebuilder:default={}
	// +optional
	NetworkPolicy NetworkPolicy `json:"networkPolicy,omitzero"`
}

// Autoscaling makes a HorizontalPodAutoscaler on this resource's own scale subresource.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="autoscaling.maxReplicas must not be below autoscaling.minReplicas; raise maxReplicas or lower minReplicas (their defaults are 20 and 2)"
type Autoscaling struct {
	// minReplicas is the least number of gateway pods, 1 to 1000, default 2.
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// maxReplicas is the greatest number of gateway pods, 1 to 1000, default 20.
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
	// targetConnectionsPerPod is the average number of connections a pod to aim at, 1 to 1000000. It needs the custom metrics API
	// (custom.metrics.k8s.io) to serve wscluster_connections for this resource; the condition Autoscaling says if it is missing.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	TargetConnectionsPerPod *int32 `json:"targetConnectionsPerPod,omitempty"`
	// targetCPUUtilizationPercentage is the average CPU use to aim at, in percent of the request, 1 to 1000. With neither target: 70.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	TargetCPUUtilizationPercentage *int32 `json:"targetCPUUtilizationPercentage,omitempty"`
	// behavior is passed on to the HorizontalPodAutoscaler.
	// +optional
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
}

// Mode switches a part on or off.
//
// +kubebuilder:validation:Enum=Enabled;Disabled
type Mode string

// The values of Mode.
const (
	ModeEnabled  Mode = "Enabled"
	ModeDisabled Mode = "Disabled"
)

// SecretReference names a Secret in the namespace of the WebSocketCluster.
type SecretReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names one entry of a Secret in the namespace of the WebSocketCluster.
type SecretKeyReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`
	// key of the entry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Key string `json:"key,omitempty"`
}

// WebSocketClusterStatus is what the operator last saw.
type WebSocketClusterStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// replicas is the number of gateway pods that exist, terminating ones not counted.
	// +optional
	Replicas int32 `json:"replicas"`
	// readyReplicas is the number of gateway pods that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// updatedReplicas is the number of gateway pods that run the newest template.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`
	// selector matches the gateway pods, and only them; read by the scale subresource.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
	// connections of all gateway pods, to two significant digits; absent while no pod's load is known.
	// +optional
	Connections *int64 `json:"connections,omitempty"`
	// rooms of all gateway pods, to two significant digits; absent while no pod's load is known.
	// +optional
	Rooms *int64 `json:"rooms,omitempty"`
	// redis is what is known about Redis.
	// +optional
	Redis RedisStatus `json:"redis,omitzero"`
	// endpoint is where clients connect, a ws:// or wss:// URL; inside the cluster unless the Service or Ingress is public.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// apiEndpoint is where servers reach the HTTP API, a URL inside the cluster; empty while it is disabled.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	APIEndpoint string `json:"apiEndpoint,omitempty"`
	// conditions of the cluster; see the Condition constants of the Go package for each type.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RedisStatus is what is known about Redis.
type RedisStatus struct {
	// type is the spec's redis.type.
	// +optional
	Type RedisType `json:"type,omitempty"`
	// ready tells whether the condition RedisReady is True.
	// +optional
	Ready bool `json:"ready"`
}
