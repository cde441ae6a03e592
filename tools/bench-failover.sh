#!/usr/bin/env bash
# How long partitions wait when their leader is killed with -9, on this machine: three controllers, three brokers, factor 3,
# default settings, under a producer that writes to every partition all the time.
#
#   tools/bench-failover.sh [--partitions N] [--kills N] [--interval MS]
. "$(dirname "$0")/common.sh"
. tests/interop/tools.sh

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:failover_bench
link_programs
WORK=$(mktemp -d)
reserve_ports
trap 'bin/milena local down --data "$WORK/cluster" >/dev/null 2>&1 || true; rm -rf "$WORK"' EXIT
bazel-bin/tests/bench/failover_bench --base-port "$BASE_PORT" "$@" bin/milena "$WORK/cluster"
echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
