#!/bin/bash
# quickstart.sh: from nothing to a chat on a Kubernetes on this machine. Makes the cluster, loads the images, installs the
# chart, applies config/samples/chat.yaml, waits until it is ready, has two clients talk through two pods, and prints the URL.
# Run it again at any time; what is there is kept. `make cluster-down` removes everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in '') ;; *) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit ;; esac

cluster=hack/cluster/cluster
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
die() { echo "quickstart: $*" >&2; exit 1; }

say "1. A Kubernetes cluster on this machine"
"$cluster" up
KUBECONFIG=$("$cluster" kubeconfig)
PATH=$(hack/tools/build.sh kubectl):$(hack/tools/build.sh helm):$PATH
export KUBECONFIG PATH

say "2. The images: gateway, operator, Redis"
"$cluster" load

say "3. The operator, by Helm"
again=$(helm --namespace wscluster-system status wscluster > /dev/null 2>&1 && echo yes || true)
helm upgrade --install wscluster charts/wscluster --namespace wscluster-system --create-namespace --wait --timeout 5m --hide-notes \
  --set-string "images.operator.tag=${VERSION:-dev},images.gateway.tag=${VERSION:-dev}"
# The images of a new build have the tag of the last one, so what runs already has to be told.
restart() { # NAMESPACE DEPLOYMENT
  kubectl --namespace "$1" get deployment "$2" > /dev/null 2>&1 || return 0
  kubectl --namespace "$1" rollout restart "deployment/$2"
  kubectl --namespace "$1" rollout status "deployment/$2" --timeout=5m
}
[ -z "$again" ] || restart wscluster-system wscluster-operator

say "4. A WebSocketCluster: kubectl apply -f config/samples/chat.yaml"
kubectl apply -f config/samples/chat.yaml
[ -z "$again" ] || restart default chat-gateway
kubectl wait --for=condition=Ready wsc/chat --timeout=5m ||
  { kubectl get wsc/chat -o 'jsonpath={range .status.conditions[*]}{.type}={.status} {.message}{"\n"}{end}' >&2; die "the WebSocketCluster is not ready; the conditions above say why"; }
kubectl get wsc/chat
kubectl get pods -l app.kubernetes.io/instance=chat -o wide

say "5. Two clients on two pods (> sent, < received)"
bin=$(mktemp -d)
forwards=()
trap 'rm -rf "$bin"; [ ${#forwards[@]} = 0 ] || kill "${forwards[@]}" 2> /dev/null || true' EXIT
CGO_ENABLED=0 go build -o "$bin/talk" ./hack/talk
answers() { (exec 3<> "/dev/tcp/${1%:*}/${1##*:}") 2> /dev/null; }
within() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $deadline ] || return 1; sleep 0.1; done
}
built=$([ "$(cat "$(dirname "$KUBECONFIG")/backend" 2> /dev/null)" = built ] && echo yes || true)
if [ -n "$built" ]; then
  # Through the Service, from addresses of their own: it sends one address to one pod.
  service=$(kubectl get service chat -o 'jsonpath={.spec.clusterIP}')
  from=()
  for i in $(seq 240 250); do
    "$cluster" net ip address replace "198.18.255.$i/32" dev switch0
    from+=(-from "198.18.255.$i")
  done
  "$cluster" net "$bin/talk" "${from[@]}" "ws://$service/ws"
else
  # From out here all come with one address, which the Service sends to one pod: so straight to two pods.
  mapfile -t pods < <(kubectl get pods -l app.kubernetes.io/instance=chat,app.kubernetes.io/component=gateway -o name | head -2)
  urls=()
  for pod in "${pods[@]}"; do
    kubectl port-forward "$pod" :8080 > "$bin/address" &
    forwards+=($!)
    within 20 grep -q '^Forwarding from 127' "$bin/address" || die "kubectl port-forward $pod does not begin"
    urls+=("ws://$(sed -n 's/^Forwarding from \(127[^ ]*\).*/\1/p' "$bin/address")/ws")
  done
  "$bin/talk" "${urls[@]}"
fi

say "6. Yours"
if [ -n "$built" ]; then
  # Served in the background until `cluster down`, and by an earlier run perhaps already.
  record=$(dirname "$KUBECONFIG")/quickstart-address
  address=$(sed -n "s/ $service\$//p" "$record" 2> /dev/null || true)
  if [ -z "$address" ] || ! answers "$address"; then
    port=8080
    if answers 127.0.0.1:$port; then port=0; fi # taken: any free one
    setsid "$cluster" forward $port default/chat:80 > "$record.new" 2> /dev/null < /dev/null &
    within 20 test -s "$record.new" || die "the Service cannot be served here; try: $cluster forward 0 default/chat:80"
    address=$(cat "$record.new")
    echo "$address $service" > "$record"
  fi
  echo "The Service is at ws://$address/ws, for example:  npx wscat -c 'ws://$address/ws?user_id=me'"
else
  echo "Serve the Service here with:  kubectl port-forward service/chat 8080:80"
  echo "and talk to it:               npx wscat -c 'ws://127.0.0.1:8080/ws?user_id=me'"
fi
cat << TEXT
then type:     {"type":"join","room_id":"lobby"}
               {"type":"publish","room_id":"lobby","data":"Hello"}
Look at it:    export KUBECONFIG=$KUBECONFIG   (kubectl is in $(hack/tools/build.sh kubectl))
               kubectl get wsc,pods
Scale it:      kubectl scale wsc/chat --replicas=5
Remove it:     make cluster-down
TEXT
