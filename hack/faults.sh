#!/usr/bin/env bash
# Breaks gateways, Redis and the links between them at random, and checks that nothing is lost, doubled or reordered.
#
#   faults.sh [RUNS [SEED [FLAGS OF GO TEST]...]]
#
# RUNS is 20 unless given; SEED is that of the first run, 0 or none: a random one. The logs of failing runs stay in dist/faults.
# FAULTS_DOCS=FILE also writes the resulting table into FILE, between its marks, if no run failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
-h | --help)
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' hack/faults.sh
  exit ;;
esac
runs=${1:-20} seed=${2:-0}
shift $(($# < 2 ? $# : 2))
[[ $runs =~ ^[1-9][0-9]*$ && $seed =~ ^[0-9]+$ ]] || { echo "faults.sh: RUNS and SEED must be whole numbers such as RUNS=200 SEED=17, not $runs and $seed" >&2; exit 2; }
hack/install-deps.sh --check test
mkdir -p dist/faults
# Runs wait more than they work: four at once keep two cores half busy.
exec go test -count=1 -timeout "$((5 + runs / 4))m" -parallel 4 -v "$@" -run '^TestNothingIsLostDoubledOrReorderedUnderFaults$' \
  ./pkg/internal/faults -runs "$runs" -seed "$seed" -logs "$PWD/dist/faults" ${FAULTS_DOCS:+-docs "$PWD/$FAULTS_DOCS"}
