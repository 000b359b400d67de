#!/bin/bash
# test.sh: makes a cluster of two nodes, tries what the end-to-end tests need of it, removes it, and checks that the
# machine is as before. 2 to 3 minutes with cached tools.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cluster=$here/cluster
if [ "${1:-}" != inside ]; then
  export CLUSTER=built NODES=2
  "$cluster" down
  exec "$here/check-clean.sh" "$0" inside
fi
trap '"$cluster" down' EXIT

failed=0
kubectl() { "$cluster" exec kubectl "$@"; }
check() { # WHAT COMMAND...
  local what=$1 began=$SECONDS; shift
  if "$@" > /tmp/cluster-test.log 2>&1; then
    echo "ok    $what ($((SECONDS - began)) s)"
  else
    echo "FAIL  $what"; sed 's/^/      /' /tmp/cluster-test.log | tail -15; failed=1
  fi
}
retry() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $deadline ] || return 1; sleep 0.5; done
}

two_ready_nodes() { [ "$(kubectl get nodes --no-headers | grep -cw Ready)" = 2 ]; }
images_are_there() { "$cluster" load redis; }
redis_runs() { kubectl apply -f "$here/testdata/redis.yaml" && kubectl -n smoke rollout status statefulset/redis --timeout=60s; }
pods_are_on_both_nodes() { [ "$(kubectl -n smoke get pods -o 'jsonpath={.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = 2 ]; }
redis() { kubectl -n smoke exec redis-0 -- redis-cli "$@"; }
service_by_name() { [ "$(redis -h redis.smoke.svc.cluster.local ping)" = PONG ]; }
volume_keeps_data() {
  redis set kept yes && kubectl -n smoke delete pod redis-0 && kubectl -n smoke rollout status statefulset/redis --timeout=60s &&
    [ "$(redis get kept)" = yes ]
}
privileged_pod_is_refused() {
  local answer; answer=$(kubectl -n smoke run bad --image=wscluster.dev/redis:any 2>&1) && return 1
  [[ $answer == *'violates PodSecurity "restricted'* ]]
}
metrics_are_served() { kubectl top pods -n smoke | grep -q redis-0; }
hpa_reads_cpu() { kubectl -n smoke get hpa redis -o 'jsonpath={.status.currentMetrics[0].resource.current.averageUtilization}' | grep -q '[0-9]'; }
api_from_this_machine() { KUBECONFIG=$("$cluster" kubeconfig) "$("$here/../tools/build.sh" kubectl)/kubectl" get --raw /readyz; }
apiserver_comes_back() { "$cluster" exec pkill -KILL kube-apiserver && retry 30 kubectl get --raw /readyz; }
forwarded_port() {
  local pid address
  : > /tmp/cluster-test.address
  "$cluster" forward 0 smoke/redis:6379 > /tmp/cluster-test.address &
  pid=$!
  retry 10 test -s /tmp/cluster-test.address
  address=$(cat /tmp/cluster-test.address)
  exec 5<> "/dev/tcp/${address%:*}/${address#*:}"
  printf 'PING\r\n' >&5
  local answer; read -r -t 5 answer <&5
  exec 5>&-
  kill $pid
  [ "$answer" = $'+PONG\r' ]
}
dead_node_is_noticed() { "$cluster" kill-node 2 && retry 40 sh -c "'$cluster' exec kubectl get node node-2 --no-headers | grep -q NotReady"; }
dead_node_comes_back() { "$cluster" up && kubectl -n smoke rollout status statefulset/redis --timeout=120s; }
volume_goes_with_its_claim() {
  kubectl delete namespace smoke && retry 30 sh -c "[ -z \"\$('$cluster' exec kubectl get pv -o name)\" ]"
}
node_inits() { pgrep -f "^/bin/bash $here/node/init.sh" | sort; }
up_again_restarts_nothing() { local before; before=$(node_inits); "$cluster" up && [ -n "$before" ] && [ "$(node_inits)" = "$before" ]; }

check "the cluster comes up" "$cluster" up
check "a second up restarts nothing" up_again_restarts_nothing
check "two nodes are Ready" two_ready_nodes
check "the Redis image is made and loaded" images_are_there
check "Redis runs as a restricted pod with volumes" redis_runs
check "pods spread over both nodes" pods_are_on_both_nodes
check "a Service is reached by its DNS name" service_by_name
check "a volume outlives its pod" volume_keeps_data
check "a pod that is not restricted is refused" privileged_pod_is_refused
check "the API answers outside of the nodes" api_from_this_machine
check "a Service is forwarded to this machine" forwarded_port
check "metrics.k8s.io knows the pods" retry 60 metrics_are_served
check "the HPA reads the CPU" retry 60 hpa_reads_cpu
check "the API server comes back when killed" apiserver_comes_back
check "a dead node is noticed" dead_node_is_noticed
check "a dead node comes back" dead_node_comes_back
check "a volume goes with its claim" volume_goes_with_its_claim
rm -f /tmp/cluster-test.log /tmp/cluster-test.address
exit $failed
