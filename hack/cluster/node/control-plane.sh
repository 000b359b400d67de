# etcd, the API server, the controllers, the scheduler and the provisioner of volumes: on node 1.
# shellcheck shell=bash

start_etcd_and_apiserver() {
  # Without fsync: a cluster for developing may be lost with the machine's power, and disks here are slow and shared.
  start etcd etcd --name node-1 --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster node-1=http://127.0.0.1:2380
  local args=(
    --etcd-servers=http://127.0.0.1:2379
    --bind-address=0.0.0.0 --advertise-address="$ip" --secure-port=6443
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt"
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction # PodSecurity is on by default
    --allow-privileged=true
    --service-cluster-ip-range="$service_cidr"
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key"
    # Node names do not resolve anywhere.
    --kubelet-preferred-address-types=InternalIP
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key"
    # The aggregation layer, for metrics.k8s.io and custom.metrics.k8s.io; it routes to pods, not through ClusterIPs.
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key"
    --enable-aggregator-routing=true
    --profiling=false)
  start kube-apiserver kube-apiserver "${args[@]}"
}

# start_controllers: only once the API server is ready; before it has made RBAC's built-in roles they stop for good.
start_controllers() {
  local config=$pki/kube-controller-manager.kubeconfig
  local args=(
    --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false
    --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-account.key" --use-service-account-credentials=true
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
    # Shorter than the defaults, so that tests of autoscaling and of dead nodes take seconds (15 s, 5 min, 30 s; 5 s, 50 s).
    --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-cpu-initialization-period=15s
    --horizontal-pod-autoscaler-initial-readiness-delay=5s
    --node-monitor-period=2s --node-monitor-grace-period=16s)
  start kube-controller-manager kube-controller-manager "${args[@]}"
  config=$pki/kube-scheduler.kubeconfig
  start kube-scheduler kube-scheduler --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false
  start provisioner "$bin/provisioner" -kubeconfig "$pki/admin.kubeconfig" -folder "$state/volumes"
}
