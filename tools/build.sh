#!/usr/bin/env bash
# Builds everything, or the bazel targets given.
. "$(dirname "$0")/common.sh"

tools/setup.sh
if [ $# -gt 0 ]; then
  exec bazel build "$@"
fi
bazel build "${PROGRAMS[@]}" //...
link_programs
