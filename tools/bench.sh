#!/usr/bin/env bash
# Milena against Apache Kafka on this machine, in turns, and a table of medians. One broker each, 6 partitions, acks=all;
# Milena with fsync before each answer, Kafka with its defaults (none). Both are driven by C clients and warmed up first.
# What Kafka needs and is missing is named, and Milena is measured alone.
#
#   tools/bench.sh [--quick] [--turns N] [--alone] [--only CASES] [--figures FILE] [--store]
#   tools/bench.sh controllers ...    the controllers alone: bench-controllers.sh
#   tools/bench.sh replicated ...     three brokers, against three of Kafka's: bench-replicated.sh
#   tools/bench.sh rebalance ...      how a group takes one member's leaving: bench-rebalance.sh
#   tools/bench.sh failover ...       how long partitions wait when their leader is killed: bench-failover.sh
#   tools/bench.sh groups ...         what one group coordinator carries: bench-groups.sh
#   tools/bench.sh takeover ...       how soon a coordinator serves the offsets of another: bench-takeover.sh
. "$(dirname "$0")/common.sh"
case ${1:-} in
  controllers | replicated | failover | groups | rebalance | takeover)
    which=$1
    shift
    exec "tools/bench-$which.sh" "$@"
    ;;
esac
. tests/interop/tools.sh
. tests/bench/sides.sh
. tests/bench/measure.sh

turns=3 scale=100 alone=0 store=0 cases=produce,tail,warm,cold,latency figures=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) turns=1 scale=10 ;;
    --turns) turns=${2:?--turns needs a number} && shift ;;
    --alone) alone=1 ;;
    --only) cases=${2:?--only needs cases} && shift ;;
    --figures) figures=$(realpath "${2:?--figures needs a file}") && shift ;;
    --store) store=1 ;;
    *) die "bench: unknown option $1; there are --quick (a tenth of the records, one turn), --turns N, --alone (without Kafka), --only CASES (of produce,tail,warm,cold,latency), --figures FILE (adds to what is there and prints all of it), --store (the log store by itself)" ;;
  esac
  shift
done

for case in ${cases//,/ }; do
  [[ ",produce,tail,warm,cold,latency," == *",$case,"* ]] || die "bench: there is no case $case"
done
has() { [[ ",$cases," == *",$1,"* ]]; } # has CASE: it was asked for

tools/setup.sh
[ $alone = 1 ] || tools/setup.sh bench || true # without it, find_peer names what is missing
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench/...
link_programs
WORK=$(mktemp -d)
reserve_ports
[ ! -f "$figures" ] || cp "$figures" "$WORK/figures"
sides=(milena)
finish() { # also when it is stopped under way
  [ -z "$figures" ] || cp "$WORK/figures" "$figures"
  milena_stop
  [ ${#sides[@]} -lt 2 ] || kafka_stop
  rm -rf "$WORK"
}
trap finish EXIT

if [ $store = 1 ]; then
  bazel-bin/tests/bench/store_bench "$WORK/store"
  exit
fi

if [ $alone = 0 ]; then
  find_peer
  if [ -z "$PEER_MISSING" ]; then
    sides+=(kafka)
  else
    say "Milena alone: no comparison without$PEER_MISSING"
  fi
fi

# A consumer that waits at the end, then a producer at full rate. What consuming costs is a difference of two large figures:
# so producing alone is measured before (produce_load) and after.
tail_load() {
  local side=$1 topic=$2 records=$3 before both alone
  before=$(settled_cpu "$side")
  "${side}_tail" "$topic" "$records" >"$WORK/tail.json" &
  local reader=$!
  sleep 1.5
  "${side}_produce" "$topic" "$records" 1000 >/dev/null
  wait "$reader"
  both=$(per_gb "$before" "$(settled_cpu "$side")" $((records * 1000)))
  before=$(settled_cpu "$side")
  "${side}_produce" "$topic" "$records" 1000 >/dev/null
  alone=$(per_gb "$before" "$(settled_cpu "$side")" $((records * 1000)))
  alone=$(awk -v s="$side" -v after="$alone" '$1 == "produce_1000_cpu" && $2 == s {v = $3} END {print v ? (v + after) / 2 : after}' \
    "$WORK/figures")
  note tail "$side" "$(field megabytes_per_second <"$WORK/tail.json")"
  note tail_cpu "$side" "$both"
  note tail_read_cpu "$side" "$(awk -v b="$both" -v p="$alone" 'BEGIN {print (b > p) ? b - p : 0}')"
}

catch_up() { # catch_up SIDE MEASURE
  local before json
  before=$("$1_cpu")
  json=$("$1_consume" history $history)
  note "$2" "$1" "$(field megabytes_per_second <<<"$json")"
  note "$2_cpu" "$1" "$(per_gb "$before" "$("$1_cpu")" $((history * 1000)))"
}

latencies() {
  local side=$1 json
  json=$("${side}_produce" small $((250 * scale)) 100 5000)
  note paced_p50 "$side" "$(field p50 <<<"$json")"
  note paced_p99 "$side" "$(field p99 <<<"$json")"
  json=$("${side}_latency" small $((20 * scale)) 100)
  note e2e_p50 "$side" "$(field p50 <<<"$json")"
  note e2e_p99 "$side" "$(field p99 <<<"$json")"
  # Kafka's default is what flush=os is: one figure for both rows.
  [ "$side" = kafka ] || json=$("${side}_latency" unsynced $((20 * scale)) 100)
  note e2e_os_p50 "$side" "$(field p50 <<<"$json")"
}

# One turn of one side: a topic of its own for each load that writes.
turn() {
  local side=$1 number=$2
  if has produce; then
    "${side}_topic" "bytes-100-$number"
    "${side}_topic" "bytes-1000-$number"
    produce_load "$side" "bytes-100-$number" 100 $((20000 * scale)) produce_100 records_per_second
    produce_load "$side" "bytes-1000-$number" 1000 $((4000 * scale)) produce_1000 megabytes_per_second
  fi
  if has tail; then
    "${side}_topic" "tail-$number"
    tail_load "$side" "tail-$number" $((4000 * scale))
  fi
  ! has warm || catch_up "$side" warm
  ! has latency || latencies "$side"
  note rss "$side" "$("${side}_rss")"
  note peak "$side" "$("${side}_peak")"
}

# Everything that was written before is read again by a broker that has just started, from the disk.
cold_turn() {
  local side=$1
  "${side}_stop"
  sync
  sh -c 'echo 3 > /proc/sys/vm/drop_caches' 2>/dev/null || dropped=0
  started=$EPOCHREALTIME
  "${side}_resume"
  [ "$dropped" = 0 ] || catch_up "$side" cold
}

history=$((20000 * scale)) dropped=1 # 2 GB of 1,000 B
for side in "${sides[@]}"; do
  say "$side: starting, warming up, writing $((history / 1000)) MB to be caught up on"
  for _ in $(seq "$turns"); do # started anew for each figure; the last stays
    "${side}_stop" 2>/dev/null || true
    rm -rf "$WORK/$side"
    started=$EPOCHREALTIME
    "${side}_start"
    note ready "$side" "$(since "$started")"
  done
  for topic in history small; do "${side}_topic" $topic; done
  "${side}_produce" small $((10000 * scale)) 100 >/dev/null
  "${side}_produce" history "$history" 1000 >/dev/null
  "${side}_consume" history "$history" >/dev/null
done
milena_topic unsynced os

if [ "$cases" != cold ]; then
  for number in $(seq "$turns"); do
    for side in "${sides[@]}"; do
      say "turn $number of $turns: $side"
      turn "$side" "$number"
    done
  done
fi
if has cold; then
  say "caught up cold"
  for number in $(seq "$turns"); do
    for side in "${sides[@]}"; do cold_turn "$side"; done
  done
fi
[ "$dropped" = 1 ] || say "the page cache can be dropped by root alone: no cold figures"

echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
awk -v turns="$turns" -f tests/bench/figures.awk -f tests/bench/table.awk "$WORK/figures"
