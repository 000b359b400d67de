// Package crd carries the generated CustomResourceDefinitions inside binaries, for offline validation and for tests.
// It owns no logic; controller-gen writes bases/ from the markers in api/v1alpha1.
package crd

import _ "embed"

// WebSocketClusters is the YAML of the CustomResourceDefinition websocketclusters.wscluster.dev.
//
//go:embed bases/wscluster.dev_websocketclusters.yaml
var WebSocketClusters []byte
