#!/bin/bash
# Installs the Debian packages that developing needs; what is there already is left alone.
#
#   install-deps.sh [GROUP...]           install what is missing (default: test)
#   install-deps.sh --check [GROUP...]   install nothing; one sentence and status 1 when something is missing
#
# Groups: test (make test), browser (make test-browser), cluster (make cluster-up), all.
set -euo pipefail

# Each entry is PACKAGE:PROOF; the package counts as there when the proof, a program or a file, is (so that a Redis built
# from source, or another distribution, will do).
packages() {
  case $1 in
  # gcc and libc6-dev: the race detector needs cgo. redis-sentinel: tests of the Sentinel topology.
  test) echo make:make git:git ca-certificates:/etc/ssl/certs gcc:gcc libc6-dev:/usr/include/stdio.h \
    redis-server:redis-server redis-sentinel:redis-sentinel ;;
  browser) echo chromium:chromium fonts-dejavu-core:/usr/share/fonts/truetype ;;
  # runc, iptables, conntrack: kubelet, kube-proxy and containerd start them; procps: sysctl; util-linux: unshare, nsenter.
  cluster) echo iptables:iptables nftables:nft conntrack:conntrack runc:runc iproute2:ip procps:sysctl \
    util-linux:nsenter mount:mount kmod:modprobe ;;
  all) for g in test browser cluster; do packages $g; done ;;
  *) echo "hack/install-deps.sh: there is no group '$1'; say test, browser, cluster or all" >&2; return 1 ;;
  esac
}

check_only=0
case ${1:-} in
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit ;;
--check) check_only=1; shift ;;
esac
[ $# -gt 0 ] || set -- test
groups=$*
wanted=$(for g in "$@"; do packages "$g" || exit 1; done)

PATH=$PATH:/usr/sbin:/sbin # not in an ordinary user's PATH on Debian
missing=()
for entry in $wanted; do
  proof=${entry#*:}
  case $proof in
  /*) [ -e "$proof" ] || missing+=("${entry%%:*}") ;;
  *) command -v "$proof" > /dev/null || missing+=("${entry%%:*}") ;;
  esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get > /dev/null; then
  echo "hack/install-deps.sh: this machine has no apt-get; install the like of these with your package manager: ${missing[*]}" >&2
  exit 1
fi
if [ $check_only = 1 ]; then
  echo "missing: ${missing[*]} (Debian packages); install with: sudo hack/install-deps.sh $groups" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "hack/install-deps.sh: installing ${missing[*]} needs root; run: sudo hack/install-deps.sh $groups" >&2
  exit 1
fi

# Debian starts and enables a service as soon as its package is installed. Tests start their own redis-server on free
# ports, so nothing of ours may begin to listen on 6379 on a developer's machine: policy-rc.d forbids the start during
# the installation, and the units are disabled before the next boot. A service that was there before stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi

echo "Installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# Package lists older than the mirror name files that are gone.
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null

for p in "${missing[@]}"; do
  case $p in
  redis-server | redis-sentinel)
    if command -v systemctl > /dev/null; then systemctl disable --quiet "$p" 2> /dev/null || true; fi ;;
  esac
done
