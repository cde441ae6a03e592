#!/usr/bin/env bash
# How a group takes one member's leaving, beside Apache Kafka's consumer protocol (KIP-848) on this machine, in turns: three
# brokers, 100 members, 1,000 partitions that are written to all the time.
#
#   tools/bench-rebalance.sh [--members N] [--partitions N] [--leaves N] [--rate N] [--turns N] [--alone]
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh
export BROKERS=3
. tests/bench/sides.sh

members=100 partitions=1000 leaves=3 rate=2000 turns=1 alone=0
while [ $# -gt 0 ]; do
  case $1 in
    --members) members=${2:?--members needs a number} && shift ;;
    --partitions) partitions=${2:?--partitions needs a number} && shift ;;
    --leaves) leaves=${2:?--leaves needs a number} && shift ;;
    --rate) rate=${2:?--rate needs a number} && shift ;;
    --turns) turns=${2:?--turns needs a number} && shift ;;
    --alone) alone=1 ;;
    *) die "bench rebalance: unknown option $1; there are --members, --partitions, --leaves, --rate, --turns N, --alone" ;;
  esac
  shift
done

tools/setup.sh
[ $alone = 1 ] || tools/setup.sh bench || true # without it, find_peer names what is missing
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:rebalance_bench
link_programs
WORK=$(mktemp -d)
reserve_ports
sides=(milena)
stop_all() {
  milena_stop
  [ ${#sides[@]} -lt 2 ] || kafka_stop
}
finish() {
  stop_all
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

milena_rebalance() { bazel-bin/tests/bench/rebalance_bench "$MILENA_BOOTSTRAP" "$@"; }
kafka_rebalance() {
  kafka_topic rebalance "$partitions"
  timeout 300 java -Xmx1g -XX:+UseSerialGC -cp "${KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/milena/peers/kafka}/lib/*" tests/bench/kafka/Rebalance.java \
    "$KAFKA_BOOTSTRAP" "$@" 2>"$WORK/kafka.err" || { tail -n 5 "$WORK/kafka.err" >&2; die "Kafka's side failed"; }
}

# One side at a time is up: the members alone take what two processors have.
for turn in $(seq "$turns"); do
  for side in "${sides[@]}"; do
    say "turn $turn of $turns: $side"
    "${side}_start"
    "${side}_rebalance" "$members" "$partitions" "$leaves" "$rate" | sed -n "s/^{/{\"side\":\"$side\",/p" | tee -a "$WORK/figures"
    "${side}_stop"
    rm -rf "${WORK:?}/$side"
  done
done

field() { sed -n "s/.*\"side\":\"$1\".*\"$2\":\([0-9.]*\).*/\1/p" "$WORK/figures" | sort -n | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]; else print "-"}'; }
printf '\n%d members, %d partitions, %d leavings a turn, ms\n\n' "$members" "$partitions" "$leaves"
printf '%-52s %10s %10s\n' '' Milena Kafka
row() { printf '%-52s %10s %10s\n' "$1" "$(field milena "$2")" "$(field kafka "$2")"; }
row 'leaving until committed and confirmed: median' left_p50
row 'leaving until assigned to another: median' assigned_p50
row 'leaving until assigned to another: worst' assigned_max
row 'leaving until its first record there: median' first_p50
row 'leaving until its first record there: worst' first_max
row 'partitions that moved, for each leaving' moved
row "others' partitions that moved" others_moved
row 'longest pause of one that stays, calm' calm_gap
row 'longest pause of one that stays, at a leaving' leave_gap
