#!/usr/bin/env bash
# Fuzzes what reads bytes that others wrote, one target after the other; what is found becomes a file in testdata/fuzz beside the test.
#
#   fuzz.sh [TIME [NAME]]
#
# TIME is how long each target runs, such as 60s (the default) or 10m; small ones run a sixth of it, in whole seconds. NAME is a regular
# expression: only the targets that match it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
-h | --help)
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' hack/fuzz.sh
  exit ;;
esac
time=${1:-60s} name=${2:-.}
[[ $time =~ ^([1-9][0-9]*)(s|m|h)$ ]] || { echo "fuzz.sh: the time must be whole seconds, minutes or hours such as 60s or 10m, not $time" >&2; exit 2; }
seconds=${BASH_REMATCH[1]}
case ${BASH_REMATCH[2]} in
m) seconds=$((seconds * 60)) ;;
h) seconds=$((seconds * 3600)) ;;
esac

# What strangers send, or a file that anybody may have written, gets the whole time. What is not listed is small; FuzzToken, whose
# tokens hardly ever get past their signature, is the small sister of FuzzClaims.
declare -A whole=([FuzzDecode]=1 [FuzzReader]=1 [FuzzClaims]=1 [FuzzParse]=1)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
found=0
for package in $(git ls-files -co --exclude-standard -- '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n 1 dirname | sort -u); do
  for target in $(grep -ho '^func Fuzz[A-Za-z0-9]*' "$package"/*_test.go | sed 's/^func //' | sort); do
    [[ $target =~ $name ]] || continue
    found=1
    for=$((${whole[$target]:-0} ? seconds : (seconds + 5) / 6))
    printf '\n%s in %s for %d s\n' "$target" "$package" "$for"
    # A worker takes a core and some 100 MB. The first minute of a long minimization finds nothing.
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${for}s" -fuzzminimizetime 10x -parallel 2 "./$package" 2>&1 | sed '/gathering baseline coverage/d' | tee "$log" && continue
    # Before Go 1.27 the end of the time is now and then taken for a failure of the target: https://go.dev/issue/75804. An input that failed
    # is always written to a file, and the log says so.
    grep -q 'context deadline exceeded' "$log" && ! grep -q -e 'Failing input written' -e panic -e 'fuzzing process' "$log" || exit 1
    echo "The time is over; nothing was found."
  done
done
[ "$found" = 1 ] || { echo "fuzz.sh: no fuzz target matches $name" >&2; exit 2; }
