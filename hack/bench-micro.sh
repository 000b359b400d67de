#!/usr/bin/env bash
# Runs the Go benchmarks of the fast path here and at the last commit, in turn, and compares them by benchstat.
# usage: bench-micro.sh [REGEXP]    which benchmarks; default: all
# BASE=commit compares with another commit; with nothing changed since HEAD the base is the commit before it.
# COUNT=n rounds, default 6 (benchstat wants that many); PACKAGES="./pkg/hub ..." which packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pattern=${1:-.}
count=${COUNT:-6}
packages=${PACKAGES:-./pkg/protocol ./pkg/socket ./pkg/hub ./pkg/backplane/...}
base=${BASE:-}
if [ -z "$base" ]; then
  base=HEAD
  git diff --quiet HEAD -- pkg || base_is_changed=1
  [ -n "${base_is_changed:-}" ] || base=HEAD~1
fi

old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" | tar -x -C "$old"
mkdir -p dist/bench

# build FOLDER INTO: compiles the test binaries once, so that the rounds only run them.
build() {
  mkdir -p "$2"
  local package
  # shellcheck disable=SC2086 # a list of packages
  for package in $(cd "$1" && go list $packages); do
    (cd "$1" && go test -c -o "$2/${package//\//_}.test" "$package") || echo "left out: $package does not build in $1" >&2
  done
}
echo "Building the benchmarks of $(git rev-parse --short "$base") and of the working tree"
build "$old" "$old/.bench"
build "$PWD" "$PWD/dist/bench/micro"

: >dist/bench/old.txt
: >dist/bench/new.txt
for round in $(seq "$count"); do
  echo "Round $round of $count" >&2
  for binary in dist/bench/micro/*.test; do
    name=$(basename "$binary")
    [ ! -x "$old/.bench/$name" ] || "$old/.bench/$name" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime 100ms >>dist/bench/old.txt || true
    "$binary" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime 100ms >>dist/bench/new.txt
  done
done
go -C bench tool benchstat "$(git rev-parse --short "$base")=$PWD/dist/bench/old.txt" "tree=$PWD/dist/bench/new.txt"
