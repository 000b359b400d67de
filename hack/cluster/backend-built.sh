# A cluster from this repository's own tools: each node a set of namespaces on this machine.
# shellcheck shell=bash

. "$here/preflight.sh"
. "$here/sysctls.sh"

is_up() { node_pid "$1" > /dev/null; }

# in_node N COMMAND...: runs it inside the node's namespaces, in the current folder.
in_node() {
  local pid n=$1; shift
  pid=$(node_pid "$n") || die "node $n is not running; start it with: cluster up (NODES=$n)"
  nsenter --target "$pid" --mount --net --pid --uts --ipc --wd="$PWD" -- "$@"
}

kubectl() {
  is_up 1 || die "no cluster is up; start one with: cluster up"
  in_node 1 "$(cat "$state/tools")/kubectl" --kubeconfig "$state/pki/admin.kubeconfig" "$@"
}

cluster_up() {
  preflight
  is_up 1 || clear_away # what a crash or a reboot left
  local n
  prepare
  for ((n = 1; n <= nodes; n++)); do is_up "$n" || start_node "$n"; done
  for ((n = 1; n <= nodes; n++)); do wait_for_node "$n"; done
  serve_api
  kubectl label --overwrite node/node-1 node-role.kubernetes.io/control-plane= > /dev/null
  kubectl apply -f "$here/addons" > /dev/null
  kubectl -n kube-system rollout status deployment/coredns --timeout=120s > /dev/null || die "cluster DNS did not become ready; see: cluster status"
  step "DNS is ready"
  kubectl -n kube-system rollout status deployment/metrics-server --timeout=120s > /dev/null || die "metrics-server did not become ready; see: cluster status"
  step "metrics are ready"
  step "the cluster is up; export KUBECONFIG=$state/kubeconfig"
}

# prepare: everything that does not run yet: programs, images, certificates, folders.
prepare() {
  local tools_dir archives
  tools_dir=$("$root/hack/tools/build.sh" envtest cluster)
  archives=$("$root/hack/images/build.sh" pause coredns metrics-server)
  go_helpers
  mkdir -p "$state/volumes"
  echo built > "$state/backend"
  echo "$tools_dir" > "$state/tools"
  echo "$archives" >> "$state/images"
  if [ ! -d "$state/pki" ]; then
    "$bin/pki" -out "$state/pki" -server "https://$api_ip:6443" -ips "127.0.0.1,$api_ip,$first_service_ip" \
      -nodes "$(seq -s, -f 'node-%g' "$max_nodes")"
  fi
  note_sysctls
}

go_helpers() {
  [ -x "$bin/provisioner" ] || step "compiling the cluster's own helpers (up to 2 minutes the first time)"
  CGO_ENABLED=0 GOFLAGS="" go -C "$root" build -trimpath -buildvcs=false -o "$bin/" ./hack/cluster/pki ./hack/cluster/forward ./hack/cluster/provisioner
}

start_node() {
  local n=$1 dir=$state/node-$1
  mkdir -p "$dir"
  rm -f "$dir/network-ready"
  make_node_cgroups "$n"
  setsid unshare --mount --net --pid --uts --ipc --fork --mount-proc --kill-child=KILL --propagation private \
    "$here/node/init.sh" "$n" >> "$dir/init.log" 2>&1 < /dev/null 9>&- &
  wait_for 10 "node $n to begin" is_up "$n" || node_failed "$n"
  [ "$n" = 1 ] || plug_into_switch "$n"
  wait_for 30 "the network of node $n" test -e "$dir/network-ready" || node_failed "$n"
}

node_failed() {
  tail -5 "$state/node-$1/init.log" >&2
  die "node $1 did not start; its logs are in $state/node-$1"
}

# plug_into_switch N: a cable from the switch in node 1 to the node's eth0.
plug_into_switch() {
  local switch_pid node
  switch_pid=$(node_pid 1) node=$(node_pid "$1")
  nsenter -t "$switch_pid" -n ip link delete "to-node-$1" 2> /dev/null || true # of a node that died a moment ago
  nsenter -t "$switch_pid" -n ip link add "to-node-$1" type veth peer name eth0 netns "$node"
  nsenter -t "$switch_pid" -n ip link set "to-node-$1" master switch0 up
}

# node_is_ready N: the condition alone may be from before a death, which the API server takes 16 s to notice.
node_is_ready() {
  in_node "$1" bash -c '< /dev/tcp/127.0.0.1/10248' && # kubelet's health port
    kubectl get node "node-$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True
}

wait_for_node() {
  wait_for 90 "node $1 to be Ready" node_is_ready "$1" || node_failed "$1"
  step "node-$1 is Ready"
}

# serve_api: the API server on 127.0.0.1 of this machine, for kubectl, editors and browsers out here.
serve_api() {
  [ ! -f "$state/kubeconfig" ] || return 0
  local address
  (
    enter_node_cgroup 1 # so that `cluster down` finds it
    exec setsid "$bin/forward" -listen "127.0.0.1:${API_PORT:-0}" -target "$api_ip:6443" -pid "$(node_pid 1)"
  ) > "$state/api-address" 2> "$state/api-forward.log" < /dev/null 9>&- &
  wait_for 5 "a port for the API server" test -s "$state/api-address" || { cat "$state/api-forward.log" >&2; die "the API server cannot be served here; choose a free API_PORT"; }
  address=$(head -1 "$state/api-address")
  sed "s#https://$api_ip:6443#https://$address#" "$state/pki/admin.kubeconfig" > "$state/kubeconfig"
  chmod 600 "$state/kubeconfig"
}

cluster_down() {
  [ "$(id -u)" = 0 ] || die "removing the cluster needs root; run: sudo -E $0 down"
  clear_away
  step "the cluster is gone"
}

# clear_away: also right after a crash, and when nothing is there.
clear_away() {
  local n pid
  for ((n = max_nodes; n >= 1; n--)); do
    if pid=$(node_pid "$n"); then kill -KILL "$pid"; fi
  done
  for pid in $(cluster_pids); do kill -KILL "$pid" 2> /dev/null || true; done # outside the nodes: forward
  # A process whose init died is gone when the kernel has reaped it, not before.
  wait_for 20 "the nodes' processes to end" no_processes_left || die "these processes do not end: $(cluster_pids | tr '\n' ' ')"
  remove_cgroups
  restore_sysctls
  rm -rf "$state"
}

no_processes_left() { [ -z "$(cluster_pids)" ]; }

cluster_load() {
  is_up 1 || die "no cluster is up; start one with: cluster up"
  local archives archive n
  archives=$("$root/hack/images/build.sh" "$@")
  echo "$archives" >> "$state/images"
  for ((n = 1; n <= max_nodes; n++)); do
    is_up "$n" || continue
    for archive in $archives; do
      in_node "$n" "$(cat "$state/tools")/ctr" -n k8s.io images import "$archive" > "$state/load.log" 2>&1 ||
        { cat "$state/load.log" >&2; die "node $n does not take $archive"; }
    done
    step "node-$n has $(echo "$archives" | xargs -n1 basename | tr '\n' ' ')"
  done
}

cluster_exec() {
  [ "$(id -u)" = 0 ] || die "entering a node needs root; run: sudo -E $0 exec $*"
  [ $# -gt 0 ] || die "exec needs a command, such as: cluster exec kubectl get pods -A"
  local tools_dir pid n=${NODE:-1}
  pid=$(node_pid "$n") || die "node $n is not running; start it with: cluster up"
  tools_dir=$(cat "$state/tools")
  KUBECONFIG=$state/pki/admin.kubeconfig PATH=$tools_dir:$("$root/hack/tools/build.sh" --print-dir helm):$PATH \
    exec nsenter --target "$pid" --mount --net --pid --uts --ipc --wd="$PWD" -- "$@"
}

# Only the network is the node's: the command sees this machine's processes, so it can also ask for `cluster kill-node`.
cluster_net() {
  [ "$(id -u)" = 0 ] || die "entering a node's network needs root; run: sudo -E $0 net $*"
  [ $# -gt 0 ] || die "net needs a command, such as: cluster net curl http://POD_IP:9090/readyz"
  local pid
  pid=$(node_pid 1) || die "no cluster is up; start one with: cluster up"
  KUBECONFIG=$state/pki/admin.kubeconfig exec nsenter --target "$pid" --net --wd="$PWD" -- "$@"
}

cluster_forward() {
  [ $# = 2 ] || die "forward needs a port and a target, such as: cluster forward 8080 default/chat:80"
  local target=$2 namespace service port
  if [[ $target == */* ]]; then
    namespace=${target%%/*} service=${target#*/} port=${target##*:}
    service=${service%:*}
    target=$(kubectl -n "$namespace" get service "$service" -o 'jsonpath={.spec.clusterIP}'):$port
  fi
  enter_node_cgroup 1 # so that `cluster down` finds it
  exec "$bin/forward" -listen "127.0.0.1:$1" -target "$target" -pid "$(node_pid 1)"
}

cluster_kubeconfig() {
  [ -f "$state/kubeconfig" ] || die "no cluster is up; start one with: cluster up"
  echo "$state/kubeconfig"
}

cluster_status() { kubectl get nodes,pods -A -o wide; }

cluster_logs() {
  local n=${2:-1}
  local dir=$state/node-$n
  if [ "${1:-}" = init ]; then exec tail -n 50 -f "$dir/init.log"; fi
  [ -f "$dir/logs/${1:-}.log" ] || die "name a component: init $(cd "$dir/logs" 2> /dev/null && ls -- *.log | sed 's/\.log$//' | tr '\n' ' ')"
  exec tail -n 50 -f "$dir/logs/$1.log"
}

cluster_kill_node() {
  local pid
  pid=$(node_pid "${1:-}") || die "name a node that runs"
  [ "$1" != 1 ] || die "node 1 is the control plane; 'cluster down' removes everything"
  kill -KILL "$pid"
}
