#!/usr/bin/env bash
# node.sh N: one node of cluster.sh's cluster, in the network, mount and host name namespaces that it is started in.
set -euo pipefail
N=$1
NAME=node$N
FOLDER=$RUN/$NAME
hostname "$NAME"
mkdir -p "$FOLDER"/{cni,podlogs}
cd "$FOLDER"

# Kubelet, containerd and the network plugins keep things at fixed places there.
for folder in /run /var/log /var/lib; do mount -t tmpfs tmpfs $folder; done
mkdir -p /var/lib/kubelet
mount --make-rshared /

cat >cni/10-bridge.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$FOLDER/addresses", "ranges": [[{"subnet": "$(pods_of_node "$N")"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
cat >containerd.toml <<TOML
version = 2
root = "$FOLDER/containerd/root"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$FOLDER/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:3.10"
  disable_apparmor = true
  restrict_oom_score_adj = true # the machine may not let anybody lower it
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$DEBIAN/usr/lib/cni"
    conf_dir = "$FOLDER/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "$DEBIAN/usr/sbin/runc"
TOML
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP/$NAME
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
resolvConf: $RUN/pods-resolv.conf
clusterDomain: cluster.local
clusterDNS: [$CONTROL]
podLogsDir: $FOLDER/podlogs
volumePluginDir: $FOLDER/plugins
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 2s
YAML

# A part of each hierarchy of cgroups, or of the one that there is; cpuset begins empty in the old ones.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$CGROUP/$NAME"
else
  for hierarchy in /sys/fs/cgroup/*/; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    for group in "$hierarchy$CGROUP" "$hierarchy$CGROUP/$NAME"; do
      mkdir -p "$group"
      for file in cpuset.mems cpuset.cpus; do [ ! -e "$group/$file" ] || cat "$group/../$file" >"$group/$file"; done
    done
  done
fi

spawn "$NAME-containerd" containerd --config containerd.toml
until_ok 30 ctr -n k8s.io version
for image in "$KUBERNETES_DIR/pause.tar" $IMAGES; do
  ctr -n k8s.io images import "$image" >>"$RUN/logs/$NAME-images.log" 2>&1
done
spawn "$NAME-kubelet" kubelet --config kubelet.yaml --kubeconfig "$RUN/$NAME.kubeconfig" --hostname-override "$NAME" \
  --node-ip "$(node_ip "$N")" --root-dir "$FOLDER/kubelet" --cert-dir "$FOLDER/kubelet-keys"
spawn "$NAME-proxy" kube-proxy --kubeconfig "$RUN/proxy.kubeconfig" --hostname-override "$NAME" --proxy-mode nftables \
  --cluster-cidr 198.51.100.0/24 --conntrack-max-per-core 0
