#!/bin/bash
# redis-root.sh DIR: a root file system with Redis and only what its programs load, from this distribution's packages.
# Nothing is installed on the machine: the packages are downloaded as for an empty system and unpacked.
# Prints Redis's version.
set -euo pipefail

die() { echo "hack/images/redis-root.sh: $*" >&2; exit 1; }
command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null ||
  die "making the Redis image needs apt-get and dpkg-deb (Debian or Ubuntu); elsewhere pull docker.io/library/redis and load that"

out=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/wscluster-redis.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/partial" "$work/root"
: > "$work/status"

download() {
  apt-get install -y -qq --download-only --no-install-recommends -o Dir::State::status="$work/status" \
    -o Dir::Cache::Archives="$work" -o Debug::NoLocking=1 redis-server redis-tools > "$work/apt.log" 2>&1
}
if ! download; then # no package lists yet, or older than the mirror
  [ "$(id -u)" != 0 ] || apt-get update -qq || true
  download || { tail -5 "$work/apt.log" >&2; die "the Redis packages cannot be downloaded; run apt-get update as root and try again"; }
fi
for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

rm -rf "$out"
mkdir -p "$out/data" "$out/tmp"
copy() { mkdir -p "$out$(dirname "$1")"; cp -L "$work/root$1" "$out$1"; }

# redis-server, -sentinel and -check-rdb are one program that looks at its name.
programs=(/usr/bin/redis-server /usr/bin/redis-cli)
for program in "${programs[@]}"; do copy "$program"; done
ln -s redis-server "$out/usr/bin/redis-sentinel"

# The loader itself lists what it would load, inside the unpacked tree, so that the machine's own libraries do not count.
loader=$(find "$work/root/lib64" "$work/root/lib" -maxdepth 1 -name 'ld-linux-*.so.*' 2> /dev/null | head -1)
loader=${loader#"$work/root"}
for program in "${programs[@]}"; do chroot "$work/root" "$loader" --list "$program"; done |
  awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/lib/ {print $1}' | sort -u |
  while read -r library; do copy "$library"; done

# Redis and libc look the user up by number; without this line they warn.
mkdir -p "$out/etc"
echo 'redis:x:999:999::/data:/usr/sbin/nologin' > "$out/etc/passwd"
chroot "$out" /usr/bin/redis-server --version | sed 's/.* v=\([0-9.]*\).*/\1/'
