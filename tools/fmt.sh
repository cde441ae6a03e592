#!/usr/bin/env bash
# Formats all C, in place.
. "$(dirname "$0")/common.sh"

tools/setup.sh
git ls-files -co --exclude-standard '*.c' '*.h' '*.cc' | xargs -r clang-format -i
