/* The consumer against a fake cluster: order, starts, restarts of brokers, errors and resets, bounds. */
#include <string.h>

#include "tests/unit/client/helpers.h"

/* Write "<from>" to "<to - 1>" to a partition of "t"; each call makes batches of its own. */
static void produce_with(World *world, guint partition, guint from, guint to, MilenaCompression compression) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.batch_bytes = 1024;
  options.compression = compression;
  MilenaProducer *producer = milena_producer_new(world->client, &options);
  for (guint i = from; i < to; i++) {
    g_autofree char *value = g_strdup_printf("%u", i);
    MilenaRecord record = record_of(NULL, value, (gint32)partition);
    record.timestamp_ms = 1000 + i;
    EXPECT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  }
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  milena_producer_free(producer, 0);
}

static void produce(World *world, guint partition, guint from, guint to) {
  produce_with(world, partition, from, to, MILENA_COMPRESSION_NONE);
}

static MilenaConsumer *consumer_with(World *world, MilenaReset reset) {
  MilenaConsumerOptions options;
  milena_consumer_options_init(&options);
  options.reset = reset;
  options.poll_records_max = 37;
  options.max_wait_ms = 100;
  return milena_consumer_new(world->client, &options);
}

static MilenaConsumer *consumer_at(World *world, MilenaPosition start) {
  MilenaConsumer *consumer = consumer_with(world, MILENA_RESET_ERROR);
  MilenaAssignment assignment = {"t", 0, start};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  return consumer;
}

/* Poll until "<from>" to "<to - 1>" have come, in order and without a gap. */
static void expect_numbers(MilenaConsumer *consumer, guint from, guint to) {
  while (from < to) {
    const MilenaRecordBatch *batch;
    MilenaError *error = milena_consumer_poll(consumer, 10000, &batch);
    ASSERT_EQ_STR("OK", reason_of(error));
    ASSERT_TRUE(batch != NULL);
    for (size_t i = 0; i < batch->count; i++) {
      g_autofree char *want = g_strdup_printf("%u", from + (guint)i);
      g_autofree char *got = g_strndup(batch->records[i].value.data, batch->records[i].value.size);
      ASSERT_EQ_STR(want, got);
      ASSERT_EQ_INT(from + i, batch->records[i].offset);
      ASSERT_EQ_INT(1000 + from + i, batch->records[i].timestamp_ms);
    }
    from += (guint)batch->count;
    ASSERT_EQ_INT(from, batch->next_offset);
  }
}

static void expect_nothing(MilenaConsumer *consumer) {
  const MilenaRecordBatch *batch;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 50, &batch)));
  EXPECT_NULL(batch);
}

static const struct {
  const char *name;
  MilenaCompression compression;
} COMPRESSIONS[] = {
    {"none", MILENA_COMPRESSION_NONE}, {"zstd", MILENA_COMPRESSION_ZSTD}, {"lz4", MILENA_COMPRESSION_LZ4}};
TEST_ROWS(reads_everything_in_order, COMPRESSIONS) {
  g_auto(World) world = world_new(1, 1);
  produce_with(&world, 0, 0, 1000, COMPRESSIONS[row].compression);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  expect_numbers(consumer, 0, 1000);
  expect_nothing(consumer);
  int64_t offset, high_watermark;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_position(consumer, "t", 0, &offset, &high_watermark)));
  EXPECT_EQ_INT(1000, offset);
  EXPECT_EQ_INT(1000, high_watermark);
  EXPECT_NULL(milena_consumer_trouble(consumer));
  milena_consumer_free(consumer);
}

static const struct {
  const char *name;
  MilenaPosition start;
  guint first;
} STARTS[] = {
    {"beginning", {MILENA_POSITION_BEGINNING, 0}, 0},
    {"end", {MILENA_POSITION_END, 0}, 500},
    {"offset_inside_a_batch", {MILENA_POSITION_OFFSET, 123}, 123},
    {"offset_at_the_end", {MILENA_POSITION_OFFSET, 500}, 500},
};
TEST_ROWS(starts_where_it_is_told, STARTS) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 500);
  MilenaConsumer *consumer = consumer_at(&world, STARTS[row].start);
  expect_numbers(consumer, STARTS[row].first, 500);
  expect_nothing(consumer); /* an end is where it was now, not later */
  produce(&world, 0, 500, 600);
  expect_numbers(consumer, MAX(STARTS[row].first, 500), 600);
  milena_consumer_free(consumer);
}

TEST(consumer, starts_at_a_time) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 10);
  produce(&world, 0, 10, 20);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_AT_TIME(1000 + 10));
  expect_numbers(consumer, 10, 20); /* the fake answers with whole batches */
  milena_consumer_free(consumer);
}

TEST(consumer, reads_all_partitions_of_a_topic) {
  g_auto(World) world = world_new(3, 6);
  for (guint i = 0; i < 6; i++)
    produce(&world, i, 0, 100);
  MilenaConsumer *consumer = consumer_with(&world, MILENA_RESET_ERROR);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 5000)));
  gint64 next[6] = {0};
  for (guint total = 0; total < 600;) {
    const MilenaRecordBatch *batch;
    ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
    ASSERT_TRUE(batch != NULL);
    for (size_t i = 0; i < batch->count; i++)
      ASSERT_EQ_INT(next[batch->partition]++, batch->records[i].offset);
    total += (guint)batch->count;
  }
  expect_nothing(consumer);
  milena_consumer_free(consumer);
}

TEST(consumer, gives_keys_headers_and_tombstones_as_they_were) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  MilenaHeader headers[] = {{"a", {"1", 1}}, {"a", {"", 0}}, {"none", {NULL, 0}}};
  MilenaRecord record = record_of("k", NULL, 0);
  record.headers = headers;
  record.header_count = G_N_ELEMENTS(headers);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  record = record_of(NULL, "", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  milena_producer_free(producer, 0);

  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  const MilenaRecordBatch *batch;
  ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 5000, &batch)));
  ASSERT_TRUE(batch != NULL && batch->count == 2); /* of two batches */
  const MilenaConsumedRecord *first = &batch->records[0], *second = &batch->records[1];
  EXPECT_EQ_BYTES("k", 1, first->key.data, first->key.size);
  EXPECT_NULL(first->value.data);
  ASSERT_EQ_INT(3, first->header_count);
  EXPECT_EQ_STR("a", first->headers[0].name);
  EXPECT_EQ_BYTES("1", 1, first->headers[0].value.data, first->headers[0].value.size);
  EXPECT_TRUE(first->headers[1].value.data != NULL && first->headers[1].value.size == 0);
  EXPECT_EQ_STR("none", first->headers[2].name);
  EXPECT_NULL(first->headers[2].value.data);
  EXPECT_NULL(second->key.data);
  EXPECT_TRUE(second->value.data != NULL && second->value.size == 0);
  milena_consumer_free(consumer);
}

TEST(consumer, seeks_and_drops_what_was_fetched) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 500);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  expect_numbers(consumer, 0, 37);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(consumer, "t", 0, MILENA_AT_OFFSET(400))));
  expect_numbers(consumer, 400, 500);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(consumer, "t", 0, MILENA_BEGINNING)));
  expect_numbers(consumer, 0, 500);
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_seek(consumer, "t", 1, MILENA_BEGINNING)));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_seek(consumer, "t", 0, MILENA_AT_OFFSET(-1))));
  milena_consumer_free(consumer);
}

/* ---- troubles that pass ---- */

TEST(consumer, resumes_when_a_broker_comes_back) {
  g_auto(World) world = world_new(2, 1);
  produce(&world, 0, 0, 300);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  expect_numbers(consumer, 0, 300);
  fake_cluster_stop_broker(world.cluster, 1);
  expect_nothing(consumer);
  g_usleep(200000);
  MilenaError *trouble = milena_consumer_trouble(consumer);
  EXPECT_CONTAINS(milena_error_message(trouble), "broker 1");
  milena_error_free(trouble);
  fake_cluster_start_broker(world.cluster, 1);
  produce(&world, 0, 300, 400);
  expect_numbers(consumer, 300, 400);
  EXPECT_NULL(milena_consumer_trouble(consumer));
  milena_consumer_free(consumer);
}

TEST(consumer, follows_a_leader_that_it_was_not_told_of) {
  g_auto(World) world = world_new(2, 1);
  produce(&world, 0, 0, 100);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  expect_numbers(consumer, 0, 100);
  fake_cluster_set_leader(world.cluster, "t", 0, 2, FALSE);
  produce(&world, 0, 100, 200);
  expect_numbers(consumer, 100, 200);
  milena_consumer_free(consumer);
}

TEST(consumer, follows_the_metadata_at_another_broker) {
  g_auto(World) world = world_new(2, 0);
  fake_cluster_add_topic(world.cluster, "t", 2);
  produce(&world, 1, 0, 10); /* led by broker 2 */
  MilenaConsumer *consumer = consumer_with(&world, MILENA_RESET_ERROR);
  MilenaAssignment assignment = {"t", 1, MILENA_BEGINNING};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  expect_numbers(consumer, 0, 10);
  fake_cluster_stop_broker(world.cluster, 1); /* the first of the bootstrap list, where the stream was */
  fake_cluster_add_topic(world.cluster, "later", 2);
  MilenaAssignment later = {"later", 1, MILENA_BEGINNING};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &later, 1)));
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  MilenaRecord record = record_of(NULL, "v", 1);
  record.topic = "later";
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 9000, NULL)));
  const MilenaRecordBatch *batch;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 9000, &batch)));
  EXPECT_TRUE(batch != NULL && strcmp(batch->topic, "later") == 0);
  milena_producer_free(producer, 0);
  milena_consumer_free(consumer);
}

/* ---- troubles that do not ---- */

TEST(consumer, reports_an_offset_that_is_gone_and_goes_on_after_a_seek) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 300);
  fake_cluster_set_log_start(world.cluster, "t", 0, 200);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_AT_OFFSET(10));
  const MilenaRecordBatch *batch;
  MilenaError *error = milena_consumer_poll(consumer, 5000, &batch);
  EXPECT_EQ_STR("OFFSET_OUT_OF_RANGE", milena_error_reason(error));
  EXPECT_EQ_STR("200", milena_error_metadata(error, "earliest"));
  EXPECT_EQ_STR("t", milena_error_metadata(error, "topic"));
  EXPECT_EQ_STR("0", milena_error_metadata(error, "partition"));
  EXPECT_EQ_STR("10", milena_error_metadata(error, "offset"));
  milena_error_free(error);
  expect_nothing(consumer);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(consumer, "t", 0, MILENA_AT_OFFSET(250))));
  expect_numbers(consumer, 250, 300);
  milena_consumer_free(consumer);
}

static const struct {
  const char *name;
  MilenaReset reset;
  guint first;
} RESETS[] = {{"beginning", MILENA_RESET_BEGINNING, 200}, {"end", MILENA_RESET_END, 300}};
TEST_ROWS(resets_as_told, RESETS) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 200);
  produce(&world, 0, 200, 300);
  fake_cluster_set_log_start(world.cluster, "t", 0, 200);
  MilenaConsumer *consumer = consumer_with(&world, RESETS[row].reset);
  MilenaAssignment assignment = {"t", 0, MILENA_AT_OFFSET(10)};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  expect_numbers(consumer, RESETS[row].first, 300);
  expect_nothing(consumer);
  produce(&world, 0, 300, 310);
  expect_numbers(consumer, MAX(RESETS[row].first, 300), 310);
  milena_consumer_free(consumer);
}

TEST(consumer, finds_damage) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 300);
  fake_cluster_corrupt(world.cluster, "t", 0, 0);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  const MilenaRecordBatch *batch;
  MilenaError *error = milena_consumer_poll(consumer, 5000, &batch);
  EXPECT_EQ_STR("CORRUPT_LOG", milena_error_reason(error));
  EXPECT_EQ_STR("0", milena_error_metadata(error, "offset"));
  milena_error_free(error);
  expect_nothing(consumer);
  milena_consumer_free(consumer);
}

TEST(consumer, reports_a_topic_that_does_not_exist) {
  g_auto(World) world = world_new(1, 0);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  const MilenaRecordBatch *batch;
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(milena_consumer_poll(consumer, 9000, &batch)));
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 5000)));
  milena_consumer_free(consumer);
}

TEST(consumer, does_not_take_a_topic_for_its_re_creation) {
  g_auto(World) world = world_new(1, 1);
  produce(&world, 0, 0, 10);
  MilenaConsumer *consumer = consumer_at(&world, MILENA_BEGINNING);
  expect_numbers(consumer, 0, 10);
  fake_cluster_recreate_topic(world.cluster, "t");
  const MilenaRecordBatch *batch;
  EXPECT_EQ_STR("TOPIC_ID_MISMATCH", reason_of(milena_consumer_poll(consumer, 9000, &batch)));
  milena_consumer_free(consumer);
}

TEST(consumer, refuses_assignments_that_make_no_sense) {
  g_auto(World) world = world_new(1, 1);
  MilenaConsumer *consumer = consumer_with(&world, MILENA_RESET_ERROR);
  MilenaAssignment twice[] = {{"t", 0, MILENA_BEGINNING}, {"t", 0, MILENA_END}};
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_assign(consumer, twice, 2)));
  MilenaAssignment negative = {"t", -1, MILENA_BEGINNING};
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_assign(consumer, &negative, 1)));
  MilenaAssignment no_kind = {"t", 0, {0, 0}};
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_assign(consumer, &no_kind, 1)));
  int64_t offset;
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_position(consumer, "t", 0, &offset, NULL)));
  expect_nothing(consumer);
  milena_consumer_free(consumer);
}

/* ---- bounds ---- */

TEST(consumer, fetches_no_more_than_it_may) {
  g_auto(World) world = world_new(1, 1);
  g_autofree char *value = g_strnfill(10000, 'x');
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  for (guint i = 0; i < 200; i++) {
    MilenaRecord record = record_of(NULL, value, 0);
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  }
  milena_producer_free(producer, 5000);
  MilenaConsumerOptions options;
  milena_consumer_options_init(&options);
  options.prefetch_bytes = 100000;
  options.fetch_bytes = 50000;
  options.partition_fetch_bytes = 50000;
  MilenaConsumer *consumer = milena_consumer_new(world.client, &options);
  MilenaAssignment assignment = {"t", 0, MILENA_BEGINNING};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  g_usleep(300000);
  EXPECT_EQ_INT(1, fake_cluster_counters(world.cluster).fetches); /* a batch larger than all bounds came, alone */
  gint64 next = 0;
  while (next < 200) {
    const MilenaRecordBatch *batch;
    ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 5000, &batch)));
    ASSERT_TRUE(batch != NULL);
    next = batch->next_offset;
  }
  milena_consumer_free(consumer);
}

static gpointer produce_soon(gpointer data) {
  g_usleep(100000);
  produce(data, 0, 0, 10);
  return NULL;
}

TEST(consumer, hears_of_new_records_at_once) {
  g_auto(World) world = world_new(1, 1);
  MilenaConsumer *consumer = milena_consumer_new(world.client, NULL);
  MilenaAssignment assignment = {"t", 0, MILENA_BEGINNING};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  GThread *thread = g_thread_new("producer", produce_soon, &world);
  expect_numbers(consumer, 0, 10);
  g_thread_join(thread);
  milena_consumer_free(consumer);
}

/* A partition that is to be read anew does not wait for the long polls on the others, however many those are. */
TEST(consumer, reads_a_partition_at_once_while_others_have_nothing) {
  enum { PARTITIONS = 12 };
  g_auto(World) world = world_new(1, PARTITIONS);
  for (guint i = 0; i < PARTITIONS; i++)
    produce(&world, i, 0, 1);
  MilenaConsumerOptions options;
  milena_consumer_options_init(&options);
  options.max_wait_ms = 60000;
  MilenaConsumer *consumer = milena_consumer_new(world.client, &options);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 10000)));
  for (guint i = 0; i < PARTITIONS; i++)
    expect_numbers(consumer, 0, 1);
  for (guint i = 0; i < PARTITIONS; i++) { /* each seek makes a fetch of its own */
    EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(consumer, "t", (gint32)i, MILENA_BEGINNING)));
    expect_numbers(consumer, 0, 1);
  }
  milena_consumer_free(consumer);
}

/* ---- gathering ---- */

static MilenaConsumer *gatherer(World *world, guint records_max, guint bytes_max) {
  MilenaConsumerOptions options;
  milena_consumer_options_init(&options);
  options.poll_records_max = records_max;
  options.poll_bytes_max = bytes_max;
  return milena_consumer_new(world->client, &options);
}

/* Each record is a batch of its own. */
static void produce_one_by_one(World *world, guint from, guint to) {
  for (guint i = from; i < to; i++)
    produce(world, 0, i, i + 1);
}

static const struct {
  const char *name;
  guint records_max, bytes_max, polls;
} GATHERED[] = {{"all", 1000, 1 << 20, 1},
                {"by_records", 7, 1 << 20, 3},
                {"by_bytes", 1000, 12, 3}, /* up to "10", "16", "19" */
                {"one_by_one", 1000, 0, 20}};
TEST_ROWS(gathers_small_batches, GATHERED) {
  g_auto(World) world = world_new(1, 1);
  produce_one_by_one(&world, 0, 20); /* before anything is read: one fetch brings all */
  MilenaConsumer *consumer = gatherer(&world, GATHERED[row].records_max, GATHERED[row].bytes_max);
  MilenaAssignment assignment = {"t", 0, MILENA_BEGINNING};
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  guint polls = 0;
  for (guint from = 0; from < 20; polls++) {
    const MilenaRecordBatch *batch;
    ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
    ASSERT_TRUE(batch != NULL);
    for (size_t i = 0; i < batch->count; i++, from++) {
      g_autofree char *want = g_strdup_printf("%u", from);
      g_autofree char *got = g_strndup(batch->records[i].value.data, batch->records[i].value.size);
      ASSERT_EQ_STR(want, got);
      ASSERT_EQ_INT(from, batch->records[i].offset);
    }
    ASSERT_EQ_INT(from, batch->next_offset);
    gint64 position = 0;
    EXPECT_EQ_STR("OK", reason_of(milena_consumer_position(consumer, "t", 0, &position, NULL)));
    ASSERT_EQ_INT(from, position);
  }
  EXPECT_EQ_INT(GATHERED[row].polls, polls);
  milena_consumer_free(consumer);
}

/* What lies before a damaged batch is given, then the damage is told. */
TEST(consumer, gathers_up_to_damage) {
  g_auto(World) world = world_new(1, 1);
  produce_one_by_one(&world, 0, 3);
  MilenaConsumer *consumer = gatherer(&world, 1000, 1 << 20);
  MilenaAssignment assignment = {"t", 0, MILENA_BEGINNING};
  fake_cluster_corrupt(world.cluster, "t", 0, 2);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign(consumer, &assignment, 1)));
  const MilenaRecordBatch *batch;
  ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
  ASSERT_TRUE(batch != NULL);
  EXPECT_EQ_INT(2, batch->count);
  EXPECT_EQ_INT(2, batch->next_offset);
  EXPECT_EQ_STR("CORRUPT_LOG", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(consumer, "t", 0, MILENA_AT_OFFSET(1))));
  ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
  ASSERT_TRUE(batch != NULL);
  EXPECT_EQ_INT(1, batch->records[0].offset);
  milena_consumer_free(consumer);
}

/* A partition that has much waits for those that have little. */
TEST(consumer, partitions_take_turns) {
  g_auto(World) world = world_new(1, 2);
  produce(&world, 0, 0, 1000);
  produce(&world, 1, 0, 1);
  MilenaConsumer *consumer = gatherer(&world, 100, 1 << 20);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 10000)));
  guint polls = 0;
  for (gboolean seen = FALSE; !seen; polls++) {
    const MilenaRecordBatch *batch;
    ASSERT_EQ_STR("OK", reason_of(milena_consumer_poll(consumer, 10000, &batch)));
    ASSERT_TRUE(batch != NULL);
    seen = batch->partition == 1;
  }
  EXPECT_TRUE(polls <= 5);
  milena_consumer_free(consumer);
}
