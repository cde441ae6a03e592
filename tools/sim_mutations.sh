#!/usr/bin/env bash
# Takes safety conditions out of the Raft core, out of consumer groups, and rules out of replication, one at a time, in a
# copy of the project, and shows what notices:
# ./dev sim --mutations [raft|cluster|groups] [--seeds N] [--write] [NAME...]. Each is a file of tests/sim/SIMULATION/mutations: a
# sentence, then files and the text that is replaced in them, which must be there exactly once. Ends with 1 when one is
# noticed by no named test, no scenario file and none of N seeds (2,000), or does not apply or build any more. --write
# puts the tables into docs/raft-safety.md and docs/groups-safety.md.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/mutations.sh"

seeds=2000 write= wanted=() sims=()
while [ $# -gt 0 ]; do
  case $1 in
    --seeds) seeds=${2:?--seeds needs a number}; shift ;;
    --write) write=1 ;;
    raft | cluster | groups) sims+=("$1") ;;
    -*) die "mutations: there is no option $1" ;;
    *) wanted+=("$1") ;;
  esac
  shift
done

top=$PWD
[ ${#sims[@]} -gt 0 ] || sims=(raft cluster groups)

# The named tests and scenario files of a simulation.
tests_of() {
  case $1 in
    groups) echo //tests/unit/groups:scenario_test //tests/unit/groups:assign_test ;;
    *) echo //tests/unit/raft:scenario_test //tests/sim/raft:named_test ;;
  esac
}

# What is taken out may leave a function without a caller.
lenient='--per_file_copt=services/group_coordinator/.*@-Wno-unused-function'

# build SIMULATION
build() { bazel build "$lenient" --ui_event_filters=-info --noshow_progress //tests/sim:sim $(tests_of "$1") >build.log 2>&1; }

# failing_tests SIMULATION: those that fail: "name, name".
failing_tests() {
  bazel test "$lenient" --keep_going --noshow_progress --ui_event_filters=-info,-warning --test_output=summary $(tests_of "$1") >test.log 2>&1 || true
  local log name
  for name in $(tests_of "$1"); do
    name=${name#//}
    log=bazel-testlogs/${name/://}/test.log
    # A test that ended its process has begun and not come to an end.
    awk '/^\[ RUN/ { running = $4 } /^\[       OK/ { running = "" }
      /^\[  FAILED  \]/ && running { print running; running = "" } END { if (running) print running }' "$log"
  done | sort -u | sed -E '/^(raft|groups)_scenario[.]/{s///;y/_/-/;s/$/.txt/}; s/^raft_named[.]//' |
    awk '{ if (NR <= 4) line = line (NR > 1 ? ", " : "") $0 } END { print line (NR > 4 ? " and " NR - 4 " others" : "") }'
}

files=()
for sim in "${sims[@]}"; do files+=("$top"/tests/sim/"$sim"/mutations/*); done

refresh
cd "$copy"
say "without a mutation"
for sim in "${sims[@]}"; do
  build "$sim" || { cat build.log; die "the copy does not build"; }
  failed=$(failing_tests "$sim")
  [ -z "$failed" ] || die "tests fail without a mutation: $failed"
done
bazel-bin/tests/sim/sim "${sims[@]}" --seeds "$seeds" --failures 1 || die "a seed fails without a mutation"

bad=0
for file in "${files[@]}"; do
  name=${file##*/}
  sim=${file%/mutations/*} sim=${sim##*/}
  if [ ${#wanted[@]} -gt 0 ] && ! printf '%s\n' "${wanted[@]}" | grep -qxF -e "$name" -e "${name%%-*}"; then continue; fi
  what=$(head -1 "$file")
  paths=$(sed -n 's/^file //p' "$file" | sort -u)
  keep $paths
  if ! apply "$file"; then echo "not ok $name does not apply any more: look at it again"; bad=1; put_back; continue; fi
  if ! build "$sim"; then
    echo "not ok $name does not build:"
    grep -E 'error:' build.log | head -5
    bad=1
  else
    failed=$(failing_tests "$sim")
    seed=$(bazel-bin/tests/sim/sim "$sim" --seeds "$seeds" --failures 1 2>&1 | sed -nE 's/^[a-z]+: seed ([0-9]+) failed (at [0-9]+ us: )?(.*)/\1: \3/p' | head -1 || true)
    if [ -n "$seed$failed" ]; then verdict=ok; else verdict="not ok" bad=1; fi
    echo "$verdict $name: ${seed:+seed }${seed:-none of $seeds seeds}; ${failed:-no test}"
    # The table of replication is in docs/replication-safety.md.
    [ "$sim" = cluster ] || printf '| %s | %s | %s |\n' "$what" "${seed:-none of $seeds}" "$failed" >>"$rows-$sim"
  fi
  put_back
done
bazel shutdown
cd "$top"
for sim in raft groups; do
  if [ -z "$write" ] || [ ! -s "$rows-$sim" ]; then continue; fi
  { sed '/^| taken out/,$d' "docs/$sim-safety.md"
    echo '| taken out | first seed that notices, and why | tests and scenario files that notice |'
    echo '|---|---|---|'
    cat "$rows-$sim"; } >"docs/$sim-safety.md.new"
  mv "docs/$sim-safety.md.new" "docs/$sim-safety.md"
done
exit $bad
