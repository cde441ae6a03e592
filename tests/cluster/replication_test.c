/* Brokers that replicate, as real processes, while they are killed, frozen, wiped, stopped. */
#include <signal.h>
#include <string.h>

#include "tests/cluster/world.h"
#include "tests/unit/rocks/spoil.h"

static void wipe(World *world, gint32 id) {
  g_autofree char *name = world_broker_name(id);
  g_autofree char *folder = g_build_filename(cluster_folder(world->cluster), name, NULL);
  const char *words[] = {"/bin/rm", "-r", folder, NULL};
  EXPECT_EQ_INT(0, cluster_run(world->cluster, NULL, words)->exit_code);
}

static MilenaProducer *producer_for(World *world, gint32 timeout_ms) {
  MilenaProducerOptions options;
  milena_producer_options_init(&options);
  options.linger_ms = 0;
  options.timeout_ms = timeout_ms;
  return milena_producer_new(world->client, &options);
}

/* Write one record to partition 0. */
static MilenaError *write_one(World *world, const char *topic, const char *value, gint32 timeout_ms,
                              MilenaReceipt *ret_receipt) {
  MilenaProducer *producer = producer_for(world, timeout_ms);
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = topic;
  record.partition = 0;
  record.value = milena_bytes_text(value);
  MilenaError *error = milena_producer_send_sync(producer, &record, WORLD_CALL_MS + timeout_ms, ret_receipt);
  milena_producer_free(producer, 0);
  return error;
}

static guint count_lines(const char *text) {
  guint count = 0;
  for (; *text; text++)
    count += *text == '\n';
  return count;
}

static guint count_records(World *world, const char *topic) {
  const Ran *ran = cluster_milena(world->cluster, "consume", topic, NULL);
  if (ran->exit_code != 0)
    shim_fail(__FILE__, __LINE__, "%s", ran->err);
  return count_lines(ran->out);
}

/* ---- Tests ---- */

TEST(replication, a_leader_is_killed_under_load_and_comes_back_in_sync) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 6, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 2);
  load_expect_more(load, 300);
  gint32 killed = world_leader(&world, "t", 0);
  KILL(&world, killed);
  UNTIL_LED(&world, "t", killed);
  load_expect_more(load, 300);
  UNTIL_IN_SYNC(&world, "t", 2);
  START(&world, killed);
  UNTIL_IN_SYNC(&world, "t", 3);
  load_expect_more(load, 100);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}

static const struct {
  const char *name;
  gint32 id;
} GONE[] = {{"1", 1}, {"2", 2}, {"3", 3}};

TEST_ROWS(replication_goes_on_without_broker, GONE) {
  gint32 gone = GONE[row].id;
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 3, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 1);
  load_expect_more(load, 100);
  KILL(&world, gone);
  UNTIL_LED(&world, "t", gone);
  load_expect_more(load, 100);
  ASSERT_NO_ERROR(world_create(&world, "during", 2, 2, 2, MILENA_FLUSH_DEFAULT));
  UNTIL_LED(&world, "during", gone);
  ASSERT_NO_ERROR(write_one(&world, "during", "x", WORLD_CALL_MS, NULL));
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}

TEST(replication, below_the_minimum_writes_are_refused_and_reads_go_on) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 3, 2, MILENA_FLUSH_DEFAULT));
  ASSERT_NO_ERROR(write_one(&world, "t", "before", WORLD_CALL_MS, NULL));
  gint32 leader = world_leader(&world, "t", 0);
  gint32 others[] = {leader % 3 + 1, (leader + 1) % 3 + 1};
  KILL(&world, others[0]);
  KILL(&world, others[1]);
  UNTIL_IN_SYNC(&world, "t", 1);
  MilenaError *error = write_one(&world, "t", "refused", 1000, NULL);
  EXPECT_EQ_STR("NOT_ENOUGH_REPLICAS", error ? milena_error_reason(error) : "none");
  EXPECT_CONTAINS(error ? milena_error_message(error) : "", "min.insync.replicas is 2");
  milena_error_free(error);
  EXPECT_EQ_INT(1, count_records(&world, "t"));
  START(&world, others[1]);
  ASSERT_NO_ERROR(write_one(&world, "t", "after", WORLD_WAIT_MS, NULL));
  EXPECT_EQ_INT(2, count_records(&world, "t"));
}

TEST(replication, the_last_one_goes_on_at_minimum_one) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 3, 3, 1, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 1);
  load_expect_more(load, 100);
  KILL(&world, 1);
  KILL(&world, 3);
  UNTIL_IN_SYNC(&world, "t", 1);
  load_expect_more(load, 200);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
  START(&world, 1);
  START(&world, 3);
  UNTIL_IN_SYNC(&world, "t", 3);
  load_expect_all_once(load, world.client);
}

/* The processes that are killed together. */
static const char *const NAMES[] = {"broker-3", "controller-2", "broker-1", "controller-3", "controller-1", "broker-2"};

static gboolean all_are_gone(gpointer data) {
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
    if (cluster_pid(data, NAMES[i]))
      return FALSE;
  return TRUE;
}

TEST(replication, every_process_is_killed_at_once_and_started_in_another_order) {
  g_auto(World) world = {0};
  if (!world_init(&world, 3, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "always", 3, 3, 2, MILENA_FLUSH_ALWAYS));
  ASSERT_NO_ERROR(world_create(&world, "os", 3, 3, 2, MILENA_FLUSH_OS));
  g_autoptr(Load) always = load_start(world.cluster, "always", 3, 1);
  g_autoptr(Load) os = load_start(world.cluster, "os", 3, 1);
  load_expect_more(always, 200);
  load_expect_more(os, 200);
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
    kill(cluster_pid(world.cluster, NAMES[i]), SIGKILL);
  ASSERT_TRUE(cluster_until(all_are_gone, world.cluster, WORLD_WAIT_MS));
  /* One second each: those that wait for others go on when these are there. */
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
    cluster_milena(world.cluster, "local", "start", NAMES[i], "--data", cluster_folder(world.cluster), "--timeout", "1",
                   NULL);
  UNTIL_IN_SYNC(&world, "always", 3);
  UNTIL_IN_SYNC(&world, "os", 3);
  load_expect_more(always, 100);
  load_expect_more(os, 100);
  load_stop(always);
  load_stop(os);
  load_expect_no_failure(always);
  load_expect_no_failure(os);
  load_expect_all_once(always, world.client);
  load_expect_all_once(os, world.client);
}

TEST(replication, a_wiped_broker_fetches_everything_anew) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 3, 3, 2, MILENA_FLUSH_DEFAULT));
  ASSERT_NO_ERROR(world_create(&world, "single", 3, 1, 1, MILENA_FLUSH_DEFAULT));
  gint32 wiped = world_leader(&world, "single", 0);
  ASSERT_NO_ERROR(write_one(&world, "single", "lost", WORLD_CALL_MS, NULL));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 1);
  load_expect_more(load, 300);
  KILL(&world, wiped);
  wipe(&world, wiped);
  START(&world, wiped);
  UNTIL_LED(&world, "t", wiped);
  UNTIL_IN_SYNC(&world, "t", 3);
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
  EXPECT_EQ_INT(-1, world_leader(&world, "single", 0));
  MilenaError *error = write_one(&world, "single", "nobody", 1000, NULL);
  EXPECT_EQ_STR("LEADER_NOT_AVAILABLE", error ? milena_error_reason(error) : "none");
  milena_error_free(error);
  /* It has all of it: it can lead alone. */
  KILL(&world, wiped % 3 + 1);
  KILL(&world, (wiped + 1) % 3 + 1);
  UNTIL_LED(&world, "t", wiped % 3 + 1);
  load_expect_all_once(load, world.client);
}

TEST(replication, a_damaged_replica_leads_nothing_and_is_fetched_anew) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 1);
  load_expect_more(load, 300);
  MilenaTopic *topic = NULL;
  ASSERT_NO_ERROR(milena_admin_describe_topic(world.client, "t", WORLD_CALL_MS, &topic));
  gint32 damaged = topic->partitions[0].leader_id;
  guint64 log_id = topic->partitions[0].log_id;
  milena_topic_free(topic);
  STOP(&world, damaged);
  g_autofree char *name = world_broker_name(damaged);
  g_autofree char *folder = g_build_filename(cluster_folder(world.cluster), name, NULL);
  ASSERT_TRUE(spoil_producers(folder, log_id));
  START(&world, damaged);
  UNTIL_IN_SYNC(&world, "t", 3);
  g_autofree char *log = cluster_log(world.cluster, name);
  EXPECT_CONTAINS(log, "a damaged replica is cut to what is good of it, and fetched anew from there");
  load_stop(load);
  load_expect_no_failure(load);
  /* It leads, and has all of it. */
  KILL(&world, damaged % 3 + 1);
  UNTIL_LED(&world, "t", damaged % 3 + 1);
  KILL(&world, (damaged + 1) % 3 + 1);
  UNTIL_LED(&world, "t", (damaged + 1) % 3 + 1);
  load_expect_all_once(load, world.client);
}

/* The start of a broker that stopped in order reads nothing of its logs: a consumer meets the damage. */
TEST(replication, a_leader_that_reads_damage_stands_back_and_fetches_anew) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 3, 2, MILENA_FLUSH_DEFAULT));
  MilenaTopic *topic = NULL;
  ASSERT_NO_ERROR(milena_admin_describe_topic(world.client, "t", WORLD_CALL_MS, &topic));
  gint32 damaged = topic->partitions[0].leader_id;
  guint64 log_id = topic->partitions[0].log_id;
  milena_topic_free(topic);
  for (guint i = 0; i < 10; i++)
    ASSERT_NO_ERROR(write_one(&world, "t", "value", WORLD_CALL_MS, NULL));
  STOP(&world, damaged);
  g_autofree char *name = world_broker_name(damaged);
  g_autofree char *folder = g_build_filename(cluster_folder(world.cluster), name, NULL);
  ASSERT_TRUE(spoil_batch(folder, log_id, 4));
  START(&world, damaged);
  UNTIL_IN_SYNC(&world, "t", 3);
  const Ran *ran = cluster_milena(world.cluster, "partitions", "elect", "t", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(damaged, world_leader(&world, "t", 0));
  EXPECT_EQ_INT(10, count_records(&world, "t")); /* the consumer goes on elsewhere */
  UNTIL_LED(&world, "t", damaged);
  ASSERT_NO_ERROR(write_one(&world, "t", "value", WORLD_CALL_MS, NULL));
  UNTIL_IN_SYNC(&world, "t", 3);
  g_autofree char *log = cluster_log(world.cluster, name);
  EXPECT_CONTAINS(log, "a read met damage: this replica stands back, and is fetched anew");
  EXPECT_CONTAINS(log, "a damaged replica is cut to what is good of it, and fetched anew from there");
  /* It leads, and has all of it. */
  ran = cluster_milena(world.cluster, "partitions", "elect", "t", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(damaged, world_leader(&world, "t", 0));
  EXPECT_EQ_INT(11, count_records(&world, "t"));
  EXPECT_EQ_INT(damaged, world_leader(&world, "t", 0));
}

TEST(replication, a_frozen_leader_wakes_up_and_follows) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 3, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 2);
  load_expect_more(load, 300);
  gint32 frozen = world_leader(&world, "t", 0);
  g_autofree char *name = world_broker_name(frozen);
  GPid pid = cluster_pid(world.cluster, name);
  kill(pid, SIGSTOP);
  UNTIL_LED(&world, "t", frozen);
  load_expect_more(load, 300);
  kill(pid, SIGCONT);
  UNTIL_IN_SYNC(&world, "t", 3);
  EXPECT_EQ_INT(pid, cluster_pid(world.cluster, name));
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
}

TEST(replication, a_leader_that_stops_in_order_hands_over_first) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 6, 3, 2, MILENA_FLUSH_DEFAULT));
  g_autoptr(Load) load = load_start(world.cluster, "t", 3, 2);
  gint64 longest_ms = 0;
  for (gint32 id = 1; id <= 3; id++) {
    load_expect_more(load, 200);
    (void)load_longest_gap_ms(load);
    STOP(&world, id);
    UNTIL_LED(&world, "t", id);
    load_expect_more(load, 200);
    gint64 gap_ms = load_longest_gap_ms(load);
    longest_ms = MAX(longest_ms, gap_ms);
    START(&world, id);
    UNTIL_IN_SYNC(&world, "t", 3);
  }
  load_stop(load);
  load_expect_no_failure(load);
  load_expect_all_once(load, world.client);
  g_print("the longest pause in which nothing was acknowledged: %d ms\n", (int)longest_ms);
}

TEST(replication, receipts_tell_copies_and_fsyncs) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "always", 1, 3, 2, MILENA_FLUSH_ALWAYS));
  ASSERT_NO_ERROR(world_create(&world, "os", 1, 3, 2, MILENA_FLUSH_OS));
  MilenaReceipt receipt = {0};
  ASSERT_NO_ERROR(write_one(&world, "always", "x", WORLD_CALL_MS, &receipt));
  EXPECT_EQ_INT(3, receipt.replicas);
  EXPECT_EQ_INT(3, receipt.synced_replicas);
  ASSERT_NO_ERROR(write_one(&world, "os", "x", WORLD_CALL_MS, &receipt));
  EXPECT_EQ_INT(3, receipt.replicas);
  EXPECT_EQ_INT(0, receipt.synced_replicas);
  gint32 killed = world_leader(&world, "always", 0) % 3 + 1;
  KILL(&world, killed);
  UNTIL_IN_SYNC(&world, "always", 2);
  ASSERT_NO_ERROR(write_one(&world, "always", "y", WORLD_CALL_MS, &receipt));
  EXPECT_EQ_INT(2, receipt.replicas);
  EXPECT_EQ_INT(2, receipt.synced_replicas);
}

/* ---- the last copy is damaged ---- */

/* A topic of ten records with one replica, whose broker was stopped: how to damage it. Returns the broker, or -1. */
static gint32 stop_single(World *world, guint64 *ret_log_id) {
  MilenaTopic *topic = NULL;
  MilenaError *error = world_create(world, "t", 1, 1, 1, MILENA_FLUSH_DEFAULT);
  for (guint i = 0; i < 10 && !error; i++)
    error = write_one(world, "t", "value", WORLD_CALL_MS, NULL);
  if (!error)
    error = milena_admin_describe_topic(world->client, "t", WORLD_CALL_MS, &topic);
  if (!world_expect_none(error, __FILE__, __LINE__) || !topic)
    return -1;
  gint32 leader_id = topic->partitions[0].leader_id;
  *ret_log_id = topic->partitions[0].log_id;
  milena_topic_free(topic);
  STOP(world, leader_id);
  return leader_id;
}

/* An operator gives up what is damaged: so many records are left, and the partition takes new ones. */
static void give_up(World *world, gint32 broker_id, gint left) {
  const Ran *ran = cluster_milena(world->cluster, "partitions", "elect", "t", "0", "--unclean", "--yes", NULL);
  EXPECT_CONTAINS(ran->out, "No leader changed"); /* it has one, which is damaged */
  ran = cluster_milena(world->cluster, "partitions", "elect", "t", "--unclean", "--cut-damage", "--yes", NULL);
  EXPECT_CONTAINS(ran->err, "name them");
  ran = cluster_milena(world->cluster, "partitions", "elect", "t", "0", "--unclean", "--cut-damage", "--yes", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_CONTAINS(ran->out, "unclean");
  ASSERT_NO_ERROR(write_one(world, "t", "value", WORLD_CALL_MS, NULL));
  EXPECT_EQ_INT(left + 1, count_records(world, "t"));
  g_autofree char *name = world_broker_name(broker_id);
  g_autofree char *log = cluster_log(world->cluster, name);
  EXPECT_CONTAINS(log, "a leader cuts its log in front of damage, as somebody asked for");
  g_autofree char *audit = cluster_log(world->cluster, "controller-1");
  EXPECT_CONTAINS(audit, "somebody asked for an unclean election that cuts damage");
  EXPECT_CONTAINS(audit, "the leader is to cut its log in front of damage, and what lies behind is lost");
  /* What is whole loses nothing. */
  ran = cluster_milena(world->cluster, "partitions", "elect", "t", "0", "--unclean", "--cut-damage", "--yes", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  EXPECT_EQ_INT(left + 1, count_records(world, "t"));
  STOP(world, broker_id);
  START(world, broker_id);
  UNTIL_LED(world, "t", 0);
  EXPECT_EQ_INT(left + 1, count_records(world, "t"));
  ASSERT_NO_ERROR(write_one(world, "t", "value", WORLD_CALL_MS, NULL));
}

TEST(replication, the_damage_of_the_last_copy_is_cut_when_somebody_gives_up_what_lies_behind) {
  g_auto(World) world = {0};
  guint64 log_id = 0;
  if (!world_init(&world, 1, 1))
    return;
  gint32 broker_id = stop_single(&world, &log_id);
  ASSERT_TRUE(broker_id > 0);
  g_autofree char *name = world_broker_name(broker_id);
  g_autofree char *folder = g_build_filename(cluster_folder(world.cluster), name, NULL);
  ASSERT_TRUE(spoil_batch(folder, log_id, 4));
  START(&world, broker_id);
  UNTIL_LED(&world, "t", 0);
  const Ran *ran = cluster_milena(world.cluster, "consume", "t", NULL);
  EXPECT_TRUE(ran->exit_code != 0);
  give_up(&world, broker_id, 4);
}

/* Nothing of the log itself is damaged, so nothing of it is cut. */
TEST(replication, the_last_copy_takes_records_again_when_what_it_knew_of_producers_is_given_up) {
  g_auto(World) world = {0};
  guint64 log_id = 0;
  if (!world_init(&world, 1, 1))
    return;
  gint32 broker_id = stop_single(&world, &log_id);
  ASSERT_TRUE(broker_id > 0);
  g_autofree char *name = world_broker_name(broker_id);
  g_autofree char *folder = g_build_filename(cluster_folder(world.cluster), name, NULL);
  ASSERT_TRUE(spoil_producers(folder, log_id));
  START(&world, broker_id);
  UNTIL_LED(&world, "t", 0);
  MilenaError *error = write_one(&world, "t", "value", 2000, NULL);
  EXPECT_EQ_STR("CORRUPT_LOG", error ? milena_error_reason(error) : "none");
  milena_error_free(error);
  give_up(&world, broker_id, 10);
}
