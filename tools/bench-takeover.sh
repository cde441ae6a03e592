#!/usr/bin/env bash
# How soon a coordinator serves what another one coordinated: 100,000 committed offsets in one partition of
# __consumer_offsets, each committed ten times, on three brokers, factor 3. Compaction runs beside the commits. Then the
# coordinator is killed, again and again, and the other one takes over: how long it reads, from when it has the lease until
# it serves, and how many records that are. With --as-is nothing is compacted: what it would be without.
#
#   tools/bench-takeover.sh [--groups N] [--partitions N] [--rounds N] [--kills N] [--as-is]
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh

groups=100 partitions=1000 rounds=10 kills=3 interval=1s
while [ $# -gt 0 ]; do
  case $1 in
    --groups) groups=${2:?--groups needs a number} && shift ;;
    --partitions) partitions=${2:?--partitions needs a number} && shift ;;
    --rounds) rounds=${2:?--rounds needs a number} && shift ;;
    --kills) kills=${2:?--kills needs a number} && shift ;;
    --as-is) interval=1000h ;;
    *) die "bench takeover: unknown option $1; there are --groups, --partitions, --rounds, --kills N, --as-is" ;;
  esac
  shift
done

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:takeover_bench
link_programs
WORK=$(mktemp -d)
reserve_ports
export MILENA_BOOTSTRAP=127.0.0.1:$BASE_PORT MILENA_BROKER_COMPACTION_INTERVAL=$interval
export MILENA_CONTROLLER_GROUP_PARTITIONS=1 MILENA_GROUP_COORDINATOR_LOG_LEVEL=debug
trap 'bin/milena local down --data "$WORK/cluster" >/dev/null 2>&1 || true; rm -rf "$WORK"' EXIT
bin/milena local up --data "$WORK/cluster" --base-port "$BASE_PORT" --brokers 3 --coordinators 2 >/dev/null
bin/milena topics create bench-takeover --partitions "$partitions" >/dev/null
until bin/milena groups list >/dev/null 2>&1; do sleep 0.1; done

say "$groups groups, $partitions partitions each, $rounds rounds"
bazel-bin/tests/bench/takeover_bench commit "$MILENA_BOOTSTRAP" "$groups" "$partitions" "$rounds"
logs() { cat "$WORK/cluster"/broker-*.log; }
runs() { logs | grep -c 'log compacted partition=__consumer_offsets/0' || true; }
if [ "$interval" = 1s ]; then # until the last run is over: the next ones find too little
  for ((before = -1, now = 0; now == 0 || now != before;)); do before=$now && sleep 4 && now=$(runs); done
  for i in 1 2 3; do grep 'log compacted partition=__consumer_offsets/0' "$WORK/cluster/broker-$i.log" | tail -n 1; done
fi

served() { cat "$WORK/cluster"/coordinator-*.log | grep -c 'serves a partition of groups' || true; }
owner() { # of the partition: who served last
  grep -H 'serves a partition of groups' "$WORK/cluster"/coordinator-*.log | sed 's/^\(.*\)\/\(coordinator-[0-9]\).log:\([^ ]*\) .*/\3 \2/' |
    sort | tail -n 1 | cut -d ' ' -f 2
}
for ((kill = 1; kill <= kills; kill++)); do
  before=$(served)
  owner=$(owner)
  bin/milena local stop "$owner" --kill --data "$WORK/cluster" >/dev/null
  bazel-bin/tests/bench/takeover_bench wait "$MILENA_BOOTSTRAP" "$groups" "$partitions"
  until [ "$(served)" -gt "$before" ]; do sleep 0.1; done
  cat "$WORK/cluster"/coordinator-*.log | grep 'serves a partition of groups' | sort | tail -n 1 |
    sed 's/.*\(records=[0-9]*\).*\(ms=[0-9]*\).*/took over: \1 \2/'
  bin/milena local start "$owner" --data "$WORK/cluster" >/dev/null
done
echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
