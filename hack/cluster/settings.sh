# Where the cluster lives and which addresses it uses. Sourced by every script here; no side effects.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wscluster
state=$cache/cluster # everything of a running cluster; gone after `cluster down`
bin=$cache/cluster-bin

# 198.18.0.0/15 is set aside for tests of networks (RFC 2544), so it does not hide an address that somebody needs; and
# it exists only inside the nodes' network namespaces, which have no uplink.
node_net=198.18.255 # node N is $node_net.N
pod_net=198.18      # the pods of node N are $pod_net.N.0/24
pod_cidr=$pod_net.0.0/16
service_cidr=198.19.0.0/16
first_service_ip=198.19.0.1
dns_ip=198.19.0.10
api_ip=$node_net.1
max_nodes=3

nodes=${NODES:-1}
proxy_mode=${PROXY_MODE:-iptables}

die() { echo "cluster: $*" >&2; exit 1; }

started=$(date +%s%N)
step() { # one line of progress, with the time since the command began
  local ms=$((($(date +%s%N) - started) / 1000000))
  printf '[%3d.%d s] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*" >&2
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds; one clear sentence when it does not in time.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2 seconds=$1; shift 2
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || { echo "cluster: waited $seconds s for $what" >&2; return 1; }
    sleep 0.1
  done
}
