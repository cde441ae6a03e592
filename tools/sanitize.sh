#!/usr/bin/env bash
# Runs tests under a sanitizer: sanitize.sh asan|ubsan|tsan [TARGET...]. Without targets: the unit tests, and the clusters
# of real processes, whose logs are searched for reports (tests/cluster/harness.c).
. "$(dirname "$0")/common.sh"

config=$1
shift
tools/setup.sh
[ $# -gt 0 ] || set -- //tests/unit/... //tests/cluster/...
case $config in
  asan) set -- --test_env=LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0" "$@" ;;
  tsan) set -- --test_env=TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" --test_tag_filters=-one-thread "$@" ;;
esac
bazel test --config="$config" --symlink_prefix="bazel-$config-" --keep_going "$@"
