# The two systems that ./dev bench compares, behind one set of functions each: milena_... and kafka_...; sourced by
# tools/bench.sh, which sets WORK. A function that drives prints one line of JSON; both C clients use the same names in it.
#
#   start, stop, resume    a fresh cluster of one broker; resume starts it again over its data
#   topic NAME [flush]     a topic of 6 partitions
#   produce TOPIC RECORDS SIZE [RATE]
#   consume TOPIC RECORDS; tail TOPIC RECORDS; latency TOPIC RECORDS SIZE
#   cpu, rss, peak         of the broker: seconds so far, MiB resident now, the most so far

milena_start() {
  bin/milena local up --data "$WORK/milena" --brokers 1 --base-port "$BASE_PORT" >"$WORK/up.log" 2>&1 ||
    { cat "$WORK/up.log" >&2; die "the local cluster does not start"; }
  export MILENA_BOOTSTRAP=localhost:$BASE_PORT
}
milena_resume() { milena_start; }
milena_stop() { bin/milena local down --data "$WORK/milena" >/dev/null 2>&1 || true; }
milena_topic() { bin/milena topics create "$1" --partitions 6 ${2:+--config "flush=$2"} >/dev/null; }
milena_produce() {
  local pace=()
  [ $# -lt 4 ] || pace=(--throughput "$4" --linger 0)
  bin/milena bench produce --output json --topic "$1" --records "$2" --record-size "$3" "${pace[@]}"
}
milena_consume() { bin/milena bench consume --output json --topic "$1" --records "$2"; }
milena_tail() { bin/milena bench consume --output json --topic "$1" --records "$2" --from end; }
milena_latency() { bin/milena bench latency --output json --topic "$1" --records "$2" --record-size "$3"; }
milena_pid() { awk '{print $1; exit}' "$WORK/milena/broker-1.pid"; }
milena_cpu() { awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$(milena_pid)/stat"; }
milena_rss() { awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$(milena_pid)/status"; }
milena_peak() { awk '/VmHWM/ {print int($2 / 1024)}' "/proc/$(milena_pid)/status"; }

KAFKA_BOOTSTRAP=
kafka() { KAFKA_DATA=$WORK/kafka KAFKA_PORT=$((BASE_PORT + 250)) tests/bench/kafka/kafka "$@"; }
kafka_start() {
  KAFKA_BOOTSTRAP=127.0.0.1:$((BASE_PORT + 250))
  kafka start 1
  "$WORK/rdkafka-bench" ready "$KAFKA_BOOTSTRAP"
}
kafka_resume() {
  kafka resume
  "$WORK/rdkafka-bench" ready "$KAFKA_BOOTSTRAP"
}
kafka_stop() { kafka stop; }
kafka_topic() { kafka topic --create --topic "$1" --partitions 6 >/dev/null 2>&1; }
kafka_produce() { "$WORK/rdkafka-bench" produce "$KAFKA_BOOTSTRAP" "$@"; }
kafka_consume() { "$WORK/rdkafka-bench" consume "$KAFKA_BOOTSTRAP" "$@"; }
kafka_tail() { "$WORK/rdkafka-bench" tail "$KAFKA_BOOTSTRAP" "$@"; }
kafka_latency() { "$WORK/rdkafka-bench" latency "$KAFKA_BOOTSTRAP" "$@"; }
kafka_cpu() { kafka cpu; }
kafka_rss() { kafka rss; }
kafka_peak() { kafka peak; }

# Sets PEER_MISSING to what the comparison lacks, or to nothing when Kafka can be measured.
find_peer() {
  PEER_MISSING=
  command -v java >/dev/null || PEER_MISSING+=" java (Debian: default-jre-headless)"
  local home=${KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/milena/peers/kafka}
  if ! compgen -G "$home/lib/kafka_*.jar" >/dev/null; then
    command -v mvn >/dev/null || PEER_MISSING+=" mvn (Debian: maven)"
  fi
  cc -O2 -std=gnu17 tests/bench/kafka/rdkafka-bench.c -o "$WORK/rdkafka-bench" -lrdkafka 2>/dev/null ||
    PEER_MISSING+=" librdkafka (Debian: librdkafka-dev)"
  [ -z "$PEER_MISSING" ] || return 0
  compgen -G "$home/lib/kafka_*.jar" >/dev/null || timeout 600 tests/bench/kafka/kafka fetch >/dev/null 2>&1 ||
    PEER_MISSING+=" Kafka's jars (Maven Central does not answer)"
}
