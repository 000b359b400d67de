#!/bin/bash
# Builds the developer tools (tools.txt) from the Go modules beside this file into a cache folder, and prints that folder.
#
#   build.sh NAME...               build what is missing; one line a module on stdout: the folder with the binaries
#   build.sh --print-dir NAME...   only print the folder, build nothing
#   build.sh --list                every name and group
#   build.sh --prune               remove cached folders of other versions
#
# NAME is a tool or a group of tools.txt. Progress goes to stderr. Two runs at once are safe: the second waits for the first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wscluster/tools

# The same flags for everyone, whatever the caller's environment says: they are part of the cache key, and they let
# Go's own build cache serve two checkouts in different folders.
export GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOWORK=off
tags=no_btrfs,no_zfs,no_devmapper # containerd's snapshotters that need C libraries or kernel devices

die() { echo "hack/tools/build.sh: $*" >&2; exit 1; }

# tool_rows NAME: the rows of tools.txt for a tool or a group, as "name module package".
tool_rows() {
  awk -v want="$1" '!/^#/ && NF == 4 && (want == $1 || want == $2 || want == "all") {print $1, $3, $4}' "$here/tools.txt"
}

version_of() { awk -v m="$2" '$1 == m && $2 ~ /^v/ {print $2; exit}' "$here/$1/go.mod"; }

# link_flags MODULE: the versions that the programs report; Kubernetes refuses to run without one.
link_flags() {
  case $1 in
  kubernetes)
    local k=k8s.io/component-base/version v; v=$(version_of kubernetes k8s.io/kubernetes)
    local minor=${v#v1.}; minor=${minor%%.*}
    printf '%s' "-s -w -X $k.gitMajor=1 -X $k.gitMinor=$minor -X $k.gitVersion=$v -X $k.gitTreeState=clean" \
      " -X $k.gitCommit=0000000000000000000000000000000000000000 -X $k.buildDate=2026-01-01T00:00:00Z" \
      " -X github.com/containerd/containerd/v2/version.Version=$(version_of kubernetes github.com/containerd/containerd/v2)" ;;
  helm)
    local v; v=$(version_of helm helm.sh/helm/v4)
    printf '%s' "-s -w -X helm.sh/helm/v4/internal/version.version=$v" ;;
  *) printf '%s' '-s -w' ;;
  esac
}

usual_time() { # MODULE NAMES: so that nobody thinks that it hangs (measured on 2 cores with an empty Go build cache)
  case $1 in
  kubernetes)
    case $2 in
    *kubelet*) echo "10 to 13 minutes" ;;
    *kube-apiserver*) echo "about 7 minutes" ;;
    *) echo "a few minutes" ;;
    esac ;;
  helm) echo "about 2 minutes" ;;
  lint) echo "1 to 2 minutes" ;;
  esac
}

# module_dir MODULE: its cache folder; the name changes with anything that changes the binaries.
module_dir() {
  local key
  key=$( { cat "$here/$1/go.mod" "$here/$1/go.sum"; find "$here/$1" -name '*.go' -print0 | sort -z | xargs -0 -r cat
    link_flags "$1"; echo "$tags"; go -C "$here/$1" env GOVERSION GOOS GOARCH; } | sha256sum | cut -c1-12)
  echo "$cache/$1-$key"
}

# build MODULE DIR "NAME PACKAGE"...: one go build for all of them, then an atomic rename each, so that a binary in the
# cache is always whole.
build() {
  local module=$1 dir=$2; shift 2
  local tmp start took pkgs=() row
  for row in "$@"; do pkgs+=("${row#* }"); done
  mkdir -p "$dir"; tmp=$(mktemp -d "$dir/.building.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$tmp'; rmdir '$dir' 2>/dev/null || true" EXIT
  echo "Building $(printf '%s ' "${@%% *}")(once for this version, $(usual_time "$module" "$*") on 2 cores when nothing is cached)" >&2
  start=$SECONDS
  mkdir "$tmp/bin"
  go -C "$here/$module" build -v -trimpath -tags "$tags" -ldflags "$(link_flags "$module")" -o "$tmp/bin/" "${pkgs[@]}" 2> "$tmp/log" &
  local pid=$!
  # shellcheck disable=SC2064
  trap "kill $pid 2>/dev/null; rm -rf '$tmp'; exit 130" INT TERM
  progress $pid "$tmp/log" "$start"
  if ! wait $pid; then grep -vE '^[a-zA-Z0-9._/-]+$' "$tmp/log" | tail -30 >&2; die "the build of $module failed; the lines above are go's own"; fi
  for row in "$@"; do
    local name=${row%% *} built; built=$(basename "$(echo "${row#* }" | sed -E 's#/v[0-9]+$##')")
    mkdir -p "$(dirname "$dir/$name")"
    mv "$tmp/bin/$built" "$dir/$name"
  done
  took=$((SECONDS - start)); rm -rf "$tmp"; trap - EXIT INT TERM
  echo "Built in $((took / 60)) min $((took % 60)) s: $dir" >&2
}

progress() { # PID LOG START: elapsed time and compiled packages, every second on a terminal, else every half minute
  local every=30; [ -t 2 ] && every=1
  while kill -0 "$1" 2>/dev/null; do
    sleep 1 & wait $! || true
    local t=$((SECONDS - $3))
    if [ $((t % every)) = 0 ] && kill -0 "$1" 2>/dev/null; then
      local line compiled; compiled=$(wc -l < "$2")
      line=$(printf '  %d:%02d elapsed, %s' $((t / 60)) $((t % 60)) "$([ "$compiled" = 0 ] && echo linking || echo "$compiled packages compiled")")
      if [ -t 2 ]; then printf '\r%s ' "$line" >&2; else echo "$line" >&2; fi
    fi
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
}

missing() { # DIR, rows "NAME PACKAGE" on stdin: those whose binary is not there
  while read -r name pkg; do [ -x "$1/$name" ] || echo "$name $pkg"; done
}

check_can_build() {
  command -v go > /dev/null || die "Go is not installed; install the Go version named in go.mod from https://go.dev/dl"
  mkdir -p "$cache" 2>/dev/null || die "cannot write to $cache; set XDG_CACHE_HOME to a folder that you can write to"
  local free; free=$(df -Pk "$cache" | awk 'NR == 2 {print int($4 / 1048576)}')
  [ "$free" -ge 6 ] || die "only $free GiB are free for $cache; building the tools needs 6 GiB, free some or set XDG_CACHE_HOME"
}

ensure() { # MODULE ROWS: builds the missing rows under the module's lock
  local module=$1 rows=$2 dir; dir=$(module_dir "$module")
  if [ "$print_only" = 0 ] && [ -n "$(missing "$dir" <<< "$rows")" ]; then
    check_can_build
    exec 9> "$cache/.lock-$module"
    if command -v flock > /dev/null && ! flock -n 9; then # without flock (macOS) two builds at once only waste time
      echo "Another build of $module is running; waiting for it" >&2
      flock 9
    fi
    local todo=() row
    while read -r row; do todo+=("$row"); done < <(missing "$dir" <<< "$rows")
    [ ${#todo[@]} = 0 ] || build "$module" "$dir" "${todo[@]}" 9>&-
    exec 9>&-
  fi
  echo "$dir"
}

prune() {
  local module dir keep=()
  for module in $(awk '!/^#/ && NF == 4 {print $3}' "$here/tools.txt" | sort -u); do keep+=("$(module_dir "$module")"); done
  for dir in "$cache"/*-*/; do
    dir=${dir%/}
    [ -d "$dir" ] && [[ " ${keep[*]} " != *" $dir "* ]] && { rm -rf "$dir"; echo "removed $dir" >&2; }
  done
  return 0
}

print_only=0
case ${1:-} in
--print-dir) print_only=1; shift ;;
--list) awk '!/^#/ && NF == 4 {printf "%-10s %s\n", $2, $1}' "$here/tools.txt" | sort; exit ;;
--prune) prune; exit ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
esac
[ $# -gt 0 ] || die "name a tool or a group: $(awk '!/^#/ && NF == 4 {print $2}' "$here/tools.txt" | sort -u | tr '\n' ' ')(--list shows the tools)"

rows=
for name in "$@"; do
  found=$(tool_rows "$name")
  [ -n "$found" ] || die "there is no tool or group '$name'; --list shows them"
  rows+=$found$'\n'
done
for module in $(awk 'NF {print $2}' <<< "$rows" | sort -u); do
  ensure "$module" "$(awk -v m="$module" '$2 == m && !seen[$1]++ {print $1, $3}' <<< "$rows")"
done
