/* The producer against a fake cluster: delivery, order, retries, what is unknown, back-pressure. */
#include <string.h>

#include "tests/unit/client/helpers.h"

static MilenaProducer *producer_with(World *world, void (*adjust)(MilenaProducerOptions *options)) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.timeout_ms = 10000;
  if (adjust != NULL)
    adjust(&options);
  return milena_producer_new(world->client, &options);
}

/* Send @count records "0", "1", ... to partition 0. */
static void send_numbers(MilenaProducer *producer, guint count, Deliveries *deliveries) {
  for (guint i = 0; i < count; i++) {
    g_autofree char *value = g_strdup_printf("%u", i);
    MilenaRecord record = record_of(NULL, value, 0);
    EXPECT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, count_delivery, deliveries)));
  }
}

/* Partition 0 has "0" to @count - 1, each once, in order. */
static void expect_numbers(World *world, guint count) {
  g_autoptr(GPtrArray) values = fake_cluster_values(world->cluster, "t", 0);
  ASSERT_EQ_INT(count, values->len);
  for (guint i = 0; i < count; i++) {
    g_autofree char *want = g_strdup_printf("%u", i);
    ASSERT_EQ_STR(want, (const char *)values->pdata[i]);
  }
}

static void tiny_batches(MilenaProducerOptions *options) {
  options->batch_bytes = 1024;
  options->linger_ms = 0;
}

TEST(producer, delivers_one_record_and_says_where) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  MilenaRecord record = record_of("k", "v", MILENA_PARTITION_ANY);
  record.timestamp_ms = 12345;
  MilenaReceipt receipt = {0};
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, &receipt)));
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, &receipt)));
  EXPECT_EQ_INT(1, receipt.offset);
  EXPECT_EQ_INT(0, receipt.partition);
  EXPECT_EQ_INT(12345, receipt.timestamp_ms);
  EXPECT_EQ_INT(1000000, receipt.append_time_ms);
  EXPECT_EQ_INT(1, receipt.replicas);
  EXPECT_EQ_INT(1, receipt.synced_replicas);
  milena_producer_free(producer, 1000);
}

TEST(producer, keeps_the_order_of_each_partition) {
  g_auto(World) world = world_new(3, 6);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries[6];
  for (guint i = 0; i < 6; i++)
    deliveries[i] = (Deliveries)DELIVERIES_INIT;
  for (guint i = 0; i < 6000; i++) {
    MilenaRecord record = record_of(NULL, "some value of a record", (gint32)(i % 6));
    EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries[i % 6]));
  }
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  for (guint i = 0; i < 6; i++) {
    EXPECT_EQ_INT(1000, deliveries[i].delivered);
    EXPECT_EQ_INT(0, deliveries[i].out_of_order);
    EXPECT_EQ_INT(1000, fake_cluster_log_end(world.cluster, "t", i));
  }
  MilenaProducerStats stats;
  milena_producer_stats(producer, &stats);
  EXPECT_EQ_INT(6000, stats.records_delivered);
  EXPECT_EQ_INT(0, stats.buffered_bytes);
  milena_producer_free(producer, 0);
}

TEST(producer, sends_a_key_where_kafka_does) {
  g_auto(World) world = world_new(1, 10);
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  /* murmur2("foobar") is -790332482 with Kafka's seed; made positive, modulo 10. */
  MilenaRecord record = record_of("foobar", "v", MILENA_PARTITION_ANY);
  MilenaReceipt receipt;
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, &receipt)));
  EXPECT_EQ_INT((-790332482 & 0x7fffffff) % 10, receipt.partition);
  milena_producer_free(producer, 0);
}

static void round_robin(MilenaProducerOptions *options) {
  options->partitioner = MILENA_PARTITIONER_ROUND_ROBIN;
}

TEST(producer, spreads_records_without_a_key) {
  g_auto(World) world = world_new(1, 4);
  MilenaProducer *producer = producer_with(&world, round_robin);
  Deliveries deliveries = DELIVERIES_INIT;
  MilenaRecord record = record_of(NULL, "v", MILENA_PARTITION_ANY);
  for (guint i = 0; i < 40; i++)
    EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries));
  milena_producer_free(producer, 5000);
  for (guint i = 0; i < 4; i++)
    EXPECT_EQ_INT(10, fake_cluster_log_end(world.cluster, "t", i));
}

TEST(producer, sticks_to_a_partition_for_a_batch) {
  g_auto(World) world = world_new(1, 4);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  g_autofree char *value = g_strnfill(600, 'x');
  MilenaRecord record = record_of(NULL, value, MILENA_PARTITION_ANY);
  for (guint i = 0; i < 8; i++) /* each fills a batch: all partitions get their turn */
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  milena_producer_free(producer, 5000);
  for (guint i = 0; i < 4; i++)
    EXPECT_EQ_INT(2, fake_cluster_log_end(world.cluster, "t", i));
}

static const struct {
  const char *name;
  FaultKind kind;
  FailureReason reason;
} NOT_WRITTEN[] = {
    {"overloaded", FAULT_REFUSE, FAILURE(OVERLOADED)},
    {"no_leader", FAULT_REFUSE, FAILURE(LEADER_NOT_AVAILABLE)},
    {"too_few_replicas", FAULT_REFUSE, FAILURE(NOT_ENOUGH_REPLICAS)},
    {"draining_answer", FAULT_REFUSE, FAILURE(DRAINING)},
    {"peer_unreachable", FAULT_REFUSE, FAILURE(PEER_UNREACHABLE)},
    {"not_leader", FAULT_REFUSE, FAILURE(NOT_LEADER)},
    {"topic_is_news_to_the_leader", FAULT_REFUSE, FAILURE(UNKNOWN_TOPIC)},
    {"drained_stream", FAULT_DRAIN, FAILURE(DRAINING)},
};
TEST_ROWS(retries_what_was_not_written, NOT_WRITTEN) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_fault(world.cluster, NOT_WRITTEN[row].kind, NOT_WRITTEN[row].reason, 3);
  send_numbers(producer, 500, &deliveries);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  EXPECT_EQ_INT(500, deliveries.delivered);
  EXPECT_EQ_INT(0, deliveries.out_of_order);
  expect_numbers(&world, 500);
  MilenaProducerStats stats;
  milena_producer_stats(producer, &stats);
  EXPECT_TRUE(stats.batches_retried >= 3); /* what was sent behind a refused one is sent again, too */
  milena_producer_free(producer, 0);
}

static const struct {
  const char *name;
  FaultKind kind;
  FailureReason reason;
} UNKNOWN[] = {
    {"unknown_outcome", FAULT_WRITE_AND_REFUSE, FAILURE(UNKNOWN_OUTCOME)},
    {"deadline", FAULT_WRITE_AND_REFUSE, FAILURE(DEADLINE_EXCEEDED)},
    {"internal", FAULT_WRITE_AND_REFUSE, FAILURE(INTERNAL)},
    {"broken_after_the_write", FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED)},
    {"broken_before_the_write", FAULT_BREAK, FAILURE(UNSPECIFIED)},
};
static void not_idempotent(MilenaProducerOptions *options) {
  options->idempotent = false;
}

TEST_ROWS(reports_an_unknown_outcome, UNKNOWN) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, not_idempotent);
  fake_cluster_fault(world.cluster, UNKNOWN[row].kind, UNKNOWN[row].reason, 1);
  MilenaRecord record = record_of(NULL, "v", 0);
  MilenaError *error = milena_producer_send_sync(producer, &record, 10000, NULL);
  EXPECT_TRUE(milena_error_is_outcome_unknown(error));
  EXPECT_FALSE(milena_error_is_retriable(error));
  EXPECT_EQ_STR("t", milena_error_metadata(error, "topic"));
  milena_error_free(error);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, NULL)));
  EXPECT_EQ_INT(UNKNOWN[row].kind == FAULT_BREAK ? 1 : 2, fake_cluster_log_end(world.cluster, "t", 0));
  milena_producer_free(producer, 0);
}

static void at_least_once(MilenaProducerOptions *options) {
  options->idempotent = false;
  options->retry_unknown = true;
}

TEST(producer, retries_the_unknown_when_asked_to) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, at_least_once);
  fake_cluster_fault(world.cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 2);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, NULL)));
  EXPECT_EQ_INT(3, fake_cluster_log_end(world.cluster, "t", 0));
  milena_producer_free(producer, 0);
}

static void impatient(MilenaProducerOptions *options) {
  options->timeout_ms = 300;
  options->retry_unknown = true;
}

TEST(producer, an_earlier_unknown_try_keeps_the_outcome_unknown) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, impatient);
  fake_cluster_fault(world.cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  fake_cluster_hold(world.cluster, TRUE);
  Deliveries deliveries = DELIVERIES_INIT;
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries));
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  EXPECT_EQ_INT(1, deliveries.unknown);
  fake_cluster_hold(world.cluster, FALSE);
  milena_producer_free(producer, 0);
}

TEST(producer, silence_is_unknown_when_the_time_is_up) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, impatient);
  fake_cluster_fault(world.cluster, FAULT_SILENCE, FAILURE(UNSPECIFIED), 1000);
  Deliveries deliveries = DELIVERIES_INIT;
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries));
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  EXPECT_EQ_INT(1, deliveries.unknown);
  EXPECT_EQ_STR("UNKNOWN_OUTCOME", deliveries.reason);
  milena_producer_free(producer, 0);
}

TEST(producer, what_could_never_be_sent_is_not_unknown) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, impatient);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  fake_cluster_stop_broker(world.cluster, 1);
  /* The stream may break under the first one; the second is never sent. */
  reason_of(milena_producer_send_sync(producer, &record, 5000, NULL));
  MilenaError *error = milena_producer_send_sync(producer, &record, 5000, NULL);
  EXPECT_EQ_STR("PEER_UNREACHABLE", milena_error_reason(error));
  EXPECT_FALSE(milena_error_is_outcome_unknown(error));
  EXPECT_TRUE(milena_error_is_retriable(error));
  milena_error_free(error);
  milena_producer_free(producer, 0);
}

TEST(producer, goes_on_when_a_broker_comes_back) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, at_least_once);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  fake_cluster_stop_broker(world.cluster, 1);
  Deliveries deliveries = DELIVERIES_INIT;
  EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries));
  g_usleep(200000);
  EXPECT_EQ_INT(0, __atomic_load_n(&deliveries.delivered, __ATOMIC_SEQ_CST));
  fake_cluster_start_broker(world.cluster, 1);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  EXPECT_EQ_INT(1, deliveries.delivered);
  milena_producer_free(producer, 0);
}

TEST(producer, follows_a_leader_that_it_was_not_told_of) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  send_numbers(producer, 100, &deliveries);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 5000)));
  fake_cluster_set_leader(world.cluster, "t", 0, 2, FALSE);
  MilenaRecord record = record_of(NULL, "100", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  expect_numbers(&world, 101);
  milena_producer_free(producer, 0);
}

static void short_requests(MilenaProducerOptions *options) {
  options->request_timeout_ms = 50;
  options->retry_unknown = true;
}

TEST(producer, leaves_a_broker_that_went_silent) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, short_requests);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  guint watches = fake_cluster_counters(world.cluster).watches;
  fake_cluster_fault(world.cluster, FAULT_SILENCE, FAILURE(UNSPECIFIED), 1);
  fake_cluster_set_leader(world.cluster, "t", 0, 2, FALSE); /* which the silent broker tells nobody */
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 9000, NULL)));
  EXPECT_TRUE(fake_cluster_counters(world.cluster).watches > watches);
  milena_producer_free(producer, 0);
}

TEST(producer, waits_for_a_leader) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, NULL);
  fake_cluster_set_leader(world.cluster, "t", 0, -1, TRUE);
  Deliveries deliveries = DELIVERIES_INIT;
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_NULL(milena_producer_send(producer, &record, count_delivery, &deliveries));
  g_usleep(50000);
  fake_cluster_set_leader(world.cluster, "t", 0, 2, TRUE);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 5000)));
  EXPECT_EQ_INT(1, deliveries.delivered);
  milena_producer_free(producer, 0);
}

static void tiny_idempotent(MilenaProducerOptions *options) {
  tiny_batches(options);
  options->idempotent = true;
}

static void tiny_not_idempotent(MilenaProducerOptions *options) {
  tiny_batches(options);
  options->idempotent = false;
}

static const struct {
  const char *name;
  void (*adjust)(MilenaProducerOptions *options);
  guint in_flight;
} IN_FLIGHT[] = {{"idempotent", tiny_idempotent, 5}, {"not_idempotent", tiny_not_idempotent, 1}};
TEST_ROWS(bounds_what_is_in_flight_of_a_partition, IN_FLIGHT) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, IN_FLIGHT[row].adjust);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_hold(world.cluster, TRUE);
  send_numbers(producer, 1000, &deliveries);
  g_usleep(100000);
  EXPECT_EQ_INT(IN_FLIGHT[row].in_flight, fake_cluster_counters(world.cluster).held_max);
  fake_cluster_hold(world.cluster, FALSE);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  expect_numbers(&world, 1000);
  milena_producer_free(producer, 0);
}

static void no_linger_idempotent(MilenaProducerOptions *options) {
  options->linger_ms = 0;
  options->idempotent = true;
}

static void wait_until_held(World *world, guint count) {
  while (fake_cluster_counters(world->cluster).held < count)
    g_usleep(1000);
}

TEST(producer, an_open_batch_takes_more_records_behind_two_in_flight) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, no_linger_idempotent);
  fake_cluster_hold(world.cluster, TRUE);
  for (guint i = 0; i < 40; i++) {
    g_autofree char *value = g_strdup_printf("%u", i);
    MilenaRecord record = record_of(NULL, value, 0);
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
    wait_until_held(&world, MIN(i + 1, 2));
  }
  g_usleep(100000);
  EXPECT_EQ_INT(2, fake_cluster_counters(world.cluster).held_max);
  fake_cluster_hold(world.cluster, FALSE);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  expect_numbers(&world, 40);
  EXPECT_EQ_INT(2, fake_cluster_counters(world.cluster).held_max); /* the other 38 came in one */
  milena_producer_free(producer, 0);
}

static void one_in_flight(MilenaProducerOptions *options) {
  tiny_batches(options);
  options->in_flight_max = 1;
}

TEST(producer, bounds_what_is_in_flight_at_a_broker) {
  g_auto(World) world = world_new(1, 4);
  MilenaProducer *producer = producer_with(&world, one_in_flight);
  fake_cluster_hold(world.cluster, TRUE);
  for (guint i = 0; i < 40; i++) {
    MilenaRecord record = record_of(NULL, "v", (gint32)(i % 4));
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  }
  g_usleep(100000);
  EXPECT_EQ_INT(1, fake_cluster_counters(world.cluster).held);
  fake_cluster_hold(world.cluster, FALSE);
  milena_producer_free(producer, 5000);
  for (guint i = 0; i < 4; i++)
    EXPECT_EQ_INT(10, fake_cluster_log_end(world.cluster, "t", i));
}

/* ---- back-pressure ---- */

static void small_buffer(MilenaProducerOptions *options) {
  options->buffer_bytes = 4096;
  options->block_timeout_ms = 500; /* the topic is looked up within it, too */
  options->linger_ms = 60000;      /* waiting for room must not wait for linger */
}

TEST(producer, refuses_when_the_buffer_stays_full) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, small_buffer);
  fake_cluster_hold(world.cluster, TRUE);
  g_autofree char *value = g_strnfill(1000, 'x');
  MilenaRecord record = record_of(NULL, value, 0);
  MilenaError *error = NULL;
  guint accepted = 0;
  for (; error == NULL && accepted < 100; accepted += error == NULL)
    error = milena_producer_send(producer, &record, NULL, NULL);
  EXPECT_EQ_INT(4, accepted);
  EXPECT_EQ_STR("LIMIT_EXCEEDED", milena_error_reason(error));
  EXPECT_TRUE(milena_error_is_retriable(error));
  milena_error_free(error);
  fake_cluster_hold(world.cluster, FALSE);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 5000)));
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  milena_producer_free(producer, 5000);
  EXPECT_EQ_INT(5, fake_cluster_log_end(world.cluster, "t", 0));
}

static void blocking_buffer(MilenaProducerOptions *options) {
  small_buffer(options);
  options->block_timeout_ms = 10000;
}

static gpointer release_soon(gpointer cluster) {
  g_usleep(100000);
  fake_cluster_hold(cluster, FALSE);
  return NULL;
}

TEST(producer, waits_for_room_in_the_buffer) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, blocking_buffer);
  fake_cluster_hold(world.cluster, TRUE);
  GThread *thread = g_thread_new("release", release_soon, world.cluster);
  g_autofree char *value = g_strnfill(1000, 'x');
  MilenaRecord record = record_of(NULL, value, 0);
  for (guint i = 0; i < 50; i++)
    EXPECT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  g_thread_join(thread);
  milena_producer_free(producer, 5000);
  EXPECT_EQ_INT(50, fake_cluster_log_end(world.cluster, "t", 0));
}

/* ---- refusals ---- */

TEST(producer, refuses_what_makes_no_sense) {
  g_auto(World) world = world_new(1, 2);
  MilenaProducer *producer = producer_with(&world, NULL);
  MilenaRecord record = record_of(NULL, "v", 2);
  EXPECT_EQ_STR("UNKNOWN_PARTITION", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  record = record_of(NULL, "v", -2);
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  record = record_of(NULL, "v", 0);
  record.topic = "nothing";
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  record.topic = NULL;
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  record = record_of(NULL, "v", 0);
  MilenaHeader header = {"", {NULL, 0}};
  record.headers = &header;
  record.header_count = 1;
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  milena_producer_free(producer, 1000);
}

TEST(producer, reports_a_record_that_is_too_large_for_its_topic) {
  g_auto(World) world = world_new(1, 1);
  fake_cluster_set_max_message_bytes(world.cluster, "t", 2000);
  MilenaProducer *producer = producer_with(&world, NULL);
  g_autofree char *large = g_strnfill(3000, 'x'), *small = g_strnfill(900, 'x');
  MilenaRecord record = record_of(NULL, large, 0);
  EXPECT_EQ_STR("RECORD_TOO_LARGE", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  record = record_of(NULL, small, 0);
  for (guint i = 0; i < 20; i++) /* batches respect the topic's bound */
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  milena_producer_free(producer, 5000);
  EXPECT_EQ_INT(20, fake_cluster_log_end(world.cluster, "t", 0));
}

TEST(producer, reports_a_topic_that_was_deleted) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, NULL);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  fake_cluster_remove_topic(world.cluster, "t");
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(milena_producer_send_sync(producer, &record, 9000, NULL)));
  milena_producer_free(producer, 0);
}

/* ---- the end ---- */

static void long_linger(MilenaProducerOptions *options) {
  options->linger_ms = 60000;
}

TEST(producer, free_reports_what_is_left) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, long_linger);
  Deliveries deliveries = DELIVERIES_INIT;
  send_numbers(producer, 10, &deliveries);
  milena_producer_free(producer, 0);
  EXPECT_EQ_INT(10, deliveries.failed);
  EXPECT_EQ_INT(0, deliveries.unknown);
  EXPECT_EQ_STR("CANCELLED", deliveries.reason);
}

TEST(producer, free_reports_what_is_in_flight_as_unknown) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  fake_cluster_hold(world.cluster, TRUE);
  Deliveries deliveries = DELIVERIES_INIT;
  send_numbers(producer, 1, &deliveries);
  while (fake_cluster_counters(world.cluster).held == 0)
    g_usleep(1000);
  milena_producer_free(producer, 10);
  EXPECT_EQ_INT(1, deliveries.unknown);
}

typedef struct {
  MilenaProducer *producer;
  gint left;
  gint delivered;
} Chain;

static void send_next(const MilenaDelivery *delivery, void *user_data) {
  Chain *chain = user_data;
  EXPECT_NULL(delivery->error);
  __atomic_add_fetch(&chain->delivered, 1, __ATOMIC_SEQ_CST);
  if (chain->left-- == 0)
    return;
  MilenaRecord record = record_of(NULL, "next", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send(chain->producer, &record, send_next, chain)));
}

static gboolean chain_is_done(gpointer data) {
  return __atomic_load_n(&((Chain *)data)->delivered, __ATOMIC_SEQ_CST) == 11;
}

TEST(producer, a_callback_may_send) {
  g_auto(World) world = world_new(1, 1);
  Chain chain = {.producer = producer_with(&world, tiny_batches), .left = 10};
  MilenaRecord record = record_of(NULL, "first", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send(chain.producer, &record, send_next, &chain)));
  EXPECT_TRUE(wait_for(chain_is_done, &chain));
  milena_producer_free(chain.producer, 0);
  EXPECT_EQ_INT(11, fake_cluster_log_end(world.cluster, "t", 0));
}

static gpointer send_thousand(gpointer producer) {
  MilenaRecord record = record_of("key", "value", MILENA_PARTITION_ANY);
  for (guint i = 0; i < 1000; i++)
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  return NULL;
}

TEST(producer, is_shared_by_threads) {
  g_auto(World) world = world_new(2, 3);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  GThread *threads[4];
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
    threads[i] = g_thread_new("sender", send_thousand, producer);
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
    g_thread_join(threads[i]);
  milena_producer_free(producer, 10000);
  EXPECT_EQ_INT(4000, fake_cluster_counters(world.cluster).records);
}
