/* Write many records, read them all back, and say how fast it went: an example of callbacks, back-pressure and reading
 * to the end, and a first look at what a machine can do.
 *
 *   pump BOOTSTRAP TOPIC COUNT BYTES [none|zstd|lz4]
 *
 * The topic must exist; it is read from where it ended before. Exits with 1 when a record is missing. */
#include <milena/milena.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 30000

static void check(MilenaError *error, const char *doing) {
  if (error == NULL)
    return;
  fprintf(stderr, "pump: %s: %s (%s)\n", doing, milena_error_message(error), milena_error_reason(error));
  exit(1);
}

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void say(const char *what, uint64_t count, size_t bytes, double seconds) {
  printf("%s %llu records of %zu bytes in %.2f s: %.0f records/s, %.1f MB/s\n", what, (unsigned long long)count, bytes,
         seconds, (double)count / seconds, (double)count * (double)bytes / seconds / 1e6);
}

static void delivered(const MilenaDelivery *delivery, void *user_data) {
  uint64_t *failed = user_data;
  if (delivery->error == NULL)
    return;
  if ((*failed)++ == 0)
    fprintf(stderr, "pump: a record was not delivered: %s\n", milena_error_message(delivery->error));
}

static MilenaCompression compression_named(const char *name) {
  if (strcmp(name, "zstd") == 0)
    return MILENA_COMPRESSION_ZSTD;
  return strcmp(name, "lz4") == 0 ? MILENA_COMPRESSION_LZ4 : MILENA_COMPRESSION_NONE;
}

static void write_records(MilenaClient *client, const char *topic, uint64_t count, size_t bytes,
                          MilenaCompression compression) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.compression = compression;
  MilenaProducer *producer = milena_producer_new(client, &options);
  char *value = malloc(bytes + 1);
  memset(value, 'x', bytes);
  uint64_t failed = 0;
  double began_s = now_s();
  for (uint64_t i = 0; i < count; i++) {
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = topic;
    record.value = (MilenaBytes){value, bytes};
    check(milena_producer_send(producer, &record, delivered, &failed), "sending");
  }
  check(milena_producer_flush(producer, TIMEOUT_MS), "waiting for the deliveries");
  say("wrote", count - failed, bytes, now_s() - began_s);
  milena_producer_free(producer, 0);
  free(value);
  if (failed > 0)
    exit(1);
}

/* Where each partition ends now. */
static MilenaAssignment *assign_at_the_end(MilenaClient *client, const char *topic, size_t *ret_count) {
  MilenaTopic *described;
  check(milena_admin_describe_topic(client, topic, TIMEOUT_MS, &described), "finding the topic");
  size_t count = described->partition_count;
  MilenaOffsetQuery *queries = calloc(count, sizeof *queries);
  for (size_t i = 0; i < count; i++)
    queries[i] = (MilenaOffsetQuery){topic, (int32_t)i, MILENA_END};
  MilenaOffsetResult *results;
  check(milena_admin_list_offsets(client, queries, count, TIMEOUT_MS, &results), "finding the ends");
  MilenaAssignment *assignments = calloc(count, sizeof *assignments);
  for (size_t i = 0; i < count; i++)
    assignments[i] = (MilenaAssignment){topic, (int32_t)i, MILENA_AT_OFFSET(results[i].offset)};
  milena_offset_results_free(results, count);
  milena_topic_free(described);
  free(queries);
  *ret_count = count;
  return assignments;
}

static void read_records(MilenaClient *client, const MilenaAssignment *assignments, size_t assignment_count,
                         uint64_t count, size_t bytes) {
  MilenaConsumer *consumer = milena_consumer_new(client, NULL);
  check(milena_consumer_assign(consumer, assignments, assignment_count), "assigning");
  double began_s = now_s();
  uint64_t got = 0;
  while (got < count) {
    const MilenaRecordBatch *batch;
    check(milena_consumer_poll(consumer, TIMEOUT_MS, &batch), "reading");
    if (batch == NULL)
      break;
    got += batch->count;
  }
  say("read", got, bytes, now_s() - began_s);
  milena_consumer_free(consumer);
  if (got < count)
    exit(1);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: pump BOOTSTRAP TOPIC COUNT BYTES [none|zstd|lz4]\n");
    return 2;
  }
  uint64_t count = strtoull(argv[3], NULL, 10);
  size_t bytes = strtoull(argv[4], NULL, 10);
  MilenaClient *client;
  check(milena_client_new(argv[1], NULL, &client), "reading the bootstrap list");
  size_t assignment_count;
  MilenaAssignment *assignments = assign_at_the_end(client, argv[2], &assignment_count);
  write_records(client, argv[2], count, bytes, compression_named(argc > 5 ? argv[5] : "none"));
  read_records(client, assignments, assignment_count, count, bytes);
  free(assignments);
  milena_client_free(client);
  return 0;
}
