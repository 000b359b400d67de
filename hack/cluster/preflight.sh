# What the cluster built here needs of the machine: one sentence for each thing that can be missing.
# shellcheck shell=bash

preflight() {
  [ "$(uname -s)" = Linux ] || die "a cluster can be built on Linux only; here install docker and kind, and run this again"
  [ "$(id -u)" = 0 ] || die "building a cluster needs root (namespaces, mounts, control groups); run: sudo -E $0 up"
  case $nodes in [1-$max_nodes]) ;; *) die "NODES is '$nodes'; it can be 1 to $max_nodes" ;; esac
  case $proxy_mode in iptables | nftables) ;; *) die "PROXY_MODE is '$proxy_mode'; it can be iptables or nftables" ;; esac
  command -v go > /dev/null || die "Go is not installed; install the version named in go.mod from https://go.dev/dl"
  "$root/hack/install-deps.sh" --check cluster || exit 1
  preflight_cgroups
  preflight_namespaces
  preflight_room
}

preflight_cgroups() {
  local controller
  [ -w $cgroup_root ] && [ -d $cgroup_root ] ||
    die "control groups are not mounted read-write at $cgroup_root; in a container, start it with --privileged"
  for controller in cpu memory pids; do
    if cgroup_is_v2; then
      grep -qw $controller $cgroup_root/cgroup.controllers
    else
      [ -d $cgroup_root/$controller ]
    fi || die "the kernel has no '$controller' control group at $cgroup_root; enable it on the kernel's command line"
  done
}

# Tried out rather than looked up: module lists and configuration files do not tell what this kernel lets us do.
preflight_namespaces() {
  local isolated="unshare --mount --net --pid --uts --ipc --fork --propagation private"
  $isolated true 2> /dev/null || die "this machine does not allow new namespaces; in a container, start it with --privileged"
  $isolated ip link add test0 type bridge 2> /dev/null || die "the kernel cannot make network bridges; load the module: modprobe bridge"
  $isolated ip link add test0 type veth peer name test1 2> /dev/null || die "the kernel cannot make veth devices; load the module: modprobe veth"
  if [ "$proxy_mode" = iptables ]; then
    $isolated iptables -t nat -L -n > /dev/null 2>&1 || die "iptables does not work in a new network namespace; try PROXY_MODE=nftables"
  else
    $isolated nft list ruleset > /dev/null 2>&1 || die "nftables does not work in a new network namespace; try PROXY_MODE=iptables"
  fi
  mkdir -p "$cache/.overlay-test"/{lower,upper,work,merged}
  $isolated mount -t overlay overlay "$cache/.overlay-test/merged" \
    -o "lowerdir=$cache/.overlay-test/lower,upperdir=$cache/.overlay-test/upper,workdir=$cache/.overlay-test/work" 2> /dev/null ||
    { rm -rf "$cache/.overlay-test"; die "overlay mounts do not work on $cache (itself an overlay?); set XDG_CACHE_HOME to a folder on a disk"; }
  rm -rf "$cache/.overlay-test"
}

preflight_room() {
  local free memory
  free=$(df -Pk "$cache" | awk 'NR == 2 {print int($4 / 1048576)}')
  [ "$free" -ge 3 ] || die "only $free GiB of disk are free for $cache; a cluster needs 3, free some or set XDG_CACHE_HOME"
  memory=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  [ "$memory" -ge 1500 ] || die "only $memory MiB of memory are available; a cluster needs 1500"
}
