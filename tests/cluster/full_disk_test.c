/* Disks that fill up under load: small file systems, each a broker's own. What was acknowledged is there, reads and
 * commits go on, and writes come back by themselves. Needs root, for the file systems. */
#include <string.h>

#include "tests/cluster/small_disk.h"
#include "tests/cluster/world.h"

#define MIB (G_GUINT64_CONSTANT(1) << 20)
#define WATERMARK "64MiB"
#define VALUE_BYTES 16384
#define TRY_MS 3000

/* ---- small disks ---- */

typedef struct {
  World world;
  guint disks;
  char *folders[3];
} Small;

static void small_clear(Small *small) {
  world_clear(&small->world);
  for (guint i = 0; i < small->disks; i++) {
    small_disk_unmount(small->folders[i]);
    g_free(small->folders[i]);
  }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Small, small_clear)
#define SMALL_INIT                                                                                                     \
  { .disks = 0 }

/* The broker's folder, before it has one. */
static gboolean give_disk(Small *small, const char *work, gint32 broker, guint64 bytes) {
  g_autofree char *name = world_broker_name(broker);
  char *folder = g_build_filename(work, "cluster", name, NULL);
  if (!small_disk_mount(folder, bytes)) {
    shim_fail(__FILE__, __LINE__, "%s can't be mounted", folder);
    g_free(folder);
    return FALSE;
  }
  small->folders[small->disks++] = folder;
  return TRUE;
}

/* @sizes: of the disks of brokers 1 and up; 0: the machine's own. Returns FALSE when the test ends here. */
static gboolean small_up(Small *small, const char *watermark, guint brokers, const guint64 *sizes) {
  g_autofree char *why = small_disk_enter();
  if (why) {
    shim_skip(__FILE__, __LINE__, "%s", why);
    return FALSE;
  }
  for (guint i = 0; i < brokers; i++)
    if (sizes[i] && !give_disk(small, shim_temp_dir(), (gint32)i + 1, sizes[i]))
      return FALSE;
  g_setenv("MILENA_BROKER_DISK_LOW_WATERMARK", watermark, TRUE);
  return world_init(&small->world, 1, brokers);
}

/* ---- what is waited for ---- */

/* Whether a record is taken, and if not, whether that is for the disk. */
typedef struct {
  World *world;
  const char *topic;
  gboolean taken;
  char *said;
} Try;

static void try_once(Try *try) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.timeout_ms = TRY_MS;
  MilenaProducer *producer = milena_producer_new(try->world->client, &options);
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = try->topic;
  record.partition = 0;
  record.value = milena_bytes_text("?"); /* nobody's: not for topics that are judged */
  MilenaError *error = milena_producer_send_sync(producer, &record, 2 * TRY_MS, NULL);
  g_free(try->said);
  try->taken = error == NULL;
  try->said = error ? g_strdup_printf("[%s] %s", milena_error_reason(error), milena_error_message(error)) : NULL;
  milena_error_free(error);
  milena_producer_free(producer, 0);
}

static gboolean is_refused(gpointer data) {
  try_once(data);
  return !((Try *)data)->taken;
}

static gboolean is_taken(gpointer data) {
  try_once(data);
  return ((Try *)data)->taken;
}

static void until_refused(Try *try) {
  if (!cluster_until(is_refused, try, WORLD_WAIT_MS))
    shim_fail(__FILE__, __LINE__, "records are taken for ever");
  EXPECT_CONTAINS(try->said, "[DISK_LOW]");
  EXPECT_CONTAINS(try->said, "broker 1's disk is nearly full");
}

static void until_taken(Try *try) {
  if (!cluster_until(is_taken, try, WORLD_WAIT_MS))
    shim_fail(__FILE__, __LINE__, "records are not taken again: %s", try->said);
}

/* A new member of a new group reads, and its offsets are committed. */
static void expect_reads_and_commits(World *world, const char *topic, const char *group) {
  const Ran *ran = cluster_milena(world->cluster, "consume", topic, "--group", group, "--from", "beginning", "--count",
                                  "10", "--format", "%o", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  ran = cluster_milena(world->cluster, "groups", "describe", group, NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_CONTAINS(ran->out, topic);
}

static guint64 free_of(const Small *small, guint disk) {
  return small_disk_free_bytes(small->folders[disk]);
}

/* ---- the tests ---- */

/* One broker, and records until they are refused. */
TEST(full_disk, is_filled_under_load_and_grows) {
  g_auto(Small) small = SMALL_INIT;
  if (!small_up(&small, WATERMARK, 1, (guint64[]){192 * MIB}))
    return;
  World *world = &small.world;
  ASSERT_NO_ERROR(world_create(world, "bulk", 4, 1, 1, MILENA_FLUSH_DEFAULT));
  ASSERT_NO_ERROR(world_create(world, "probe", 1, 1, 1, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start_of(world->cluster, "bulk", 1, 2, VALUE_BYTES);
  Try try = {.world = world, .topic = "probe"};
  load_expect_more(load, 100);
  expect_reads_and_commits(world, "bulk", "early");
  until_refused(&try);
  /* What was under way, and memtables that become files, had room above the last line: an eighth of the watermark. */
  EXPECT_TRUE(free_of(&small, 0) > 8 * MIB);
  expect_reads_and_commits(world, "bulk", "late");
  ASSERT_TRUE(small_disk_resize(small.folders[0], 512 * MIB));
  until_taken(&try);
  load_expect_more(load, 100);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world->client);
  g_free(try.said);
}

/* ---- room by deletion ---- */

static gboolean has_noticed(gpointer data) {
  g_autofree char *log = cluster_log(((World *)data)->cluster, "broker-1");
  return strstr(log, "the disk is nearly full") != NULL;
}

/* Nobody else's records are in the segments that the topic filled, so deleting it makes room, and the writes of others
 * come back. What was written before is still there. */
TEST(full_disk, gets_room_when_a_topic_is_deleted) {
  g_auto(Small) small = SMALL_INIT;
  g_setenv("MILENA_BROKER_ORPHAN_GRACE", "0", TRUE);
  g_setenv("MILENA_BROKER_SEGMENT_BYTES", "8MiB", TRUE);
  gboolean is_up = small_up(&small, WATERMARK, 1, (guint64[]){192 * MIB});
  g_unsetenv("MILENA_BROKER_ORPHAN_GRACE");
  g_unsetenv("MILENA_BROKER_SEGMENT_BYTES");
  if (!is_up)
    return;
  World *world = &small.world;
  ASSERT_NO_ERROR(world_create(world, "kept", 2, 1, 1, MILENA_FLUSH_DEFAULT));
  ASSERT_NO_ERROR(world_create(world, "bulk", 4, 1, 1, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) kept = load_start(world->cluster, "kept", 1, 1);
  load_expect_more(kept, 100);
  load_stop(kept);
  g_autoptr(Load) bulk = load_start_of(world->cluster, "bulk", 1, 2, VALUE_BYTES);
  ASSERT_TRUE(cluster_until(has_noticed, world, WORLD_WAIT_MS));
  Try try = {.world = world, .topic = "kept"};
  try_once(&try);
  EXPECT_FALSE(try.taken);
  ASSERT_NO_ERROR(milena_admin_delete_topic(world->client, "bulk", false, WORLD_CALL_MS));
  load_stop(bulk);
  load_expect_all_once(kept, world->client); /* while it may still be low */
  until_taken(&try);
  EXPECT_TRUE(free_of(&small, 0) > 80 * MIB);
  g_free(try.said);
}

/* ---- one of three ---- */

static gboolean broker_says(World *world, gint32 id, const char *state) {
  g_autofree char *text = g_strdup_printf("%d", id);
  const Ran *ran = cluster_milena(world->cluster, "brokers", "describe", text, NULL);
  return ran->exit_code == 0 && strstr(ran->out, state) != NULL;
}

static gboolean is_shown_low(gpointer data) {
  return broker_says(data, 3, "disk low");
}

static gboolean is_shown_up(gpointer data) {
  return broker_says(data, 3, " up ");
}

/* A follower takes copies down to half of the watermark, then leaves those in sync; its leaderships went before. The
 * others go on, and it comes back. */
TEST(full_disk, of_one_replica_stops_nobody) {
  g_auto(Small) small = SMALL_INIT;
  if (!small_up(&small, WATERMARK, 3, (guint64[]){0, 0, 512 * MIB}))
    return;
  World *world = &small.world;
  ASSERT_NO_ERROR(world_create(world, "orders", 3, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world->cluster, "orders", 3, 2);
  load_expect_more(load, 100);
  UNTIL_IN_SYNC(world, "orders", 3);

  ASSERT_TRUE(small_disk_fill(small.folders[0], 56 * MIB));
  world_until((Wanted){world, "orders", 3, 3, 3}, __LINE__); /* others lead, and it follows on */
  EXPECT_TRUE(cluster_until(is_shown_low, world, WORLD_WAIT_MS));
  load_expect_more(load, 100);
  ASSERT_TRUE(small_disk_sweep(small.folders[0]));
  EXPECT_TRUE(cluster_until(is_shown_up, world, WORLD_WAIT_MS));

  ASSERT_TRUE(small_disk_fill(small.folders[0], 20 * MIB));
  UNTIL_IN_SYNC(world, "orders", 2);
  load_expect_more(load, 100);
  ASSERT_TRUE(small_disk_sweep(small.folders[0]));
  UNTIL_IN_SYNC(world, "orders", 3);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world->client);
}

/* ---- no room at all ---- */

static gboolean has_ended(gpointer data) {
  return cluster_pid(((World *)data)->cluster, "broker-1") == 0;
}

/* Without a watermark the disk gets full, and the broker ends. It starts again on the full disk, with a watermark:
 * serves what was acknowledged, and takes records once there is room. */
TEST(full_disk, does_not_keep_a_broker_from_starting) {
  g_auto(Small) small = SMALL_INIT;
  if (!small_up(&small, "0", 1, (guint64[]){192 * MIB}))
    return;
  World *world = &small.world;
  ASSERT_NO_ERROR(world_create(world, "orders", 4, 1, 1, MILENA_FLUSH_ALWAYS));
  ASSERT_NO_ERROR(world_create(world, "probe", 1, 1, 1, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start_of(world->cluster, "orders", 1, 2, VALUE_BYTES);
  ASSERT_TRUE(cluster_until(has_ended, world, WORLD_WAIT_MS));
  g_autofree char *log = cluster_log(world->cluster, "broker-1");
  EXPECT_CONTAINS(log, "a write to the log store failed");

  cluster_set(world->cluster, "MILENA_BROKER_DISK_LOW_WATERMARK", WATERMARK);
  START(world, 1);
  Try try = {.world = world, .topic = "probe"};
  until_refused(&try);
  EXPECT_TRUE(cluster_milena(world->cluster, "consume", "orders", "--from", "beginning", "--count", "100", "--format",
                             "%o", NULL)
                  ->exit_code == 0);
  ASSERT_TRUE(small_disk_resize(small.folders[0], 512 * MIB));
  load_expect_more(load, 100);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world->client);
  g_free(try.said);
}
