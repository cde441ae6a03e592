/* Consumers in groups against a fake coordinator: sharing, giving up and taking over, commits, lost answers, members
 * that are thrown out or do not poll. */
#include <milena/group.h>
#include <string.h>

#include "tests/unit/client/helpers.h"

#define PARTITIONS 6
#define RECORDS 100 /* of each partition */

/* A member of group "g" and what it was told and given. */
typedef struct {
  MilenaConsumer *consumer;
  guint assigned, revoked, lost; /* partitions, over all callbacks */
  guint64 owned;                 /* bit p: partition p */
  guint given;                   /* records */
  guint8 *seen;                  /* PARTITIONS x RECORDS: how often; shared by members */
} Reader;

static void on_rebalance(MilenaConsumer *consumer, MilenaRebalance event, const MilenaTopicPartition *partitions,
                         size_t count, void *user_data) {
  Reader *reader = user_data;
  EXPECT_TRUE(consumer == reader->consumer);
  for (size_t i = 0; i < count; i++) {
    guint64 bit = (guint64)1 << partitions[i].partition;
    EXPECT_EQ_INT(event != MILENA_REBALANCE_ASSIGNED, (reader->owned & bit) != 0);
    reader->owned ^= bit;
  }
  *(event == MILENA_REBALANCE_ASSIGNED  ? &reader->assigned
    : event == MILENA_REBALANCE_REVOKED ? &reader->revoked
                                        : &reader->lost) += (guint)count;
}

static void options_init(MilenaGroupOptions *options, Reader *reader) {
  static const char *const TOPICS[] = {"t"};
  milena_group_options_init(options);
  options->group = "g";
  options->topics = TOPICS;
  options->topic_count = 1;
  options->reset = MILENA_RESET_BEGINNING;
  options->auto_commit_interval_ms = 10;
  options->on_rebalance = on_rebalance;
  options->user_data = reader;
}

static MilenaConsumer *consumer_new(World *world) {
  MilenaConsumerOptions options;
  milena_consumer_options_init(&options);
  options.poll_records_max = 7;
  options.max_wait_ms = 50;
  return milena_consumer_new(world->client, &options);
}

static void reader_join(Reader *reader, World *world, guint8 *seen) {
  MilenaGroupOptions options;
  *reader = (Reader){.consumer = consumer_new(world), .seen = seen};
  options_init(&options, reader);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_join(reader->consumer, &options)));
}

/* One poll. Returns the reason of its error. */
static const char *reader_poll(Reader *reader) {
  const MilenaRecordBatch *batch;
  MilenaError *error = milena_consumer_poll(reader->consumer, 20, &batch);
  if (error || !batch)
    return reason_of(error);
  EXPECT_TRUE((reader->owned >> batch->partition & 1) != 0);
  for (size_t i = 0; i < batch->count; i++)
    reader->seen[batch->partition * RECORDS + batch->records[i].offset]++;
  reader->given += (guint)batch->count;
  return "OK";
}

static void produce(World *world) {
  MilenaProducer *producer = milena_producer_new(world->client, NULL);
  for (guint i = 0; i < PARTITIONS * RECORDS; i++) {
    MilenaRecord record = record_of(NULL, "v", (gint32)(i % PARTITIONS));
    EXPECT_EQ_STR("OK", reason_of(milena_producer_send(producer, &record, NULL, NULL)));
  }
  EXPECT_EQ_STR("OK", reason_of(milena_producer_flush(producer, 10000)));
  milena_producer_free(producer, 0);
}

static guint count_seen(const guint8 *seen, guint8 times) {
  guint count = 0;
  for (guint i = 0; i < PARTITIONS * RECORDS; i++)
    count += seen[i] == times;
  return count;
}

/* Poll until @count records were given in all. */
static void read_until(Reader *reader, guint count) {
  for (guint i = 0; i < 2000 && reader->given < count; i++)
    ASSERT_EQ_STR("OK", reader_poll(reader));
  EXPECT_EQ_INT(count, reader->given);
}

static void expect_committed(World *world, gint64 offset) {
  FakeGroupState state = fake_cluster_order_groups(world->cluster, NULL);
  for (guint p = 0; p < PARTITIONS; p++)
    EXPECT_EQ_INT(offset, state.committed[p]);
}

TEST(group, one_member_reads_everything_and_commits_what_it_was_given_when_it_leaves) {
  g_auto(World) world = world_new(2, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  produce(&world);
  reader_join(&reader, &world, seen);
  read_until(&reader, PARTITIONS * RECORDS);
  EXPECT_EQ_INT(PARTITIONS * RECORDS, count_seen(seen, 1));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_leave(reader.consumer, 5000)));
  EXPECT_EQ_INT(PARTITIONS, reader.revoked);
  expect_committed(&world, RECORDS);
  EXPECT_EQ_INT(0, fake_cluster_order_groups(world.cluster, NULL).members);
  milena_consumer_free(reader.consumer);
}

TEST(group, who_comes_next_goes_on_where_the_last_one_committed) {
  g_auto(World) world = world_new(2, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader first, second;
  produce(&world);
  reader_join(&first, &world, seen);
  for (guint i = 0; i < 2000 && first.given < 200; i++)
    ASSERT_EQ_STR("OK", reader_poll(&first));
  milena_consumer_free(first.consumer); /* leaves */
  reader_join(&second, &world, seen);
  read_until(&second, PARTITIONS * RECORDS - first.given);
  EXPECT_EQ_INT(PARTITIONS * RECORDS, count_seen(seen, 1));
  milena_consumer_free(second.consumer);
}

TEST(group, members_share_and_nothing_is_read_twice_when_partitions_move_in_order) {
  g_auto(World) world = world_new(2, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader readers[2];
  produce(&world);
  reader_join(&readers[0], &world, seen);
  for (guint i = 0; i < 2000 && readers[0].given < 50; i++)
    ASSERT_EQ_STR("OK", reader_poll(&readers[0]));
  reader_join(&readers[1], &world, seen);
  for (guint i = 0; i < 4000 && readers[0].given + readers[1].given < PARTITIONS * RECORDS; i++)
    ASSERT_EQ_STR("OK", reader_poll(&readers[i % 2]));
  EXPECT_EQ_INT(PARTITIONS * RECORDS, count_seen(seen, 1));
  EXPECT_EQ_INT(PARTITIONS / 2, readers[0].revoked);
  EXPECT_EQ_INT(PARTITIONS / 2, readers[1].assigned);
  EXPECT_TRUE((readers[0].owned & readers[1].owned) == 0);
  MilenaMembership *membership = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_membership(readers[1].consumer, &membership)));
  EXPECT_EQ_INT(PARTITIONS / 2, membership->partition_count);
  EXPECT_EQ_STR("the fake shares", membership->explanation);
  milena_consumer_membership_free(membership);
  for (guint i = 0; i < 2; i++)
    milena_consumer_free(readers[i].consumer);
  expect_committed(&world, RECORDS);
}

TEST(group, who_is_thrown_out_is_told_and_joins_again) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  produce(&world);
  reader_join(&reader, &world, seen);
  for (guint i = 0; i < 2000 && reader.given < 100; i++)
    ASSERT_EQ_STR("OK", reader_poll(&reader));
  fake_cluster_order_groups(world.cluster, &(FakeGroupOrders){.throw_out = TRUE});
  for (guint i = 0; i < 2000 && (reader.assigned < 2 * PARTITIONS || count_seen(seen, 0) > 0); i++)
    ASSERT_EQ_STR("OK", reader_poll(&reader));
  EXPECT_EQ_INT(PARTITIONS, reader.lost);
  EXPECT_EQ_INT(2 * PARTITIONS, reader.assigned);
  EXPECT_EQ_INT(0, count_seen(seen, 0)); /* at least once */
  milena_consumer_free(reader.consumer);
}

TEST(group, lost_answers_of_heartbeats_and_commits_do_no_harm) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  produce(&world);
  fake_cluster_order_groups(world.cluster, &(FakeGroupOrders){.lose_heartbeats = 3, .lose_commits = 3});
  reader_join(&reader, &world, seen);
  read_until(&reader, PARTITIONS * RECORDS);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_commit(reader.consumer, NULL, 0, 10000)));
  expect_committed(&world, RECORDS);
  EXPECT_EQ_INT(PARTITIONS * RECORDS, count_seen(seen, 1));
  milena_consumer_free(reader.consumer);
}

TEST(group, follows_its_coordinator) {
  g_auto(World) world = world_new(2, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  produce(&world);
  reader_join(&reader, &world, seen);
  read_until(&reader, PARTITIONS * RECORDS);
  fake_cluster_order_groups(world.cluster, &(FakeGroupOrders){.coordinator = 2});
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_commit(reader.consumer, NULL, 0, 10000)));
  expect_committed(&world, RECORDS);
  EXPECT_EQ_INT(0, reader.lost);
  milena_consumer_free(reader.consumer);
}

TEST(group, what_does_not_pass_ends_the_membership) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  fake_cluster_order_groups(world.cluster, &(FakeGroupOrders){.refuse = FAILURE(DUPLICATE_ID)});
  reader_join(&reader, &world, seen);
  const char *reason = "OK";
  for (guint i = 0; i < 500 && strcmp(reason, "OK") == 0; i++)
    reason = reader_poll(&reader);
  EXPECT_EQ_STR("DUPLICATE_ID", reason);
  EXPECT_EQ_STR("DUPLICATE_ID", reader_poll(&reader)); /* until it leaves */
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_leave(reader.consumer, 1000)));
  milena_consumer_free(reader.consumer);
}

static gboolean has_left(gpointer data) {
  return fake_cluster_order_groups(data, NULL).members == 0;
}

TEST(group, who_does_not_poll_leaves_and_joins_again_with_the_next_poll) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader = {.consumer = consumer_new(&world), .seen = seen};
  MilenaGroupOptions options;
  options_init(&options, &reader);
  options.max_poll_interval_ms = 300;
  produce(&world);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_join(reader.consumer, &options)));
  for (guint i = 0; i < 2000 && reader.given < 100; i++)
    ASSERT_EQ_STR("OK", reader_poll(&reader));
  EXPECT_TRUE(wait_for(has_left, world.cluster));
  for (guint i = 0; i < 2000 && (reader.assigned < 2 * PARTITIONS || count_seen(seen, 0) > 0); i++)
    ASSERT_EQ_STR("OK", reader_poll(&reader));
  EXPECT_EQ_INT(PARTITIONS, reader.lost);
  EXPECT_EQ_INT(0, count_seen(seen, 0));
  milena_consumer_free(reader.consumer);
}

TEST(group, without_a_place_to_start_poll_says_so_and_a_seek_helps) {
  g_auto(World) world = world_new(1, 1);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader = {.consumer = consumer_new(&world), .seen = seen};
  MilenaGroupOptions options;
  options_init(&options, &reader);
  options.reset = MILENA_RESET_ERROR;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_join(reader.consumer, &options)));
  const char *reason = "OK";
  for (guint i = 0; i < 500 && strcmp(reason, "OK") == 0; i++)
    reason = reader_poll(&reader);
  EXPECT_EQ_STR("OFFSET_OUT_OF_RANGE", reason);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_seek(reader.consumer, "t", 0, MILENA_BEGINNING)));
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  MilenaRecord record = record_of(NULL, "v", 0);
  EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, NULL)));
  read_until(&reader, 1);
  milena_producer_free(producer, 0);
  milena_consumer_free(reader.consumer);
}

TEST(group, a_paused_partition_rests_until_it_is_resumed) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader;
  produce(&world);
  reader_join(&reader, &world, seen);
  for (guint i = 0; i < 2000 && reader.given < 20; i++)
    ASSERT_EQ_STR("OK", reader_poll(&reader));
  int64_t before, after;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_pause(reader.consumer, "t", 3)));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_position(reader.consumer, "t", 3, &before, NULL)));
  read_until(&reader, (guint)(PARTITIONS * RECORDS - (RECORDS - MAX(before, 0))));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_position(reader.consumer, "t", 3, &after, NULL)));
  EXPECT_EQ_INT(MAX(before, 0), MAX(after, 0));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_resume(reader.consumer, "t", 3)));
  read_until(&reader, PARTITIONS * RECORDS);
  EXPECT_EQ_INT(PARTITIONS * RECORDS, count_seen(seen, 1));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_pause(reader.consumer, "t", 77)));
  milena_consumer_free(reader.consumer);
}

static void note_commit(const MilenaError *error, void *user_data) {
  EXPECT_NULL(error);
  __atomic_add_fetch((gint *)user_data, 1, __ATOMIC_SEQ_CST);
}

static gboolean is_noted(gpointer data) {
  return __atomic_load_n((gint *)data, __ATOMIC_SEQ_CST) > 0;
}

TEST(group, commits_by_hand_before_and_after) {
  g_auto(World) world = world_new(1, PARTITIONS);
  guint8 seen[PARTITIONS * RECORDS] = {0};
  Reader reader = {.consumer = consumer_new(&world), .seen = seen};
  MilenaGroupOptions options;
  options_init(&options, &reader);
  options.auto_commit = false;
  produce(&world);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_join(reader.consumer, &options)));
  EXPECT_EQ_STR("UNKNOWN_MEMBER",
                reason_of(milena_consumer_commit(reader.consumer, &(MilenaOffset){"t", 0, 1, -1, NULL}, 1, 0)));
  read_until(&reader, PARTITIONS * RECORDS);
  expect_committed(&world, -1);
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_commit(reader.consumer, &(MilenaOffset){"t", 2, 5, -1, "x"}, 1, 5000)));
  EXPECT_EQ_INT(5, fake_cluster_order_groups(world.cluster, NULL).committed[2]);
  gint noted = 0;
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_commit_async(reader.consumer, NULL, 0, note_commit, &noted)));
  EXPECT_TRUE(wait_for(is_noted, &noted));
  expect_committed(&world, RECORDS);
  EXPECT_EQ_STR("INVALID_FIELD",
                reason_of(milena_consumer_commit(reader.consumer, &(MilenaOffset){"t", 2, -5, -1, NULL}, 1, 5000)));
  milena_consumer_free(reader.consumer);
}

TEST(group, refuses_what_makes_no_sense) {
  g_auto(World) world = world_new(1, 1);
  MilenaConsumer *consumer = consumer_new(&world);
  MilenaGroupOptions options;
  MilenaMembership *membership = NULL;
  milena_group_options_init(&options);
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_join(consumer, &options)));
  options.group = "g";
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_join(consumer, &options)));
  options.topic_pattern = "t.*";
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_join(consumer, &options)));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_join(consumer, &options)));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 1000)));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_leave(consumer, 5000)));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_leave(consumer, 5000)));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_commit(consumer, NULL, 0, 1000)));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_consumer_membership(consumer, &membership)));
  EXPECT_EQ_STR("OK", reason_of(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, 1000)));
  milena_consumer_free(consumer);
}
