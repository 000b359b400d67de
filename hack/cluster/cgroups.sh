# The nodes' control groups. Besides limiting pods they are the record of what runs: node N's own processes are in
# wscluster/node-N/system, so neither a stale pid file nor a lost one can mislead `cluster down`.
# shellcheck shell=bash

cgroup_root=/sys/fs/cgroup
cgroup_controllers=(cpu cpuacct cpuset memory devices freezer blkio pids systemd) # version 1, one hierarchy each

cgroup_is_v2() { [ -f $cgroup_root/cgroup.controllers ]; }

# cgroup_home: the hierarchy that records processes.
cgroup_home() { if cgroup_is_v2; then echo $cgroup_root; else echo $cgroup_root/pids; fi; }

# cgroup_trees: the cluster's folder in every hierarchy.
cgroup_trees() {
  local d
  for d in $cgroup_root/wscluster $cgroup_root/*/wscluster; do [ ! -d "$d" ] || echo "$d"; done
}

# make_node_cgroups N: the root of the node's pods (kubelet's cgroupRoot) and, beside it, the home of its own processes.
make_node_cgroups() {
  local node=wscluster/node-$1 controller d f
  if cgroup_is_v2; then
    mkdir -p $cgroup_root/$node/system
    # A controller that the kernel does not have must not keep the others away, hence one write each.
    for d in $cgroup_root $cgroup_root/wscluster $cgroup_root/$node; do
      for controller in cpuset cpu io memory pids hugetlb; do
        echo "+$controller" > $d/cgroup.subtree_control 2> /dev/null || true
      done
    done
    return
  fi
  for controller in "${cgroup_controllers[@]}"; do
    [ -d $cgroup_root/$controller ] || continue
    mkdir -p $cgroup_root/$controller/$node
    [ $controller = cpuset ] || continue
    for d in wscluster $node; do # a new cpuset is empty, and nothing can run in it before it is filled in
      for f in cpuset.cpus cpuset.mems; do cat $cgroup_root/cpuset/$f > $cgroup_root/cpuset/$d/$f; done
    done
  done
  mkdir -p "$(cgroup_home)/$node/system"
}

# enter_node_cgroup N: the calling shell, and all it starts from now on, belong to the node.
enter_node_cgroup() { echo 0 > "$(cgroup_home)/wscluster/node-$1/system/cgroup.procs"; }

# node_pid N: the node's PID 1 as this machine numbers it; fails when the node does not run.
node_pid() {
  local pid
  for pid in $(cat "$(cgroup_home)/wscluster/node-$1/system/cgroup.procs" 2> /dev/null); do
    if [ "$(awk '/^NSpid:/ {print $NF; exit}' "/proc/$pid/status" 2> /dev/null)" = 1 ]; then echo "$pid"; return; fi
  done
  return 1
}

cluster_pids() { cgroup_trees | while read -r d; do find "$d" -name cgroup.procs -exec cat {} + 2> /dev/null; done | sort -un; }

remove_cgroups() {
  local d tries
  for d in $(cgroup_trees); do
    for tries in 1 2 3 4 5 6 7 8 9 10; do # the kernel lets go of a group a moment after its last process
      find "$d" -depth -type d -exec rmdir {} + 2> /dev/null || true
      [ -d "$d" ] || break
      sleep 0.1
    done
    [ ! -d "$d" ] || { echo "cluster: the control group $d cannot be removed (tried $tries times)" >&2; return 1; }
  done
}
