#!/usr/bin/env bash
# Runs the tests under a sanitizer: sanitize.sh asan|ubsan|tsan [TARGET...].
. "$(dirname "$0")/common.sh"

config=$1
shift
tools/setup.sh
[ $# -gt 0 ] || set -- //tests/unit/...
[ "$config" != tsan ] || set -- --test_env=TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" "$@"
# A build of its own beside the plain one, so that switching costs no rebuild.
bazel test --config="$config" --symlink_prefix="bazel-$config-" --keep_going "$@"
