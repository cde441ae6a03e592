# The two systems that ./dev bench compares, behind one set of functions each: milena_... and kafka_...; sourced by
# tools/bench.sh and tools/bench-replicated.sh, which set WORK. A function that drives prints one line of JSON; both C
# clients use the same names in it. BATCH_BYTES is what a batch of Milena's client holds at the most, its default where it
# is not set; rdkafka-bench has 1,000,000. BROKERS (1) says how many brokers each cluster has, and as many controllers: Kafka's
# are in the same processes, so the sums below count Milena's controllers as well where there are several.
#
#   start, stop, resume    a fresh cluster; resume starts it again over its data
#   topic NAME [flush]     a topic of 6 partitions, with a replica on each broker and a minimum of 2 of 3
#   produce TOPIC RECORDS SIZE [RATE]
#   consume TOPIC RECORDS; tail TOPIC RECORDS; latency TOPIC RECORDS SIZE
#   failover PARTITIONS N  a fresh cluster, whose leaders are killed: how long until all partitions are led again
#   cpu, rss, peak         of all brokers: seconds so far, MiB resident now, the most so far
#   pids, whole            its processes; wait until every replica is in sync and every leader the preferred one
#
# and take_turn SIDE, after which only that side runs.

BROKERS=${BROKERS:-1}
bootstrap_list() { seq -f "127.0.0.1:%g" -s , "$1" $(($1 + BROKERS - 1)); }

milena_start() {
  bin/milena local up --data "$WORK/milena" --brokers "$BROKERS" --controllers "$BROKERS" --base-port "$BASE_PORT" \
    >"$WORK/up.log" 2>&1 ||
    { cat "$WORK/up.log" >&2; die "the local cluster does not start"; }
  MILENA_BOOTSTRAP=$(bootstrap_list "$BASE_PORT")
  export MILENA_BOOTSTRAP
}
milena_resume() { milena_start; }
milena_stop() { bin/milena local down --data "$WORK/milena" >/dev/null 2>&1 || true; }
milena_topic() { bin/milena topics create "$1" --partitions 6 ${2:+--config "flush=$2"} >/dev/null; }
milena_produce() {
  local pace=()
  [ $# -lt 4 ] || pace=(--throughput "$4" --linger 0)
  bin/milena bench produce --output json --topic "$1" --records "$2" --record-size "$3" "${pace[@]}" \
    ${BATCH_BYTES:+--batch-bytes "$BATCH_BYTES"}
}
milena_consume() { bin/milena bench consume --output json --topic "$1" --records "$2"; }
milena_tail() { bin/milena bench consume --output json --topic "$1" --records "$2" --from end; }
milena_latency() { bin/milena bench latency --output json --topic "$1" --records "$2" --record-size "$3"; }
# milena_files NAME [KIND]: that file in /proc of each broker, and of each controller where there are several
milena_files() {
  local kind
  for kind in ${2:-broker $([ "$BROKERS" = 1 ] || echo controller)}; do
    awk -v name="$1" 'FNR == 1 {print "/proc/" $1 "/" name}' "$WORK"/milena/"$kind"-*.pid
  done
}
milena_cpu() { milena_files stat | xargs cat | awk -v hz="$(getconf CLK_TCK)" '{sum += $14 + $15} END {print sum / hz}'; }
milena_mib() { milena_files status "${2:-}" | xargs awk -v line="$1" '$0 ~ line {sum += $2 / 1024} END {print int(sum)}'; }
milena_rss() { milena_mib VmRSS "$@"; }
milena_peak() { milena_mib VmHWM "$@"; }

milena_pids() { awk 'FNR == 1 {print $1}' "$WORK"/milena/*.pid 2>/dev/null; }
# looks_whole: the list of all partitions, as JSON on standard input, has each in sync and led by its first replica.
looks_whole() {
  awk '/"under_replicated":/ {seen = 1; bad += $2 + 0} /"leader":/ {leader = $2 + 0}
    /"replicas": \[/ {getline; bad += $1 + 0 != leader} END {exit bad || !seen}'
}
milena_whole() {
  local looks=0
  bin/milena partitions elect --timeout 5 >/dev/null 2>&1 || true
  for _ in $(seq 400); do
    if bin/milena partitions status --all --output json --timeout 2 2>/dev/null | looks_whole; then
      looks=$((looks + 1))
      [ $looks -lt 8 ] || return 0
    else
      looks=0
    fi
    sleep 0.25
  done
  die "Milena is not whole again 100 s after its turn began"
}

# A fresh cluster; KILLS times a broker is killed, and started again.
milena_failover() { # milena_failover PARTITIONS KILLS
  bazel-bin/tests/bench/failover_bench --base-port "$BASE_PORT" --partitions "$1" --kills "$2" --interval 100 \
    bin/milena "$WORK/milena"
}

KAFKA_BOOTSTRAP=
kafka() { KAFKA_DATA=$WORK/kafka KAFKA_PORT=$((BASE_PORT + 180)) tests/bench/kafka/kafka "$@"; }
kafka_start() {
  KAFKA_BOOTSTRAP=$(bootstrap_list $((BASE_PORT + 180)))
  kafka start "$BROKERS"
  "$WORK/rdkafka-bench" ready "$KAFKA_BOOTSTRAP"
}
kafka_resume() {
  kafka resume
  "$WORK/rdkafka-bench" ready "$KAFKA_BOOTSTRAP"
}
kafka_stop() { kafka stop; }
kafka_topic() {
  local minimum=()
  [ "$BROKERS" = 1 ] || minimum=(--config min.insync.replicas=2)
  kafka topic --create --topic "$1" --partitions "${2:-6}" --replication-factor "$BROKERS" "${minimum[@]}" >/dev/null 2>&1
}
kafka_produce() { "$WORK/rdkafka-bench" produce "$KAFKA_BOOTSTRAP" "$@"; }
kafka_consume() { "$WORK/rdkafka-bench" consume "$KAFKA_BOOTSTRAP" "$@"; }
kafka_tail() { "$WORK/rdkafka-bench" tail "$KAFKA_BOOTSTRAP" "$@"; }
kafka_latency() { "$WORK/rdkafka-bench" latency "$KAFKA_BOOTSTRAP" "$@"; }
kafka_cpu() { kafka cpu; }
kafka_rss() { kafka rss; }
kafka_peak() { kafka peak; }
kafka_pids() { kafka pids; }
# Its brokers lose their sessions while they stand still, and the leaders move: its own check looks every five minutes
# only, so its tool moves them back.
kafka_whole() {
  "$WORK/rdkafka-bench" whole "$KAFKA_BOOTSTRAP" "$BROKERS" insync || die "Kafka's replicas are not in sync again"
  kafka elect >"$WORK/elect.log" 2>&1 || true # says no where nothing is to be moved
  "$WORK/rdkafka-bench" whole "$KAFKA_BOOTSTRAP" "$BROKERS" || { tail -n 5 "$WORK/elect.log" >&2; die "Kafka is not whole again"; }
}
# A fresh cluster, and one kill: a second one would wait for the first broker's return.
kafka_failover() { # kafka_failover PARTITIONS
  kafka_start
  kafka_topic failover "$1"
  "$WORK/rdkafka-bench" failover "$(bootstrap_list $((BASE_PORT + 180)))" failover 3 "$(cat "$WORK/kafka/broker-3.pid")"
}

stand_still() { "${1}_pids" | xargs -r kill -STOP; }
go_on() { "${1}_pids" | xargs -r kill -CONT; }

# From here on the other sides stand still, and nobody's bytes are still on their way to the disk.
take_turn() { # take_turn SIDE SIDES...
  local side=$1 other
  shift
  for other in "$@"; do [ "$other" = "$side" ] || stand_still "$other"; done
  sync
  go_on "$side"
  "${side}_whole"
}

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
