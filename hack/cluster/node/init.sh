#!/bin/bash
# init.sh N: PID 1 of node N. Runs in fresh mount, network, PID, UTS and IPC namespaces; when it dies the kernel takes all
# of the node's processes, mounts and devices away, which is what makes `cluster down` and a sudden death of a node simple.
# Node 1 also runs the control plane.
set -euo pipefail
n=$1
. "$(dirname "$(readlink -f "$0")")/../settings.sh"
. "$here/cgroups.sh"
for part in mounts network services containerd control-plane kubelet; do . "$here/node/$part.sh"; done

name=node-$n
ip=$node_net.$n
dir=$state/$name
logs=$dir/logs
pki=$state/pki
tools=$(cat "$state/tools")
export PATH=$tools:$PATH

hostname "$name"
mkdir -p "$logs" "$dir/kubelet" "$dir/containerd" "$dir/pod-logs"
enter_node_cgroup "$n"
isolate_mounts
bring_up_network
: > "$dir/network-ready"

start_containerd
[ "$n" != 1 ] || start_etcd_and_apiserver
wait_for 30 "containerd on $name" ctr version
import_images &
importing=$!
kubectl=(kubectl --kubeconfig "$pki/admin.kubeconfig")
wait_for 60 "the API server" "${kubectl[@]}" get --raw /readyz
[ "$n" != 1 ] || start_controllers
start_kube_proxy
wait $importing || die "images cannot be imported; see $logs/images.log"
start_kubelet
keep_services_running
