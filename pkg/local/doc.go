// Package local runs a WebSocketCluster file on this machine without Kubernetes: the same file, the same validation and the
// same settings, with child processes instead of pods. It starts Redis (redis-server, else one embedded in this process),
// as many gateways as the file has replicas, and in front of them a TCP balancer with the affinity of a Kubernetes Service;
// it restarts what dies, and follows the file while it changes as the operator would.
//
// It owns these processes, their files and the balancer. It does not own what the fields of the file mean (api/v1alpha1), how
// they become settings (package manifests), nor what a gateway does (package gateway). It has nothing to do with nodes,
// volumes, quotas, ingresses and autoscaling: Run says which of these the file asks for.
package local
