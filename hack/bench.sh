#!/usr/bin/env bash
# Compares the gateway with other servers (bench/) and writes table and chart into docs/performance.md.
# usage: bench.sh [flags of bench]    -short (a minute, writes nothing), -run room, -only wscluster,bare, -rounds 7, -h
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v redis-server >/dev/null || {
  echo "redis-server is missing: hack/install-deps.sh test installs it" >&2
  exit 1
}
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" # for the scenarios with the most clients
out=$PWD/dist/bench/bin
mkdir -p "$out"
echo "Building the gateway and the servers that it is compared with (some minutes the first time)" >&2
CGO_ENABLED=0 go build -trimpath -o "$out/gateway" ./cmd/gateway
go -C bench build -o "$out/" ./peers/... .
exec "$out/bench" -bin "$out" -docs docs/performance.md "$@"
