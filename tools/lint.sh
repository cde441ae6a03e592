#!/usr/bin/env bash
# Checks that need no running program: format, warnings, layers and purity, protos, clang-tidy. With arguments, clang-tidy
# looks at those files alone.
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
files=("$@")
[ $# -gt 0 ] || mapfile -t files < <(git ls-files '*.c')
flags=(-std=gnu17 -D_GNU_SOURCE -I. -Ibazel-bin/protos -Ibazel-bin -Iclient/libmilena/include)
read -ra system < <(pkg-config --cflags glib-2.0 gio-2.0)
# A few files at a time, on every processor; xargs fails when one of them did. What goes to stderr counts warnings in
# headers that are not ours.
printf '%s\0' "${files[@]}" |
  xargs -0 -n 4 -P "$(nproc)" sh -c 'flags=$1; shift; clang-tidy --quiet "$@" -- $flags 2>/dev/null' \
    sh "${flags[*]} ${system[*]}" || bad=1

[ $bad -eq 0 ] && echo "lint: all is well" || { echo "lint: see above" >&2; exit 1; }
