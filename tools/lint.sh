#!/usr/bin/env bash
# Checks that need no running program: format, clang-tidy on what changed (or all with --all), layers and purity, protos.
. "$(dirname "$0")/common.sh"

tools/setup.sh
bad=0
say "format"
git ls-files '*.c' '*.h' '*.cc' | xargs clang-format --dry-run -Werror || bad=1
say "build, with all warnings as errors"
bazel build --ui_event_filters=-info //... || bad=1
say "layers and purity"
tests/purity/check.sh || bad=1
say "protos"
tests/interop/buf_test.sh || bad=1
say "clang-tidy"
files=$(git ls-files '*.c')
[ "${1:-}" = --all ] || files=$(git diff --name-only --diff-filter=d "$(git merge-base HEAD 'HEAD~20' 2>/dev/null || git rev-list --max-parents=0 HEAD)" -- '*.c')
flags=(-std=gnu17 -D_GNU_SOURCE -I. -Ibazel-bin/protos -Ibazel-bin $(pkg-config --cflags glib-2.0 gio-2.0 2>/dev/null))
for file in $files; do
  clang-tidy --quiet "$file" -- "${flags[@]}" 2>/dev/null || bad=1
done
[ $bad -eq 0 ] && echo "lint: all is well" || { echo "lint: see above" >&2; exit 1; }
