#!/usr/bin/env bash
# Sets up, builds, runs every test, and ends with a count of all of them. With arguments: only those bazel targets.
# ./dev test --take-out: tools/take_out.sh.
#
# Counted are the single cases of the C tests (from the XML that GoogleTest writes) and the lines "ok", "not ok" and
# "skip" of the scripts in tests/interop and tests/purity.
. "$(dirname "$0")/common.sh"

passed=0 failed=0 skipped=0
started=$SECONDS

# Adds up the cases of one GoogleTest XML; one that never got to write its cases counts as one failure.
count_xml() {
  local file=$1 cases fails skips
  cases=$(grep -c '<testcase ' "$file" || true)
  fails=$(grep -c '<failure ' "$file" || true)
  [ "$fails" -gt 0 ] && fails=$(awk '/<testcase /{f=0} /<failure /{if(!f)n++; f=1} END{print n+0}' "$file")
  skips=$(grep -c '<skipped ' "$file" || true)
  if [ "$cases" -eq 0 ] || grep -q '<error ' "$file"; then
    failed=$((failed + 1))
    return
  fi
  passed=$((passed + cases - fails - skips)) failed=$((failed + fails)) skipped=$((skipped + skips))
  [ "$skips" -eq 0 ] || grep -o '<skipped message="[^"]*"' "$file" | sed 's/.*message="/skip: /; s/"$//; s/&#x0A;/ /g'
}

# Runs a script that prints "ok NAME", "not ok NAME" and "skip NAME: reason" lines. One that hangs, or ends early without
# saying what failed, has failed.
run_script() {
  local log status=0
  log=$(mktemp)
  say "$1"
  timeout --kill-after=30 900 "$@" </dev/null 2>&1 | tee "$log" || status=$?
  passed=$((passed + $(grep -c '^ok ' "$log" || true)))
  failed=$((failed + $(grep -c '^not ok ' "$log" || true)))
  skipped=$((skipped + $(grep -c '^skip ' "$log" || true)))
  if ! grep -qE '^(ok|not ok|skip) ' "$log" || { [ $status -ne 0 ] && ! grep -q '^not ok ' "$log"; }; then
    echo "not ok $1 ended early (exit status $status)"
    failed=$((failed + 1))
  fi
  rm -f "$log"
}

tools/setup.sh
if [ "${1:-}" = --take-out ]; then exec tools/take_out.sh "${@:2}"; fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(//tests/...)

say "building"
bazel build "${PROGRAMS[@]}" //... || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
link_programs

say "C tests: ${targets[*]}"
status=0
bazel test --keep_going --build_event_text_file=/dev/null "${targets[@]}" || status=$?
logs=$(readlink -f bazel-testlogs)
while IFS= read -r label; do
  xml="$logs/$(sed 's|^//||; s|:|/|' <<<"$label")/test.xml"
  if [ -s "$xml" ]; then count_xml "$xml"; else echo "not ok $label left no result"; failed=$((failed + 1)); fi
done < <(bazel query --noshow_progress --ui_event_filters=-info "tests(set(${targets[*]}))" 2>/dev/null)
if [ $status -ne 0 ] && [ $failed -eq 0 ]; then failed=1; fi

if [ $# -eq 0 ]; then
  run_script tests/purity/check.sh
  for script in tests/interop/*_test.sh tests/k8s/*_test.sh; do run_script "$script"; done
fi

echo "(in $((SECONDS - started)) s)"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
