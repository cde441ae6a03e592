#!/usr/bin/env bash
# Takes the rules of replication out, one condition at a time, in a copy of the project, and shows that a test fails
# without each: ./dev test --take-out [--write] [NAME...]. Each is a file of tests/rules: "RULE | what is taken out", the
# tests that must notice it ("test TARGET FILTER", of GoogleTest), then files and the text that is replaced in them, which
# must be there exactly once. Ends with 1 when one of those tests passes, or a file does not apply or build any more.
# --write puts the table into docs/decisions/0013-replication-rules.md. (./dev sim --mutations does it for the Raft core.)
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/mutations.sh"

write= wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --write) write=1 ;;
    -*) die "take-out: there is no option $1" ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

copy=${copy%/*}/take-out # of its own: both may run
[ -z "$write" ] || [ ${#wanted[@]} -eq 0 ] || die "take-out: --write is for all rules"
rules=$PWD/tests/rules
page=$PWD/docs/decisions/0013-replication-rules.md

# Ends as bazel does: 0 when it passes, 3 when it fails. What is replaced need not leave every variable used.
run_test() {
  bazel test --copt=-Wno-error --noshow_progress --ui_event_filters=-info,-warning --test_output=summary \
    --test_timeout=100 --cache_test_results=no "$1" --test_arg="--gtest_filter=$2" >test.log 2>&1
}

# The cases of target $1 that failed, or were running when the program ended.
failed_cases() {
  local log=${1#//}
  awk '/^\[ RUN/ { running = $4 } /^\[       OK/ { running = "" }
    /^\[  FAILED  \]/ && running { print running; running = "" } END { if (running) print running }' \
    "bazel-testlogs/${log/://}/test.log" | sort -u | awk '{ line = line (NR > 1 ? ", " : "") "`" $0 "`" } END { print line }'
}

# Whether every test that FILE names fails. Prints which cases did, or what is wrong.
notices() {
  local word target filter status noticed='' cases
  while read -r word target filter <&3; do
    status=0
    run_test "$target" "$filter" || status=$?
    if [ $status -ne 3 ]; then
      [ $status -eq 0 ] && echo "$filter passes without it" || { echo "it does not build:"; grep -m3 'error: ' test.log; }
      return 1
    fi
    cases=$(failed_cases "$target")
    noticed="${noticed:+$noticed, }${cases:-the end of $filter}"
  done 3< <(grep '^test ' "$1")
  echo "$noticed"
}

refresh
cd "$copy"
bad=0
for file in "$rules"/[0-9]*; do
  name=${file##*/}
  if [ ${#wanted[@]} -gt 0 ] && ! printf '%s\n' "${wanted[@]}" | grep -qxF -e "$name" -e "${name%%-*}"; then continue; fi
  head=$(head -1 "$file")
  paths=$(sed -n 's/^file //p' "$file" | sort -u)
  keep $paths
  if apply "$file" && noticed=$(notices "$file"); then
    echo "ok $name: $noticed"
    printf '| %s | %s | %s | %s |\n' "${head%% | *}" "$(printf '`%s` ' $paths | sed 's/ $//; s/` `/`, `/g')" "${head#* | }" \
      "$noticed" >>"$rows"
  else
    echo "not ok $name: ${noticed:-does not apply any more: look at it again}"
    bad=1
  fi
  put_back
done
bazel shutdown
# The table of the page: its head stays, its rows are these.
if [ -n "$write" ]; then
  awk -v rows="$rows" '
    /^\| rule \| where / { print; getline; print; while ((getline row <rows) > 0) print row; old = 1; next }
    old && /^\|/ { next }
    { old = 0; print }' "$page" >"$page.new"
  mv "$page.new" "$page"
fi
exit $bad
