#!/usr/bin/env bash
# What happens to a cluster on Kubernetes, step by step, while clients write and read (clients.c): run inside of
# lab/cluster.sh by tools/test-k8s.sh. With names of steps only those are done.
#
# Each step ends only when every partition takes writes again and all replicas are in sync, so that steps don't add up.
set -euo pipefail
cd "$(dirname "$0")/../.."

STEPS=(quiet kill_process kill_pod kill_controller drain roll_controllers roll_brokers roll_coordinators cut scale)
DOOR=203.0.113.200
READY_S=60
KUBECTL=(kubectl --namespace milena)
BROKERS=milena-broker-1.milena-broker:7600,milena-broker-2.milena-broker:7600,milena-broker-3.milena-broker:7600
export MILENA_BOOTSTRAP=$BROKERS
wanted=("$@")
[ $# -gt 0 ] || wanted=("${STEPS[@]}")

# claim NAME COMMAND...: a line for it, with what it said when it failed.
claim() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "ok $name"
  else
    echo "not ok $name"
    tail -n 15 <<<"$said" | sed 's/^/   /'
  fi
}

# ---- The cluster ----

is_ready() {
  "${KUBECTL[@]}" rollout status statefulset/milena-controller --timeout="${1}s" &&
    "${KUBECTL[@]}" rollout status statefulset/milena-broker --timeout="${1}s" &&
    "${KUBECTL[@]}" rollout status deployment/milena-group-coordinator --timeout="${1}s"
}

first_start() {
  local began=$SECONDS
  kubectl apply -k tests/k8s/overlay >"$RUN/apply.log" 2>&1 || { cat "$RUN/apply.log"; exit 1; }
  if is_ready $READY_S >"$RUN/ready.log" 2>&1; then
    echo "ok first start: 3 controllers, 3 brokers and 2 coordinators are ready after $((SECONDS - began)) s (aim: $READY_S)"
  else
    echo "not ok first start: not all is ready after $READY_S s"
    "${KUBECTL[@]}" get pods -o wide
    "${KUBECTL[@]}" get events | tail -n 20
    for pod in $("${KUBECTL[@]}" get pods -o name); do "${KUBECTL[@]}" logs --tail=5 "$pod" || true; done
    exit 1
  fi
}

racks_are_zones() { [ "$(bin/milena brokers list | awk '$4 ~ /^zone[123]$/' | wc -l)" = 3 ]; }

# ---- One address for clients outside ----

# node_has_broker NODE: what a load balancer asks a node before it sends it connections.
node_has_broker() {
  timeout 1 bash -c "exec 5<>/dev/tcp/$(node_ip "$1")/$2 && printf 'GET / HTTP/1.0\r\n\r\n' >&5 && head -n 1 <&5" 2>/dev/null |
    grep -q ' 200 '
}

# The part of the load balancer that a cloud would have: it gives the Service an address, which leads to the nodes where
# brokers are ready.
balance() {
  local port node hops last=none failed=()
  port=$("${KUBECTL[@]}" get service milena-external -o jsonpath='{.spec.healthCheckNodePort}')
  echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy # by connection
  "${KUBECTL[@]}" patch service milena-external --subresource=status --type=merge \
    --patch "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$DOOR\",\"ipMode\":\"VIP\"}]}}}" >/dev/null
  while :; do
    hops=()
    for node in $(seq "$NODES"); do
      # Twice in a row, as load balancers do: a slow answer moves no connections.
      if node_has_broker "$node" "$port"; then failed[node]=0; else failed[node]=$((${failed[node]:-1} + 1)); fi
      if [ "${failed[node]}" -lt 2 ]; then hops+=(nexthop via "$(node_ip "$node")"); fi
    done
    if [ "${hops[*]}" != "$last" ] && [ ${#hops[@]} -gt 0 ]; then ip route replace $DOOR/32 "${hops[@]}"; fi
    last=${hops[*]}
    sleep 0.3
  done
}

is_behind_the_door() { bin/milena cluster describe --bootstrap $DOOR:7600 --bootstrap-only --timeout 2; }
# In a subshell: what it exports is for it alone.
is_used_through_the_door() (
  export MILENA_BOOTSTRAP=$DOOR:7600 MILENA_BOOTSTRAP_ONLY=1
  until_ok 10 is_behind_the_door && bin/milena topics create outside --partitions 3 &&
    printf 'alice:1 apple\nbob:2 pears\n' | bin/milena produce outside --key-delimiter : &&
    [ "$(bin/milena consume outside --format '%k %v\n' | sort)" = $'alice 1 apple\nbob 2 pears' ] &&
    bin/milena topics delete outside --yes
)

# ---- The clients ----

tell() {
  local line
  echo "$*" >&4
  while read -r line <&3; do
    [ "$line" != . ] || return 0
    echo "$line"
  done
  echo "not ok the clients ended"
  exit 1
}

start_clients() {
  printf 'nameserver %s\nsearch milena.svc.cluster.local\noptions ndots:5\n' "$CONTROL" >"$RUN/resolv.conf"
  coproc CLIENTS { exec bazel-bin/tests/k8s/clients "$BROKERS" "$DOOR:7600" bazel-bin/tests/chaos/groups "${LEDGER:-$RUN/ledger}" 2>"$RUN/logs/clients.log"; }
  exec 3<&"${CLIENTS[0]}" 4>&"${CLIENTS[1]}"
  tell start
}

# ---- Steps: each does its thing and returns when Kubernetes calls it done ----

node_of() { "${KUBECTL[@]}" get pod "$1" -o jsonpath='{.spec.nodeName}'; }
wait_ready() { "${KUBECTL[@]}" wait --for=condition=Ready "pod/$1" --timeout=60s; }
process_of() { # PROGRAM ID
  local pid
  for pid in $(pgrep -x "${1:0:15}"); do
    if tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "MILENA_ID=$2"; then echo "$pid"; fi
  done
}

active_controller() { bin/milena controllers list | awk '$5 == "active" {print "milena-controller-" $1}'; }
broker_on() {
  "${KUBECTL[@]}" get pods -l app.kubernetes.io/name=milena-broker --field-selector "spec.nodeName=$1" \
    -o jsonpath='{.items[0].metadata.name}'
}

quiet() { sleep 5; }
quiet_name="nothing happens"

kill_process() { kill -KILL "$(process_of milena-broker 2)" && sleep 2 && wait_ready milena-broker-2; }
kill_process_name="a broker's process killed"

kill_pod() {
  "${KUBECTL[@]}" delete pod milena-broker-3 --grace-period=0 --force && sleep 2 &&
    until_ok 30 "${KUBECTL[@]}" get pod milena-broker-3 && wait_ready milena-broker-3
}
kill_pod_name="a broker's pod deleted by force"

kill_controller() {
  local pod
  pod=$(active_controller)
  "${KUBECTL[@]}" delete pod "$pod" --grace-period=0 --force && sleep 2 && until_ok 30 "${KUBECTL[@]}" get pod "$pod" &&
    wait_ready "$pod"
}
kill_controller_name="the active controller's pod deleted by force"

# The worst of the nodes: a broker and the active controller go at once.
drain() {
  local node broker
  node=$(node_of "$(active_controller)")
  broker=$(broker_on "$node")
  kubectl drain "$node" --ignore-daemonsets --timeout=90s && sleep 3 && kubectl uncordon "$node" &&
    until_ok 30 "${KUBECTL[@]}" get pod "$broker" && wait_ready "$broker" && is_ready 60
}
drain_name="the active controller's node drained, and back"

roll() { "${KUBECTL[@]}" rollout restart "$1" && "${KUBECTL[@]}" rollout status "$1" --timeout=180s; }
roll_controllers() { roll statefulset/milena-controller; }
roll_controllers_name="all controllers restarted, one by one"
roll_brokers() { roll statefulset/milena-broker; }
roll_brokers_name="all brokers restarted, one by one"
roll_coordinators() { roll deployment/milena-group-coordinator; }
roll_coordinators_name="all coordinators restarted"

cut() {
  local node
  node=$(node_of milena-broker-2)
  cut_node "${node#node}" down && until_ok 60 kubectl wait --for=condition=Ready=Unknown "node/$node" --timeout=1s &&
    cut_node "${node#node}" up && until_ok 60 kubectl wait --for=condition=Ready "node/$node" --timeout=1s && is_ready 60
}
cut_name="a node cut off, and back"

# Three of four brokers for each partition, the next one for each to lead; the new broker shares a zone with another one.
scale() {
  local i moves=()
  for i in $(seq 0 11); do moves+=("$i=$((i % 4 + 1)),$(((i + 1) % 4 + 1)),$(((i + 2) % 4 + 1))"); done
  "${KUBECTL[@]}" scale statefulset/milena-broker --replicas=4 && is_ready 90 &&
    bin/milena partitions reassign records "${moves[@]}" --ignore-racks --wait --timeout 90
}
scale_name="brokers scaled from 3 to 4, and partitions moved to the new one"

do_step() {
  local step=$1 name=$1_name
  name=${!name}
  say "$name"
  tell begin
  claim "$name" "$step"
  tell "end $name"
  tell whole | grep -v '^ok' || true
}

first_start
balance &
start_clients
claim "racks are the nodes' zones" racks_are_zones
claim "from outside, through one address: the command line makes a topic, writes and reads" is_used_through_the_door
if [ -n "${GRPCURL:-}" ]; then
  claim "from outside, through one address: grpcurl" "$GRPCURL" -plaintext -d '{"name": "records"}' "$DOOR:7600" \
    milena.v1.AdminService/GetTopic
else
  echo "skip grpcurl from outside: it could not be had"
fi
for step in "${wanted[@]}"; do do_step "$step"; done
say "judging"
tell judge
if [ -n "${SHOW:-}" ]; then "${KUBECTL[@]}" get pods -o wide; fi
