/* A compacted topic through failovers and kill -9: the last value of each key is what was written last, on every
 * replica. As real processes. */
#include <string.h>

#include "tests/cluster/world.h"

#define TOPIC "facts"
#define PARTITIONS 2
#define KEYS 400
#define ROUNDS 9
#define ROUND_RECORDS 3000
#define SEND_MS 60000
#define NOTHING (-1)

typedef struct {
  World *world;
  MilenaProducer *producer;
  GRand *random;
  int latest[KEYS]; /* NOTHING: deleted, or never written */
  int written;
} Facts;

static char *key_text(int key) {
  return g_strdup_printf("key-%d", key);
}

/* ---- writing ---- */

static void on_delivered(const MilenaDelivery *delivery, void *user_data) {
  gint *failed = user_data;
  if (delivery->error)
    g_atomic_int_inc(failed);
}

/* Records of random keys, some of them tombstones; all are acknowledged. */
static void write_round(Facts *facts) {
  gint failed = 0;
  for (int i = 0; i < ROUND_RECORDS; i++) {
    int key = g_rand_int_range(facts->random, 0, KEYS);
    gboolean deletes = g_rand_int_range(facts->random, 0, 8) == 0;
    g_autofree char *name = key_text(key), *value = g_strdup_printf("%d is what was written", facts->written);
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = TOPIC;
    record.key = milena_bytes_text(name);
    if (!deletes)
      record.value = milena_bytes_text(value);
    ASSERT_NO_ERROR(milena_producer_send(facts->producer, &record, on_delivered, &failed));
    facts->latest[key] = deletes ? NOTHING : facts->written;
    facts->written++;
  }
  ASSERT_NO_ERROR(milena_producer_flush(facts->producer, SEND_MS));
  EXPECT_EQ_INT(0, failed);
}

/* ---- reading ---- */

typedef struct {
  int latest[KEYS];
  gint64 records;
} Seen;

static void take(const MilenaRecordBatch *batch, Seen *seen, gint64 *next) {
  for (size_t i = 0; i < batch->count; i++) {
    const MilenaConsumedRecord *record = &batch->records[i];
    g_autofree char *key = g_strndup((const char *)record->key.data, record->key.size);
    g_autofree char *value =
        record->value.data ? g_strndup((const char *)record->value.data, record->value.size) : NULL;
    int index = (int)g_ascii_strtoll(key + strlen("key-"), NULL, 10);
    EXPECT_TRUE(record->offset >= next[batch->partition]);
    next[batch->partition] = record->offset + 1;
    seen->latest[index] = value ? (int)g_ascii_strtoll(value, NULL, 10) : NOTHING;
    seen->records++;
  }
}

/* All of the topic, from whoever leads now. */
static void read_all(World *world, Seen *seen) {
  seen->records = 0;
  for (int i = 0; i < KEYS; i++)
    seen->latest[i] = NOTHING;
  MilenaConsumer *consumer = milena_consumer_new(world->client, NULL);
  MilenaError *error = milena_consumer_assign_topic(consumer, TOPIC, MILENA_BEGINNING, WORLD_CALL_MS);
  gint64 next[PARTITIONS] = {0}, ends[PARTITIONS] = {-1, -1};
  gint64 until_us = g_get_monotonic_time() + WORLD_WAIT_MS * 1000;
  for (gboolean done = FALSE; !error && !done && g_get_monotonic_time() < until_us;) {
    const MilenaRecordBatch *batch;
    error = milena_consumer_poll(consumer, 200, &batch);
    if (!error && batch)
      take(batch, seen, next);
    done = TRUE;
    for (int i = 0; i < PARTITIONS && !error; i++) {
      int64_t offset = -1;
      error = milena_consumer_position(consumer, TOPIC, i, &offset, &ends[i]);
      done = done && ends[i] > 0 && offset >= ends[i];
    }
  }
  milena_consumer_free(consumer);
  ASSERT_NO_ERROR(error);
}

static void expect_latest(const Facts *facts, const char *where) {
  Seen seen;
  read_all(facts->world, &seen);
  for (int i = 0; i < KEYS; i++)
    if (seen.latest[i] != facts->latest[i]) {
      shim_fail(__FILE__, __LINE__, "%s: key-%d is %d, but %d was written last", where, i, seen.latest[i],
                facts->latest[i]);
      return;
    }
}

/* ---- conditions ---- */

static gboolean has_compacted(gpointer data) {
  const Facts *facts = data;
  for (guint i = 1; i <= facts->world->brokers; i++) {
    g_autofree char *name = world_broker_name((gint32)i);
    g_autofree char *log = cluster_log(facts->world->cluster, name);
    if (!strstr(log, "log compacted partition=" TOPIC "/0") || !strstr(log, "log compacted partition=" TOPIC "/1"))
      return FALSE;
  }
  return TRUE;
}

/* The records of old rounds are gone. */
static gboolean is_small(gpointer data) {
  const Facts *facts = data;
  Seen seen;
  read_all(facts->world, &seen);
  return seen.records < 4 * KEYS + ROUND_RECORDS;
}

/* Each broker in turn leads everything, and is read from. */
static void expect_latest_on_every_replica(const Facts *facts) {
  World *world = facts->world;
  for (gint32 id = 1; id <= (gint32)world->brokers; id++) {
    for (gint32 other = 1; other <= (gint32)world->brokers; other++) {
      g_autofree char *number = g_strdup_printf("%d", other);
      cluster_milena(world->cluster, "brokers", other == id ? "undrain" : "drain", number, NULL);
    }
    for (gint32 other = 1; other <= (gint32)world->brokers; other++)
      if (other != id)
        UNTIL_LED(world, TOPIC, other);
    g_autofree char *where = g_strdup_printf("on broker %d", id);
    EXPECT_EQ_INT(id, world_leader(world, TOPIC, 0));
    EXPECT_EQ_INT(id, world_leader(world, TOPIC, 1));
    expect_latest(facts, where);
  }
}

/* ---- the test ---- */

static void create_topic(World *world) {
  const MilenaNewTopic topic = {.name = TOPIC,
                                .partitions = PARTITIONS,
                                .replication_factor = 3,
                                .config = {.min_insync_replicas = 2,
                                           .cleanup_policy = MILENA_CLEANUP_COMPACT,
                                           .delete_retention_ms = 3000,
                                           .min_cleanable_dirty_ratio = 0.05}};
  ASSERT_NO_ERROR(milena_admin_create_topic(world->client, &topic, WORLD_CALL_MS, NULL));
}

static gboolean begin(World *world) {
  g_setenv("MILENA_BROKER_COMPACTION_INTERVAL", "100ms", TRUE);
  g_setenv("MILENA_BROKER_COMPACTION_MEMORY", "8KiB", TRUE); /* several passes each */
  g_setenv("MILENA_BROKER_SEGMENT_BYTES", "1MiB", TRUE);
  if (!world_init(world, 1, 3))
    return FALSE;
  create_topic(world);
  return !shim_test_has_failed();
}

TEST(compaction, keeps_the_last_of_each_key_through_failovers_and_kills) {
  g_auto(World) world = {0};
  if (!begin(&world))
    return;
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.compression = MILENA_COMPRESSION_ZSTD;
  options.batch_bytes = 4 << 10;
  Facts facts = {
      .world = &world, .random = g_rand_new_with_seed(7), .producer = milena_producer_new(world.client, &options)};
  for (int i = 0; i < KEYS; i++)
    facts.latest[i] = NOTHING;
  for (int round = 0; round < ROUNDS && !shim_test_has_failed(); round++) {
    gint32 id = 1 + round % 3;
    write_round(&facts);
    KILL(&world, id);
    UNTIL_LED(&world, TOPIC, id);
    write_round(&facts);
    if (round % 3 == 2)
      expect_latest(&facts, "with a broker down");
    START(&world, id);
    UNTIL_IN_SYNC(&world, TOPIC, 3);
  }
  EXPECT_TRUE(cluster_until(has_compacted, &facts, WORLD_WAIT_MS));
  EXPECT_TRUE(cluster_until(is_small, &facts, WORLD_WAIT_MS));
  expect_latest_on_every_replica(&facts);
  milena_producer_free(facts.producer, SEND_MS);
  g_rand_free(facts.random);
}

TEST(compaction, a_replica_that_begins_anew_gets_what_is_left) {
  g_auto(World) world = {0};
  if (!begin(&world))
    return;
  Facts facts = {
      .world = &world, .random = g_rand_new_with_seed(8), .producer = milena_producer_new(world.client, NULL)};
  for (int i = 0; i < KEYS; i++)
    facts.latest[i] = NOTHING;
  for (int round = 0; round < 4; round++)
    write_round(&facts);
  EXPECT_TRUE(cluster_until(has_compacted, &facts, WORLD_WAIT_MS));
  EXPECT_TRUE(cluster_until(is_small, &facts, WORLD_WAIT_MS));
  KILL(&world, 2);
  g_autofree char *folder = g_build_filename(cluster_folder(world.cluster), "broker-2", NULL);
  const char *words[] = {"/bin/rm", "-r", folder, NULL};
  EXPECT_EQ_INT(0, cluster_run(world.cluster, NULL, words)->exit_code);
  START(&world, 2);
  UNTIL_IN_SYNC(&world, TOPIC, 3);
  write_round(&facts);
  expect_latest_on_every_replica(&facts);
  milena_producer_free(facts.producer, SEND_MS);
  g_rand_free(facts.random);
}

TEST(compaction, records_without_a_key_are_refused) {
  g_auto(World) world = {0};
  if (!begin(&world))
    return;
  const Ran *plain = cluster_milena_with_input(world.cluster, "no key\n", "produce", TOPIC, NULL);
  EXPECT_TRUE(plain->exit_code != 0);
  EXPECT_CONTAINS(plain->err, "has no key, but topic '" TOPIC "' is compacted");
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = TOPIC;
  record.partition = 0;
  record.value = milena_bytes_text("no key either");
  MilenaProducer *producer = milena_producer_new(world.client, NULL);
  MilenaError *error = milena_producer_send_sync(producer, &record, WORLD_CALL_MS, NULL);
  EXPECT_TRUE(error != NULL);
  if (error) {
    EXPECT_EQ_STR("INVALID_FIELD", milena_error_reason(error));
    EXPECT_CONTAINS(milena_error_message(error), "has no key");
  }
  milena_error_free(error);
  milena_producer_free(producer, SEND_MS);
}
