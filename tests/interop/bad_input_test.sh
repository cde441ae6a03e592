#!/usr/bin/env bash
# Bad input, over the wire and at the start: each gets its own clear error and costs nothing else.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if ! reason=$(need_python); then
  echo "skip bad input: $reason"
  exit 0
fi
need_python
# As under a login shell: the services must raise the limit of descriptors by themselves.
ulimit -Sn 1024
start_cluster --brokers 1
mkdir "$WORK/stubs"
generate() {
  (cd protos && find milena/v1 google/rpc -name '*.proto' -print0 |
    xargs -0 "$PYTHON" -m grpc_tools.protoc -I. --python_out="$WORK/stubs" --grpc_python_out="$WORK/stubs")
}
generate || { echo "not ok bad input: stubs are generated"; exit 1; }
export PYTHONPATH=$WORK/stubs
"$PYTHON" tests/interop/bad_input.py "localhost:$BASE_PORT" "$(cut -d" " -f1 "$WORK/cluster/broker-1.pid")" ||
  echo "not ok bad_input.py ended early"

# ---- At the start ----

# does_not_start NAME WORDS COMMAND...: the command ends by itself, with a failure, and says each of the words ("a|b").
does_not_start() {
  local name=$1 words=$2 status=0 word
  shift 2
  timeout 30 "$@" >"$WORK/said" 2>&1 || status=$?
  IFS='|' read -ra words <<<"$words"
  for word in "${words[@]}"; do grep -qF -- "$word" "$WORK/said" || status=0; done
  if [ $status -ne 0 ] && [ $status -lt 124 ] && [ "$(wc -l <"$WORK/said")" -le 20 ]; then
    echo "ok bad start: $name"
  else
    echo "not ok bad start: $name (status $status)"
    sed 's/^/   /' "$WORK/said"
  fi
}
FREE=127.0.0.1:0
CONTROLLERS=127.0.0.1:$((BASE_PORT + 150))
# A broker beside the one that runs; later flags win.
broker() { echo bin/milena-broker --id 9 --listen $FREE --peer-listen $FREE --controllers "$CONTROLLERS"; }
controller() { echo bin/milena-controller --listen $FREE --peer-listen $FREE; }
mkdir "$WORK/empty"

# A folder of another cluster, and one of another broker of this one.
PORT_HERE=$BASE_PORT
bin/milena local down --data "$WORK/cluster" >/dev/null 2>&1
reserve_ports
bin/milena local up --data "$WORK/other" --base-port "$BASE_PORT" --brokers 1 >/dev/null 2>&1
bin/milena local down --data "$WORK/other" >/dev/null 2>&1
BASE_PORT=$PORT_HERE
bin/milena local up --data "$WORK/cluster" --base-port "$BASE_PORT" --brokers 1 >/dev/null 2>&1

does_not_start "a broker without its folder" "$WORK/gone|missing" $(broker) --data-dir "$WORK/gone"
does_not_start "a controller without its folder" "$WORK/gone" $(controller) --data-dir "$WORK/gone"
does_not_start "a broker on a taken port" "127.0.0.1:$BASE_PORT" \
  $(broker) --data-dir "$WORK/empty" --listen "127.0.0.1:$BASE_PORT"
does_not_start "a controller on a taken port" "127.0.0.1:$BASE_PORT" \
  $(controller) --data-dir "$WORK/empty-controller" --new-cluster --listen "127.0.0.1:$BASE_PORT"
does_not_start "a broker on an address of another machine" "192.0.2.1:7600" \
  $(broker) --data-dir "$WORK/empty" --listen 192.0.2.1:7600
does_not_start "a broker on what is no address" "nonsense" $(broker) --data-dir "$WORK/empty" --listen nonsense
does_not_start "a broker in the folder of one that runs" "$WORK/cluster/broker-1|in use" \
  $(broker) --id 1 --data-dir "$WORK/cluster/broker-1"
does_not_start "a broker in the folder of another cluster" "cluster" $(broker) --id 1 --data-dir "$WORK/other/broker-1"
does_not_start "a broker in the folder of another broker" "1|9" $(broker) --data-dir "$WORK/other/broker-1"
does_not_start "a broker in a controller's folder" "$WORK/other/controller-1" \
  $(broker) --data-dir "$WORK/other/controller-1"
does_not_start "a controller in a broker's folder" "$WORK/other/broker-1" $(controller) --data-dir "$WORK/other/broker-1"
does_not_start "a controller in the folder of another controller" "controller 1|controller 2" \
  $(controller) --id 2 --data-dir "$WORK/other/controller-1"
does_not_start "a broker in a folder of other things" "$WORK/stubs" $(broker) --data-dir "$WORK/stubs"
does_not_start "a broker in a file" "$WORK/said" $(broker) --data-dir "$WORK/said"
does_not_start "a broker with a lone --" "--" $(broker) -- x

# Root writes everywhere, so only a file system that is read-only will do.
mkdir "$WORK/frozen"
cat >"$WORK/in-frozen" <<'SCRIPT'
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99
shift
exec "$@"
SCRIPT
if unshare -m sh "$WORK/in-frozen" "$WORK/frozen" true 2>/dev/null; then
  frozen() { echo unshare -m sh "$WORK/in-frozen" "$WORK/frozen"; }
  does_not_start "a broker in a read-only folder" "$WORK/frozen|read-only" $(frozen) $(broker) --data-dir "$WORK/frozen"
  does_not_start "a broker that is to make a folder in a read-only one" "$WORK/frozen/new|ead-only" \
    $(frozen) $(broker) --create-data-dir --data-dir "$WORK/frozen/new"
  does_not_start "a controller in a read-only folder" "$WORK/frozen|ead-only" \
    $(frozen) $(controller) --new-cluster --data-dir "$WORK/frozen"
else
  echo "skip bad start: read-only folders: this user may not mount"
fi

# The cluster that runs was not harmed by any of them.
bin/milena topics create normal >/dev/null 2>&1 || true
check "bad start: the cluster beside it serves" sh -c 'echo "still here" | bin/milena produce normal'

# More connections than descriptors: the rest is refused, and the door opens again. The limit is one of the processes' own.
ulimit -n 400
bin/milena local down --data "$WORK/cluster" >/dev/null 2>&1
bin/milena local up --data "$WORK/cluster" --base-port "$BASE_PORT" --brokers 1 >/dev/null 2>&1
flood() {
  "$PYTHON" - "localhost:$BASE_PORT" <<'PYTHON'
import sys
sys.path.insert(0, "tests/interop")
import raw_http2
connections = [raw_http2.Connection(sys.argv[1]) for _ in range(380)]
refused = sum(1 for c in connections if c.next_frame() is None)
assert 10 < refused < 200, refused
PYTHON
  echo "after the flood" | timeout 30 bin/milena produce normal
  grep -F "connections are refused" "$WORK/cluster/broker-1.log"
}
check "bad input: more connections than descriptors are refused, and the broker serves on" flood
