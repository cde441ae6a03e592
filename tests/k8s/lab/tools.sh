# The Kubernetes that the tests run on, from Go modules and Debian's packages, put into $KUBERNETES_DIR once; sourced after
# tests/interop/tools.sh. Each need_... prints why something can't be had, and returns 1 then.
LAB=$PWD/tests/k8s/lab
KUBERNETES=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$LAB/kubernetes/go.mod")
KUBERNETES_DIR=$TOOLS_DIR/kubernetes-$KUBERNETES
KUBERNETES_PARTS=(etcd kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet)

# build_go OUT FOLDER [LDFLAGS]: kept as long as what goes into it stays the same.
build_go() {
  local out=$KUBERNETES_DIR/bin/$1 folder=$LAB/$2 flags=${3:-} key
  key=$( (go version && cat "$folder"/go.mod "$folder"/go.sum "$folder"/*.go && echo "$flags") | sha256sum | cut -c 1-16)
  [ -x "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && return
  mkdir -p "$KUBERNETES_DIR/bin"
  (cd "$folder" && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly -trimpath" \
    timeout "${GO_SECONDS:-1500}" nice go build -ldflags "-s -w $flags" -o "$out" .) >"$KUBERNETES_DIR/$1.log" 2>&1 || return
  echo "$key" >"$out.key"
}

# The control plane, kubelet, kube-proxy, kubectl and etcd: one program of many names.
need_control_plane() {
  local part version=k8s.io/component-base/version minor
  minor=$(cut -d . -f 2 <<<"$KUBERNETES")
  command -v go >/dev/null || { echo "no go command"; return 1; }
  build_go kubernetes kubernetes "-X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=$minor \
-X $version.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES" ||
    { echo "Kubernetes $KUBERNETES could not be built from Go modules (see $KUBERNETES_DIR/kubernetes.log)"; return 1; }
  for part in "${KUBERNETES_PARTS[@]}"; do ln -sf kubernetes "$KUBERNETES_DIR/bin/$part"; done
}

# The container runtime and what it needs, unpacked, not installed.
need_runtime() {
  [ -e "$KUBERNETES_DIR/debian/.done" ] && return
  local folder status=0
  folder=$(mktemp -d)
  (cd "$folder" && apt-get -q download containerd runc containernetworking-plugins nftables libnftables1 libnftnl11 \
    libjansson4 libedit2 libxtables12 libseccomp2 libmnl0 libgmp10 libbsd0 libmd0) >/dev/null 2>&1 || status=$?
  [ $status = 0 ] && for package in "$folder"/*.deb; do dpkg -x "$package" "$KUBERNETES_DIR/debian" || status=$?; done
  rm -rf "$folder"
  [ $status = 0 ] && touch "$KUBERNETES_DIR/debian/.done" || { echo "containerd could not be fetched from Debian (apt-get update?)"; return 1; }
}

# The container that holds a pod's namespaces.
need_pause() {
  local folder out=$KUBERNETES_DIR/pause.tar
  [ -e "$out" ] && return
  folder=$(mktemp -d)
  gcc -static -Os -s -DVERSION=3.10 -o "$folder/pause" \
    "$(cd "$LAB/kubernetes" && GOTOOLCHAIN=local go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c" &&
    python3 "$LAB/pause_image.py" "$folder/pause" "$out.new" >/dev/null && mv "$out.new" "$out" ||
    { echo "the image of the pause container could not be made"; rm -rf "$folder"; return 1; }
  rm -rf "$folder"
}

# Whether this machine lets a process make its own little network.
need_namespaces() {
  [ "$(id -u)" = 0 ] || { echo "namespaces of all kinds need root"; return 1; }
  unshare --net --mount --uts --ipc --pid --fork --mount-proc true 2>/dev/null || { echo "no namespaces can be made here"; return 1; }
}

need_kubernetes() { need_namespaces && need_control_plane; }
need_nodes() {
  need_kubernetes || return
  build_go coredns dns || { echo "CoreDNS could not be built from Go modules"; return 1; }
  need_runtime && need_pause
}
