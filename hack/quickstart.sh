#!/bin/bash
# From nothing to a chat on Kubernetes: a local cluster, the images, the chart, config/samples/chat.yaml, and two clients that
# talk through two pods. What is there already is used. Afterwards: make cluster-down.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n%s\n' "$*"; }

say "A cluster on this machine"
hack/cluster/cluster up
hack/cluster/cluster load
KUBECONFIG=$(hack/cluster/cluster kubeconfig)
export KUBECONFIG
kubectl=$(hack/tools/build.sh kubectl)/kubectl
helm=$(hack/tools/build.sh helm)/helm

say "The operator"
"$helm" upgrade --install wscluster charts/wscluster --namespace wscluster-system --create-namespace \
  --set-string "images.operator.tag=$VERSION,images.gateway.tag=$VERSION" --wait --timeout 3m
"$helm" test wscluster --namespace wscluster-system > /dev/null

say "A WebSocketCluster: config/samples/chat.yaml"
"$kubectl" apply -f config/samples/chat.yaml
"$kubectl" wait --for=condition=Ready --timeout=3m wsc/chat
"$kubectl" get wsc chat

say "Alice and Bob, on two of its pods"
addresses=()
forwards=()
trap 'kill "${forwards[@]}" 2> /dev/null || true' EXIT
mapfile -t pods < <("$kubectl" get pods -l app.kubernetes.io/instance=chat,app.kubernetes.io/component=gateway \
  --field-selector=status.phase=Running -o name | head -2)
for pod in "${pods[@]}"; do
  exec {out}< <(exec "$kubectl" port-forward "$pod" :8080)
  forwards+=($!)
  read -r -t 30 line <&"$out" || { echo "hack/quickstart.sh: no connection to $pod within 30 s; see: $kubectl get pods" >&2; exit 1; }
  line=${line#Forwarding from }
  addresses+=("${line%% *}")
done
go run ./hack/quickstart "${addresses[@]}"

say "It goes on running. To connect from here:

  export KUBECONFIG=$KUBECONFIG
  $kubectl port-forward service/chat 8080:80     # then ws://127.0.0.1:8080/ws?user_id=alice

make cluster-down removes all of it."
