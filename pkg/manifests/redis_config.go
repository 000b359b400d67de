package manifests

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// The files in a Redis pod.
const (
	redisConfigDirectory = "/etc/redis"
	redisConfigFile      = "redis.conf"
	redisDataDirectory   = "/data"
)

// defaultMaxMemory holds for a cluster that says nothing about its Redis; the schema gives the same to one that does.
const defaultMaxMemory = "256Mi"

// standalone returns what the spec says about the operator's own Redis, with defaults.
func standalone(cluster *v1alpha1.WebSocketCluster) v1alpha1.StandaloneRedis {
	var wanted v1alpha1.StandaloneRedis
	if cluster.Spec.Redis.Standalone != nil {
		wanted = *cluster.Spec.Redis.Standalone
	}
	if wanted.MaxMemory.IsZero() {
		wanted.MaxMemory = resource.MustParse(defaultMaxMemory)
	}
	return wanted
}

// redisConfigMap holds redis.conf.
func (b builder) redisConfigMap() Object {
	return core.ConfigMap(RedisName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentRedis)).WithOwnerReferences(ownerReference(b.cluster)).
		WithData(map[string]string{redisConfigFile: redisConfig(b.cluster)})
}

// redisConfig never lets Redis evict: a full Redis refuses a write, which the publisher is told, but a message that was acked
// does not vanish. Memory-only Redis writes no snapshots; with storage every write is in the append-only file within a second.
func redisConfig(cluster *v1alpha1.WebSocketCluster) string {
	wanted := standalone(cluster)
	appendOnly := "no"
	if wanted.Storage != nil {
		appendOnly = "yes"
	}
	return fmt.Sprintf(`# Written by wscluster-operator; change redis.standalone of the WebSocketCluster instead.
bind * -::*
port %d
protected-mode no
dir %s
aclfile %s/%s
maxmemory %d
maxmemory-policy noeviction
save ""
appendonly %s
appendfsync everysec
tcp-keepalive 30
timeout 0
`, RedisPort, redisDataDirectory, redisConfigDirectory, redisACLKey, wanted.MaxMemory.Value(), appendOnly)
}
