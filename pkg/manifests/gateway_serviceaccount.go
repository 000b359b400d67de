package manifests

import (
	core "k8s.io/client-go/applyconfigurations/core/v1"
)

// gatewayServiceAccount gives the pods an identity of their own, without a token: a gateway never talks to the API server.
func (b builder) gatewayServiceAccount() Object {
	return core.ServiceAccount(GatewayName(b.cluster), b.cluster.Namespace).
		WithLabels(objectLabels(b.cluster, ComponentGateway)).WithOwnerReferences(ownerReference(b.cluster)).
		WithAutomountServiceAccountToken(false)
}
