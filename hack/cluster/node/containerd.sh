# containerd and the images that every node has from the start.
# shellcheck shell=bash

start_containerd() {
  cat > "$dir/containerd.toml" << TOML
version = 3
root = "$dir/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "/run/containerd/containerd.sock"
# There is no registry to pull it from again.
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "wscluster.dev/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE (inside many virtual machines and containers) a lower score is an error, not a wish.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$tools/cni"]
    conf_dir = "$dir/cni/conf"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
  start containerd containerd --config "$dir/containerd.toml"
}

# import_images: those of the cluster itself, and those of earlier `cluster load`s when a node comes back or is added.
import_images() {
  local archive jobs=()
  while read -r archive; do
    ctr -n k8s.io images import "$archive" >> "$logs/images.log" 2>&1 &
    jobs+=($!)
  done < <(sort -u "$state/images")
  for job in "${jobs[@]}"; do wait "$job"; done
}
