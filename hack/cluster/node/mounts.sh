# What of the file system a node has to itself. Everything else is this machine's, so that tools, the repository and
# Go's caches are at hand inside.
# shellcheck shell=bash

isolate_mounts() {
  # A sysfs shows the network namespace of whoever mounted it. The control groups below it are kept.
  mkdir -p "$dir/cgroup"
  mount --move /sys/fs/cgroup "$dir/cgroup"
  mount -t sysfs sysfs /sys
  mount --move "$dir/cgroup" /sys/fs/cgroup

  # Not even an address of a resolver may get in from outside: an empty file, also where resolv.conf is a link into /run.
  : > "$dir/resolv.conf"
  mount -t tmpfs tmpfs /run
  mkdir -p /run/lock
  local resolv; resolv=$(readlink -m /etc/resolv.conf)
  mkdir -p "$(dirname "$resolv")"
  [ -e "$resolv" ] || : > "$resolv"
  mount --bind "$dir/resolv.conf" "$resolv"

  # Fixed folders of kubelet (/var/lib/kubelet, /var/log/containers), libcni (/var/lib/cni) and others.
  mount -t tmpfs tmpfs /var/log
  mkdir -p "$dir/var-lib/upper" "$dir/var-lib/work"
  mount -t overlay overlay /var/lib -o "lowerdir=/var/lib,upperdir=$dir/var-lib/upper,workdir=$dir/var-lib/work"

  # Kubernetes wants mounts to spread from the node into its pods.
  mount --make-rshared /
}
