package manifests

import (
	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
)

// redisService is where the gateways find Redis.
func (b builder) redisService() Object {
	return b.service(RedisName(b.cluster), ComponentRedis).WithSpec(core.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithSelector(Selector(b.cluster, ComponentRedis)).
		WithPorts(servicePort(redisPortName, RedisPort)))
}
