# The node's network: one switch (in node 1), no default route, no way out. Pods get theirs from the CNI plugins.
# shellcheck shell=bash

bring_up_network() {
  local device=eth0 other
  ip link set lo up
  if [ "$n" = 1 ]; then
    device=switch0
    ip link add $device type bridge # dummy devices are not in every kernel
  else
    wait_for 30 "the cable of $name" ip link show eth0 # plugged in from outside, see plug_into_switch
  fi
  ip address add "$ip/24" dev $device
  ip link set $device up
  # A node's own processes reach a ClusterIP only with a route, though kube-proxy rewrites the address before it matters.
  ip route add "$service_cidr" dev $device
  for ((other = 1; other <= max_nodes; other++)); do
    [ $other = "$n" ] || ip route add "$pod_net.$other.0/24" via "$node_net.$other"
  done
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0

  mkdir -p "$dir/cni/conf" "$dir/cni/data"
  cat > "$dir/cni/conf/10-bridge.conflist" << CNI
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$dir/cni/data",
            "ranges": [[{"subnet": "$pod_net.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CNI
}
