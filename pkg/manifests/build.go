package manifests

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// Release holds what an operator release brings along.
type Release struct {
	// GatewayImage runs where spec.image is empty.
	GatewayImage string
	// RedisImage runs where spec.redis.standalone.image is empty.
	RedisImage string
}

// Object is one child object, ready for server-side apply. Its getters never return nil for what a builder of this package made.
type Object interface {
	runtime.ApplyConfiguration
	GetAPIVersion() *string
	GetKind() *string
	GetNamespace() *string
	GetName() *string
}

// Kinds lists every kind that Build can return, so that what is no longer wanted can be looked for.
func Kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		{Version: "v1", Kind: "Secret"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "ServiceAccount"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "apps", Version: "v1", Kind: "StatefulSet"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
		{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"},
	}
}

// Build returns every object that the cluster wants, in the order in which they should be written: what pods need comes before
// the pods. An object that is not returned is not wanted. The credentials must be complete; see NeededCredentials.
// The error is a setting that the gateway would refuse, which the schema should have refused before.
func Build(cluster *v1alpha1.WebSocketCluster, release Release, credentials Credentials) ([]Object, error) {
	file, err := settingsFile(cluster)
	if err != nil {
		return nil, fmt.Errorf("build the gateway's settings: %w", err)
	}
	b := builder{cluster: cluster, release: release, credentials: credentials, settings: file}

	objects := []Object{b.opsSecret()}
	if hasOwnAPIKey(cluster) {
		objects = append(objects, b.apiKeySecret())
	}
	if cluster.Spec.Redis.Type == v1alpha1.RedisStandalone {
		objects = append(objects, b.redisSecret(), b.redisConfigMap(), b.redisService(), b.redisWorkload())
		if guarded(cluster) {
			objects = append(objects, b.redisNetworkPolicy())
		}
	}
	objects = append(objects, b.gatewayServiceAccount(), b.gatewayConfigMap(), b.publicService(), b.opsService())
	if cluster.Spec.API.Mode == v1alpha1.ModeEnabled {
		objects = append(objects, b.apiService())
	}
	if guarded(cluster) {
		objects = append(objects, b.gatewayNetworkPolicy())
	}
	objects = append(objects, b.gatewayDeployment(), b.gatewayDisruptionBudget())
	if cluster.Spec.Autoscaling != nil {
		objects = append(objects, b.gatewayAutoscaler())
	}
	if cluster.Spec.Ingress != nil {
		objects = append(objects, b.ingress())
	}
	return objects, nil
}

// builder holds the inputs of all builders. It is read only.
type builder struct {
	cluster     *v1alpha1.WebSocketCluster
	release     Release
	credentials Credentials
	// settings is the gateway's configuration file and the hash of what a running gateway cannot reload.
	settings renderedSettings
}

func guarded(cluster *v1alpha1.WebSocketCluster) bool {
	return cluster.Spec.NetworkPolicy.Mode == v1alpha1.ModeEnabled
}
