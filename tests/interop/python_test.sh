#!/usr/bin/env bash
# A Python client over generated stubs: the twenty-line script, streams in both directions, compressed records,
# and a broker that is killed under it.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if ! reason=$(need_python); then
  echo "skip python: $reason"
  exit 0
fi
need_python
start_cluster --brokers 3
BROKER=localhost:$BASE_PORT
mkdir "$WORK/stubs"
generate() {
  (cd protos && find milena/v1 google/rpc -name '*.proto' -print0 |
    xargs -0 "$PYTHON" -m grpc_tools.protoc -I. --python_out="$WORK/stubs" --grpc_python_out="$WORK/stubs")
}
check "stubs are generated from the protos" generate
export PYTHONPATH=$WORK/stubs
check "a script produces and reads back" "$PYTHON" tests/interop/script.py "$BROKER"
"$PYTHON" tests/interop/streams.py "$BROKER" "$(readlink -f bin/milena)" || echo "not ok streams.py ended early"
# The last: it kills a broker.
check "a client without routing goes on at another address when its broker is killed" "$PYTHON" tests/interop/failover.py \
  "$(readlink -f bin/milena)" "$WORK/cluster" "localhost:$BASE_PORT" "localhost:$((BASE_PORT + 1))" "localhost:$((BASE_PORT + 2))"
