#!/usr/bin/env bash
# The manifests, rendered and held against Kubernetes' own schemas, strictly: where kubectl is there and Go modules can be had.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

KUBERNETES=v1.35.0

# Sets KUBECONFORM and SCHEMAS.
need_schemas() {
  KUBECONFORM=$TOOLS_DIR/bin/kubeconform SCHEMAS=$TOOLS_DIR/k8s-$KUBERNETES
  command -v kubectl >/dev/null || { echo "no kubectl command"; return 1; }
  if [ -x "$KUBECONFORM" ] && [ -d "$SCHEMAS" ]; then return; fi
  command -v go >/dev/null || { echo "no go command"; return 1; }
  [ -x "$KUBECONFORM" ] ||
    GOBIN=$TOOLS_DIR/bin timeout 400 go install github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0 >/dev/null 2>&1 ||
    { echo "kubeconform could not be built as a Go module"; return 1; }
  [ -d "$SCHEMAS" ] && return
  local folder swagger
  folder=$(mktemp -d)
  swagger=$(cd "$folder" && go mod init manifests >/dev/null 2>&1 &&
    timeout 300 go mod download -json "k8s.io/kubernetes@$KUBERNETES" 2>/dev/null | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/api/openapi-spec/swagger.json
  rm -rf "$folder"
  [ -f "$swagger" ] || { echo "the module k8s.io/kubernetes could not be fetched"; return 1; }
  python3 tests/k8s/make_schemas.py "$swagger" "$SCHEMAS.new" && mv "$SCHEMAS.new" "$SCHEMAS"
}

conforms() {
  local rendered
  rendered=$(kubectl kustomize "k8s/overlays/$1") || return
  [ "$(grep -c '^kind:' <<<"$rendered")" -ge 15 ] || { echo "too few objects"; return 1; }
  "$KUBECONFORM" -strict -schema-location "$SCHEMAS/{{.ResourceKind}}{{.KindSuffix}}.json" - <<<"$rendered"
}

# A mistake must be found: a field that no StatefulSet has.
finds_mistakes() {
  ! kubectl kustomize k8s/overlays/dev | sed 's/podManagementPolicy:/podManagmentPolicy:/' |
    "$KUBECONFORM" -strict -schema-location "$SCHEMAS/{{.ResourceKind}}{{.KindSuffix}}.json" - >/dev/null
}

# Pod Security "restricted" asks this of each container, and refuses what lacks it.
is_restricted() {
  local rendered containers
  rendered=$(kubectl kustomize "k8s/overlays/$1") || return
  containers=$(grep -c '^ *image: ' <<<"$rendered")
  for line in 'allowPrivilegeEscalation: false' 'readOnlyRootFilesystem: true' 'runAsNonRoot: true' 'type: RuntimeDefault'; do
    [ "$(grep -c "$line" <<<"$rendered")" = "$containers" ] || { echo "not each of $containers containers has $line"; return 1; }
  done
}

if reason=$(need_schemas) && need_schemas; then
  for overlay in dev production; do
    check "the overlay $overlay conforms to Kubernetes $KUBERNETES" conforms "$overlay"
    check "every container of the overlay $overlay is restricted" is_restricted "$overlay"
  done
  check "a field that does not exist is found" finds_mistakes
else
  echo "skip manifests against Kubernetes' schemas: $reason"
fi
