// Package manifests turns a WebSocketCluster into the objects that make it run: pure builders, one file a child object,
// (cluster, release, credentials) → typed apply configurations. It owns their names, labels and contents. It talks to no API server,
// draws no random numbers and reads no clock; applying, pruning and observing is pkg/controller's work.
//
// Builders expect a cluster that has been through the defaults of its schema, as every object from an API server and
// from api/v1alpha1/validation has.
package manifests
