#!/bin/bash
# Makes container images as docker-archives, without a container engine, a registry or root; the same sources give the
# same bytes. Prints the path of each archive; `docker load -i`, `kind load image-archive` and `ctr images import` take them.
#
#   build.sh [NAME...]         gateway operator redis (the default), pause coredns metrics-server (for hack/cluster)
#   build.sh --stage DIR       only put the gateway's and the operator's binaries into DIR, as the Dockerfile's
#                              BINARIES=prebuilt wants them
#
# VERSION (default dev) is the tag of gateway and operator, and the version they report. Redis has it as a second tag, so
# that all images of one release can be named alike.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wscluster/images
version=${VERSION:-dev}
registry=wscluster.dev
nonroot=65532:65532
# JWKS endpoints and rediss:// servers with public certificates are verified against these.
certificates=/etc/ssl/certs/ca-certificates.crt

die() { echo "hack/images/build.sh: $*" >&2; exit 1; }

go_build() { # OUT PACKAGE: a static binary that does not tell where and when it was built
  CGO_ENABLED=0 GOFLAGS="" go -C "$root" build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/wscluster/wscluster/pkg/version.Version=$version" -o "$1" "$2"
}

archive() { # NAME TAG[,TAG...] ENTRYPOINT USER SOURCE:DESTINATION...
  local name=$1 tag=$2 entrypoint=$3 user=$4; shift 4
  local out=$cache/$name-${tag%%,*}.tar
  "$cache/bin/archive" -ref "$registry/$name:${tag//,/,$registry/$name:}" -entrypoint "$entrypoint" -user "$user" -out "$out" "$@"
  echo "$out"
}

module_version() { awk -v m="$1" '$1 == m || $2 == m {for (i = 1; i <= NF; i++) if ($i ~ /^v[0-9]/) {print substr($i, 2); exit}}' "$root/hack/tools/kubernetes/go.mod"; }

tool() { echo "$("$root/hack/tools/build.sh" "$1")/$1"; }

image() {
  case $1 in
  gateway)
    [ -r $certificates ] || die "$certificates is missing; install the package ca-certificates"
    go_build "$cache/bin/gateway" ./cmd/gateway
    archive gateway "$version" /gateway $nonroot "$cache/bin/gateway:/gateway" "$certificates:$certificates" ;;
  operator)
    go_build "$cache/bin/operator" ./cmd/operator
    archive operator "$version" /operator $nonroot "$cache/bin/operator:/operator" ;;
  redis)
    local tree=$cache/redis-root
    # Kept for a day: long enough to be quick, short enough to bring Debian's security fixes along.
    if [ -z "$(find "$tree/version" -mtime -1 2> /dev/null)" ]; then
      "$root/hack/images/redis-root.sh" "$tree/root" > "$tree.version"
      mv "$tree.version" "$tree/version"
    fi
    archive redis "$(cat "$tree/version"),$version" /usr/bin/redis-server 999:999 "$tree/root:/" ;;
  pause)
    go_build "$cache/bin/pause" ./hack/images/pause
    archive pause 1 /pause 65535:65535 "$cache/bin/pause:/pause" ;;
  coredns)
    archive coredns "$(module_version github.com/coredns/coredns)" /coredns $nonroot "$(tool coredns):/coredns" ;;
  metrics-server)
    archive metrics-server "$(module_version sigs.k8s.io/metrics-server)" /metrics-server $nonroot "$(tool metrics-server):/metrics-server" ;;
  *) die "there is no image '$1'; say gateway, operator, redis, pause, coredns or metrics-server" ;;
  esac
}

command -v go > /dev/null || die "Go is not installed; install the version named in go.mod from https://go.dev/dl"
mkdir -p "$cache/bin"
# One at a time: two builds must not write the same binary while the other one packs it.
exec 9> "$cache/.lock"
if command -v flock > /dev/null; then flock 9; fi

case ${1:-} in
-h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit ;;
--stage)
  [ $# = 2 ] || die "--stage takes one folder"
  mkdir -p "$2"
  stage=$(cd "$2" && pwd -P)
  go_build "$stage/gateway" ./cmd/gateway
  go_build "$stage/operator" ./cmd/operator
  cp $certificates "$stage/"
  exit ;;
esac
[ $# -gt 0 ] || set -- gateway operator redis
go_build "$cache/bin/archive" ./hack/images/archive
for name in "$@"; do image "$name"; done
