# A cluster by kind, where docker is at hand.
# shellcheck shell=bash

export KUBECONFIG=$state/kubeconfig
kind_name=wscluster

kind_kubectl() { "$("$root/hack/tools/build.sh" kubectl)/kubectl" "$@"; }

# The timers are those of backend-built, so that the same end-to-end tests fit both.
kind_config() {
  local i
  cat << Y
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  controllerManager:
    extraArgs:
    - {name: horizontal-pod-autoscaler-sync-period, value: 5s}
    - {name: horizontal-pod-autoscaler-cpu-initialization-period, value: 15s}
    - {name: horizontal-pod-autoscaler-initial-readiness-delay, value: 5s}
    - {name: node-monitor-period, value: 2s}
    - {name: node-monitor-grace-period, value: 16s}
- |
  kind: InitConfiguration
  nodeRegistration: {taints: []}
nodes:
- role: control-plane
Y
  for ((i = 2; i <= nodes; i++)); do echo "- role: worker"; done
}

cluster_up() {
  kind_is_usable || die "CLUSTER=kind needs kind and a docker that runs; without them use CLUSTER=built"
  mkdir -p "$state"
  echo kind > "$state/backend"
  if ! kind get clusters 2> /dev/null | grep -qx $kind_name; then
    step "kind makes the cluster"
    kind_config | kind create cluster --name $kind_name --kubeconfig "$KUBECONFIG" --wait 120s --config - >&2 || die "kind could not make the cluster; the lines above are its own"
  fi
  kind export kubeconfig --name $kind_name --kubeconfig "$KUBECONFIG" > /dev/null 2>&1
  local archive; archive=$("$root/hack/images/build.sh" metrics-server)
  kind load image-archive --name $kind_name "$archive" >&2
  kind_kubectl apply -f "$here/addons/metrics-server.yaml" > /dev/null
  kind_kubectl -n kube-system rollout status deployment/metrics-server --timeout=180s > /dev/null || die "metrics-server did not become ready; see: cluster status"
  step "the cluster is up; export KUBECONFIG=$KUBECONFIG"
}

cluster_down() {
  kind delete cluster --name $kind_name >&2
  rm -rf "$state"
}

cluster_load() {
  local archives archive
  archives=$("$root/hack/images/build.sh" "$@")
  for archive in $archives; do kind load image-archive --name $kind_name "$archive" >&2; done
  step "loaded $(echo "$archives" | wc -l) images"
}

cluster_exec() { PATH=$("$root/hack/tools/build.sh" kubectl):$PATH exec "$@"; }
cluster_net() { die "the network of a cluster of the kind 'kind' cannot be entered; use CLUSTER=built"; }
cluster_kubeconfig() { echo "$KUBECONFIG"; }
cluster_status() { kind_kubectl get nodes,pods -A -o wide; }
cluster_logs() { docker exec "$kind_name-control-plane" journalctl -f -u "$1"; }

cluster_forward() {
  local namespace=${2%%/*} service=${2#*/}
  exec "$("$root/hack/tools/build.sh" kubectl)/kubectl" -n "$namespace" port-forward "service/${service%:*}" "$1:${service##*:}"
}

cluster_kill_node() {
  local name=$kind_name-worker
  [ "$1" != 1 ] || die "node 1 is the control plane; it stays"
  [ "$1" = 2 ] || name=$kind_name-worker$(($1 - 1))
  docker kill "$name" > /dev/null
}
