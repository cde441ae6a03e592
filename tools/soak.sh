#!/usr/bin/env bash
# Does the cluster stay as it is? ./dev soak [--seconds N] [--rate BYTES_A_SECOND] [--leak]: an hour by default. Prints
# figures over time and a verdict on each; ends with 1 when one rises (tests/soak/README.md). --leak takes the retention
# away: then it must fail.
. "$(dirname "$0")/common.sh"

export MILENA_SOAK_SECONDS=3600
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) MILENA_SOAK_SECONDS=${2:?"--seconds needs a number"} && shift 2 ;;
    --rate) export MILENA_SOAK_BYTES_PER_SECOND=${2:?"--rate needs a number"} && shift 2 ;;
    --leak) export MILENA_SOAK_KEEP_ALL=1 && shift ;;
    *) die "soak does not know '$1': ./dev soak [--seconds N] [--rate BYTES_A_SECOND] [--leak]" ;;
  esac
done
[[ $MILENA_SOAK_SECONDS =~ ^[1-9][0-9]*$ ]] || die "--seconds is '$MILENA_SOAK_SECONDS', but must be a number of seconds"
[[ ${MILENA_SOAK_BYTES_PER_SECOND:-1} =~ ^[1-9][0-9]*$ ]] || die "--rate must be a number of bytes a second"

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress //tests/soak:soak_test
cd bazel-bin # where it finds the programs
exec tests/soak/soak_test
