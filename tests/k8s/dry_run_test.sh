#!/usr/bin/env bash
# What a real API server of Kubernetes says of the overlays: a strict dry run on the server, in a cluster without nodes.
# dry_run_test.sh inside: the same, once the cluster is there.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

# The server takes it all, knows every field, and warns of nothing: of Pod Security, for one.
is_taken() {
  local said
  said=$(kubectl kustomize "k8s/overlays/$1" | kubectl apply --dry-run=server --validate=strict -f - 2>&1) || { echo "$said"; return 1; }
  [ "$(grep -c 'server dry run' <<<"$said")" -ge 15 ] || { echo "too few objects: $said"; return 1; }
  ! grep '^Warning' <<<"$said"
}

# All of it stands in the namespace that its policies and Pod Security are for.
is_in_its_namespace() {
  local elsewhere
  elsewhere=$(kubectl kustomize "k8s/overlays/$1" | kubectl apply --dry-run=server -o json -f - |
    python3 -c 'import json, sys
for item in json.load(sys.stdin)["items"]:
    if item["kind"] != "Namespace" and item["metadata"].get("namespace") != "milena":
        print(item["kind"], item["metadata"]["name"])')
  [ -z "$elsewhere" ] || { echo "in another namespace: $elsewhere"; return 1; }
}

is_refused() { ! kubectl kustomize k8s/overlays/dev | sed "$1" | kubectl apply --dry-run=server --validate=strict -f - >/dev/null 2>&1; }

# A pod that asks for nothing of what "restricted" demands: taken elsewhere, refused beside Milena.
is_enforced() {
  # The controllers make it some moments after the namespace.
  until_ok 20 kubectl --namespace milena get serviceaccount default && until_ok 20 kubectl --namespace default get serviceaccount default &&
    kubectl --namespace default run any --image=any --dry-run=server || return 1
  { kubectl --namespace milena run any --image=any --dry-run=server 2>&1 || true; } | grep 'violates PodSecurity "restricted'
}

inside() {
  local overlay
  kubectl apply -f k8s/base/namespace.yaml >/dev/null
  for overlay in dev production; do
    check "Kubernetes' API server takes the overlay $overlay, strictly" is_taken "$overlay"
    check "all of the overlay $overlay is in the namespace milena" is_in_its_namespace "$overlay"
  done
  check "it refuses a field that it does not know" is_refused 's/podManagementPolicy:/podManagmentPolicy:/'
  check "it refuses a value that can't be" is_refused 's/type: RuntimeDefault/type: Any/'
  check "it refuses a pod that is not restricted" is_enforced
}

if [ "${1:-}" = inside ]; then
  inside
  exit
fi
. tests/k8s/lab/tools.sh
export KUBERNETES_DIR
if reason=$(GO_SECONDS=700 need_kubernetes); then
  tests/k8s/lab/cluster.sh "$0" inside
else
  echo "skip a dry run on Kubernetes' API server: $reason"
fi
