#!/usr/bin/env bash
# Real processes under faults: ./dev chaos [cluster|controllers|groups] [--minutes N] [--seed S] ... (--help lists all).
# Kills, freezes, cuts off and robs processes of their disks while clients work, and checks what the clients
# saw. Ends with 1 when something is wrong, and prints the command that inflicts the same faults again.
. "$(dirname "$0")/common.sh"

case ${1:-} in
  cluster) shift && whom=(--brokers 3 --clients 2 --pause-ms 150) ;;
  controllers) shift && whom=() ;;
  groups)
    shift
    tools/setup.sh
    bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/chaos/groups:groups //tests/chaos/groups:member //tests/chaos/groups:stream_member
    link_programs
    exec bazel-bin/tests/chaos/groups/groups --programs bin --member bazel-bin/tests/chaos/groups/member \
      --stream-member bazel-bin/tests/chaos/groups/stream_member "$@"
    ;;
  '' | -*) whom=(--brokers 3 --clients 2 --pause-ms 150) ;;
  *) die "there is no '$1' to break: ./dev chaos [cluster|controllers|groups] [--minutes N] [--seed S] [--tour]; --help lists all" ;;
esac

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/chaos:chaos //tests/crash:liblose_unsynced.so
link_programs
exec bazel-bin/tests/chaos/chaos --programs bin --preload "$PWD/bazel-bin/tests/crash/liblose_unsynced.so" "${whom[@]}" "$@"
