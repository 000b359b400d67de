#!/bin/bash
# check-clean.sh COMMAND...: runs it, compares this machine before and after, and fails when something of it is left.
#
# Compared: mounts, network devices, routes, firewall rules, named network namespaces, control groups, kernel settings,
# entries of system folders, and processes that came from the cluster's programs or live in namespaces other than this
# shell's. CHECK_CLEAN_IGNORE is a regular expression for lines that something else on a busy machine causes.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/settings.sh"

# Each line says what and which, so that the comparison explains itself.
snapshot() {
  local d
  awk '{print "mount " $5 " " $9 " " $10}' /proc/self/mountinfo
  ip -o link | awk -F': ' '{print "device " $2}'
  { ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; } | sed 's/ expires [0-9]*sec//; s/^/route /'
  # Counters change by themselves. The legacy tables are apart from nftables'.
  { nft list ruleset 2> /dev/null | sed -E 's/counter packets [0-9]+ bytes [0-9]+//'
    iptables-legacy-save 2> /dev/null | sed -E '/^#/d; s/\[[0-9]+:[0-9]+\]//'; } | sed 's/^/firewall /'
  for d in /run/netns /run /var/lib /var/log /var/run /tmp /etc /opt /dev/shm; do
    [ ! -d $d ] || find -L $d -maxdepth 1 -mindepth 1 -printf "entry $d/%f\n" 2> /dev/null
  done
  # Deeper than the top level other programs come and go.
  find /sys/fs/cgroup -mindepth 1 -type d \( -path '*wscluster*' -o -name 'kubepods*' \) -printf 'control group %p\n' 2> /dev/null
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -printf 'control group %p\n' 2> /dev/null
  sysctl -a 2> /dev/null | grep -E '^(vm|kernel\.(panic|keys|pid_max)|net\.(ipv4|ipv6|bridge|core|netfilter)|fs\.inotify)' |
    grep -vE 'stat_refresh|nf_conntrack_count|max_newidle|drop_caches|nr_hugepages|fs\.dentry|neigh' | sed 's/^/setting /'
  processes
}

# processes: those that can only be the cluster's.
processes() {
  local p exe namespace own
  own=$(readlink /proc/self/ns/net)
  for p in /proc/[0-9]*; do
    exe=$(readlink "$p/exe" 2> /dev/null) || continue
    namespace=$(readlink "$p/ns/net" 2> /dev/null) || continue
    if [[ $exe == "$cache"/* ]] || [ "$namespace" != "$own" ] || grep -qs wscluster "$p/cgroup"; then
      echo "process $exe $(tr '\0' ' ' < "$p/cmdline" 2> /dev/null | cut -c1-100)"
    fi
  done
}

[ $# -gt 0 ] || die "check-clean.sh needs a command, such as: check-clean.sh sh -c 'hack/cluster/cluster up && hack/cluster/cluster down'"
[ "$(id -u)" = 0 ] || die "check-clean.sh needs root to see everything; run: sudo -E $0 $*"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/check-clean.XXXXXX")
trap 'rm -rf "$work"' EXIT

filtered() { snapshot | grep -vE "${CHECK_CLEAN_IGNORE:-^$}" | sort -u; }
filtered > "$work/before"
status=0
"$@" || status=$?

# The kernel takes network devices and control groups away a moment after their last user.
for _ in $(seq 20); do
  filtered > "$work/after"
  cmp -s "$work/before" "$work/after" && break
  sleep 0.5
done
if ! diff "$work/before" "$work/after" > "$work/diff"; then
  echo "check-clean.sh: the machine is not as it was ('<' is gone, '>' is new):" >&2
  grep '^[<>]' "$work/diff" >&2
  exit 1
fi
echo "check-clean.sh: nothing is left behind ($(wc -l < "$work/after") facts compared)" >&2
exit $status
