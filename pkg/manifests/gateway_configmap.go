package manifests

import (
	core "k8s.io/client-go/applyconfigurations/core/v1"
)

// gatewayConfigMap holds the gateway's settings file.
func (b builder) gatewayConfigMap() Object {
	return core.ConfigMap(GatewayName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithData(map[string]string{settingsFileName: b.settings.file})
}
