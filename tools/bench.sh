#!/usr/bin/env bash
# Rates on this machine: the store alone, then a local cluster end to end. Absolute figures vary from run to run; compare
# two builds in turns.
. "$(dirname "$0")/common.sh"

tools/setup.sh
bazel build --ui_event_filters=-info "${PROGRAMS[@]}" //tests/bench/...
link_programs
work=$(mktemp -d)
trap 'bin/milena local down --data "$work/cluster" >/dev/null 2>&1; rm -rf "$work"' EXIT

say "the store alone"
bazel-bin/tests/bench/store_bench "$work/store"

say "one broker, 6 partitions, acks=all, fsync before each answer"
. tests/interop/tools.sh
reserve_ports
bin/milena local up --data "$work/cluster" --brokers 1 --base-port "$BASE_PORT" >/dev/null
export MILENA_BOOTSTRAP=localhost:$BASE_PORT
pid=$(head -n 1 "$work/cluster/broker-1.pid" | awk '{print $1}')

# CPU seconds that the broker has used.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$pid/stat"; }

for size in 100 1000; do
  bin/milena topics create "bench-$size" --partitions 6 >/dev/null
  count=$((400000000 / size))
  [ $count -le 2000000 ] || count=2000000
  awk -v n=$count -v s=$size 'BEGIN { x = sprintf("%*s", s - 9, ""); gsub(/ /, "x", x); for (i = 0; i < n; i++) printf "%08d%s\n", i, x }' >"$work/input"
  before=$(cpu)
  bin/milena produce "bench-$size" --file "$work/input"
  between=$(cpu)
  started=$EPOCHREALTIME
  bin/milena consume "bench-$size" | wc -c >"$work/bytes"
  seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" "BEGIN {print b - a}")
  after=$(cpu)
  awk -v b="$before" -v m="$between" -v a="$after" -v n="$(cat "$work/bytes")" -v t="$seconds" -v s=$size 'BEGIN {
    gb = n / 1e9
    printf "%d B records: broker CPU %.2f s/GB produced; consumed %.2f GB in %.2f s (%.0f MB/s), broker CPU %.2f s/GB\n", s, (m - b) / gb, gb, t, n / t / 1e6, (a - m) / gb }'
done
awk '/VmRSS/ {printf "broker: %d MiB resident\n", $2 / 1024}' "/proc/$pid/status"
