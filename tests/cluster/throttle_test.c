/* A replica that is added is fed no faster than the throttle allows, and what producers write to replicas in sync is
 * not held back by it. As real processes. */
#include <string.h>

#include "tests/cluster/world.h"

#define RATE_BYTES 100000
#define RECORD_BYTES 1000
#define RECORDS 4000
/* So many are waited for: at the rate they take two seconds. */
#define SOME 200

/* Write @count records of @bytes to partition 0, in small batches, and wait until all are acknowledged. */
static void fill(World *world, guint count, gsize bytes) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.linger_ms = 0;
  options.batch_bytes = 4096;
  MilenaProducer *producer = milena_producer_new(world->client, &options);
  g_autofree char *value = g_malloc(bytes);
  memset(value, 'x', bytes);
  for (guint i = 0; i < count; i++) {
    MilenaRecord record = MILENA_RECORD_INIT;
    record.topic = "t";
    record.partition = 0;
    record.value = (MilenaBytes){value, bytes};
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  }
  (void)world_expect_none(milena_producer_flush(producer, WORLD_WAIT_MS), __FILE__, __LINE__);
  milena_producer_free(producer, 0);
}

/* The only reassignment under way. */
typedef struct {
  World *world;
  gint64 at_most;                   /* of remaining offsets: waited for */
  gint64 remaining, bytes, seconds; /* -1: not told */
  guint64 throttle_bytes;
  gboolean over;
} Move;

static gboolean look(gpointer data) {
  Move *move = data;
  MilenaReassignmentList *list = NULL;
  if (!world_expect_none(milena_admin_list_reassignments(move->world->client, WORLD_CALL_MS, &list), __FILE__,
                         __LINE__))
    return FALSE;
  move->over = list->count == 0;
  move->remaining = -1;
  if (!move->over && list->reassignments[0].pending_replica_count == 1) {
    move->remaining = list->reassignments[0].pending_remaining[0];
    move->bytes = list->reassignments[0].pending_bytes[0];
    move->seconds = list->reassignments[0].pending_seconds[0];
    move->throttle_bytes = list->reassignments[0].throttle_bytes_per_s;
  }
  milena_reassignment_list_free(list);
  return move->over || (move->remaining >= 0 && move->remaining <= move->at_most);
}

static gboolean knows_when(gpointer data) {
  Move *move = data;
  (void)look(move);
  return move->over || move->seconds > 0;
}

static const struct {
  const char *name;
  const char *setting; /* of the brokers; NULL: the move's own throttle */
} ROWS[] = {{"of_the_move", NULL}, {"of_the_brokers", "MILENA_BROKER_CATCH_UP_RATE"}};

TEST_ROWS(throttle, ROWS) {
  g_auto(World) world = {0};
  const char *setting = ROWS[row].setting;
  if (setting)
    g_setenv(setting, "100kB", TRUE);
  gboolean is_up = world_init(&world, 1, 3);
  if (setting)
    g_unsetenv(setting);
  if (!is_up)
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 2, 2, MILENA_FLUSH_DEFAULT));
  static const int32_t TWO[] = {1, 2}, THREE[] = {1, 2, 3};
  MilenaMove to = {.topic = "t", .partition = 0, .replicas = TWO, .replica_count = 2};
  ASSERT_NO_ERROR(milena_admin_reassign_partitions(world.client, &to, 1, false, WORLD_CALL_MS, NULL));
  Move move = {.world = &world};
  EXPECT_TRUE(cluster_until(look, &move, WORLD_WAIT_MS));
  UNTIL_IN_SYNC(&world, "t", 2);
  fill(&world, RECORDS, RECORD_BYTES);

  gint64 start_us = g_get_monotonic_time();
  to = (MilenaMove){"t", 0, THREE, 3, setting ? 0 : RATE_BYTES};
  ASSERT_NO_ERROR(milena_admin_reassign_partitions(world.client, &to, 1, false, WORLD_CALL_MS, NULL));
  move.at_most = RECORDS - SOME;
  EXPECT_TRUE(cluster_until(look, &move, WORLD_WAIT_MS));
  gint64 ms = (g_get_monotonic_time() - start_us) / 1000;
  EXPECT_FALSE(move.over);
  gint64 caught_up_bytes = (RECORDS - move.remaining) * RECORD_BYTES;
  g_print("caught up %d records in %d ms\n", (int)(RECORDS - move.remaining), (int)ms);
  EXPECT_TRUE(caught_up_bytes <= (ms + 1000) * RATE_BYTES / 1000); /* a chunk of a tenth of a second may be early */
  EXPECT_TRUE(cluster_until(knows_when, &move, WORLD_WAIT_MS));
  EXPECT_FALSE(move.over);
  EXPECT_TRUE(move.bytes > move.remaining * RECORD_BYTES && move.bytes < move.remaining * RECORD_BYTES * 2);
  if (!setting) {
    EXPECT_EQ_INT(RATE_BYTES, move.throttle_bytes);
    const Ran *ran = cluster_milena(world.cluster, "partitions", "status", "t", NULL);
    EXPECT_CONTAINS(ran->out, "OFFSETS LEFT");
    EXPECT_CONTAINS(ran->out, "BYTES LEFT");
    EXPECT_CONTAINS(ran->out, "TIME LEFT");
    EXPECT_CONTAINS(ran->out, "100.0 kB/s");
  }
  /* At the rate these would take ten seconds, and what is left half a minute. */
  fill(&world, 1000, RECORD_BYTES);
  (void)look(&move);
  EXPECT_FALSE(move.over);
  EXPECT_TRUE(move.remaining > 0);
  UNTIL_IN_SYNC(&world, "t", 2);

  to.throttle_bytes_per_s = 0;
  if (setting)
    ASSERT_NO_ERROR(milena_admin_cancel_reassignments(world.client, "t", NULL, 0, false, WORLD_CALL_MS, NULL));
  else
    ASSERT_NO_ERROR(milena_admin_reassign_partitions(world.client, &to, 1, false, WORLD_CALL_MS, NULL));
  start_us = g_get_monotonic_time();
  UNTIL_IN_SYNC(&world, "t", setting ? 2 : 3);
  EXPECT_TRUE((g_get_monotonic_time() - start_us) / G_USEC_PER_SEC < 20);
}
