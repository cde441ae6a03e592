/* Partitions on their shards, with a real store: append, read, wait, find, follow the metadata. */
#include "tests/shim/shim.h"
#include "tests/unit/broker/fixture.h"

static void expect_failed(Failure *failure, FailureReason reason) {
  EXPECT_TRUE(failure != NULL);
  EXPECT_EQ_STR(failure_reason_name(reason), failure ? failure_reason_name(failure_reason(failure)) : "");
  failure_free(failure);
}

/* ---- reading ---- */

typedef struct {
  PartitionRead *read;
  Shard *owner, *asker;
  gint done;
} Reading;

static void on_read(PartitionRead *read, gpointer user_data) {
  (void)read;
  g_atomic_int_set(&((Reading *)user_data)->done, 1);
}

static void start_read(gpointer data) {
  Reading *reading = data;
  partition_read_start(reading->read, reading->owner, reading->asker->loop);
}

static void cancel_read(gpointer data) {
  partition_read_cancel(((Reading *)data)->read);
}

static void read_begin(Fixture *fixture, Reading *reading, guint asker, gint64 from, gsize min_bytes, guint wait_ms) {
  *reading = (Reading){.read = partition_read_new(),
                       .owner = broker_owner(&fixture->broker, ORDERS_LOG(0)),
                       .asker = fixture->broker.shards[asker]};
  PartitionRead *read = reading->read;
  read->log_id = ORDERS_LOG(0);
  read->from_offset = from;
  read->max_bytes = 1 << 20;
  read->min_bytes = min_bytes;
  read->wait_until_us = wait_ms ? g_get_monotonic_time() + wait_ms * G_GINT64_CONSTANT(1000) : 0;
  read->done = on_read;
  read->user_data = reading;
  fixture_on(fixture, asker, start_read, reading);
}

/* Returns what was read; free it. */
static PartitionRead *read_end(Reading *reading) {
  EXPECT_TRUE(fixture_wait(&reading->done));
  return reading->read;
}

static void append_ok(Fixture *fixture, guint asker, gint64 expected_base, guint count) {
  PartitionReceipt receipt;
  g_autoptr(Failure) failure = fixture_append(fixture, asker, ORDERS_LOG(0), 0, count, &receipt);
  EXPECT_NULL(failure);
  EXPECT_EQ_INT(expected_base, receipt.base_offset);
  EXPECT_EQ_INT(1, receipt.replicas);
  EXPECT_EQ_INT(1, receipt.synced_replicas);
}

TEST(partition, appends_from_any_loop_and_reads_back) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 3);
  append_ok(fixture, 1, 3, 2);
  for (guint asker = 0; asker < 2; asker++) {
    Reading reading;
    read_begin(fixture, &reading, asker, 1, 0, 0);
    PartitionRead *read = read_end(&reading);
    EXPECT_NULL(read->failure);
    ASSERT_EQ_INT(2, read->batches->len);
    EXPECT_EQ_INT(0, LOG_BATCH_AT(read->batches, 0)->base_offset);
    EXPECT_EQ_INT(3, LOG_BATCH_AT(read->batches, 1)->base_offset);
    EXPECT_EQ_INT(5, read->bounds.high_watermark);
    partition_read_free(read);
  }
}

TEST(partition, a_restarted_broker_reads_from_the_store_and_goes_on) {
  {
    g_autoptr(Fixture) fixture = fixture_new();
    append_ok(fixture, 0, 0, 3);
  }
  g_autoptr(Fixture) fixture = fixture_new();
  Reading reading;
  read_begin(fixture, &reading, 0, 0, 0, 0);
  PartitionRead *read = read_end(&reading);
  EXPECT_NULL(read->failure);
  ASSERT_EQ_INT(1, read->batches->len);
  EXPECT_EQ_INT(3, LOG_BATCH_AT(read->batches, 0)->record_count);
  partition_read_free(read);
  append_ok(fixture, 0, 3, 1);
}

TEST(partition, a_waiting_read_is_woken_by_an_append) {
  g_autoptr(Fixture) fixture = fixture_new();
  Reading reading;
  read_begin(fixture, &reading, 1, 0, 1, 20000);
  EXPECT_EQ_INT(0, g_atomic_int_get(&reading.done));
  append_ok(fixture, 0, 0, 1);
  PartitionRead *read = read_end(&reading);
  EXPECT_NULL(read->failure);
  EXPECT_EQ_INT(1, read->batches->len);
  partition_read_free(read);
}

TEST(partition, min_bytes_waits_for_more_than_one_batch) {
  g_autoptr(Fixture) fixture = fixture_new();
  Reading reading;
  LogBatch batch;
  fixture_batch(1, &batch);
  gsize bytes = log_batch_payload_bytes(&batch);
  log_batch_clear(&batch);
  read_begin(fixture, &reading, 1, 0, bytes + 1, 20000);
  append_ok(fixture, 0, 0, 1);
  EXPECT_EQ_INT(0, g_atomic_int_get(&reading.done));
  append_ok(fixture, 0, 1, 1);
  PartitionRead *read = read_end(&reading);
  EXPECT_EQ_INT(2, read->batches->len);
  partition_read_free(read);
}

TEST(partition, a_wait_ends_with_its_time_and_gives_what_is_there) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 1);
  Reading reading;
  read_begin(fixture, &reading, 0, 0, 100000, 50);
  PartitionRead *read = read_end(&reading);
  EXPECT_NULL(read->failure);
  EXPECT_EQ_INT(1, read->batches->len);
  partition_read_free(read);
  read_begin(fixture, &reading, 0, 1, 1, 50);
  read = read_end(&reading);
  EXPECT_NULL(read->failure);
  EXPECT_EQ_INT(0, read->batches->len);
  partition_read_free(read);
}

TEST(partition, a_cancelled_read_ends) {
  g_autoptr(Fixture) fixture = fixture_new();
  for (guint asker = 0; asker < 2; asker++) {
    Reading reading;
    read_begin(fixture, &reading, asker, 0, 1, 20000);
    fixture_on(fixture, asker, cancel_read, &reading);
    PartitionRead *read = read_end(&reading);
    expect_failed(g_steal_pointer(&read->failure), FAILURE(CANCELLED));
    partition_read_free(read);
  }
}

TEST(partition, an_offset_out_of_range_says_what_is_in_it) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 2);
  Reading reading;
  read_begin(fixture, &reading, 0, 3, 0, 0);
  PartitionRead *read = read_end(&reading);
  ASSERT_TRUE(read->failure != NULL);
  EXPECT_EQ_INT(FAILURE(OFFSET_OUT_OF_RANGE), failure_reason(read->failure));
  EXPECT_EQ_STR("0", failure_get(read->failure, "earliest"));
  EXPECT_EQ_STR("2", failure_get(read->failure, "latest"));
  partition_read_free(read);
}

/* Nothing tells it whether another broker leads by now, and has more. */
TEST(partition, a_leader_whose_session_may_have_ended_knows_no_end) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 2);
  atomic_store(&fixture->broker.session_until_us, g_get_monotonic_time());
  Reading reading;
  read_begin(fixture, &reading, 0, 3, 0, 0);
  PartitionRead *read = read_end(&reading);
  expect_failed(g_steal_pointer(&read->failure), FAILURE(NOT_LEADER));
  partition_read_free(read);
  /* What it has is committed, and stays so. */
  read_begin(fixture, &reading, 0, 1, 0, 0);
  read = read_end(&reading);
  EXPECT_TRUE(read->failure == NULL);
  EXPECT_EQ_INT(1, read->batches->len);
  partition_read_free(read);
}

/* ---- the metadata ---- */

TEST(partition, a_changed_leader_ends_waits_and_refuses_the_old_epoch) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 1);
  Reading reading;
  PartitionReceipt receipt;
  read_begin(fixture, &reading, 1, 1, 1, 20000);
  fixture_set_leader(fixture, -1, 1);
  PartitionRead *read = read_end(&reading);
  expect_failed(g_steal_pointer(&read->failure), FAILURE(NOT_LEADER));
  partition_read_free(read);
  expect_failed(fixture_append(fixture, 0, ORDERS_LOG(0), 0, 1, &receipt), FAILURE(NOT_LEADER));
  fixture_set_leader(fixture, 1, 2);
  expect_failed(fixture_append(fixture, 0, ORDERS_LOG(0), 1, 1, &receipt), FAILURE(NOT_LEADER));
  EXPECT_NULL(fixture_append(fixture, 0, ORDERS_LOG(0), 2, 1, &receipt));
  EXPECT_EQ_INT(1, receipt.base_offset);
  EXPECT_EQ_INT(2, receipt.leader_epoch);
}

TEST(partition, a_deleted_topics_log_is_dropped_after_its_grace) {
  {
    g_autoptr(Fixture) fixture = fixture_new();
    append_ok(fixture, 0, 0, 3);
    fixture_delete_orders(fixture);
    PartitionReceipt receipt;
    expect_failed(fixture_append(fixture, 0, ORDERS_LOG(0), 0, 1, &receipt), FAILURE(NOT_LEADER));
    for (guint i = 0; i < 200; i++) {
      LogStoreStats stats;
      log_store_stats(fixture->broker.store, &stats);
      if (stats.logs == 0)
        break;
      g_usleep(10000);
    }
  }
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 1); /* the fixture's image has it again: it begins anew */
}

/* Rule 15: metadata that forgot a topic may be wrong, and what is deleted is gone. */
TEST(partition, rule_15_a_log_that_the_metadata_does_not_know_is_kept_for_the_grace_time) {
  g_autoptr(Fixture) fixture = fixture_new();
  fixture->broker.orphan_grace_ms = G_GINT64_CONSTANT(3600) * 1000;
  append_ok(fixture, 0, 0, 3);
  fixture_delete_orders(fixture);
  PartitionReceipt receipt;
  expect_failed(fixture_append(fixture, 0, ORDERS_LOG(0), 0, 1, &receipt), FAILURE(NOT_LEADER));
  /* A drop without a grace would be submitted by now, in front of this. */
  EXPECT_NULL(fixture_append(fixture, 0, LOOSE_LOG, 0, 1, &receipt));
  fixture_restore_orders(fixture);
  append_ok(fixture, 0, 3, 1);
  Reading reading;
  read_begin(fixture, &reading, 0, 0, 0, 0);
  PartitionRead *read = read_end(&reading);
  EXPECT_NULL(read->failure);
  ASSERT_EQ_INT(2, read->batches->len);
  EXPECT_EQ_INT(3, LOG_BATCH_AT(read->batches, 0)->record_count);
  partition_read_free(read);
}

TEST(partition, flush_os_does_not_claim_a_sync) {
  g_autoptr(Fixture) fixture = fixture_new();
  PartitionReceipt receipt;
  EXPECT_NULL(fixture_append(fixture, 0, LOOSE_LOG, 0, 1, &receipt));
  EXPECT_EQ_INT(1, receipt.replicas);
  EXPECT_EQ_INT(0, receipt.synced_replicas);
}

static void read_synced_end(gpointer data) {
  Fixture *fixture = *(Fixture **)data;
  Partition *partition = partition_lookup(broker_owner(&fixture->broker, LOOSE_LOG), LOOSE_LOG);
  *(gint64 *)((char *)data + sizeof(Fixture *)) = replica_synced_end(partition->replica);
}

static gint64 synced_end_of_loose(Fixture *fixture) {
  struct {
    Fixture *fixture;
    gint64 end;
  } asked = {fixture, -1};
  fixture_on(fixture, shard_index(broker_owner(&fixture->broker, LOOSE_LOG)), read_synced_end, &asked);
  return asked.end;
}

/* Else a follower whose log ends in such records would never be in sync: what it has on disk is what counts. */
TEST(partition, what_was_written_with_flush_os_is_synced_once_the_topic_says_always) {
  g_autoptr(Fixture) fixture = fixture_new();
  PartitionReceipt receipt;
  EXPECT_NULL(fixture_append(fixture, 0, LOOSE_LOG, 0, 3, &receipt));
  EXPECT_EQ_INT(0, synced_end_of_loose(fixture));
  fixture_sync_loose(fixture);
  for (guint i = 0; i < 2000 && synced_end_of_loose(fixture) < 3; i++)
    g_usleep(10000);
  EXPECT_EQ_INT(3, synced_end_of_loose(fixture));
}

typedef struct {
  Fixture *fixture;
  gint64 start, end;
} Ends;

static void begin_anew(gpointer data) {
  Ends *ends = data;
  Partition *partition = partition_lookup(broker_owner(&ends->fixture->broker, ORDERS_LOG(0)), ORDERS_LOG(0));
  EXPECT_TRUE(partition_begin_anew(partition, 100));
}

static void read_ends(gpointer data) {
  Ends *ends = data;
  Partition *partition = partition_lookup(broker_owner(&ends->fixture->broker, ORDERS_LOG(0)), ORDERS_LOG(0));
  ends->start = replica_log_start(partition->replica);
  ends->end = replica_log_end(partition->replica);
}

static void expect_ends(Fixture *fixture, gint64 start, gint64 end) {
  Ends ends = {fixture, -1, -1};
  fixture_on(fixture, shard_index(broker_owner(&fixture->broker, ORDERS_LOG(0))), read_ends, &ends);
  EXPECT_EQ_INT(start, ends.start);
  EXPECT_EQ_INT(end, ends.end);
}

/* Retention took all that a follower has: it drops that, and goes on where the leader's log begins, also after a start
 * anew. */
TEST(partition, a_follower_that_is_too_old_begins_anew) {
  {
    g_autoptr(Fixture) fixture = fixture_new();
    append_ok(fixture, 0, 0, 5);
    fixture_set_leader(fixture, 2, 1);
    Ends ends = {.fixture = fixture};
    fixture_on(fixture, shard_index(broker_owner(&fixture->broker, ORDERS_LOG(0))), begin_anew, &ends);
    expect_ends(fixture, 100, 100);
  }
  g_autoptr(Fixture) fixture = fixture_new();
  expect_ends(fixture, 100, 100);
  append_ok(fixture, 0, 100, 2);
  Reading reading;
  read_begin(fixture, &reading, 0, 100, 0, 0);
  PartitionRead *read = read_end(&reading);
  EXPECT_NULL(read->failure);
  ASSERT_EQ_INT(1, read->batches->len);
  EXPECT_EQ_INT(100, LOG_BATCH_AT(read->batches, 0)->base_offset);
  partition_read_free(read);
}

/* ---- finding ---- */

typedef struct {
  PartitionFind *find;
  Shard *owner, *asker;
  gint done;
} Finding;

static void on_found(PartitionFind *find, gpointer user_data) {
  (void)find;
  g_atomic_int_set(&((Finding *)user_data)->done, 1);
}

static void start_find(gpointer data) {
  Finding *finding = data;
  partition_find_start(finding->find, finding->owner, finding->asker->loop);
}

/* Records 0 to 4 have the times 1000 to 1004. */
static const struct {
  const char *name;
  PartitionFindKind kind;
  gint64 timestamp_ms;
  gboolean found;
  gint64 offset;
} FINDS[] = {
    {"earliest", PARTITION_FIND_EARLIEST, 0, TRUE, 0},        {"latest", PARTITION_FIND_LATEST, 0, FALSE, 5},
    {"last_stable", PARTITION_FIND_LAST_STABLE, 0, FALSE, 5}, {"time_before_all", PARTITION_FIND_TIME, 0, TRUE, 0},
    {"time_exact", PARTITION_FIND_TIME, 1003, TRUE, 3},       {"time_of_the_last", PARTITION_FIND_TIME, 1004, TRUE, 4},
    {"time_behind_all", PARTITION_FIND_TIME, 1005, FALSE, 5},
};

TEST_ROWS(find, FINDS) {
  g_autoptr(Fixture) fixture = fixture_new();
  append_ok(fixture, 0, 0, 5);
  Finding finding = {.find = partition_find_new(),
                     .owner = broker_owner(&fixture->broker, ORDERS_LOG(0)),
                     .asker = fixture->broker.shards[1]};
  PartitionFind *find = finding.find;
  find->log_id = ORDERS_LOG(0);
  find->kind = FINDS[row].kind;
  find->timestamp_ms = FINDS[row].timestamp_ms;
  find->done = on_found;
  find->user_data = &finding;
  fixture_on(fixture, 1, start_find, &finding);
  EXPECT_TRUE(fixture_wait(&finding.done));
  EXPECT_NULL(find->failure);
  EXPECT_EQ_INT(FINDS[row].found, find->found);
  EXPECT_EQ_INT(FINDS[row].offset, find->offset);
  partition_find_free(find);
}
