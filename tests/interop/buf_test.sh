#!/usr/bin/env bash
# buf lint over the protos, where npm can be reached.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if reason=$(need_buf) && need_buf; then
  check "buf lint (STANDARD) passes" "$BUF" lint
else
  echo "skip buf lint: $reason"
fi
