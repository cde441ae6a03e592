#!/usr/bin/env bash
# Runs simulations by their seeds: ./dev sim [raft|idempotence...] [--seeds N] [--first S], or one of them: ./dev sim raft
# --seed S. Ends with 1 when a seed failed, and prints the command that runs it again.
. "$(dirname "$0")/common.sh"
# ./dev sim --mutations: tools/sim_mutations.sh.

tools/setup.sh
if [ "${1:-}" = --mutations ]; then exec tools/sim_mutations.sh "${@:2}"; fi
bazel build --ui_event_filters=-info --noshow_progress //tests/sim:sim
exec bazel-bin/tests/sim/sim "$@"
