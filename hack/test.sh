#!/bin/bash
# Runs `go test` with what the tests need: Debian packages (checked, not installed) and the built tools.
#
#   test.sh [--needs GROUP] [ARGUMENTS OF GO TEST]... PACKAGE...
#
# A real kube-apiserver is always there, in KUBEBUILDER_ASSETS. GROUP is also the build tag of the tests that need more:
# browser (a Chromium) or chart (helm and kustomize).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v go > /dev/null || { echo "Go is not installed; install the version named in go.mod from https://go.dev/dl" >&2; exit 1; }
packages=(test)
arguments=()
if [ "${1:-}" = --needs ]; then
  case $2 in
  browser) packages+=(browser) ;;
  chart)
    HELM=$(hack/tools/build.sh helm)/helm
    KUSTOMIZE=$(hack/tools/build.sh kustomize)/kustomize
    export HELM KUSTOMIZE ;;
  *) echo "hack/test.sh: there is no group '$2'; say browser or chart" >&2; exit 2 ;;
  esac
  arguments=(-tags "$2")
  shift 2
fi
hack/install-deps.sh --check "${packages[@]}"
KUBEBUILDER_ASSETS=${KUBEBUILDER_ASSETS:-$(hack/tools/build.sh envtest)}
export KUBEBUILDER_ASSETS
exec go test "${arguments[@]}" "$@"
