#!/usr/bin/env bash
# Consumer groups from outside: every unary call by grpcurl with what it refuses; Python clients over generated stubs that
# read in groups both ways, through brokers that do not lead what they read, make every mistake, and see topics and members
# come and go; and the live view on a terminal.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

HAS_GRPCURL='' HAS_PYTHON=''
if reason=$(need_grpcurl); then need_grpcurl; HAS_GRPCURL=yes; else echo "skip grpcurl groups: $reason"; fi
if reason=$(need_python); then need_python; HAS_PYTHON=yes; else echo "skip python groups: $reason"; fi
[ -n "$HAS_GRPCURL$HAS_PYTHON" ] || exit 0
start_cluster --brokers 3 --coordinators 2
BROKER=localhost:$((BASE_PORT + 2))

call() { "$GRPCURL" -plaintext -emit-defaults "$@"; }
group() { call -d "$2" "$BROKER" "milena.v1.GroupService/$1"; }

# tells TEXT... -- COMMAND...: the command works, and its output has each TEXT.
tells() {
  local texts=() text
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  shift
  "$@" >"$WORK/said" 2>&1 || { cat "$WORK/said"; return 1; }
  for text in "${texts[@]}"; do
    grep -qF -- "$text" "$WORK/said" || { echo "no '$text' in:"; cat "$WORK/said"; return 1; }
  done
}

# refuses TEXT COMMAND...: the command fails, and says TEXT.
refuses() {
  local text=$1
  shift
  if "$@" >"$WORK/said" 2>&1; then echo "it worked:"; cat "$WORK/said"; return 1; fi
  grep -qF -- "$text" "$WORK/said" || { echo "no '$text' in:"; cat "$WORK/said"; return 1; }
}

# soon COMMAND...: the command works within 10 s.
soon() {
  local i
  for i in $(seq 100); do "$@" >/dev/null && return; sleep 0.1; done
  "$@"
}

# field NAME: the first value of a field of the JSON that comes in.
field() { sed -n "s/^ *\"$1\": \"\?\([^\",]*\)\"\?,\?$/\1/p" | head -1; }

unary() {
  bin/milena topics create bought --partitions 2 >/dev/null
  bin/milena topics create other >/dev/null
  seq 10 | bin/milena produce bought --partition 0 >/dev/null
  local commit='{"topic":"bought","partition":0,"offset":4,"metadata":"mine"}'

  check "GetCoordinator: answered by any broker, and makes what groups need" tells '"address": "' leaseEpoch -- \
    group GetCoordinator '{"group":"shop"}'
  check "GetCoordinator: without a group" refuses INVALID_FIELD group GetCoordinator '{}'
  check "ListGroups: none, once the coordinator knows" soon tells '"groups": []' '"missing": []' -- group ListGroups '{}'
  check "GetGroup: one that there is not" refuses UNKNOWN_GROUP group GetGroup '{"group":"shop"}'
  check "UpdateGroup: validate_only makes none" tells '"sessionTimeout": "20s"' '"maxMembers": 1000' -- \
    group UpdateGroup '{"group":"shop","config":{"session_timeout":"20s"},"validate_only":true}'
  check "GetGroup: still none" refuses UNKNOWN_GROUP group GetGroup '{"group":"shop"}'
  check "UpdateGroup: a group with settings of its own" tells '"assignor": "ASSIGNOR_RANGE"' '"sessionTimeout": "20s"' -- \
    group UpdateGroup '{"group":"shop","config":{"session_timeout":"20s","assignor":"ASSIGNOR_RANGE"}}'
  check "UpdateGroup: a session out of range" refuses session_timeout \
    group UpdateGroup '{"group":"shop","config":{"session_timeout":"0.1s"}}'

  check "CommitOffsets: a tool's, while there are no members" tells '"status": null' '"partition": 0' -- \
    group CommitOffsets "{\"group\":\"shop\",\"offsets\":[$commit]}"
  check "CommitOffsets: a second time is the same" tells '"status": null' -- \
    group CommitOffsets "{\"group\":\"shop\",\"offsets\":[$commit]}"
  check "CommitOffsets: nothing to commit" refuses INVALID_FIELD group CommitOffsets '{"group":"shop"}'
  check "CommitOffsets: negative" tells INVALID_FIELD -- \
    group CommitOffsets '{"group":"shop","offsets":[{"topic":"bought","offset":-1}]}'
  check "CommitOffsets: of a topic that there is not" tells UNKNOWN_TOPIC -- \
    group CommitOffsets '{"group":"shop","offsets":[{"topic":"nowhere","offset":1}]}'
  check "CommitOffsets: of a partition that there is not" tells UNKNOWN_PARTITION -- \
    group CommitOffsets '{"group":"shop","offsets":[{"topic":"bought","partition":7,"offset":1}]}'
  long=$(printf '%04097d' 0)
  check "CommitOffsets: metadata over the limit" tells INVALID_FIELD 4,096 -- \
    group CommitOffsets "{\"group\":\"shop\",\"offsets\":[{\"topic\":\"bought\",\"offset\":1,\"metadata\":\"$long\"}]}"
  check "CommitOffsets: of a member that there is not" refuses UNKNOWN_MEMBER \
    group CommitOffsets "{\"group\":\"shop\",\"member_id\":\"nobody\",\"member_epoch\":1,\"offsets\":[$commit]}"
  check "FetchOffsets: all" tells '"offset": "4"' '"metadata": "mine"' -- group FetchOffsets '{"group":"shop"}'
  check "FetchOffsets: what is not committed says so" tells '"committed": null' '"partition": 1' -- \
    group FetchOffsets '{"group":"shop","topics":[{"topic":"bought","partitions":[1]}]}'
  check "GetGroup: how far behind it is, by the server" tells GROUP_STATE_EMPTY '"lag": "6"' '"totalLag": "6"' -- \
    group GetGroup '{"group":"shop"}'

  check "ResetOffsets: validate_only tells" tells '"before": "4"' '"after": "10"' -- \
    group ResetOffsets '{"group":"shop","position":{"end":"LOG_END_LATEST"},"validate_only":true}'
  check "ResetOffsets: and changes nothing" tells '"offset": "4"' -- group FetchOffsets '{"group":"shop"}'
  check "ResetOffsets: by a shift" tells '"before": "4"' '"after": "2"' -- group ResetOffsets '{"group":"shop","shift":-2}'
  check "ResetOffsets: no place to go to" refuses INVALID_FIELD group ResetOffsets '{"group":"shop"}'

  check "Heartbeat: joins, and is told its epoch" tells memberId '"memberEpoch"' heartbeatInterval -- \
    group Heartbeat '{"group":"shop","subscription":{"topics":["bought"]},"member_id":"m1","owned":{}}'
  check "Heartbeat: the same join again is the same member" tells '"memberId": "m1"' -- \
    group Heartbeat '{"group":"shop","subscription":{"topics":["bought"]},"member_id":"m1","owned":{}}'
  check "Heartbeat: what to read is missing" refuses INVALID_FIELD group Heartbeat '{"group":"shop"}'
  check "Heartbeat: a pattern that does not compile" refuses topic_pattern \
    group Heartbeat '{"group":"shop","subscription":{"topic_pattern":"a(b"}}'
  check "Heartbeat: a member that there is not" refuses UNKNOWN_MEMBER \
    group Heartbeat '{"group":"shop","member_id":"m9","member_epoch":3}'
  check "Heartbeat: an epoch that never was" refuses FENCED \
    group Heartbeat '{"group":"shop","member_id":"m1","member_epoch":4000}'
  name=$(printf '%010240d' 0)
  check "Heartbeat: a group's name of 10 KB" refuses INVALID_FIELD \
    group Heartbeat "{\"group\":\"$name\",\"subscription\":{\"topics\":[\"bought\"]}}"
  EPOCH=$(group Heartbeat '{"group":"shop","subscription":{"topics":["bought"]},"member_id":"m1"}' | field memberEpoch)
  check "CommitOffsets: of a partition that is not the member's" tells NOT_ASSIGNED -- \
    group CommitOffsets "{\"group\":\"shop\",\"member_id\":\"m1\",\"member_epoch\":$EPOCH,\"offsets\":[
      {\"topic\":\"other\",\"offset\":0}]}"
  check "CommitOffsets: no tool's while there are members" refuses GROUP_IN_USE \
    group CommitOffsets "{\"group\":\"shop\",\"offsets\":[$commit]}"
  check "ResetOffsets: not while it is used" refuses GROUP_IN_USE group ResetOffsets '{"group":"shop","shift":1}'
  check "DeleteOffsets: not while they are read" tells GROUP_IN_USE -- \
    group DeleteOffsets '{"group":"shop","topics":[{"topic":"bought","partitions":[0]}]}'
  check "DeleteGroup: not while it is used" refuses GROUP_IN_USE group DeleteGroup '{"group":"shop"}'
  check "ListGroups: by state" tells '"group": "shop"' '"memberCount": 1' -- \
    group ListGroups '{"states":["GROUP_STATE_STABLE","GROUP_STATE_RECONCILING"]}'
  check "ListGroups: no such state" tells '"groups": []' -- group ListGroups '{"states":["GROUP_STATE_EMPTY"]}'
  check "GetGroup: the member, where it calls from, and why" tells '"memberId": "m1"' '"clientAddress": "127.0.0.1:' explanation -- \
    group GetGroup '{"group":"shop"}'
  check "Heartbeat: leaves" tells '"memberEpoch": 0' -- \
    group Heartbeat "{\"group\":\"shop\",\"member_id\":\"m1\",\"member_epoch\":$EPOCH,\"leave\":\"LEAVE_FOR_GOOD\"}"

  check "DeleteOffsets: forgets them" tells '"status": null' -- \
    group DeleteOffsets '{"group":"shop","topics":[{"topic":"bought","partitions":[0]}]}'
  check "FetchOffsets: none" tells '"offsets": []' -- group FetchOffsets '{"group":"shop"}'
  for name in one two three; do group UpdateGroup "{\"group\":\"$name\",\"config\":{}}" >/dev/null; done
  check "ListGroups: the first page" tells '"nextPageToken": "groups:' -- group ListGroups '{"page_size":2}'
  local token
  token=$(group ListGroups '{"page_size":2}' | field nextPageToken)
  check "ListGroups: the second page is the rest" tells '"nextPageToken": ""' -- \
    group ListGroups "{\"page_size\":2,\"page_token\":\"$token\"}"
  check "ListGroups: a token of another listing" refuses STALE_PAGE_TOKEN group ListGroups '{"page_token":"topic:bought"}'
  check "ListGroups: too large a page" refuses INVALID_FIELD group ListGroups '{"page_size":1001}'
  check "DeleteGroup: and it is gone" tells '{' -- group DeleteGroup '{"group":"shop"}'
  check "DeleteGroup: twice" refuses UNKNOWN_GROUP group DeleteGroup '{"group":"shop"}'
  local coordinator
  coordinator=$(group GetCoordinator '{"group":"one"}' | field address)
  check "a coordinator answers by itself" tells GROUP_STATE_EMPTY -- \
    call -d '{"group":"one"}' "$coordinator" milena.v1.GroupService/GetGroup
}
[ -z "$HAS_GRPCURL" ] || unary

# committed GROUP OFFSET: what `milena groups lag` tells of its one partition.
committed() {
  local got
  got=$(bin/milena groups lag "$1" --offsets | awk '$1 == "moved" { print $3 }')
  [ "$got" = "$2" ] || { echo "$got is committed, not $2"; return 1; }
}
# moves TO OPTION...: the offset after `milena groups reset-offsets`.
moves() {
  local to=$1
  shift
  bin/milena groups reset-offsets mover "$@" >"$WORK/said" 2>&1 || { cat "$WORK/said"; return 1; }
  committed mover "$to"
}

resets() {
  bin/milena topics create moved >/dev/null
  seq 10 | bin/milena produce moved >/dev/null
  sleep 1.1 # a time between the records
  local between
  between=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
  seq 10 | bin/milena produce moved >/dev/null
  timeout 60 bin/milena consume moved --group mover --from beginning --count 4 >/dev/null
  check "reset-offsets: four records were read" committed mover 4
  check "reset-offsets: a dry run tells" tells would -- bin/milena groups reset-offsets mover --to end --dry-run
  check "reset-offsets: and moves nothing" committed mover 4
  check "reset-offsets: to the end" moves 20 --to end
  check "reset-offsets: to the beginning" moves 0 --to beginning
  check "reset-offsets: to an offset" moves 7 --to 7
  check "reset-offsets: back, by a shift" moves 5 --shift -2
  check "reset-offsets: on, by a shift, and no further than the end" moves 20 --shift 100
  check "reset-offsets: to a time" moves 10 --to "$between"
  bin/milena groups lag mover --offsets >"$WORK/offsets"
  check "reset-offsets: elsewhere, to come back" moves 3 --to 3
  check "reset-offsets: to the offsets of a file" moves 10 --from-file "$WORK/offsets"
  check "delete-offsets: forgets them" tells forgotten -- bin/milena groups delete-offsets mover --topic moved
  check "groups delete: and the group" bin/milena groups delete mover --yes
}
resets

if [ -n "$HAS_PYTHON" ]; then
  mkdir "$WORK/stubs"
  generate() {
    (cd protos && find milena/v1 google/rpc -name '*.proto' -print0 |
      xargs -0 "$PYTHON" -m grpc_tools.protoc -I. --python_out="$WORK/stubs" --grpc_python_out="$WORK/stubs")
  }
  check "python groups: stubs are generated from the protos" generate
  brokers=("localhost:$BASE_PORT" "localhost:$((BASE_PORT + 1))" "localhost:$((BASE_PORT + 2))")
  for script in groups groups_refusals groups_life; do
    PYTHONPATH=$WORK/stubs "$PYTHON" "tests/interop/$script.py" "${brokers[@]}" || echo "not ok $script.py ended early"
  done
  # A group that the last of these leaves with two members.
  "$PYTHON" tests/interop/groups_watch.py "$(readlink -f bin/milena)" "${brokers[0]}" life-range ||
    echo "not ok groups_watch.py ended early"
  # The last: it kills a coordinator and a broker.
  check "python groups: a coordinator, a broker and a member die, and nothing is missed" env PYTHONPATH="$WORK/stubs" \
    "$PYTHON" tests/interop/groups_failover.py "$(readlink -f bin/milena)" "$WORK/cluster" "${brokers[@]}"
fi
