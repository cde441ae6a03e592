#!/usr/bin/env bash
# What an operator does with grpcurl alone: reflection in both versions, health, topics, produce and read.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if ! reason=$(need_grpcurl); then
  echo "skip grpcurl: $reason"
  exit 0
fi
need_grpcurl
start_cluster --brokers 3 --controllers 3
BROKER=localhost:$BASE_PORT
CONTROLLER=localhost:$((BASE_PORT + 100))
COORDINATOR=localhost:$((BASE_PORT + 200))

call() { "$GRPCURL" -plaintext -emit-defaults "$@"; }

# says TEXT COMMAND...: the command works, and its output has TEXT.
says() {
  local text=$1
  shift
  "$@" >"$WORK/said" 2>&1 || { cat "$WORK/said"; return 1; }
  grep -qF -- "$text" "$WORK/said" || { echo "no '$text' in:"; cat "$WORK/said"; return 1; }
}

# refuses TEXT COMMAND...: the command fails, and says TEXT.
refuses() {
  local text=$1
  shift
  if "$@" >"$WORK/said" 2>&1; then echo "it worked:"; cat "$WORK/said"; return 1; fi
  grep -qF -- "$text" "$WORK/said" || { echo "no '$text' in:"; cat "$WORK/said"; return 1; }
}

# Every service that the process lists can be described, method by method and message by message.
describe_all() {
  local version=$1 address=$2 service
  for service in $(call -reflect-header "x: y" "$address" list); do
    call "$address" describe "$service" >"$WORK/said" 2>&1 || { cat "$WORK/said"; return 1; }
  done
  "$PYTHON" tests/interop/reflect.py "$version" "$address"
}

for address in $BROKER $CONTROLLER $COORDINATOR; do
  check "health of $((${address#*:} - BASE_PORT))" says SERVING call "$address" grpc.health.v1.Health/Check
  check "reflection lists health on $((${address#*:} - BASE_PORT))" says grpc.health.v1.Health call "$address" list
done
check "reflection lists the broker's services" says milena.v1.ProducerService call $BROKER list
if reason=$(need_python); then
  need_python
  for version in v1 v1alpha; do
    check "reflection $version lists and describes everything on a broker" describe_all $version $BROKER
    check "reflection $version lists and describes everything on a controller" describe_all $version $CONTROLLER
    check "reflection $version lists and describes everything on a coordinator" describe_all $version $COORDINATOR
  done
else
  for version in v1 v1alpha; do echo "skip reflection $version by itself: $reason"; done
fi

check "a topic is created" says '"partition": 5' call -d '{"name":"orders","partitions":6}' $BROKER \
  milena.v1.AdminService/CreateTopic
check "the topic is listed by another broker" says '"name": "orders"' call localhost:$((BASE_PORT + 1)) \
  milena.v1.AdminService/ListTopics
check "a topic of the same name is refused" refuses TOPIC_EXISTS call -d '{"name":"orders"}' $BROKER \
  milena.v1.AdminService/CreateTopic
check "an illegal name is refused" refuses INVALID_FIELD call -d '{"name":"no spaces"}' $BROKER \
  milena.v1.AdminService/CreateTopic
check "more replicas than brokers are refused" refuses NOT_ENOUGH_BROKERS \
  call -d '{"name":"copies","replication_factor":4}' $BROKER milena.v1.AdminService/CreateTopic
check "the configuration is updated by mask" says 'FLUSH_OS' \
  call -d '{"name":"orders","config":{"flush":"FLUSH_OS"},"update_mask":{"paths":["flush"]}}' $BROKER milena.v1.AdminService/UpdateTopic
check "partitions are added, with a warning" says warning call -d '{"name":"orders","total_partitions":7}' $BROKER \
  milena.v1.AdminService/AddPartitions
check "brokers are listed" says '"id": 3' call $BROKER milena.v1.AdminService/ListBrokers
check "metadata names the leaders" says leaderId call $BROKER milena.v1.MetadataService/GetMetadata

check "text records are produced in one line" says baseOffset \
  call -d '{"topic":"orders","records":[{"key_text":"k","value_text":"hello"},{"key_text":"k","value_text":"again"}]}' \
  $BROKER milena.v1.ProducerService/Produce
check "and read back in one line" says '"valueText": "again"' \
  call -d '{"topic":"orders","format":"FORMAT_TEXT","stop":{"end":"LOG_END_LATEST"}}' localhost:$((BASE_PORT + 2)) \
  milena.v1.ConsumerService/Consume
printf 'packed line\n' | bin/milena produce orders --compression zstd --partition 3 >/dev/null
check "records written compressed come back as text" says '"valueText": "packed line"' \
  call -d '{"topic":"orders","partitions":[3],"format":"FORMAT_TEXT","stop":{"end":"LOG_END_LATEST"}}' $BROKER \
  milena.v1.ConsumerService/Consume
check "Fetch gives plain records" says "$(printf 'packed line' | base64)" \
  call -d '{"partitions":[{"topic":"orders","partition":3,"offset":0}],"format":"FORMAT_RECORDS"}' $BROKER \
  milena.v1.ConsumerService/Fetch
check "offsets are listed" says '"offset"' \
  call -d '{"queries":[{"topic":"orders","partition":3,"position":{"end":"LOG_END_LATEST"}}]}' $BROKER \
  milena.v1.ConsumerService/ListOffsets
check "an offset out of range says what is there" says OFFSET_OUT_OF_RANGE \
  call -d '{"partitions":[{"topic":"orders","partition":3,"offset":99}]}' $BROKER milena.v1.ConsumerService/Fetch
check "an unknown topic is NOT_FOUND" refuses UNKNOWN_TOPIC \
  call -d '{"topic":"nowhere","records":[{"value_text":"x"}]}' $BROKER milena.v1.ProducerService/Produce
check "a group without a subscription is refused" refuses init.membership.subscription \
  call -d '{"init":{"group":"g"}}' $BROKER milena.v1.ConsumerService/Subscribe
check "the topic is deleted" says '"id"' call -d '{"name":"orders"}' $BROKER milena.v1.AdminService/DeleteTopic
check "and gone" refuses UNKNOWN_TOPIC call -d '{"name":"orders"}' $BROKER milena.v1.AdminService/GetTopic

# ---- Every unary method, with every option of its request. What a script would do, and what it is told when it errs.

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

admin() { call -d "$2" "$BROKER" "milena.v1.AdminService/$1"; }
metadata() { call -d "$1" "$BROKER" milena.v1.MetadataService/GetMetadata; }
produce() { call -d "$1" "$BROKER" milena.v1.ProducerService/Produce; }
fetch() { call -d "$1" "$BROKER" milena.v1.ConsumerService/Fetch; }
offsets() { call -d "$1" "$BROKER" milena.v1.ConsumerService/ListOffsets; }
# The first value of a field of the JSON that comes in.
field() { sed -n "s/^ *\"$1\": \"\?\([^\",]*\)\"\?,\?$/\1/p" | head -1; }
NO_ID=00000000-0000-0000-0000-000000000000

check "CreateTopic: validate_only shows the topic" tells '"partition": 3' '"name": "draft"' -- \
  admin CreateTopic '{"name":"draft","partitions":4,"validate_only":true}'
check "CreateTopic: and creates nothing" refuses UNKNOWN_TOPIC admin GetTopic '{"name":"draft"}'
check "CreateTopic: validate_only refuses what would be refused" refuses INVALID_FIELD \
  admin CreateTopic '{"name":"draft","partitions":1000000,"validate_only":true}'
check "CreateTopic: the configuration is kept, and its defaults are filled in" \
  tells '"flush": "FLUSH_INTERVAL"' '"flushInterval": "0.250s"' '"maxMessageBytes": 4096' '"minInsyncReplicas": 1' -- \
  admin CreateTopic '{"name":"every","request_id":"first","replication_factor":1,
    "config":{"flush":"FLUSH_INTERVAL","flush_interval":"0.25s","max_message_bytes":4096}}'
EVERY=$(admin GetTopic '{"name":"every"}' | field id)
check "CreateTopic: a retry with the same request_id is the first try" says "\"id\": \"$EVERY\"" \
  admin CreateTopic '{"name":"every","request_id":"first","replication_factor":1,
    "config":{"flush":"FLUSH_INTERVAL","flush_interval":"0.25s","max_message_bytes":4096}}'
check "CreateTopic: another request with the same request_id is refused" refuses TOPIC_EXISTS \
  admin CreateTopic '{"name":"every","request_id":"first","partitions":2}'
check "CreateTopic: nor does another request_id make it twice" refuses TOPIC_EXISTS \
  admin CreateTopic '{"name":"every","request_id":"second"}'

check "GetTopic: by id" says '"name": "every"' admin GetTopic "{\"id\":\"$EVERY\"}"
check "GetTopic: by name and id" says '"name": "every"' admin GetTopic "{\"name\":\"every\",\"id\":\"$EVERY\"}"
check "GetTopic: by the id of none" refuses UNKNOWN_TOPIC admin GetTopic "{\"id\":\"$NO_ID\"}"
check "GetTopic: by a name of another id" refuses TOPIC_ID_MISMATCH \
  admin GetTopic "{\"name\":\"every\",\"id\":\"$NO_ID\"}"
check "GetTopic: by nothing" refuses 'name or id is needed' admin GetTopic '{}'

# Walks all pages of one item: pages METHOD FIELD...; prints that field of each.
pages() {
  local token='' turns=0
  while [ $((turns += 1)) -lt 20 ]; do
    admin "$1" "{\"page_size\":1,\"page_token\":\"$token\"}" >"$WORK/page" || return 1
    field "$2" <"$WORK/page"
    token=$(field nextPageToken <"$WORK/page")
    [ -n "$token" ] || return 0
  done
  echo "the pages do not end"
}
topic_pages() { [ "$(pages ListTopics name | xargs)" = "apart every other" ] || { pages ListTopics name; return 1; }; }
broker_pages() { [ "$(pages ListBrokers id | xargs)" = "1 2 3" ] || { pages ListBrokers id; return 1; }; }
admin CreateTopic '{"name":"other","partitions":3}' >/dev/null
admin CreateTopic '{"name":"apart"}' >/dev/null
check "ListTopics: pages of one, in the order of their names" topic_pages
check "ListTopics: a token from elsewhere" refuses STALE_PAGE_TOKEN admin ListTopics '{"page_token":"broker:2"}'
check "ListTopics: a page that is too large" refuses INVALID_FIELD admin ListTopics '{"page_size":1001}'
check "ListBrokers: pages of one, in the order of their ids" broker_pages
check "ListBrokers: a token from elsewhere" refuses STALE_PAGE_TOKEN admin ListBrokers '{"page_token":"x"}'
check "GetBroker: one" tells '"id": 2' "$((BASE_PORT + 1))" '"fenced": false' -- admin GetBroker '{"id":2}'
check "GetBroker: none" refuses UNKNOWN_BROKER admin GetBroker '{"id":77}'

check "UpdateTopic: validate_only shows the change" says '"maxMessageBytes": 8192' admin UpdateTopic \
  '{"name":"every","config":{"max_message_bytes":8192},"update_mask":{"paths":["max_message_bytes"]},"validate_only":true}'
check "UpdateTopic: and changes nothing" says '"maxMessageBytes": 4096' admin GetTopic '{"name":"every"}'
check "UpdateTopic: of this id only" refuses TOPIC_ID_MISMATCH admin UpdateTopic \
  "{\"name\":\"every\",\"id\":\"$NO_ID\",\"config\":{\"flush\":\"FLUSH_OS\"},\"update_mask\":{\"paths\":[\"flush\"]}}"
check "UpdateTopic: what the mask does not name stays, what is missing goes back to its default" \
  tells '"flush": "FLUSH_ALWAYS"' '"maxMessageBytes": 4096' -- admin UpdateTopic \
  "{\"name\":\"every\",\"id\":\"$EVERY\",\"config\":{\"max_message_bytes\":9999},\"update_mask\":{\"paths\":[\"flush\",\"flush_interval\"]}}"
check "UpdateTopic: without a mask" refuses 'name fields in update_mask' admin UpdateTopic \
  '{"name":"every","config":{"flush":"FLUSH_OS"}}'
check "UpdateTopic: a field that there is not" refuses INVALID_FIELD admin UpdateTopic \
  '{"name":"every","update_mask":{"paths":["colour"]}}'
check "UpdateTopic: a value that can't be" refuses INVALID_FIELD admin UpdateTopic \
  '{"name":"every","config":{"max_message_bytes":5},"update_mask":{"paths":["max_message_bytes"]}}'

check "AddPartitions: validate_only shows them" tells '"partition": 4' warning -- \
  admin AddPartitions '{"name":"other","total_partitions":5,"validate_only":true}'
check "AddPartitions: of this id only" refuses TOPIC_ID_MISMATCH \
  admin AddPartitions "{\"name\":\"other\",\"id\":\"$NO_ID\",\"total_partitions\":5}"
check "AddPartitions: never fewer" refuses INVALID_FIELD admin AddPartitions '{"name":"other","total_partitions":3}'

check "GetMetadata: one topic of three" tells '"name": "every"' '"activeControllerId": 1' clusterId coordinators -- \
  metadata '{"topics":["every"]}'
lacks() { ! grep -F -- "$1" "$WORK/said"; }
check "GetMetadata: and not the others" lacks '"name": "other"'
check "GetMetadata: a topic that there is not" refuses UNKNOWN_TOPIC metadata '{"topics":["every","nowhere"]}'

check "Produce: acks none has no offset" tells '"baseOffset": "-1"' '"status": null' -- \
  produce '{"topic":"every","acks":"ACKS_NONE","records":[{"value_text":"zero"}]}'
check "Produce: acks leader, with a key in bytes, headers and a time, is on disk" \
  tells '"baseOffset": "1"' '"syncedReplicas": 1' '"leaderId"' -- \
  produce '{"topic":"every","acks":"ACKS_LEADER","timeout":"5s","records":[{"key":"/wA=","value":"AQI=",
    "headers":[{"key":"trace","value_text":"t1"},{"key":"none"}],"timestamp":"2020-01-02T03:04:05.678Z"}]}'
check "Fetch: RECORDS gives it back byte for byte" \
  tells '"key": "/wA="' '"value": "AQI="' '"key": "trace"' '"value": "dDE="' '"2020-01-02T03:04:05.678Z"' -- \
  fetch '{"partitions":[{"topic":"every","offset":1}],"format":"FORMAT_RECORDS"}'
check "Fetch: TEXT gives text, and bytes where there is none" tells '"key": "/wA="' '"valueText": "t1"' -- \
  fetch '{"partitions":[{"topic":"every","offset":1}],"format":"FORMAT_TEXT"}'
check "Produce: a tombstone" says '"baseOffset": "2"' produce '{"topic":"every","records":[{"key_text":"k"}]}'
# Two records, "one" and "two", encoded and with its CRC-32C by the documentation in record.proto.
BATCH='"header":{"format":1,"compression":"COMPRESSION_NONE","record_count":2,"base_timestamp_ms":1700000000000,
  "max_timestamp_ms":1700000000000,"uncompressed_bytes":14,"crc32c":2726066015},"records":"CgUSA29uZQoFEgN0d28="'
check "Produce: an encoded batch and records in one call" tells '"batchIndex": 0' '"baseOffset": "3"' '"topic": "apart"' -- \
  produce "{\"topic\":\"apart\",\"records\":[{\"value_text\":\"beside\"}],
    \"batches\":[{\"topic\":\"every\",\"topic_id\":\"$EVERY\",\"partition\":0,\"batch\":{$BATCH}}]}"
check "Fetch: BATCHES gives the batch as it came" tells '"crc32c": 2726066015' '"records": "CgUSA29uZQoFEgN0d28="' \
  '"baseOffset": "3"' -- fetch '{"partitions":[{"topic":"every","offset":3}],"format":"FORMAT_BATCHES"}'
check "Produce: a batch that was changed on its way" says CORRUPT_BATCH \
  produce "{\"batches\":[{\"topic\":\"every\",\"batch\":{${BATCH/0d28=/0d24=}}}]}"
check "Produce: to this id only" refuses TOPIC_ID_MISMATCH \
  produce "{\"topic\":\"every\",\"topic_id\":\"$NO_ID\",\"records\":[{\"value_text\":\"x\"}]}"
check "Produce: a partition that there is not" refuses UNKNOWN_PARTITION \
  produce '{"topic":"other","records":[{"value_text":"x","partition":3}]}'
check "Produce: a record over max_message_bytes" refuses RECORD_TOO_LARGE \
  produce "{\"topic\":\"every\",\"records\":[{\"value_text\":\"$(printf '%05000d' 0)\"}]}"
check "Produce: nothing" refuses 'nothing to write' produce '{"topic":"every"}'

# The partitions of "other" are led by one broker each: this broker leads one of them.
led_elsewhere() { metadata '{"topics":["other"]}' | grep -A1 '"partition":' | paste - - - | grep -v '"leaderId": 1,' |
  sed -n 's/.*"partition": \([0-9]*\).*/\1/p' | head -1; }
ELSEWHERE=$(led_elsewhere)
check "Produce: no_proxy is refused, with the leader" tells NOT_LEADER '"leaderAddress": "' -- \
  produce "{\"topic\":\"other\",\"no_proxy\":true,\"records\":[{\"value_text\":\"x\",\"partition\":$ELSEWHERE}]}"
check "Produce: forwarded without it" tells '"baseOffset": "0"' '"status": null' -- \
  produce "{\"topic\":\"other\",\"records\":[{\"value_text\":\"x\",\"partition\":$ELSEWHERE}]}"
check "Fetch: no_proxy is refused, with the leader" tells NOT_LEADER '"leaderAddress": "' -- \
  fetch "{\"no_proxy\":true,\"partitions\":[{\"topic\":\"other\",\"partition\":$ELSEWHERE}]}"
check "ListOffsets: no_proxy is refused, with the leader" tells NOT_LEADER '"leaderAddress": "' -- \
  offsets "{\"no_proxy\":true,\"queries\":[{\"topic\":\"other\",\"partition\":$ELSEWHERE}]}"

check "Fetch: an error of one partition leaves the others" tells UNKNOWN_PARTITION '"highWatermark": "5"' -- \
  fetch '{"partitions":[{"topic":"other","partition":9},{"topic":"every"}],"format":"FORMAT_TEXT"}'
check "Fetch: of this id only" says TOPIC_ID_MISMATCH \
  fetch "{\"partitions\":[{\"topic\":\"every\",\"topic_id\":\"$NO_ID\"}]}"
check "Fetch: max_bytes ends the answer early" tells '"nextOffset": "1"' '"highWatermark": "5"' -- \
  fetch '{"partitions":[{"topic":"every"}],"max_bytes":1,"format":"FORMAT_TEXT"}'
check "Fetch: and so does a partition's own" tells '"nextOffset": "1"' '"highWatermark": "5"' -- \
  fetch '{"partitions":[{"topic":"every","max_bytes":1}],"format":"FORMAT_TEXT"}'
check "Fetch: nothing" refuses INVALID_FIELD fetch '{}'

# took FROM TO COMMAND...: the command works, and takes that long, in milliseconds.
took() {
  local from=$1 to=$2 began ms
  shift 2
  began=$(date +%s%3N)
  "$@" || return 1
  ms=$(($(date +%s%3N) - began))
  [ $ms -ge "$from" ] && [ $ms -lt "$to" ] || { echo "it took $ms ms, not $from to $to"; return 1; }
}
long_poll() {
  (sleep 0.5 && produce '{"topic":"apart","records":[{"value_text":"late"}]}' >"$WORK/late") &
  took 400 8000 says '"valueText": "late"' \
    fetch '{"partitions":[{"topic":"apart","offset":1}],"max_wait":"20s","format":"FORMAT_TEXT"}'
  wait
}
check "Fetch: without max_wait it does not wait" took 0 900 says '"records": []' \
  fetch '{"partitions":[{"topic":"apart","offset":1}],"format":"FORMAT_TEXT"}'
check "Fetch: max_wait is waited for" took 1000 5000 says '"records": []' \
  fetch '{"partitions":[{"topic":"apart","offset":1}],"max_wait":"1s","format":"FORMAT_TEXT"}'
check "Fetch: a record that comes ends the wait" long_poll
check "Fetch: fewer than min_bytes come after max_wait" took 1000 5000 says '"valueText": "late"' \
  fetch '{"partitions":[{"topic":"apart","offset":1}],"min_bytes":100000,"max_wait":"1s","format":"FORMAT_TEXT"}'

check "ListOffsets: both ends, the last stable one, and none at all" \
  tells '"offset": "0"' '"offset": "5"' -- offsets '{"queries":[{"topic":"every","position":{"end":"LOG_END_EARLIEST"}},
    {"topic":"every","position":{"end":"LOG_END_LATEST"}},{"topic":"every","position":{"end":"LOG_END_LAST_STABLE"}},
    {"topic":"every"}]}'
check "ListOffsets: three of them are the end" test "$(grep -c '"offset": "5"' "$WORK/said")" = 3
admin CreateTopic '{"name":"timed"}' >/dev/null
for year in 2020 2021 2022; do
  produce "{\"topic\":\"timed\",\"records\":[{\"timestamp\":\"$year-01-01T00:00:00Z\"}]}" >/dev/null
done
check "ListOffsets: by time" tells '"offset": "1"' '"timestamp": "2021-01-01T00:00:00Z"' -- \
  offsets '{"queries":[{"topic":"timed","position":{"time":"2020-07-01T00:00:00.5Z"}}]}'
check "ListOffsets: a time after the last record" tells '"offset": "3"' '"timestamp": null' -- \
  offsets '{"queries":[{"topic":"timed","position":{"time":"2030-01-01T00:00:00Z"}}]}'
check "ListOffsets: an error of one leaves the others" tells UNKNOWN_PARTITION UNKNOWN_TOPIC '"offset": "5"' -- \
  offsets '{"queries":[{"topic":"every","partition":4},{"topic":"nowhere"},{"topic":"every"}]}'
check "ListOffsets: of this id only" says TOPIC_ID_MISMATCH \
  offsets "{\"queries\":[{\"topic\":\"every\",\"topic_id\":\"$NO_ID\"}]}"
check "ListOffsets: nothing" refuses INVALID_FIELD offsets '{}'

check "DeleteTopic: validate_only deletes nothing" says "\"id\": \"$EVERY\"" \
  admin DeleteTopic '{"name":"every","validate_only":true}'
check "DeleteTopic: of this id only" refuses TOPIC_ID_MISMATCH \
  admin DeleteTopic "{\"name\":\"every\",\"id\":\"$NO_ID\"}"
check "DeleteTopic: it is there still" says "\"id\": \"$EVERY\"" admin GetTopic '{"name":"every"}'
check "DeleteTopic: with its id" says "\"id\": \"$EVERY\"" \
  admin DeleteTopic "{\"name\":\"every\",\"id\":\"$EVERY\"}"
check "DeleteTopic: only once" refuses UNKNOWN_TOPIC admin DeleteTopic '{"name":"every"}'

init_producer() { call -d "$1" "$BROKER" milena.v1.ProducerService/InitProducer; }
# A record of topic "once" with the producer's number: numbered EPOCH SEQUENCE.
numbered() {
  produce "{\"topic\":\"once\",\"records\":[{\"key_text\":\"k\",\"value_text\":\"x\"}],
    \"producer\":{\"producer_id\":\"$PRODUCER\",\"producer_epoch\":$1,\"first_sequence\":$2}}"
}
admin CreateTopic '{"name":"once","partitions":3}' >/dev/null
PRODUCER=$(init_producer '{}' | field producerId)
check "InitProducer: each gets an id of its own" tells '"producerEpoch": 0' producerId -- init_producer '{}'
check "InitProducer: and nobody else's" lacks "\"producerId\": \"$PRODUCER\""
check "Produce: a numbered record with a key" tells '"baseOffset": "0"' '"duplicate": false' -- numbered 0 0
check "Produce: its retry is the first try, and says so" tells '"baseOffset": "0"' '"duplicate": true' -- numbered 0 0
check "Produce: the next number is the next record" tells '"baseOffset": "1"' '"duplicate": false' -- numbered 0 1
check "Produce: a gap between the numbers" says SEQUENCE_MISMATCH numbered 0 5
check "Produce: numbered without a key or partition" refuses INVALID_FIELD \
  produce "{\"topic\":\"once\",\"records\":[{\"value_text\":\"x\"}],\"producer\":{\"producer_id\":\"$PRODUCER\"}}"
check "InitProducer: the next epoch of an id" tells '"producerEpoch": 1' "\"producerId\": \"$PRODUCER\"" -- \
  init_producer "{\"producer_id\":\"$PRODUCER\"}"
check "Produce: the new epoch begins at 0" tells '"baseOffset": "2"' '"duplicate": false' -- numbered 1 0
check "Produce: and ends the one before" says FENCED numbered 0 2
check "InitProducer: an id that can't be" refuses INVALID_FIELD init_producer '{"producer_id":-1}'

# ---- Replicas: drains, moves, elections.
admin CreateTopic '{"name":"moved_about","replication_factor":2}' >/dev/null
check "ReassignPartitions: validate_only shows where it would go" tells '"topic": "moved_about"' targetReplicas -- \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","replicas":[3,2,1]}],"validate_only":true}'
check "ReassignPartitions: and moves nothing" says '"reassignments": []' admin ListReassignments '{}'
check "ReassignPartitions: a partition gets a third replica" says reassignments \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","partition":0,"replicas":[3,2,1]}]}'
moved_to_three() {
  local i
  for i in $(seq 200); do
    admin GetTopic '{"name":"moved_about"}' >"$WORK/said"
    grep -qF '"replicationFactor": 3' "$WORK/said" && return 0
    sleep 0.1
  done
  cat "$WORK/said"
  return 1
}
check "ReassignPartitions: and the topic's replication factor follows" moved_to_three
check "ListReassignments: none is left" says '"reassignments": []' admin ListReassignments '{"page_size":1}'
check "ListReassignments: a token from elsewhere" refuses STALE_PAGE_TOKEN admin ListReassignments '{"page_token":"x"}'
check "ReassignPartitions: to a broker that there is not" refuses UNKNOWN_BROKER \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","replicas":[1,9]}]}'
check "ReassignPartitions: two replicas on one broker" refuses INVALID_FIELD \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","replicas":[1,1]}]}'
check "ReassignPartitions: fewer replicas than the minimum" refuses min_insync_replicas \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","replicas":[1]}]}'
check "ReassignPartitions: a partition that there is not" refuses UNKNOWN_PARTITION \
  admin ReassignPartitions '{"reassignments":[{"topic":"moved_about","partition":7,"replicas":[1,2]}]}'
check "ReassignPartitions: of this id only" refuses TOPIC_ID_MISMATCH \
  admin ReassignPartitions "{\"reassignments\":[{\"topic\":\"moved_about\",\"topic_id\":\"$NO_ID\",\"replicas\":[1,2]}]}"
check "ReassignPartitions: nothing" refuses INVALID_FIELD admin ReassignPartitions '{}'
check "CancelReassignments: there is none" says '"cancelled": 0' admin CancelReassignments '{"topic":"moved_about"}'
check "CancelReassignments: partitions without their topic" refuses INVALID_FIELD \
  admin CancelReassignments '{"partitions":[0]}'
admin ElectLeaders '{"type":"ELECTION_TYPE_PREFERRED","topic":"moved_about"}' >/dev/null
check "DrainBroker: validate_only changes nothing" says '"drained": true' \
  admin DrainBroker '{"id":3,"validate_only":true}'
check "DrainBroker: so it is in service" says '"drained": false' admin GetBroker '{"id":3}'
check "DrainBroker: its leaderships move" tells '"drained": true' '"leaderCount": ' -- admin DrainBroker '{"id":3}'
check "DrainBroker: again, the same" says '"drained": true' admin DrainBroker '{"id":3}'
check "DrainBroker: it leads the topic no more" says '"leaderId": 2' admin GetTopic '{"name":"moved_about"}'
check "DrainBroker: it gets no new replicas" refuses NOT_ENOUGH_BROKERS \
  admin CreateTopic '{"name":"none_for_the_drained","replication_factor":3}'
check "DrainBroker: one that there is not" refuses UNKNOWN_BROKER admin DrainBroker '{"id":77}'
check "UndrainBroker: back in service" says '"drained": false' admin UndrainBroker '{"id":3}'
check "UndrainBroker: one that there is not" refuses UNKNOWN_BROKER admin UndrainBroker '{"id":77}'
check "ElectLeaders: validate_only shows who would lead" says '"leaderId": 3' \
  admin ElectLeaders '{"type":"ELECTION_TYPE_PREFERRED","topic":"moved_about","partitions":[0],"validate_only":true}'
check "ElectLeaders: the preferred one leads again" tells '"leaderId": 3' '"unclean": false' -- \
  admin ElectLeaders '{"type":"ELECTION_TYPE_PREFERRED","topic":"moved_about","partitions":[0]}'
check "ElectLeaders: once" says '"elected": []' \
  admin ElectLeaders '{"type":"ELECTION_TYPE_PREFERRED","topic":"moved_about"}'
check "ElectLeaders: unclean changes nothing where there is a leader" says '"elected": []' \
  admin ElectLeaders '{"type":"ELECTION_TYPE_UNCLEAN","topic":"moved_about"}'
check "ElectLeaders: unclean without a topic" refuses INVALID_FIELD admin ElectLeaders '{"type":"ELECTION_TYPE_UNCLEAN"}'
check "ElectLeaders: no type" refuses INVALID_FIELD admin ElectLeaders '{"topic":"moved_about"}'
check "UpdateTopic: unclean elections are allowed by name" says '"uncleanLeaderElection": true' admin UpdateTopic \
  '{"name":"moved_about","config":{"unclean_leader_election":true},"update_mask":{"paths":["unclean_leader_election"]}}'

# ---- The controllers, through a broker and directly.
active() { admin ListControllers '{}' | field activeId; }
on_controller() { call -d "$2" "localhost:$((BASE_PORT + 99 + $1))" "milena.v1.AdminService/$3"; }
# becomes ID: controller ID is the active one, or is within 10 s.
becomes() {
  local i
  for i in $(seq 100); do [ "$(active)" = "$1" ] && return 0; sleep 0.1; done
  echo "controller $(active) is active"
  return 1
}
check "ListControllers: three voters, through a broker" tells '"id": 1' '"id": 2' '"id": 3' CONTROLLER_ROLE_VOTER \
  '"active": true' matchIndex directoryId commitIndex -- admin ListControllers '{}'
for id in 1 2 3; do
  check "ListControllers: controller $id answers it too" tells "\"answeredBy\": $id" '"id": 3' -- \
    on_controller $id '{}' ListControllers
done
ONE=$(active)
OTHER=$((ONE % 3 + 1))
check "TransferLeadership: validate_only moves nothing" says activeId \
  admin TransferLeadership "{\"id\":$OTHER,\"validate_only\":true}"
check "TransferLeadership: so it is where it was" becomes "$ONE"
check "TransferLeadership: to one that there is not" refuses UNKNOWN_CONTROLLER admin TransferLeadership '{"id":9}'
check "TransferLeadership: through a broker" says "\"activeId\": $OTHER" admin TransferLeadership "{\"id\":$OTHER}"
check "TransferLeadership: every broker knows" becomes "$OTHER"
check "CreateTopic: after the change" says '"name": "moved"' admin CreateTopic '{"name":"moved"}'
check "a controller that is not the active one points to it" refuses NOT_CONTROLLER \
  on_controller "$ONE" '{"name":"astray"}' CreateTopic
check "AddController: who is a member stays one" says CONTROLLER_ROLE_VOTER \
  admin AddController "{\"id\":$ONE,\"peer_address\":\"127.0.0.1:$((BASE_PORT + 149 + ONE))\"}"
check "AddController: nobody there" refuses "127.0.0.1:1" \
  admin AddController '{"id":4,"peer_address":"127.0.0.1:1","validate_only":true}'
check "RemoveController: one that there is not" refuses UNKNOWN_CONTROLLER admin RemoveController '{"id":9}'
check "RemoveController: of another folder" refuses DIRECTORY_MISMATCH \
  admin RemoveController "{\"id\":$ONE,\"directory_id\":\"$NO_ID\"}"
check "RemoveController: validate_only removes nobody" says "\"id\": $OTHER" \
  admin RemoveController "{\"id\":$ONE,\"validate_only\":true}"
check "RemoveController: and nobody is gone" tells '"id": 1' '"id": 2' '"id": 3' -- admin ListControllers '{}'
check "RemoveController: one of three" tells "\"id\": $OTHER" -- \
  admin RemoveController "{\"id\":$ONE,\"request_id\":\"away\"}"
check "RemoveController: its retry is the first try" tells "\"id\": $OTHER" -- \
  admin RemoveController "{\"id\":$ONE,\"request_id\":\"away\"}"
check "BootstrapCluster: not by a broker" refuses ALREADY_BOOTSTRAPPED admin BootstrapCluster '{}'
check "BootstrapCluster: not twice" refuses ALREADY_BOOTSTRAPPED on_controller "$OTHER" \
  "{\"controllers\":[{\"id\":$OTHER,\"peer_address\":\"127.0.0.1:$((BASE_PORT + 149 + OTHER))\"}]}" BootstrapCluster
