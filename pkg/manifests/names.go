package manifests

import (
	"maps"

	"k8s.io/apimachinery/pkg/labels"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// The labels by which the objects of one cluster are found.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelInstance  = "app.kubernetes.io/instance"
	LabelComponent = "app.kubernetes.io/component"
	LabelPartOf    = "app.kubernetes.io/part-of"
	LabelManagedBy = "app.kubernetes.io/managed-by"
)

// The values of the labels. ManagedBy is also the field manager of everything that the operator applies.
const (
	ManagedBy        = "wscluster-operator"
	ComponentGateway = "gateway"
	ComponentRedis   = "redis"
	appName          = "wscluster"
)

// The ports of a gateway pod and of Redis.
const (
	PublicPort = 8080
	APIPort    = 8081
	OpsPort    = 9090
	RedisPort  = 6379
)

// The names of the containers.
const (
	GatewayContainer = "gateway"
	RedisContainer   = "redis"
)

// PublicServiceName names the Service that clients connect to.
func PublicServiceName(cluster *v1alpha1.WebSocketCluster) string { return cluster.Name }

// APIServiceName names the Service of the server API.
func APIServiceName(cluster *v1alpha1.WebSocketCluster) string { return cluster.Name + "-api" }

// OpsName names the headless Service of the ops port and the Secret with its token.
func OpsName(cluster *v1alpha1.WebSocketCluster) string { return cluster.Name + "-ops" }

// GatewayName names the gateway's Deployment, ConfigMap, ServiceAccount, PodDisruptionBudget, HorizontalPodAutoscaler and NetworkPolicy.
func GatewayName(cluster *v1alpha1.WebSocketCluster) string { return cluster.Name + "-gateway" }

// RedisName names Redis's Deployment or StatefulSet, Service, ConfigMap, Secret and NetworkPolicy.
func RedisName(cluster *v1alpha1.WebSocketCluster) string { return cluster.Name + "-redis" }

// APIKeySecretName names the Secret with the server API's key: the spec's own, or the one that the operator makes.
func APIKeySecretName(cluster *v1alpha1.WebSocketCluster) string {
	if ref := cluster.Spec.API.KeySecretRef; ref != nil {
		return ref.Name
	}
	return cluster.Name + "-api-key"
}

// Selector matches the pods of one component of the cluster, and only them.
func Selector(cluster *v1alpha1.WebSocketCluster, component string) labels.Set {
	return labels.Set{LabelName: appName, LabelInstance: cluster.Name, LabelComponent: component}
}

// objectLabels are on every object of a component.
func objectLabels(cluster *v1alpha1.WebSocketCluster, component string) map[string]string {
	all := maps.Clone(map[string]string(Selector(cluster, component)))
	all[LabelPartOf] = appName
	all[LabelManagedBy] = ManagedBy
	return all
}

// ownerReference makes Kubernetes delete the object with its cluster.
func ownerReference(cluster *v1alpha1.WebSocketCluster) *meta.OwnerReferenceApplyConfiguration {
	return meta.OwnerReference().
		WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind(v1alpha1.Kind).
		WithName(cluster.Name).WithUID(cluster.UID).
		WithController(true).WithBlockOwnerDeletion(true)
}
