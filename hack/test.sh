#!/bin/bash
# Runs `go test` with what the tests need: Debian packages (checked, not installed) and the built tools.
#
#   test.sh [--needs GROUP]... [ARGUMENTS OF GO TEST]... PACKAGE...
#
# GROUP: browser (a Chromium), chart (helm and kustomize). A real kube-apiserver is always there, in KUBEBUILDER_ASSETS.
# "./..." stands for all packages but those under test/, which need more than one command can promise.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

command -v go > /dev/null || { echo "Go is not installed; install the version named in go.mod from https://go.dev/dl" >&2; exit 1; }
packages=(test)
while [ "${1:-}" = --needs ]; do
  case $2 in
  browser) packages+=(browser) ;;
  chart)
    HELM=$(hack/tools/build.sh helm)/helm
    KUSTOMIZE=$(hack/tools/build.sh kustomize)/kustomize
    export HELM KUSTOMIZE ;;
  *) echo "hack/test.sh: there is no group '$2'; say browser or chart" >&2; exit 2 ;;
  esac
  shift 2
done
hack/install-deps.sh --check "${packages[@]}"
KUBEBUILDER_ASSETS=$(hack/tools/build.sh envtest)
export KUBEBUILDER_ASSETS

arguments=()
for a in "$@"; do
  if [ "$a" = ./... ]; then
    mapfile -t all < <(go list ./... | grep -v "^$(go list -m)/test/")
    arguments+=("${all[@]}")
  else
    arguments+=("$a")
  fi
done
exec go test "${arguments[@]}"
