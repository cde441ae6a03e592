#!/usr/bin/env bash
# Takes safety conditions out of the Raft core, and rules out of replication, one at a time, in a copy of the project, and
# shows what notices:
# ./dev sim --mutations [--seeds N] [--write] [NAME...]. Each is a file of tests/sim/{raft,cluster}/mutations: a sentence, then files
# and the text that is replaced in them, which must be there exactly once. Ends with 1 when one is noticed by no named
# test, no scenario file and none of N seeds (2,000), or does not apply or build any more. --write puts the table into
# docs/raft-safety.md.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/mutations.sh"

seeds=2000 write= wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --seeds) seeds=${2:?--seeds needs a number}; shift ;;
    --write) write=1 ;;
    -*) die "mutations: there is no option $1" ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

top=$PWD
tests=(//tests/unit/raft:scenario_test //tests/sim/raft:named_test)
build() { bazel build --ui_event_filters=-info --noshow_progress //tests/sim:sim "${tests[@]}" >build.log 2>&1; }

# The named tests and scenario files that fail: "name, name".
failing_tests() {
  bazel test --keep_going --noshow_progress --ui_event_filters=-info,-warning --test_output=summary "${tests[@]}" >test.log 2>&1 || true
  local log name
  for name in tests/unit/raft/scenario_test tests/sim/raft/named_test; do
    log=bazel-testlogs/$name/test.log
    # A test that ended its process has begun and not come to an end.
    awk '/^\[ RUN/ { running = $4 } /^\[       OK/ { running = "" }
      /^\[  FAILED  \]/ && running { print running; running = "" } END { if (running) print running }' "$log"
  done | sort -u | sed '/^raft_scenario[.]/{s///;y/_/-/;s/$/.txt/}; s/^raft_named[.]//' |
    awk '{ if (NR <= 4) line = line (NR > 1 ? ", " : "") $0 } END { print line (NR > 4 ? " and " NR - 4 " others" : "") }'
}

refresh
cd "$copy"
say "without a mutation"
build || { cat build.log; die "the copy does not build"; }
failed=$(failing_tests)
[ -z "$failed" ] || die "tests fail without a mutation: $failed"
bazel-bin/tests/sim/sim raft cluster --seeds "$seeds" --failures 1 || die "a seed fails without a mutation"

bad=0
for file in "$top"/tests/sim/{raft,cluster}/mutations/*; do
  name=${file##*/}
  sim=${file%/mutations/*} sim=${sim##*/}
  if [ ${#wanted[@]} -gt 0 ] && ! printf '%s\n' "${wanted[@]}" | grep -qxF -e "$name" -e "${name%%-*}"; then continue; fi
  what=$(head -1 "$file")
  paths=$(sed -n 's/^file //p' "$file" | sort -u)
  keep $paths
  if ! apply "$file"; then echo "not ok $name does not apply any more: look at it again"; bad=1; put_back; continue; fi
  if ! build; then
    echo "not ok $name does not build:"
    grep -E 'error:' build.log | head -5
    bad=1
  else
    failed=$(failing_tests)
    seed=$(bazel-bin/tests/sim/sim "$sim" --seeds "$seeds" --failures 1 2>&1 | sed -nE 's/^[a-z]+: seed ([0-9]+) failed (at [0-9]+ us: )?(.*)/\1: \3/p' | head -1 || true)
    if [ -n "$seed$failed" ]; then verdict=ok; else verdict="not ok" bad=1; fi
    echo "$verdict $name: ${seed:+seed }${seed:-none of $seeds seeds}; ${failed:-no test}"
    # The table of replication is in docs/replication-safety.md.
    [ "$sim" = cluster ] || printf '| %s | %s | %s |\n' "$what" "${seed:-none of $seeds}" "$failed" >>"$rows"
  fi
  put_back
done
bazel shutdown
cd "$top"
if [ -n "$write" ]; then
  { sed '/^| taken out/,$d' docs/raft-safety.md
    echo '| taken out | first seed that notices, and why | tests and scenario files that notice |'
    echo '|---|---|---|'
    cat "$rows"; } >docs/raft-safety.md.new
  mv docs/raft-safety.md.new docs/raft-safety.md
fi
exit $bad
