#!/bin/bash
# Writes what is generated from markers in Go code: the CRD from api/, the operator's role from pkg/controller, and the
# chart's copies of both, since Helm can only read files inside its chart.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
generator=$(hack/tools/build.sh controller-gen)/controller-gen
"$generator" crd paths=./api/... output:crd:dir=config/crd/bases
"$generator" rbac:roleName=wscluster-operator paths=./pkg/controller/... output:rbac:dir=config/rbac

mkdir -p charts/wscluster/files
cp config/crd/bases/wscluster.dev_websocketclusters.yaml charts/wscluster/files/crd.yaml
cp config/rbac/role.yaml charts/wscluster/files/role.yaml
