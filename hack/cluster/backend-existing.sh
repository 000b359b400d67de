# A cluster that somebody else made: it is looked at, never changed.
# shellcheck shell=bash

[ -n "${KUBECONFIG:-}" ] || die "CLUSTER=existing needs KUBECONFIG to name the cluster to use"

existing_kubectl() { "$("$root/hack/tools/build.sh" kubectl)/kubectl" "$@"; }

cluster_up() {
  existing_kubectl get --raw /readyz > /dev/null || die "the cluster of KUBECONFIG=$KUBECONFIG does not answer"
  existing_kubectl get storageclass -o name | grep -q . || echo "cluster: no StorageClass there; a WebSocketCluster with storage will wait for one" >&2
  existing_kubectl get apiservice v1beta1.metrics.k8s.io > /dev/null 2>&1 || echo "cluster: no metrics-server there; autoscaling by CPU will not work" >&2
  step "using the existing cluster $(existing_kubectl config current-context)"
}

cluster_down() { echo "cluster: CLUSTER=existing is left as it is" >&2; }

# LOAD_COMMAND: a command that takes an archive's path, such as "minikube image load" or "k3s ctr images import".
cluster_load() {
  local archives archive
  archives=$("$root/hack/images/build.sh" "$@")
  if [ -z "${LOAD_COMMAND:-}" ]; then
    echo "$archives"
    die "how images get into this cluster is not known here; set LOAD_COMMAND (such as 'minikube image load'), or push the archives above to a registry that it pulls from"
  fi
  for archive in $archives; do $LOAD_COMMAND "$archive"; done
}

cluster_exec() { PATH=$("$root/hack/tools/build.sh" kubectl):$PATH exec "$@"; }
cluster_net() { die "the network of a cluster of the kind 'existing' cannot be entered; use CLUSTER=built"; }
cluster_kubeconfig() { echo "$KUBECONFIG"; }
cluster_status() { existing_kubectl get nodes,pods -A -o wide; }
cluster_forward() { die "use kubectl port-forward with an existing cluster"; }
cluster_logs() { die "the logs of an existing cluster are where it keeps them"; }
cluster_kill_node() { die "nodes of an existing cluster are left alone"; }
