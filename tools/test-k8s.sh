#!/usr/bin/env bash
# A real Kubernetes of three nodes on this machine, the overlay production on it, and clients, while pods are killed, nodes
# drained and cut off, everything restarted, and a broker added: what the clients saw is checked. All of it in namespaces of
# its own, which end with it. Tools are fetched and built once: some minutes.
#   ./dev test-k8s [STEP...]    the steps are named in tests/k8s/steps.sh
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh
. tests/k8s/lab/tools.sh

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/k8s:clients //tests/chaos/groups:member //tests/chaos/groups:stream_member
link_programs
say "Kubernetes $KUBERNETES: building what is not there yet"
need_nodes >"$KUBERNETES_DIR.why" || die "Kubernetes can't be had here: $(cat "$KUBERNETES_DIR.why")"

need_grpcurl >&2 && export GRPCURL || GRPCURL=
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
python3 tools/image/make_image.py --binaries bin --ref localhost/milena:dev --out "$WORK/milena.tar"
started=$SECONDS status=0
KUBERNETES_DIR=$KUBERNETES_DIR NODES=3 IMAGES=$WORK/milena.tar LOGS=$WORK/logs LEDGER=$WORK/ledger \
  timeout --kill-after=30 1500 tests/k8s/lab/cluster.sh tests/k8s/steps.sh "$@" </dev/null 2>&1 | tee "$WORK/said" || status=$?

count() { grep -c "^$1 " "$WORK/said" || true; }
failed=$(count "not ok")
if [ "$failed" -gt 0 ] || [ $status -ne 0 ]; then
  kept=$(mktemp -d -t milena-k8s-XXXXXX)
  cp -r "$WORK/logs" "$WORK/said" "$WORK/ledger" "$kept" 2>/dev/null || true
  echo "logs are kept in $kept"
fi
if [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "not ok the run ended early (exit status $status)"
  failed=1
fi
echo "(in $((SECONDS - started)) s)"
echo "$(count ok) passed, $failed failed, $(count skip) skipped"
[ "$failed" -eq 0 ]
