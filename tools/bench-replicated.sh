#!/usr/bin/env bash
# Three brokers and factor 3 against Apache Kafka's on this machine, in turns, and a table of medians: acks=all, a minimum
# of 2 in sync; Milena with fsync on every in-sync replica before each answer, Kafka with its defaults (none). Kafka's
# three processes are brokers and controllers; Milena has three of each, and all six count. Both are warmed up first, and
# again at the start of each turn; whoever does not have the turn stands still (SIGSTOP).
#
#   tools/bench-replicated.sh [--only produce|latency|failover] [--turns N] [--alone] [--quick]
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh
export BROKERS=3 BATCH_BYTES=1000000
. tests/bench/sides.sh
. tests/bench/measure.sh

turns=3 scale=100 alone=0 cases=(produce latency failover)
while [ $# -gt 0 ]; do
  case $1 in
    --only) cases=("${2:?--only needs a case: produce, latency or failover}") && shift ;;
    --turns) turns=${2:?--turns needs a number} && shift ;;
    --alone) alone=1 ;;
    --quick) turns=1 scale=10 ;;
    *) die "bench replicated: unknown option $1; there are --only produce|latency|failover, --turns N, --alone (without Kafka), --quick (a tenth of the records, one turn)" ;;
  esac
  shift
done
for case in "${cases[@]}"; do
  case $case in
    produce | latency | failover) ;;
    *) die "bench replicated: there is no case $case; there are produce, latency and failover" ;;
  esac
done

tools/setup.sh
[ $alone = 1 ] || tools/setup.sh bench || true # without it, find_peer names what is missing
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:failover_bench
link_programs
WORK=$(mktemp -d)
reserve_ports
sides=(milena)
finish() {
  local side
  for side in "${sides[@]}"; do
    go_on "$side" || true
    "${side}_stop"
  done
  rm -rf "$WORK"
}
trap finish EXIT

if [ $alone = 0 ]; then
  find_peer
  if [ -z "$PEER_MISSING" ]; then
    sides+=(kafka)
  else
    say "Milena alone: no comparison without$PEER_MISSING"
  fi
fi

is_wanted() { [[ " ${cases[*]} " == *" $1 "* ]]; }

produce_case() {
  local side=$1
  produce_load "$side" bytes-100 100 $((30000 * scale)) produce_100 records_per_second
  produce_load "$side" bytes-1000 1000 $((6000 * scale)) produce_1000 megabytes_per_second
}

latency_case() {
  local side=$1 json start
  sync
  json=$("${side}_latency" small $((10 * scale)) 100)
  note e2e_p50 "$side" "$(field p50 <<<"$json")"
  note e2e_p99 "$side" "$(field p99 <<<"$json")"
  start=$(meter "$side")
  json=$("${side}_produce" small $((150 * scale)) 100 3000)
  note_limits paced "$side" "$start" "$(field client_cpu_seconds <<<"$json")"
  note paced_rate "$side" "$(field records_per_second <<<"$json")"
  note paced_p50 "$side" "$(field p50 <<<"$json")"
  note paced_p99 "$side" "$(field p99 <<<"$json")"
}

# What each load wants warm: compiled, connected, its files there.
warm_up() {
  local side=$1
  "${side}_topic" small
  "${side}_produce" small $((10000 * scale)) 100 >/dev/null
  if is_wanted produce; then
    for size in 100 1000; do "${side}_topic" "bytes-$size"; done
    "${side}_produce" bytes-100 $((20000 * scale)) 100 >/dev/null
    "${side}_produce" bytes-1000 $((4000 * scale)) 1000 >/dev/null
  fi
  if is_wanted latency; then
    "${side}_produce" small $((30 * scale)) 100 3000 >/dev/null
    "${side}_latency" small $((5 * scale)) 100 >/dev/null
  fi
}

# A turn begins with some seconds that do not count: connections, caches and the disk's queue are as they were.
warm_again() {
  local side=$1
  if is_wanted produce; then
    "${side}_produce" bytes-100 $((10000 * scale)) 100 >/dev/null
    "${side}_produce" bytes-1000 $((2000 * scale)) 1000 >/dev/null
  fi
  ! is_wanted latency || "${side}_produce" small $((30 * scale)) 100 3000 >/dev/null
}

at_rest() {
  local before
  before=$("${1}_cpu")
  sleep 3
  note idle_cpu "$1" "$(awk -v a="$before" -v b="$("${1}_cpu")" 'BEGIN {print (b - a) * 20}')"
}

memory() {
  note rss "$1" "$("${1}_rss")"
  note peak "$1" "$("${1}_peak")"
  if [ "$1" = milena ]; then
    note rss_brokers milena "$(milena_rss broker)"
    note peak_brokers milena "$(milena_peak broker)"
  fi
}

if is_wanted produce || is_wanted latency; then
  for side in "${sides[@]}"; do
    say "$side: starting three brokers, warming up"
    "${side}_start"
    note idle_rss "$side" "$("${side}_rss")"
    warm_up "$side"
    stand_still "$side"
  done
  for number in $(seq "$turns"); do
    for side in "${sides[@]}"; do
      take_turn "$side" "${sides[@]}"
      warm_again "$side"
      for case in produce latency; do
        ! is_wanted $case || { say "turn $number of $turns: $side, $case" && ${case}_case "$side"; }
      done
      memory "$side"
      [ "$number" -lt "$turns" ] || at_rest "$side"
    done
  done
fi

# Leaders killed: a cluster of each side's, the other one stopped, since a thousand partitions with three replicas take
# what there is of both processors.
if is_wanted failover; then
  for side in "${sides[@]}"; do
    go_on "$side"
    "${side}_stop"
  done
  for side in "${sides[@]}"; do
    say "$side: a broker killed, 1,000 partitions"
    rm -rf "${WORK:?}/$side"
    "${side}_failover" 1000 "$turns" >"$WORK/failover" ||
      { cat "$WORK/failover" >&2; die "the killed broker's partitions are not led again"; }
    cat "$WORK/failover" >&2
    for value in $(field_all led_again_ms <"$WORK/failover"); do note failover "$side" "$value"; done
    for value in $(field_all worst_ms <"$WORK/failover"); do note failover_worst "$side" "$value"; done
    "${side}_stop"
  done
fi

echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
awk -v turns="$turns" -f tests/bench/figures.awk -f tests/bench/table-replicated.awk "$WORK/figures"
