# The node's services: started once, and started again when they end, as systemd would (a test kills the API server).
# shellcheck shell=bash

declare -A service_command service_name # command line by name, name by pid

# start NAME COMMAND...: its output goes to logs/NAME.log.
start() {
  local service=$1; shift
  service_command[$service]=$(printf '%q ' "$@")
  launch "$service"
}

launch() {
  eval "exec ${service_command[$1]}" >> "$logs/$1.log" 2>&1 < /dev/null &
  service_name[$!]=$1
}

# keep_services_running never returns. As PID 1 the shell also reaps every orphan of the node.
keep_services_running() {
  local pid service
  trap 'exit 0' TERM
  while :; do
    pid=
    wait -n -p pid || true
    if [ -z "$pid" ]; then sleep 1; continue; fi # nothing left to wait for
    service=${service_name[$pid]:-}
    [ -n "$service" ] || continue
    unset "service_name[$pid]"
    echo "$(date '+%T') $service ended; starting it again in 1 s" >&2
    sleep 1
    launch "$service"
  done
}
