#!/usr/bin/env bash
# Real processes under faults: ./dev chaos [cluster|controllers|groups] [--minutes N] [--seed S] ... (--help lists all).
# ./dev chaos groups --under asan|tsan ...: every process of it built with that sanitizer.
# Kills, freezes, cuts off and robs processes of their disks while clients work, and checks what the clients
# saw. Ends with 1 when something is wrong, and prints the command that inflicts the same faults again.
. "$(dirname "$0")/common.sh"

case ${1:-} in
  cluster) shift && whom=(--brokers 3 --clients 2 --pause-ms 150) ;;
  controllers) shift && whom=() ;;
  groups)
    shift
    tools/setup.sh
    members=(//tests/chaos/groups:groups //tests/chaos/groups:member //tests/chaos/groups:stream_member)
    built=bazel-bin programs=bin config=()
    if [ "${1:-}" = --under ]; then
      sanitizer=${2:?--under needs asan or tsan}
      shift 2
      built=bazel-$sanitizer-bin config=("--config=$sanitizer" "--symlink_prefix=bazel-$sanitizer-")
      export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0" TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
    fi
    bazel build --ui_event_filters=-info --noshow_progress "${config[@]}" "${PROGRAMS[@]}" "${members[@]}"
    if [ "$built" = bazel-bin ]; then
      link_programs
    else # all in one folder
      programs=$(mktemp -d)
      trap 'rm -rf "$programs"' EXIT
      for target in "${PROGRAMS[@]}"; do
        target=${target#//}
        ln -s "$PWD/$built/${target/://}" "$programs/${target#*:}"
      done
    fi
    "$built/tests/chaos/groups/groups" --programs "$programs" --member "$built/tests/chaos/groups/member" \
      --stream-member "$built/tests/chaos/groups/stream_member" "$@"
    exit
    ;;
  '' | -*) whom=(--brokers 3 --clients 2 --pause-ms 150) ;;
  *) die "there is no '$1' to break: ./dev chaos [cluster|controllers|groups] [--minutes N] [--seed S] [--tour]; --help lists all" ;;
esac

tools/setup.sh
bazel build --ui_event_filters=-info --noshow_progress "${PROGRAMS[@]}" //tests/chaos:chaos //tests/crash:liblose_unsynced.so
link_programs
exec bazel-bin/tests/chaos/chaos --programs bin --preload "$PWD/bazel-bin/tests/crash/liblose_unsynced.so" "${whom[@]}" "$@"
