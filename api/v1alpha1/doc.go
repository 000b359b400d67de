// Package v1alpha1 is the WebSocketCluster resource: its Go types, its defaults and validation (as markers that controller-gen
// turns into the CRD), and the names of its conditions and reasons. It is the only Go API of this project under a promise.
// It holds no logic: builders live in pkg/manifests, the reconciler in pkg/controller, offline validation in validation/.
//
// +kubebuilder:object:generate=true
// +groupName=wscluster.dev
package v1alpha1
