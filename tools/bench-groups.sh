#!/usr/bin/env bash
# What one group coordinator carries on this machine: 500 groups with 5 members each, on three brokers, factor 3, with fsync
# before each commit is confirmed. Heartbeats a second, commits at a steady rate and as fast as they go, CPU and memory.
#
#   tools/bench-groups.sh [--groups N] [--members N] [--rate COMMITS_A_SECOND] [--seconds N]
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh

members=5
for ((i = 1; i < $#; i++)); do
  [ "${!i}" != --members ] || { next=$((i + 1)) && members=${!next}; }
done
tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:groups_bench
link_programs
WORK=$(mktemp -d)
reserve_ports
export MILENA_BOOTSTRAP=localhost:$BASE_PORT
trap 'bin/milena local down --data "$WORK/cluster" >/dev/null 2>&1 || true; rm -rf "$WORK"' EXIT
bin/milena local up --data "$WORK/cluster" --base-port "$BASE_PORT" --brokers 3 --coordinators 1 >/dev/null
bin/milena topics create bench-groups --partitions "$members" >/dev/null
for ((i = 0; i < members; i++)); do seq 1000 | bin/milena produce bench-groups --partition "$i"; done
until bin/milena groups list >/dev/null 2>&1; do sleep 0.1; done
processes=()
for name in coordinator-1 broker-1 broker-2 broker-3; do processes+=("$name=$(cat "$WORK/cluster/$name.pid")"); done
bazel-bin/tests/bench/groups_bench --address "127.0.0.1:$((BASE_PORT + 200))" "$@" "${processes[@]}"
echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
