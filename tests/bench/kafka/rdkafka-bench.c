/* Drives Apache Kafka through librdkafka as `milena bench` drives Milena, so that both sides of a comparison have a C
 * client.
 *
 *   rdkafka-bench COMMAND BOOTSTRAP ...
 *
 *   - produce TOPIC RECORDS SIZE [RATE]: RATE records/s without batching; else as fast as it goes
 *   - consume TOPIC RECORDS: all partitions, from the beginning
 *   - tail TOPIC RECORDS: what comes from now on; the clock starts with the first
 *   - latency TOPIC RECORDS SIZE: one at a time, from its send until it is read
 *   - failover TOPIC BROKER PID: kills that broker; the time until others lead all its partitions
 *   - ready: waits until a broker tells its metadata
 *   - whole BROKERS [insync]: waits until that many brokers are there, every replica is in sync and, without `insync`,
 *     every partition is led by its preferred leader, for 2 s on end
 *
 * acks=all. Prints one line of JSON with the names that `milena bench --output json` has. Not part of the build:
 * tools/bench.sh compiles it where librdkafka-dev is installed. One thread, but for librdkafka's own. */
#include <librdkafka/rdkafka.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define POLL_BATCH 4096
#define GIVE_UP_S 120
#define LOOKS_PAUSE_NS 250000000L
#define WHOLE_LOOKS 8 /* on end */

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void *must_alloc(size_t bytes) {
  void *memory = calloc(1, bytes);
  if (!memory)
    abort();
  return memory;
}

/* ---- what came out ---- */

typedef struct {
  double *latencies_s; /* of each record that was delivered; NULL where none is measured */
  long done, failed;
} Outcome;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void print_quantiles(Outcome *outcome) {
  static const struct {
    const char *name;
    double share;
  } QUANTILES[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}};
  qsort(outcome->latencies_s, (size_t)outcome->done, sizeof *outcome->latencies_s, by_value);
  for (size_t i = 0; i < sizeof QUANTILES / sizeof QUANTILES[0]; i++)
    printf("%s\"%s\": %.3f", i ? ", " : ", \"latency_ms\": {", QUANTILES[i].name,
           1e3 * outcome->latencies_s[(long)((double)(outcome->done - 1) * QUANTILES[i].share)]);
  printf("}");
}

/* Returns the exit status. */
static int report(const char *what, Outcome *outcome, double bytes, double elapsed_s) {
  printf("{\"benchmark\": \"%s\", \"records\": %ld, \"failed\": %ld, \"records_per_second\": %.0f, "
         "\"megabytes_per_second\": %.2f",
         what, outcome->done, outcome->failed, (double)outcome->done / elapsed_s, bytes / elapsed_s / 1e6);
  if (outcome->latencies_s && outcome->done > 0)
    print_quantiles(outcome);
  printf(", \"client_cpu_seconds\": %.2f}\n", cpu_s());
  return outcome->failed != 0;
}

/* ---- clients ---- */

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
  char error[512];
  if (rd_kafka_conf_set(conf, key, value, error, sizeof error) == RD_KAFKA_CONF_OK)
    return;
  fprintf(stderr, "rdkafka-bench: %s=%s: %s\n", key, value, error);
  exit(2);
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
  char error[512];
  rd_kafka_t *client = rd_kafka_new(type, conf, error, sizeof error);
  if (client)
    return client;
  fprintf(stderr, "rdkafka-bench: %s\n", error);
  exit(2);
}

/* How many partitions the topic has. */
static int count_partitions(rd_kafka_t *client, rd_kafka_topic_t *topic) {
  const struct rd_kafka_metadata *metadata;
  if (rd_kafka_metadata(client, 0, topic, &metadata, 10000)) {
    fprintf(stderr, "rdkafka-bench: no metadata of %s\n", rd_kafka_topic_name(topic));
    exit(2);
  }
  int count = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  return count;
}

/* A consumer of every partition of the topic, from @offset. */
static rd_kafka_t *reader_new(const char *bootstrap, const char *topic, int64_t offset) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", bootstrap);
  set(conf, "group.id", "bench");
  set(conf, "enable.auto.commit", "false");
  set(conf, "fetch.wait.max.ms", "5");
  set(conf, "queued.min.messages", "1000000");
  rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, conf);
  rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(16);
  int count = count_partitions(client, handle);
  for (int p = 0; p < count; p++)
    rd_kafka_topic_partition_list_add(all, topic, p)->offset = offset;
  rd_kafka_assign(client, all);
  rd_kafka_topic_partition_list_destroy(all);
  rd_kafka_topic_destroy(handle);
  return client;
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
  (void)client;
  Outcome *outcome = opaque;
  if (message->err) {
    outcome->failed++;
    return;
  }
  double sent_s;
  memcpy(&sent_s, message->payload, sizeof sent_s);
  outcome->latencies_s[outcome->done++] = now_s() - sent_s;
}

static rd_kafka_t *producer_new(const char *bootstrap, int batched, Outcome *outcome) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", bootstrap);
  set(conf, "acks", "all");
  set(conf, "linger.ms", batched ? "5" : "0");
  set(conf, "batch.size", "1000000");
  set(conf, "queue.buffering.max.messages", "1000000");
  if (outcome) {
    rd_kafka_conf_set_opaque(conf, outcome);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  }
  return client_new(RD_KAFKA_PRODUCER, conf);
}

static char *value_new(size_t size) {
  char *value = must_alloc(size);
  for (size_t i = 0; i < size; i++)
    value[i] = (char)rand();
  return value;
}

/* ---- the benchmarks ---- */

/* A record for each partition and its answer, that are not counted: connecting, to each of the leading brokers, is not
 * what a rate's latencies are about. */
static void warm_up(rd_kafka_t *client, rd_kafka_topic_t *topic, char *value, size_t size, Outcome *outcome) {
  int count = count_partitions(client, topic);
  for (int p = 0; p < count; p++) {
    double sent_s = now_s();
    memcpy(value, &sent_s, sizeof sent_s);
    rd_kafka_produce(topic, p, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL);
    while (outcome->done + outcome->failed < p + 1)
      rd_kafka_poll(client, 10);
  }
  outcome->done = outcome->failed = 0;
}

static int produce(char **args, double rate) {
  long records = atol(args[4]);
  size_t size = (size_t)atol(args[5]);
  Outcome outcome = {.latencies_s = must_alloc((size_t)records * sizeof(double))};
  rd_kafka_t *client = producer_new(args[2], rate <= 0, &outcome);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, args[3], NULL);
  char *value = value_new(size);
  if (rate > 0)
    warm_up(client, topic, value, size, &outcome);
  double start_s = now_s();
  for (long i = 0; i < records; i++) {
    /* Waits in poll, as a program would; a loop that never sleeps would take a core from the broker. */
    for (double left_s; rate > 0 && (left_s = start_s + (double)i / rate - now_s()) > 0;)
      if (rd_kafka_poll(client, 0) == 0 && left_s > 1e-4)
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    double sent_s = now_s();
    memcpy(value, &sent_s, sizeof sent_s);
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL))
      rd_kafka_poll(client, 10);
    if (i % 64 == 0)
      rd_kafka_poll(client, 0);
  }
  while (outcome.done + outcome.failed < records)
    rd_kafka_poll(client, 10);
  return report("produce", &outcome, (double)records * (double)size, now_s() - start_s);
}

static int consume(char **args, int from_end) {
  long records = atol(args[4]);
  Outcome outcome = {0};
  double bytes = 0, begun_s = now_s(), start_s = begun_s;
  rd_kafka_t *client = reader_new(args[2], args[3], from_end ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING);
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
  rd_kafka_message_t *messages[POLL_BATCH];
  while (outcome.done < records && now_s() - begun_s < GIVE_UP_S) {
    ssize_t count = rd_kafka_consume_batch_queue(queue, 1000, messages, POLL_BATCH);
    if (from_end && outcome.done == 0)
      start_s = now_s();
    for (ssize_t i = 0; i < count; i++) {
      outcome.done += !messages[i]->err;
      bytes += messages[i]->err ? 0 : (double)messages[i]->len;
      rd_kafka_message_destroy(messages[i]);
    }
  }
  outcome.failed = records > outcome.done ? records - outcome.done : 0;
  return report("consume", &outcome, bytes, now_s() - start_s);
}

/* Until one record came, for at most 5 s. */
static int read_one(rd_kafka_t *client) {
  for (double until_s = now_s() + 5; now_s() < until_s;) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
    if (!message)
      continue;
    int is_record = !message->err;
    rd_kafka_message_destroy(message);
    if (is_record)
      return 1;
  }
  return 0;
}

static int latency(char **args) {
  long records = atol(args[4]);
  size_t size = (size_t)atol(args[5]);
  Outcome outcome = {.latencies_s = must_alloc((size_t)records * sizeof(double))};
  rd_kafka_t *in = reader_new(args[2], args[3], RD_KAFKA_OFFSET_END);
  rd_kafka_t *out = producer_new(args[2], 0, NULL);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(out, args[3], NULL);
  char *value = value_new(size);
  for (double until_s = now_s() + 3; now_s() < until_s;) { /* until each partition's end was found */
    rd_kafka_message_t *message = rd_kafka_consumer_poll(in, 100);
    if (message)
      rd_kafka_message_destroy(message);
  }
  int count = count_partitions(out, topic);
  for (int p = 0; p < count; p++) { /* not counted: connecting, to each of the leading brokers */
    rd_kafka_produce(topic, p, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL);
    if (!read_one(in))
      outcome.failed++;
    rd_kafka_poll(out, 0);
  }
  double start_s = now_s();
  for (long i = 0; i < records; i++) {
    double sent_s = now_s();
    rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL);
    if (read_one(in))
      outcome.latencies_s[outcome.done++] = now_s() - sent_s;
    else
      outcome.failed++;
    rd_kafka_poll(out, 0);
  }
  return report("latency", &outcome, (double)records * (double)size, now_s() - start_s);
}

static int ready(char **args) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", args[2]);
  set(conf, "log_level", "0");
  set(conf, "reconnect.backoff.ms", "10");
  set(conf, "reconnect.backoff.max.ms", "50");
  rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, conf);
  int brokers = 0;
  for (double until_s = now_s() + GIVE_UP_S; brokers == 0 && now_s() < until_s;) {
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(client, 0, NULL, &metadata, 1000))
      continue;
    brokers = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);
  }
  rd_kafka_destroy(client);
  return brokers == 0;
}

static int is_whole(const struct rd_kafka_metadata *metadata, int brokers, int any_leader) {
  if (metadata->broker_cnt < brokers)
    return 0;
  for (int t = 0; t < metadata->topic_cnt; t++) {
    for (int p = 0; p < metadata->topics[t].partition_cnt; p++) {
      const struct rd_kafka_metadata_partition *partition = &metadata->topics[t].partitions[p];
      int is_led = any_leader ? partition->leader >= 0 : partition->leader == partition->replicas[0];
      if (partition->isr_cnt < partition->replica_cnt || !is_led)
        return 0;
    }
  }
  return 1;
}

static int whole(char **args, int any_leader) {
  int brokers = atoi(args[3]), looks = 0;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", args[2]);
  set(conf, "log_level", "0");
  rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, conf);
  for (double until_s = now_s() + GIVE_UP_S; looks < WHOLE_LOOKS && now_s() < until_s;) {
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(client, 1, NULL, &metadata, 1000)) {
      looks = 0;
      continue;
    }
    looks = is_whole(metadata, brokers, any_leader) ? looks + 1 : 0;
    rd_kafka_metadata_destroy(metadata);
    nanosleep(&(struct timespec){.tv_nsec = LOOKS_PAUSE_NS}, NULL);
  }
  rd_kafka_destroy(client);
  return looks < WHOLE_LOOKS;
}

/* Of the topic's partitions, those that @broker leads or nobody; -1: the metadata did not come. */
static int led_by_or_nobody(rd_kafka_t *client, rd_kafka_topic_t *topic, int broker, int *ret_led) {
  const struct rd_kafka_metadata *metadata;
  if (rd_kafka_metadata(client, 0, topic, &metadata, 1000))
    return -1;
  int nobodys = 0, led = 0;
  for (int p = 0; p < metadata->topics[0].partition_cnt; p++) {
    led += metadata->topics[0].partitions[p].leader == broker;
    nobodys += metadata->topics[0].partitions[p].leader < 0;
  }
  int complete = metadata->topics[0].partition_cnt > 0;
  rd_kafka_metadata_destroy(metadata);
  *ret_led = led;
  return complete ? led + nobodys : -1;
}

static int failover(char **args) {
  int broker = atoi(args[4]), led = 0, left = -1;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", args[2]);
  set(conf, "log_level", "0");
  rd_kafka_t *client = client_new(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, args[3], NULL);
  double begun_s = now_s();
  while ((left != led || led == 0) && now_s() - begun_s < GIVE_UP_S) /* until all are led at all */
    left = led_by_or_nobody(client, topic, broker, &led);
  int was_led = led;
  double killed_s = now_s();
  kill((pid_t)atol(args[5]), SIGKILL);
  while (left != 0 && now_s() - killed_s < GIVE_UP_S) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    left = led_by_or_nobody(client, topic, broker, &led);
  }
  printf("{\"benchmark\": \"failover\", \"led\": %d, \"left\": %d, \"led_again_ms\": %.0f}\n", was_led, left,
         1e3 * (now_s() - killed_s));
  return left != 0;
}

int main(int argc, char **argv) {
  mallopt(M_MMAP_THRESHOLD, 32 << 20); /* as `milena` does */
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 2);
  const char *what = argc >= 5 ? argv[1] : "";
  if (argc == 3 && !strcmp(argv[1], "ready"))
    return ready(argv);
  if (argc >= 4 && !strcmp(argv[1], "whole"))
    return whole(argv, argc > 4);
  if (argc >= 6 && !strcmp(what, "produce"))
    return produce(argv, argc > 6 ? atof(argv[6]) : 0);
  if (!strcmp(what, "consume") || !strcmp(what, "tail"))
    return consume(argv, !strcmp(what, "tail"));
  if (argc >= 6 && !strcmp(what, "latency"))
    return latency(argv);
  if (argc == 6 && !strcmp(what, "failover"))
    return failover(argv);
  fprintf(stderr, "usage: see the top of rdkafka-bench.c\n");
  return 2;
}
