#!/usr/bin/env bash
# Hostile bytes for every decoder: builds the targets of tests/fuzz with clang and libFuzzer, and runs them in turn.
#
#   ./dev fuzz [--seconds N] [TARGET...]   N seconds each (30); all targets, or those that are named
#   ./dev fuzz TARGET FILE...              run TARGET on these inputs once: replays a crash
#
# What libFuzzer learns is kept in the cache folder, and the next run goes on from there; inputs that crash are written
# to fuzz-crashes/. Once the cause is mended, such an input belongs in tests/fuzz/corpus/TARGET/.
. "$(dirname "$0")/common.sh"

FOUND=${MILENA_FUZZ_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/milena/fuzz}
CRASHES=fuzz-crashes
OUT=bazel-fuzz-bin/tests/fuzz
seconds=30 names=() files=()

while [ $# -gt 0 ]; do
  case $1 in
    --seconds) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "fuzz: --seconds takes a whole number of seconds"; seconds=$2; shift ;;
    -*) die "fuzz: there is no option '$1': only --seconds N" ;;
    *)
      if [ -f "tests/fuzz/$1.c" ] && [ -d "tests/fuzz/corpus/$1" ]; then names+=("$1")
      elif [ -f "$1" ]; then files+=("$1")
      else die "fuzz: '$1' is neither a target nor a file; the targets are: $(ls tests/fuzz/corpus | xargs)"; fi ;;
  esac
  shift
done
[ ${#files[@]} -eq 0 ] || [ ${#names[@]} -eq 1 ] || die "fuzz: files are run by one target: name it before them"
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(ls tests/fuzz/corpus)

tools/setup.sh
say "building with clang"
programs=()
for name in "${names[@]}"; do programs+=("//tests/fuzz:${name}_fuzz"); done
bazel build --config=fuzz --symlink_prefix=bazel-fuzz- "${programs[@]}"

# glib's allocator of small blocks would hide what is read behind their end.
export G_SLICE=always-malloc ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
mkdir -p "$CRASHES"

if [ ${#files[@]} -gt 0 ]; then exec "$OUT/${names[0]}_fuzz" "${files[@]}"; fi

failed=0
printf '%-12s %12s %10s %8s %8s\n' target executions "a second" coverage corpus
for name in "${names[@]}"; do
  mkdir -p "$FOUND/$name"
  log=$FOUND/$name.log
  if "$OUT/${name}_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$CRASHES/$name-" "$FOUND/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    executions=$(awk '/^stat::number_of_executed_units/ {print $2}' "$log")
    rate=$(awk '/^stat::average_exec_per_sec/ {print $2}' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)
    printf '%-12s %12s %10s %8s %8s\n' "$name" "$executions" "$rate" "$coverage" "$(ls "$FOUND/$name" | wc -l)"
  else
    failed=$((failed + 1))
    printf '%-12s CRASHED\n' "$name"
    grep -E 'ERROR|does not hold|runtime error|INVARIANT|    #[0-9] ' "$log" | head -12 || true
    input=$(grep -o "Test unit written to .*" "$log" | tail -1 | sed 's/Test unit written to //' || true)
    echo "replay it with:  ./dev fuzz $name ${input:-$log}"
  fi
done
[ $failed -eq 0 ] || die "fuzz: $failed of ${#names[@]} targets crashed; the whole reports are in $FOUND/TARGET.log"
