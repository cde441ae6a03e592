/* Records that go, by age and by request, on real processes: reads say so, the space comes back, replicas agree. */
#include <string.h>

#include "tests/cluster/world.h"

static MilenaError *create(World *world, const char *name, gint64 retention_ms) {
  MilenaNewTopic topic = {.name = name, .partitions = 1, .replication_factor = 3};
  topic.config.retention_ms = retention_ms;
  return milena_admin_create_topic(world->client, &topic, WORLD_CALL_MS, NULL);
}

/* @count records of 1,000 bytes. */
static void write_many(World *world, const char *topic, guint count) {
  g_autoptr(GString) input = g_string_new(NULL);
  g_autofree char *value = g_strnfill(1000, 'v');
  for (guint i = 0; i < count; i++)
    g_string_append_printf(input, "%s\n", value);
  const Ran *ran = cluster_milena_with_input(world->cluster, input->str, "produce", topic, NULL);
  if (ran->exit_code != 0)
    shim_fail(__FILE__, __LINE__, "%s", ran->err);
}

/* -1 where it can't be told now. @ret_reason: NULL, or the failure's; owned by the caller */
static gint64 offset_of(World *world, const char *topic, MilenaPosition position, char **ret_reason) {
  const MilenaOffsetQuery query = {.topic = topic, .partition = 0, .position = position};
  MilenaOffsetResult *results = NULL;
  MilenaError *error = milena_admin_list_offsets(world->client, &query, 1, WORLD_CALL_MS, &results);
  if (error) {
    milena_error_free(error);
    return -1;
  }
  gint64 offset = results[0].offset;
  if (ret_reason && results[0].error)
    *ret_reason = g_strdup(milena_error_reason(results[0].error));
  milena_offset_results_free(results, 1);
  return offset;
}

static gint64 earliest(World *world, const char *topic) {
  return offset_of(world, topic, (MilenaPosition){.kind = MILENA_POSITION_BEGINNING}, NULL);
}

typedef struct {
  World *world;
  const char *topic;
  gint64 start;
} Start;

static gboolean starts_there(gpointer data) {
  const Start *start = data;
  return earliest(start->world, start->topic) == start->start;
}

static void until_start(World *world, const char *topic, gint64 offset) {
  Start start = {world, topic, offset};
  if (!cluster_until(starts_there, &start, WORLD_WAIT_MS))
    shim_fail(__FILE__, __LINE__, "%s begins at %" G_GINT64_FORMAT ", not at %" G_GINT64_FORMAT, topic,
              earliest(world, topic), offset);
}

/* Nothing but what the store itself needs is left on any broker. */
static gboolean space_is_free(gpointer data) {
  World *world = data;
  for (guint id = 1; id <= world->brokers; id++) {
    MilenaBrokerStorage *storage = NULL;
    MilenaError *error = milena_admin_get_broker_storage(world->client, (gint32)id, WORLD_CALL_MS, &storage);
    if (error) {
      milena_error_free(error);
      return FALSE;
    }
    gboolean is_free = storage->live_bytes == 0 && storage->expired_held_bytes == 0 && storage->disk_bytes < 1000000;
    milena_broker_storage_free(storage);
    if (!is_free)
      return FALSE;
  }
  return TRUE;
}

TEST(retention, records_that_are_over_go_and_their_space_comes_back) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(create(&world, "t", MILENA_FOR_EVER));
  write_many(&world, "t", 5000);
  MilenaBrokerStorage *before = NULL;
  ASSERT_NO_ERROR(milena_admin_get_broker_storage(world.client, 2, WORLD_CALL_MS, &before));
  EXPECT_TRUE(before->live_bytes >= 5000000);
  EXPECT_TRUE(before->disk_bytes >= 5000000);
  milena_broker_storage_free(before);
  EXPECT_EQ_INT(0, earliest(&world, "t"));

  /* Changed while it runs. */
  const MilenaTopicConfig config = {.retention_ms = 1000};
  const char *fields[] = {"retention"};
  ASSERT_NO_ERROR(milena_admin_alter_topic(world.client, "t", &config, fields, 1, FALSE, WORLD_CALL_MS, NULL));
  until_start(&world, "t", 5000);
  g_autofree char *reason = NULL;
  offset_of(&world, "t", (MilenaPosition){.kind = MILENA_POSITION_OFFSET, .value = 4999}, &reason);
  EXPECT_EQ_STR("OFFSET_OUT_OF_RANGE", reason);
  if (!cluster_until(space_is_free, &world, WORLD_WAIT_MS))
    shim_fail(__FILE__, __LINE__, "the space does not come back:\n%s",
              cluster_milena(world.cluster, "brokers", "storage", NULL)->out);

  /* Who leads next begins there too, and the log goes on. */
  gint32 killed = world_leader(&world, "t", 0);
  KILL(&world, killed);
  UNTIL_LED(&world, "t", killed);
  until_start(&world, "t", 5000);
  START(&world, killed);
  UNTIL_IN_SYNC(&world, "t", 3);
  write_many(&world, "t", 10);
  until_start(&world, "t", 5010);
}

TEST(retention, records_are_deleted_by_request) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(create(&world, "t", 0));
  write_many(&world, "t", 100);
  const Ran *ran = cluster_milena(world.cluster, "records", "delete", "t", "--before", "40", "--yes", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_CONTAINS(ran->out, "40");
  EXPECT_EQ_INT(40, earliest(&world, "t"));
  ran = cluster_milena(world.cluster, "records", "delete", "t", "--before", "101", "--yes", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);
  EXPECT_CONTAINS(ran->out, "40 to 100");
  ran = cluster_milena(world.cluster, "records", "delete", "t", "--before", "end", "--dry-run", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(40, earliest(&world, "t"));
  ran = cluster_milena(world.cluster, "records", "delete", "t", "--partition", "7", "--before", "1", "--yes", NULL);
  EXPECT_EQ_INT(1, ran->exit_code);

  /* All replicas in sync had let go of them when it was answered: whoever leads next begins there. */
  gint32 killed = world_leader(&world, "t", 0);
  KILL(&world, killed);
  UNTIL_LED(&world, "t", killed);
  until_start(&world, "t", 40);
}

TEST(retention, a_replica_that_was_away_for_too_long_begins_where_the_leader_does) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(create(&world, "t", 0));
  write_many(&world, "t", 50);
  gint32 away = 3; /* the command asks the first broker */
  STOP(&world, away);
  UNTIL_LED(&world, "t", away);
  UNTIL_IN_SYNC(&world, "t", 2);
  write_many(&world, "t", 50);
  const MilenaDeletion deletion = {.topic = "t", .partition = 0, .before_offset = -1};
  MilenaDeletionResult *results = NULL;
  ASSERT_NO_ERROR(milena_admin_delete_records(world.client, &deletion, 1, FALSE, WORLD_CALL_MS, &results));
  EXPECT_EQ_INT(100, results[0].log_start_offset);
  milena_admin_deletion_results_free(results, 1);
  write_many(&world, "t", 20);
  START(&world, away);
  UNTIL_IN_SYNC(&world, "t", 3);
  until_start(&world, "t", 100);
  KILL(&world, 2);
  UNTIL_LED(&world, "t", 2);
  until_start(&world, "t", 100);
  const Ran *ran = cluster_milena(world.cluster, "consume", "t", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(20 * 1001, strlen(ran->out));
}
