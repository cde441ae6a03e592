#!/usr/bin/env bash
# cluster.sh SCRIPT [ARGS]: starts a real Kubernetes in namespaces of its own (network, mounts, processes), runs SCRIPT in
# them, and ends all of it, whatever happens: with the first process of the namespaces everything in them goes. Its exit
# status is SCRIPT's.
#
#   KUBERNETES_DIR  what tools.sh has put together
#   NODES           each: kubelet, containerd, runc, kube-proxy, a network namespace; 0 (default): the control plane alone
#   IMAGES          archives that every node gets
#
# SCRIPT finds kubectl on its PATH, KUBECONFIG, RUN (logs are below it), and say, until_ok and cut_node. The networks have no
# way out of this machine; the addresses are those that are kept for documentation.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ "${IN_NAMESPACES:-}" != 1 ]; then
  export IN_NAMESPACES=1 RUN CGROUP=milena-k8s-$$
  RUN=$(mktemp -d)
  clean() {
    local folder _
    [ -z "${LOGS:-}" ] || cp -r "$RUN/logs" "$LOGS" 2>/dev/null || true
    for _ in $(seq 20); do # the last processes may be on their way out
      for folder in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
        [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      done
      rm -rf "$RUN" 2>/dev/null && ! ls -d /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP" >/dev/null 2>&1 && return
      sleep 0.3
    done
    echo "$RUN, or cgroups $CGROUP, could not be removed" >&2
  }
  trap clean EXIT
  script=$(realpath "$1")
  unshare --net --mount --uts --ipc --pid --fork --mount-proc --kill-child bash "$0" "$script" "${@:2}" &
  child=$!
  trap 'kill -KILL $child 2>/dev/null' TERM INT # with it goes all that is in its namespaces
  status=0
  wait $child || status=$?
  exit $status
fi

export HERE NODES=${NODES:-0} IMAGES=${IMAGES:-} DEBIAN=$KUBERNETES_DIR/debian CONTROL=192.0.2.1 SERVICES=203.0.113.0/25
export PATH=$KUBERNETES_DIR/bin:$DEBIAN/usr/bin:$DEBIAN/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export LD_LIBRARY_PATH=$DEBIAN/usr/lib/x86_64-linux-gnu:$DEBIAN/lib/x86_64-linux-gnu
cd "$RUN"
mkdir -p keys logs etcd fakeproc
STARTED=$(date +%s%N)
export STARTED

node_ip() { echo 192.0.2.$((10 + $1)); }
pods_of_node() { echo 198.51.100.$((32 * ($1 - 1)))/27; } # so there may be 8 nodes
say() { printf '[%3d.%d s] %s\n' $((($(date +%s%N) - STARTED) / 1000000000)) $((($(date +%s%N) - STARTED) / 100000000 % 10)) "$*"; }
# until_ok SECONDS COMMAND...: tries it four times a second.
until_ok() {
  local tries=$(($1 * 4))
  shift
  while [ $tries -gt 0 ]; do
    "$@" >/dev/null 2>&1 && return
    tries=$((tries - 1))
    sleep 0.25
  done
  echo "in vain: $*" >&2
  return 1
}
spawn() {
  local name=$1
  shift
  "$@" >"$RUN/logs/$name.log" 2>&1 &
  echo $! >"$RUN/$name.pid"
}
# cut_node N up|down: its network cable.
cut_node() { ip link set "veth$1" "$2"; }
export -f node_ip pods_of_node say until_ok spawn cut_node

# Nothing below is seen outside of this mount namespace.
make_mounts() {
  local folder file name i
  hostname control
  mount --make-rprivate /
  for folder in /run /var/log; do mount -t tmpfs tmpfs $folder; done
  # The kubelet would set these for the whole machine.
  for file in vm/overcommit_memory:1 vm/panic_on_oom:0 kernel/panic:10 kernel/panic_on_oops:1 \
    kernel/keys/root_maxkeys:1000000 kernel/keys/root_maxbytes:25000000; do
    name=${file%:*}
    echo "${file#*:}" >"fakeproc/${name//\//_}"
    mount --bind "fakeproc/${name//\//_}" "/proc/sys/$name"
  done
  echo "127.0.0.1 localhost" >hosts
  for i in $(seq "$NODES"); do echo "$(node_ip "$i") node$i" >>hosts; done
  mount --bind hosts /etc/hosts
  echo "nameserver $CONTROL" | tee resolv.conf >pods-resolv.conf
  mount --bind resolv.conf /etc/resolv.conf
}

# A bridge, and each node's network namespace on it.
make_network() {
  local i j in_node
  ip link set lo up
  ip link add lan type bridge
  ip address add "$CONTROL/24" dev lan
  ip link set lan up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  for i in $(seq "$NODES"); do
    ip netns add "node$i"
    in_node="nsenter --net=/run/netns/node$i"
    ip link add "veth$i" type veth peer name eth0 netns "node$i"
    ip link set "veth$i" master lan up
    $in_node ip link set lo up
    $in_node ip address add "$(node_ip "$i")/24" dev eth0
    $in_node ip link set eth0 up
    $in_node ip route add default via "$CONTROL"
    $in_node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ip route add "$(pods_of_node "$i")" via "$(node_ip "$i")"
    for j in $(seq "$NODES"); do [ "$i" = "$j" ] || $in_node ip route add "$(pods_of_node "$j")" via "$(node_ip "$j")"; done
  done
}

# who TOKEN USER [GROUP]: a way in, as TOKEN.kubeconfig.
who() {
  echo "$1,$2,uid-$1${3:+,\"$3\"}" >>keys/tokens.csv
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://$CONTROL:6443", certificate-authority: $RUN/keys/ca.crt}}]
users: [{name: u, user: {token: $1}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
YAML
}

make_keys() {
  local curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes" i
  local names="IP:127.0.0.1,IP:$CONTROL,IP:${SERVICES%.*}.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  openssl ecparam -name prime256v1 -genkey -noout -out keys/accounts.key
  openssl req -x509 $curve -days 2 -subj /CN=kube-ca -keyout keys/ca.key -out keys/ca.crt
  openssl req $curve -subj /CN=kube-apiserver -keyout keys/server.key -out keys/server.csr
  openssl x509 -req -in keys/server.csr -CA keys/ca.crt -CAkey keys/ca.key -CAcreateserial -days 2 -out keys/server.crt \
    -extfile <(echo "subjectAltName=$names")
  who admin admin system:masters
  who controllers system:kube-controller-manager
  who scheduler system:kube-scheduler
  who proxy system:kube-proxy
  for i in $(seq "$NODES"); do who "node$i" "system:node:node$i" system:nodes; done
} 2>/dev/null

start_control_plane() {
  spawn etcd etcd --data-dir "$RUN/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
  spawn apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$CONTROL" --secure-port 6443 \
    --tls-cert-file keys/server.crt --tls-private-key-file keys/server.key --service-cluster-ip-range "$SERVICES" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file keys/accounts.key --service-account-key-file keys/accounts.key \
    --token-auth-file keys/tokens.csv --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --kubelet-preferred-address-types InternalIP
  until_ok 90 kubectl get --raw /readyz || { tail -n 30 logs/apiserver.log; exit 1; }
  # A node is said to be gone after 12 s rather than 40.
  spawn controllers kube-controller-manager --kubeconfig controllers.kubeconfig --use-service-account-credentials \
    --service-account-private-key-file keys/accounts.key --root-ca-file keys/ca.crt \
    --cluster-signing-cert-file keys/ca.crt --cluster-signing-key-file keys/ca.key --leader-elect=false \
    --node-monitor-period 2s --node-monitor-grace-period 12s
  spawn scheduler kube-scheduler --kubeconfig scheduler.kubeconfig --leader-elect=false
}

start_dns() {
  cat >Corefile <<CONF
.:53 {
  bind $CONTROL
  errors
  kubernetes cluster.local {
    kubeconfig $RUN/admin.kubeconfig c
    ttl 5
  }
}
CONF
  spawn coredns coredns -conf Corefile
}

# Each in its zone, with folders to keep data in.
describe_node() {
  local volume
  kubectl label node "node$1" "topology.kubernetes.io/zone=zone$1" >/dev/null
  for volume in 1 2 3; do
    mkdir -p "$RUN/node$1/volumes/$volume"
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: node$1-$volume}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  persistentVolumeReclaimPolicy: Retain
  local: {path: $RUN/node$1/volumes/$volume}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node$1]}]}]}}
YAML
  done
}

start_nodes() {
  local i nodes=()
  start_dns
  for i in $(seq "$NODES"); do
    nsenter --net="/run/netns/node$i" unshare --mount --uts bash "$HERE/node.sh" "$i" &
    nodes+=("node/node$i")
  done
  until_ok 90 kubectl wait --for=condition=Ready "${nodes[@]}" --timeout=1s || { tail -n 30 logs/node*-kubelet.log; exit 1; }
  kubectl apply -f "$HERE/storage.yaml" >/dev/null
  for i in $(seq "$NODES"); do describe_node "$i"; done | kubectl apply -f - >/dev/null
}

# The kubelet takes the logs of a pod away with it: a second name keeps them.
keep_pod_logs() {
  local file
  mkdir -p logs/pods
  while :; do
    for file in node*/podlogs/*/*/*.log; do
      [ ! -e "$file" ] || ln "$file" "logs/pods/$(cut -d / -f 3- <<<"$file" | tr / _)" 2>/dev/null || true
    done
    sleep 1
  done
}

# Kubelets first, which would start again what ends; then what lives in the nodes' cgroups; then the rest.
end_all() {
  local pid _
  for pid in *-kubelet.pid; do [ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true; done
  for _ in 1 2 3; do
    find /sys/fs/cgroup -path "*/$CGROUP/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null || true
    sleep 0.3
  done
  for pid in *.pid; do kill "$(cat "$pid")" 2>/dev/null || true; done
  sleep 0.5
}

make_mounts
make_network
make_keys
export KUBECONFIG=$RUN/admin.kubeconfig KUBECACHEDIR=$RUN/kubecache HOME=$RUN
start_control_plane
say "the control plane is ready"
if [ "$NODES" != 0 ]; then
  start_nodes
  keep_pod_logs &
  say "$NODES nodes are ready"
fi
status=0
"$@" || status=$?
end_all
exit $status
