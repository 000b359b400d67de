package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
)

// RedisType names a kind of Redis.
//
// +kubebuilder:validation:Enum=Standalone;External
type RedisType string

// The values of RedisType.
const (
	// RedisStandalone is one Redis made by the operator.
	RedisStandalone RedisType = "Standalone"
	// RedisExternal is a Redis that somebody else runs.
	RedisExternal RedisType = "External"
)

// Redis is where the gateways meet; a union by type.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'External' || has(self.external)",message="redis.type External needs redis.external with addresses, for example [\"redis.example.com:6379\"]"
// +kubebuilder:validation:XValidation:rule="self.type == 'External' || !has(self.external)",message="redis.external is set but redis.type is not External; set redis.type to External, or remove redis.external"
// +kubebuilder:validation:XValidation:rule="self.type == 'Standalone' || !has(self.standalone)",message="redis.standalone is set but redis.type is not Standalone; set redis.type to Standalone, or remove redis.standalone"
type Redis struct {
	// type is Standalone (default: one Redis made by the operator) or External (one that somebody else runs).
	// +kubebuilder:default=Standalone
	// +optional
	Type RedisType `json:"type,omitempty"`
	// standalone configures the Redis that the operator makes; only with type Standalone.
	// +optional
	Standalone *StandaloneRedis `json:"standalone,omitempty"`
	// external says where the Redis is; only with type External.
	// +optional
	External *ExternalRedis `json:"external,omitempty"`
}

// StandaloneRedis is one Redis made by the operator. It never evicts: when its memory is full, publishers get unavailable.
//
// +kubebuilder:validation:XValidation:rule="!has(self.resources) || !has(self.resources.limits) || !('memory' in self.resources.limits) || quantity(string(self.maxMemory)).isLessThan(quantity(string(self.resources.limits['memory'])))",message="redis.standalone.maxMemory must be below resources.limits.memory, since Redis needs room beside its data; leave at least half of maxMemory on top"
type StandaloneRedis struct {
	// storage keeps an append-only file on a volume; absent: memory only.
	// +optional
	Storage *Storage `json:"storage,omitempty"`
	// resources of the Redis container; default: requests of 100m CPU, and a memory request and limit of one and a half times maxMemory plus 32Mi.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// image of Redis 7.0 or later, or Valkey; default: the one that the operator was released with.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[A-Za-z0-9][A-Za-z0-9._/:@-]*$')",message="write an image reference such as registry.example.com/redis:7.4"
	// +optional
	Image string `json:"image,omitempty"`
	// maxMemory for data, at least 16Mi, default 256Mi.
	// +kubebuilder:default="256Mi"
	// +kubebuilder:validation:XValidation:rule="isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('16Mi')) >= 0",message="write an amount of memory of at least 16Mi, for example 256Mi"
	// +optional
	MaxMemory resource.Quantity `json:"maxMemory,omitzero"`
}

// OnDelete says what becomes of a volume when its WebSocketCluster is deleted.
//
// +kubebuilder:validation:Enum=Retain;Delete
type OnDelete string

// The values of OnDelete.
const (
	OnDeleteRetain OnDelete = "Retain"
	OnDeleteDelete OnDelete = "Delete"
)

// Storage is one volume a Redis.
//
// +kubebuilder:validation:XValidation:rule="self.size == oldSelf.size && has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storage.size and storage.storageClassName cannot be changed, since Kubernetes keeps the claims of a StatefulSet as they are; expand the PersistentVolumeClaim itself, or make a new WebSocketCluster"
type Storage struct {
	// size of the volume, at least 1Mi; leave room for twice maxMemory.
	// +kubebuilder:validation:XValidation:rule="isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('1Mi')) >= 0",message="write the size of a volume, for example 1Gi"
	// +required
	Size resource.Quantity `json:"size,omitempty,omitzero"`
	// storageClassName of the volume; absent: the cluster's default class.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// onDelete is Retain (default: the volume outlives the WebSocketCluster) or Delete.
	// +kubebuilder:default=Retain
	// +optional
	OnDelete OnDelete `json:"onDelete,omitempty"`
}

// ExternalMode names how an external Redis is set up.
//
// +kubebuilder:validation:Enum=Standalone;Sentinel;Cluster
type ExternalMode string

// The values of ExternalMode.
const (
	// ExternalStandalone is one Redis, or a proxy that looks like one.
	ExternalStandalone ExternalMode = "Standalone"
	// ExternalSentinel is a primary with replicas that sentinels watch.
	ExternalSentinel ExternalMode = "Sentinel"
	// ExternalCluster is a Redis Cluster.
	ExternalCluster ExternalMode = "Cluster"
)

// ExternalRedis is a Redis that somebody else runs. Its user needs every command on keys and channels that start with
// the cluster's prefix, <namespace>.<name>.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'Standalone' || size(self.addresses) == 1",message="redis.external.mode Standalone takes exactly one address"
// +kubebuilder:validation:XValidation:rule="!has(self.usernameSecretRef) || has(self.passwordSecretRef)",message="redis.external.usernameSecretRef needs passwordSecretRef beside it"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Sentinel' || has(self.masterName)",message="redis.external.mode Sentinel needs redis.external.masterName: the name under which the sentinels know the primary, such as mymaster"
// +kubebuilder:validation:XValidation:rule="self.mode == 'Sentinel' || !has(self.masterName)",message="redis.external.masterName is set but redis.external.mode is not Sentinel; set the mode to Sentinel, or remove masterName"
type ExternalRedis struct {
	// mode is Standalone (default), Sentinel (addresses are the sentinels) or Cluster (addresses are some of its nodes).
	// +kubebuilder:default=Standalone
	// +optional
	Mode ExternalMode `json:"mode,omitempty"`
	// addresses as host:port, 1 to 16: exactly one with mode Standalone, best all sentinels with mode Sentinel.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=300
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([A-Za-z0-9._-]+|\\\\[[0-9a-fA-F:.]+\\\\]):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535",message="write an address as host:port without a scheme, such as redis.example.com:6379; TLS is switched on by redis.external.tls"
	// +required
	Addresses []string `json:"addresses,omitempty"`
	// masterName is the name under which the sentinels know the primary; only with mode Sentinel.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="write the name as the sentinels know it: letters, digits, dots, dashes and underscores"
	// +optional
	MasterName string `json:"masterName,omitempty"`
	// usernameSecretRef names the entry of a Secret with the user name; absent: the user named default. A changed name is read
	// when pods restart.
	// +optional
	UsernameSecretRef *SecretKeyReference `json:"usernameSecretRef,omitempty"`
	// passwordSecretRef names the entry of a Secret with the password; absent: none. A changed password is used for new connections.
	// +optional
	PasswordSecretRef *SecretKeyReference `json:"passwordSecretRef,omitempty"`
	// tls switches TLS on when it is present, also as {}.
	// +optional
	TLS *RedisTLS `json:"tls,omitempty"`
}

// RedisTLS says how a TLS connection to Redis is checked.
type RedisTLS struct {
	// caSecretRef names the entry of a Secret with the certificates that are trusted, in PEM; absent: the system's.
	// +optional
	CASecretRef *SecretKeyReference `json:"caSecretRef,omitempty"`
	// certSecretRef names a Secret of type kubernetes.io/tls with the client's certificate; absent: none.
	// +optional
	CertSecretRef *SecretReference `json:"certSecretRef,omitempty"`
	// serverName is the name that Redis's certificate must be for; absent: the host of the address that is connected to. It is needed
	// where Redis is reached by another name or by an IP address, such as the nodes of a Redis Cluster that announce addresses.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$')",message="write a host name without scheme or port, such as redis.example.com"
	// +optional
	ServerName string `json:"serverName,omitempty"`
}
