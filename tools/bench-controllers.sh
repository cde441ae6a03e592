#!/usr/bin/env bash
# The controllers by themselves on this machine: real processes with fsync and default settings, in folders of their own,
# against targets. A broker that is none stands for the brokers, so that nothing but the controllers is measured.
#
#   tools/bench-controllers.sh [--controllers 1|3|5] [--kills N]
. "$(dirname "$0")/common.sh"

controllers=3 kills=25
while [ $# -gt 0 ]; do
  case $1 in
    --controllers) controllers=${2:?--controllers needs a number} && shift ;;
    --kills) kills=${2:?--kills needs a number} && shift ;;
    *) die "bench controllers: unknown option $1; there are --controllers N (3) and --kills N (25)" ;;
  esac
  shift
done

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/bench:controllers_bench
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
bazel-bin/tests/bench/controllers_bench bazel-bin/services/controller/milena-controller "$WORK" "$controllers" "$kills"
echo "load average now: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) processors"
