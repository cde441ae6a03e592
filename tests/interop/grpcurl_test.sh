#!/usr/bin/env bash
# What an operator does with grpcurl alone: reflection in both versions, health, topics, produce and read.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if ! reason=$(need_grpcurl); then
  echo "skip grpcurl: $reason"
  exit 0
fi
need_grpcurl
start_cluster --brokers 3
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
check "a factor of 2 is refused by name until replication lands" refuses UNSUPPORTED \
  call -d '{"name":"copies","replication_factor":2}' $BROKER milena.v1.AdminService/CreateTopic
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
check "groups are refused by name until they land" refuses UNSUPPORTED \
  call -d '{"init":{"group":"g"}}' $BROKER milena.v1.ConsumerService/Subscribe
check "the topic is deleted" says '"id"' call -d '{"name":"orders"}' $BROKER milena.v1.AdminService/DeleteTopic
check "and gone" refuses UNKNOWN_TOPIC call -d '{"name":"orders"}' $BROKER milena.v1.AdminService/GetTopic
