#!/usr/bin/env bash
# Proves the guarantees of docs/protocol.md under faults: pkg/internal/faults, with real gateways and a real Redis.
# usage: faults.sh RUNS [SEED [FLAGS OF GO TEST]...]    The logs of failing runs stay in dist/faults.
#
# FAULTS_DOCS=FILE also writes the table into FILE, between its marks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=$1 seed=${2:-0}
shift; shift || true
hack/install-deps.sh --check test
mkdir -p dist/faults
# Runs wait more than they work: four at once keep two cores half busy.
exec go test -count=1 -timeout "$((5 + runs / 4))m" -parallel 4 -v "$@" -run '^TestNothingIsLostDoubledOrReorderedUnderFaults$' \
  ./pkg/internal/faults -runs "$runs" -seed "$seed" -logs "$PWD/dist/faults" ${FAULTS_DOCS:+-docs "$PWD/$FAULTS_DOCS"}
