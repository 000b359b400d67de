# kubelet and kube-proxy.
# shellcheck shell=bash

start_kubelet() {
  cat > "$dir/kubelet.yaml" << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /wscluster/$name
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: ["$dns_ip"]
resolvConf: $dir/resolv.conf
podLogsDir: $dir/pod-logs
# Images come from files; one that is collected as garbage would not come back.
imageGCHighThresholdPercent: 100
# The disk and the memory are shared with everything else on this machine.
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
serializeImagePulls: false
nodeStatusUpdateFrequency: 4s
# Both are what a process may do without CAP_SYS_RESOURCE.
maxOpenFiles: 20000
oomScoreAdj: 0
YAML
  start kubelet kubelet --config="$dir/kubelet.yaml" --root-dir="$dir/kubelet" --kubeconfig="$pki/kubelet-$name.kubeconfig" \
    --hostname-override="$name" --node-ip="$ip" --cert-dir="$dir/kubelet-pki" --v=2
}

start_kube_proxy() {
  cat > "$dir/kube-proxy.yaml" << YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $proxy_mode
hostnameOverride: $name
clientConnection: {kubeconfig: $pki/kube-proxy.kubeconfig}
clusterCIDR: $pod_cidr
oomScoreAdj: 0
# Limits of connection tracking belong to the whole machine; they are left as they are.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  start kube-proxy kube-proxy --config="$dir/kube-proxy.yaml" --v=2
}
