#!/bin/bash
# e2e.sh: runs the end-to-end tests (test/e2e) on a real Kubernetes of two nodes on this machine. Brings the cluster up if it is
# not, loads the images, and leaves the cluster up. Arguments go to the tests, such as -test.run TestHelmRelease, -test.v or
# -artifacts DIR; E2E_LOAD=0 skips the images, for another run of the same source.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit ;; esac

cluster=hack/cluster/cluster
# Clients need addresses of their own inside the cluster's network, and a node is killed: only the cluster built here has both.
export CLUSTER=built NODES=2
"$cluster" up
if [ "${E2E_LOAD:-1}" = 1 ]; then
  VERSION=dev "$cluster" load
  # The same source as another release, to update to.
  VERSION=e2e "$cluster" load gateway operator
fi
HELM=$(hack/tools/build.sh helm)/helm
KUBECTL=$(hack/tools/build.sh kubectl)/kubectl
export HELM KUBECTL

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
CGO_ENABLED=0 go test -tags e2e -c -o "$folder/e2e.test" ./test/e2e
cd test/e2e
../../$cluster net "$folder/e2e.test" -test.timeout 40m -test.parallel "${E2E_PARALLEL:-4}" "$@"
