/* The idempotent producer against a fake cluster, whose leaders remember producers as real ones do: whatever happens,
 * each record is written once and in order, or reported. */
#include <string.h>

#include "tests/unit/client/helpers.h"

static void tiny_batches(MilenaProducerOptions *options) {
  options->batch_bytes = 1024;
  options->linger_ms = 0;
}

static MilenaProducer *producer_with(World *world, void (*adjust)(MilenaProducerOptions *options)) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.timeout_ms = 30000;
  options.idempotent = true;
  if (adjust != NULL)
    adjust(&options);
  return milena_producer_new(world->client, &options);
}

static void send_from(MilenaProducer *producer, guint from, guint count, gint32 partition, Deliveries *deliveries) {
  for (guint i = from; i < from + count; i++) {
    g_autofree char *value = g_strdup_printf("%u", i);
    MilenaRecord record = record_of(NULL, value, partition);
    ASSERT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, count_delivery, deliveries)));
  }
}

static void flush(MilenaProducer *producer) {
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 60000)));
}

/* The partition has "0" to @count - 1, each once, in order. */
static void expect_numbers(World *world, guint partition, guint count) {
  g_autoptr(GPtrArray) values = fake_cluster_values(world->cluster, "t", partition);
  ASSERT_EQ_INT(count, values->len);
  for (guint i = 0; i < count; i++) {
    g_autofree char *want = g_strdup_printf("%u", i);
    ASSERT_EQ_STR(want, (const char *)values->pdata[i]);
  }
}

TEST(idempotent, asks_for_an_id_once_and_only_when_it_sends) {
  g_auto(World) world = world_new(2, 2);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  g_usleep(50000);
  EXPECT_EQ_INT(0, fake_cluster_counters(world.cluster).ids);
  Deliveries deliveries[2] = {DELIVERIES_INIT, DELIVERIES_INIT};
  send_from(producer, 0, 500, 0, &deliveries[0]);
  send_from(producer, 0, 500, 1, &deliveries[1]);
  flush(producer);
  EXPECT_EQ_INT(1, fake_cluster_counters(world.cluster).ids);
  expect_numbers(&world, 0, 500);
  expect_numbers(&world, 1, 500);
  milena_producer_free(producer, 0);
}

static void no_answers(MilenaProducerOptions *options) {
  options->acks = MILENA_ACKS_NONE;
}

TEST(idempotent, has_no_effect_without_answers) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, no_answers);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 5000, NULL)));
  EXPECT_EQ_INT(0, fake_cluster_counters(world.cluster).ids);
  milena_producer_free(producer, 0);
}

TEST(idempotent, a_lost_answer_is_found_again) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, NULL);
  MilenaRecord record = record_of(NULL, "v", 0);
  MilenaReceipt receipt;
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, &receipt)));
  EXPECT_FALSE(receipt.duplicate);
  fake_cluster_fault(world.cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, &receipt)));
  EXPECT_TRUE(receipt.duplicate);
  EXPECT_EQ_INT(1, receipt.offset);
  EXPECT_EQ_INT(2, fake_cluster_log_end(world.cluster, "t", 0));
  milena_producer_free(producer, 0);
}

static const struct {
  const char *name;
  FaultKind kind;
  FailureReason reason;
} LOST[] = {
    {"unknown_outcome", FAULT_WRITE_AND_REFUSE, FAILURE(UNKNOWN_OUTCOME)},
    {"unknown_and_not_written", FAULT_REFUSE, FAILURE(UNKNOWN_OUTCOME)},
    {"deadline", FAULT_WRITE_AND_REFUSE, FAILURE(DEADLINE_EXCEEDED)},
    {"internal", FAULT_WRITE_AND_REFUSE, FAILURE(INTERNAL)},
    {"broken_after_the_write", FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED)},
    {"broken_before_the_write", FAULT_BREAK, FAILURE(UNSPECIFIED)},
    {"drained", FAULT_DRAIN, FAILURE(UNSPECIFIED)},
    {"overloaded", FAULT_REFUSE, FAILURE(OVERLOADED)},
};
TEST_ROWS(each_record_once_and_in_order_after, LOST) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  for (guint i = 0; i < 5; i++) {
    fake_cluster_fault(world.cluster, LOST[row].kind, LOST[row].reason, 2);
    send_from(producer, i * 400, 400, 0, &deliveries);
  }
  flush(producer);
  EXPECT_EQ_INT(2000, deliveries.delivered);
  EXPECT_EQ_INT(0, deliveries.failed);
  EXPECT_EQ_INT(0, deliveries.out_of_order);
  EXPECT_EQ_INT(1, fake_cluster_counters(world.cluster).ids);
  expect_numbers(&world, 0, 2000);
  milena_producer_free(producer, 0);
}

static void impatient_with_brokers(MilenaProducerOptions *options) {
  tiny_batches(options);
  options->request_timeout_ms = 50;
}

TEST(idempotent, each_record_once_and_in_order_through_chaos) {
  guint duplicates = 0;
  for (guint seed = 1; seed <= 4; seed++) {
    g_auto(World) world = world_new(3, 6);
    MilenaProducer *producer = producer_with(&world, impatient_with_brokers);
    fake_cluster_chaos(world.cluster, seed, 15);
    Deliveries deliveries[6];
    for (guint i = 0; i < 6; i++)
      deliveries[i] = (Deliveries)DELIVERIES_INIT;
    for (guint turn = 0; turn < 10; turn++) {
      for (guint i = 0; i < 6; i++)
        send_from(producer, turn * 100, 100, (gint32)i, &deliveries[i]);
      fake_cluster_set_leader(world.cluster, "t", turn % 6, 1 + (gint32)(seed + turn) % 3, turn % 2 == 0);
    }
    flush(producer);
    for (guint i = 0; i < 6; i++) {
      EXPECT_EQ_INT(1000, deliveries[i].delivered);
      EXPECT_EQ_INT(0, deliveries[i].failed);
      EXPECT_EQ_INT(0, deliveries[i].out_of_order);
      expect_numbers(&world, i, 1000);
    }
    duplicates += fake_cluster_counters(world.cluster).duplicates;
    milena_producer_free(producer, 0);
  }
  EXPECT_TRUE(duplicates > 0); /* or chaos did nothing */
}

TEST(idempotent, each_record_once_while_a_broker_stops_and_starts) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  for (guint i = 0; i < 10; i++) {
    send_from(producer, i * 300, 300, 0, &deliveries);
    fake_cluster_stop_broker(world.cluster, 1);
    fake_cluster_start_broker(world.cluster, 1);
  }
  flush(producer);
  EXPECT_EQ_INT(3000, deliveries.delivered);
  EXPECT_EQ_INT(0, deliveries.out_of_order);
  expect_numbers(&world, 0, 3000);
  milena_producer_free(producer, 0);
}

/* ---- new epochs ---- */

TEST(idempotent, goes_on_when_the_leader_forgot_it) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  send_from(producer, 0, 500, 0, &deliveries);
  flush(producer);
  fake_cluster_forget_producers(world.cluster, "t", 0);
  send_from(producer, 500, 500, 0, &deliveries);
  flush(producer);
  EXPECT_EQ_INT(1000, deliveries.delivered);
  expect_numbers(&world, 0, 1000);
  EXPECT_EQ_INT(2, fake_cluster_counters(world.cluster).ids);
  milena_producer_free(producer, 0);
}

TEST(idempotent, takes_another_id_when_it_is_fenced) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  send_from(producer, 0, 500, 0, &deliveries);
  flush(producer);
  fake_cluster_fence_producers(world.cluster, "t", 0);
  send_from(producer, 500, 500, 0, &deliveries);
  flush(producer);
  EXPECT_EQ_INT(1000, deliveries.delivered);
  expect_numbers(&world, 0, 1000);
  milena_producer_free(producer, 0);
}

TEST(idempotent, goes_on_behind_a_gap_that_a_leader_lost) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  for (guint i = 0; i < 10; i++) {
    send_from(producer, i, 1, 0, &deliveries);
    flush(producer);
  }
  fake_cluster_cut(world.cluster, "t", 0, 7); /* "7", "8" and "9" are lost */
  send_from(producer, 10, 500, 0, &deliveries);
  flush(producer);
  g_autoptr(GPtrArray) values = fake_cluster_values(world.cluster, "t", 0);
  ASSERT_EQ_INT(507, values->len);
  EXPECT_EQ_STR("6", (const char *)values->pdata[6]);
  EXPECT_EQ_STR("10", (const char *)values->pdata[7]);
  EXPECT_EQ_STR("509", (const char *)values->pdata[506]);
  EXPECT_EQ_INT(0, deliveries.failed);
  milena_producer_free(producer, 0);
}

TEST(idempotent, a_refused_batch_leaves_no_gap) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_fault(world.cluster, FAULT_REFUSE, FAILURE(RECORD_TOO_LARGE), 1);
  send_from(producer, 0, 1000, 0, &deliveries);
  flush(producer);
  EXPECT_TRUE(deliveries.failed > 0);
  EXPECT_EQ_INT(0, deliveries.unknown);
  EXPECT_EQ_INT(1000, deliveries.failed + deliveries.delivered);
  EXPECT_EQ_INT(deliveries.delivered, fake_cluster_log_end(world.cluster, "t", 0));
  EXPECT_EQ_INT(1, fake_cluster_counters(world.cluster).ids); /* numbers are given again: no new epoch */
  milena_producer_free(producer, 0);
}

static void impatient(MilenaProducerOptions *options) {
  tiny_batches(options);
  options->timeout_ms = 300;
}

TEST(idempotent, what_expires_unknown_is_said_so_and_the_next_go_on) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, impatient);
  Deliveries lost = DELIVERIES_INIT, later = DELIVERIES_INIT;
  fake_cluster_fault(world.cluster, FAULT_SILENCE, FAILURE(UNSPECIFIED), 1000);
  send_from(producer, 0, 10, 0, &lost);
  flush(producer);
  EXPECT_EQ_INT(10, lost.unknown);
  EXPECT_EQ_STR("UNKNOWN_OUTCOME", lost.reason);
  fake_cluster_fault(world.cluster, FAULT_NONE, FAILURE(UNSPECIFIED), 0);
  send_from(producer, 0, 100, 0, &later);
  flush(producer);
  EXPECT_EQ_INT(100, later.delivered);
  expect_numbers(&world, 0, 100);
  EXPECT_EQ_INT(2, fake_cluster_counters(world.cluster).ids);
  milena_producer_free(producer, 0);
}

TEST(idempotent, what_may_be_written_gets_no_other_number) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  send_from(producer, 0, 10, 0, &deliveries);
  flush(producer);
  /* Written, the answer is lost, and then the leader forgets who wrote it. */
  fake_cluster_fault(world.cluster, FAULT_WRITE_AND_BREAK, FAILURE(UNSPECIFIED), 1);
  fake_cluster_set_leader(world.cluster, "t", 0, 1, FALSE);
  send_from(producer, 10, 1, 0, &deliveries);
  while (fake_cluster_log_end(world.cluster, "t", 0) < 11)
    g_usleep(100);
  fake_cluster_forget_producers(world.cluster, "t", 0);
  flush(producer);
  EXPECT_EQ_INT(11, fake_cluster_log_end(world.cluster, "t", 0));
  EXPECT_EQ_INT(11, deliveries.delivered + deliveries.unknown);
  send_from(producer, 11, 100, 0, &deliveries);
  flush(producer);
  expect_numbers(&world, 0, 111);
  milena_producer_free(producer, 0);
}

TEST(idempotent, survives_a_topic_that_is_created_anew) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  send_from(producer, 0, 10, 0, &deliveries);
  flush(producer);
  fake_cluster_recreate_topic(world.cluster, "t");
  Deliveries later = DELIVERIES_INIT;
  send_from(producer, 0, 100, 0, &later);
  flush(producer);
  EXPECT_EQ_INT(100, later.delivered);
  expect_numbers(&world, 0, 100);
  milena_producer_free(producer, 0);
}

/* ---- ids ---- */

TEST(idempotent, waits_for_an_id) {
  g_auto(World) world = world_new(2, 1);
  MilenaProducer *producer = producer_with(&world, tiny_batches);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_refuse_ids(world.cluster, FAILURE(CONTROLLER_NOT_AVAILABLE), 5);
  send_from(producer, 0, 100, 0, &deliveries);
  flush(producer);
  expect_numbers(&world, 0, 100);
  milena_producer_free(producer, 0);
}

TEST(idempotent, says_what_it_waited_for) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, impatient);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_refuse_ids(world.cluster, FAILURE(CONTROLLER_NOT_AVAILABLE), 100000);
  send_from(producer, 0, 1, 0, &deliveries);
  flush(producer);
  EXPECT_EQ_INT(1, deliveries.failed);
  EXPECT_EQ_INT(0, deliveries.unknown);
  EXPECT_EQ_STR("CONTROLLER_NOT_AVAILABLE", deliveries.reason);
  milena_producer_free(producer, 0);
}

TEST(idempotent, a_broker_that_is_too_old_is_an_error) {
  g_auto(World) world = world_new(1, 1);
  fake_cluster_make_old(world.cluster);
  MilenaProducer *producer = producer_with(&world, NULL);
  MilenaRecord record = record_of(NULL, "v", 0);
  MilenaError *error = milena_producer_send_sync(producer, &record, 10000, NULL);
  EXPECT_EQ_STR("UNSUPPORTED", milena_error_reason(error));
  EXPECT_CONTAINS(milena_error_message(error), "switch the producer's option idempotent off");
  EXPECT_FALSE(milena_error_is_outcome_unknown(error));
  milena_error_free(error);
  milena_producer_free(producer, 0);
}

TEST(idempotent, may_be_freed_while_it_waits_for_an_id) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producer = producer_with(&world, NULL);
  Deliveries deliveries = DELIVERIES_INIT;
  fake_cluster_refuse_ids(world.cluster, FAILURE(CONTROLLER_NOT_AVAILABLE), 100000);
  send_from(producer, 0, 1, 0, &deliveries);
  milena_producer_free(producer, 20);
  EXPECT_EQ_INT(1, deliveries.failed);
}
