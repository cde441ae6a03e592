/* Clients and administration against a fake cluster: addresses, failover, listings, errors. */
#include "tests/unit/client/helpers.h"

static const struct {
  const char *name, *bootstrap, *reason;
} BOOTSTRAPS[] = {
    {"host_and_port", "localhost:7600", "OK"},
    {"no_port", "localhost", "OK"},
    {"several", "a:1, b:2,c", "OK"},
    {"ip6", "[::1]:7600,[::1]", "OK"},
    {"nothing", "", "INVALID_FIELD"},
    {"null", NULL, "INVALID_FIELD"},
    {"commas", ",,", "INVALID_FIELD"},
    {"no_host", ":7600", "INVALID_FIELD"},
    {"bad_port", "localhost:abc", "INVALID_FIELD"},
    {"port_zero", "localhost:0", "INVALID_FIELD"},
    {"port_too_high", "localhost:65536", "INVALID_FIELD"},
    {"open_bracket", "[::1:7600", "INVALID_FIELD"},
    {"behind_bracket", "[::1]x:7600", "INVALID_FIELD"},
};
TEST_ROWS(bootstrap, BOOTSTRAPS) {
  MilenaClient *client = NULL;
  EXPECT_EQ_STR(BOOTSTRAPS[row].reason, reason_of(milena_client_new(BOOTSTRAPS[row].bootstrap, NULL, &client)));
  milena_client_free(client);
}

TEST(client, several_live_side_by_side) {
  g_auto(World) one = world_new(1, 1);
  g_auto(World) other = world_new(1, 2);
  MilenaTopic *topic = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_describe_topic(one.client, "t", 5000, &topic)));
  EXPECT_EQ_INT(1, topic->partition_count);
  milena_topic_free(topic);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_describe_topic(other.client, "t", 5000, &topic)));
  EXPECT_EQ_INT(2, topic->partition_count);
  milena_topic_free(topic);
}

TEST(admin, creates_describes_and_deletes_a_topic) {
  g_auto(World) world = world_new(2, 0);
  MilenaNewTopic new_topic = {.name = "made", .partitions = 3};
  MilenaTopic *topic = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_create_topic(world.client, &new_topic, 5000, &topic)));
  ASSERT_TRUE(topic != NULL);
  EXPECT_EQ_STR("made", topic->name);
  ASSERT_EQ_INT(3, topic->partition_count);
  EXPECT_EQ_INT(2, topic->partitions[1].leader_id);
  EXPECT_EQ_INT(1 << 20, topic->effective_config.max_message_bytes);
  milena_topic_free(topic);
  EXPECT_EQ_STR("TOPIC_EXISTS", reason_of(milena_admin_create_topic(world.client, &new_topic, 5000, NULL)));
  EXPECT_EQ_STR("OK", reason_of(milena_admin_delete_topic(world.client, "made", false, 5000)));
  MilenaError *error = milena_admin_describe_topic(world.client, "made", 5000, &topic);
  EXPECT_EQ_INT(5, milena_error_code(error));
  EXPECT_EQ_STR("NOT_FOUND", milena_error_code_name(error));
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(error));
  EXPECT_EQ_STR("INVALID_FIELD", reason_of(milena_admin_delete_topic(world.client, "", false, 5000)));
}

TEST(admin, finds_a_topic_in_a_brokers_metadata) {
  g_auto(World) world = world_new(1, 3);
  MilenaTopic *topic = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_find_topic(world.client, "t", 5000, &topic)));
  EXPECT_EQ_STR("t", topic->name);
  EXPECT_EQ_INT(3, topic->partition_count);
  g_clear_pointer(&topic, milena_topic_free);
  EXPECT_EQ_STR("UNKNOWN_TOPIC", reason_of(milena_admin_find_topic(world.client, "u", 5000, &topic)));
  EXPECT_NULL(topic);
}

TEST(admin, follows_pages) {
  g_auto(World) world = world_new(1, 0);
  const char *names[] = {"a", "b", "c", "d", "e"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    fake_cluster_add_topic(world.cluster, names[i], 1);
  MilenaTopicList *list = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_topics(world.client, 5000, &list)));
  ASSERT_EQ_INT(5, list->count);
  for (guint i = 0; i < 5; i++)
    EXPECT_EQ_STR(names[i], list->topics[i].name);
  milena_topic_list_free(list);
}

TEST(admin, describes_brokers_and_the_cluster) {
  g_auto(World) world = world_new(3, 2);
  MilenaBrokerList *brokers = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_brokers(world.client, 5000, &brokers)));
  ASSERT_EQ_INT(3, brokers->count);
  EXPECT_EQ_INT(3, brokers->brokers[2].id);
  milena_broker_list_free(brokers);
  MilenaCluster *cluster = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_describe_cluster(world.client, 5000, &cluster)));
  EXPECT_EQ_STR("fake", cluster->cluster_id);
  EXPECT_EQ_INT(1, cluster->active_controller_id);
  EXPECT_EQ_INT(3, cluster->brokers.count);
  EXPECT_EQ_INT(1, cluster->topics.count);
  milena_cluster_free(cluster);
}

TEST(admin, lists_offsets_with_errors_of_their_own) {
  g_auto(World) world = world_new(1, 1);
  MilenaOffsetQuery queries[] = {{"t", 0, MILENA_END}, {"t", 7, MILENA_BEGINNING}};
  MilenaOffsetResult *results = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_offsets(world.client, queries, 2, 5000, &results)));
  EXPECT_EQ_INT(0, results[0].offset);
  EXPECT_NULL(results[0].error);
  EXPECT_EQ_INT(-1, results[1].offset);
  EXPECT_EQ_STR("UNKNOWN_PARTITION", milena_error_reason(results[1].error));
  milena_offset_results_free(results, 2);
}

TEST(admin, asks_another_broker) {
  g_auto(World) world = world_new(3, 1);
  fake_cluster_stop_broker(world.cluster, 1);
  fake_cluster_stop_broker(world.cluster, 2);
  MilenaTopic *topic = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_describe_topic(world.client, "t", 5000, &topic)));
  milena_topic_free(topic);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_delete_topic(world.client, "t", false, 5000)));
}

TEST(admin, says_that_nobody_can_be_reached) {
  g_auto(World) world = world_new(1, 1);
  fake_cluster_stop_broker(world.cluster, 1);
  MilenaBrokerList *brokers = NULL;
  gint64 began_us = g_get_monotonic_time();
  MilenaError *error = milena_admin_list_brokers(world.client, 300, &brokers);
  EXPECT_EQ_STR("PEER_UNREACHABLE", milena_error_reason(error));
  EXPECT_TRUE(milena_error_is_retriable(error));
  EXPECT_CONTAINS(milena_error_message(error), "bootstrap");
  milena_error_free(error);
  EXPECT_TRUE(g_get_monotonic_time() - began_us < 2 * G_TIME_SPAN_SECOND);
  error = milena_admin_delete_topic(world.client, "t", false, 300);
  EXPECT_EQ_STR("PEER_UNREACHABLE", milena_error_reason(error));
  EXPECT_FALSE(milena_error_is_outcome_unknown(error)); /* it was never sent */
  milena_error_free(error);
}

/* ---- controllers ---- */

TEST(controllers, are_listed_added_and_removed_at_the_active_one_whoever_is_asked) {
  g_auto(World) world = world_new(3, 0);
  fake_cluster_set_controllers(world.cluster, 2, 2); /* broker 1 is asked first, and points to 2 */
  MilenaController *added = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_add_controller(world.client, 3, "h:1", false, 5000, &added)));
  ASSERT_TRUE(added != NULL);
  EXPECT_EQ_INT(MILENA_CONTROLLER_VOTER, added->role);
  milena_controller_free(added);
  EXPECT_EQ_STR("CONTROLLER_EXISTS", reason_of(milena_admin_add_controller(world.client, 3, "h:1", false, 5000, NULL)));
  MilenaQuorum *quorum = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_controllers(world.client, 5000, &quorum)));
  ASSERT_EQ_INT(3, quorum->count);
  EXPECT_EQ_INT(2, quorum->active_id);
  EXPECT_TRUE(quorum->controllers[1].active);
  EXPECT_EQ_INT(-1, quorum->controllers[1].heard_ago_ms);
  EXPECT_EQ_INT(7, quorum->term);
  milena_quorum_free(quorum);
  EXPECT_EQ_STR("QUORUM_AT_RISK", reason_of(milena_admin_remove_controller(world.client, 2, NULL, false, false, 5000)));
  EXPECT_EQ_STR("DIRECTORY_MISMATCH",
                reason_of(milena_admin_remove_controller(world.client, 3, "x", false, false, 5000)));
  EXPECT_EQ_STR("OK", reason_of(milena_admin_remove_controller(world.client, 3, NULL, false, false, 5000)));
  EXPECT_EQ_STR("UNKNOWN_CONTROLLER",
                reason_of(milena_admin_remove_controller(world.client, 3, NULL, false, false, 5000)));
  int32_t active = 0;
  uint64_t term = 0;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_transfer_leadership(world.client, 1, false, 5000, &active, &term)));
  EXPECT_EQ_INT(1, active);
  EXPECT_EQ_INT(8, term);
}

/* It was removed by the first try, whose answer was lost; the second says that there is none. */
TEST(controllers, are_removed_though_the_answer_was_lost) {
  g_auto(World) world = world_new(3, 0);
  fake_cluster_set_controllers(world.cluster, 3, 2);
  fake_cluster_lose_removal(world.cluster);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_remove_controller(world.client, 3, NULL, false, false, 5000)));
  EXPECT_EQ_STR("UNKNOWN_CONTROLLER",
                reason_of(milena_admin_remove_controller(world.client, 3, NULL, false, false, 5000)));
}

TEST(controllers, begin_a_cluster_once) {
  g_auto(World) world = world_new(2, 0);
  fake_cluster_set_controllers(world.cluster, 0, -1);
  MilenaInitialController controllers[] = {{1, "a:1"}, {2, "b:1"}};
  char *id = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_bootstrap_cluster(world.client, controllers, 2, NULL, true, 5000, NULL)));
  EXPECT_EQ_STR("OK", reason_of(milena_admin_bootstrap_cluster(world.client, controllers, 2, NULL, false, 5000, &id)));
  EXPECT_EQ_STR("the-cluster", id);
  milena_string_free(id);
  EXPECT_EQ_STR("ALREADY_BOOTSTRAPPED",
                reason_of(milena_admin_bootstrap_cluster(world.client, controllers, 2, NULL, false, 5000, NULL)));
}

/* ---- replicas ---- */

TEST(admin, drains_a_broker_and_takes_it_back) {
  g_auto(World) world = world_new(2, 1);
  MilenaBroker *broker = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_drain_broker(world.client, 2, true, 5000, &broker)));
  ASSERT_TRUE(broker != NULL);
  EXPECT_TRUE(broker->drained);
  g_clear_pointer(&broker, milena_broker_free);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_get_broker(world.client, 2, 5000, &broker)));
  EXPECT_TRUE(!broker->drained);
  g_clear_pointer(&broker, milena_broker_free);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_drain_broker(world.client, 2, false, 5000, NULL)));
  EXPECT_EQ_STR("OK", reason_of(milena_admin_get_broker(world.client, 2, 5000, &broker)));
  EXPECT_TRUE(broker->drained);
  g_clear_pointer(&broker, milena_broker_free);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_undrain_broker(world.client, 2, false, 5000, &broker)));
  EXPECT_TRUE(!broker->drained);
  milena_broker_free(broker);
  EXPECT_EQ_STR("UNKNOWN_BROKER", reason_of(milena_admin_drain_broker(world.client, 9, false, 5000, NULL)));
}

TEST(admin, moves_partitions_and_follows_how_far_they_are) {
  g_auto(World) world = world_new(3, 3);
  static const int32_t IDS[] = {3, 1, 2};
  MilenaMove moves[] = {{"t", 0, IDS, 3}, {"t", 2, IDS, 2}};
  MilenaReassignmentList *list = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_reassign_partitions(world.client, moves, 2, true, 5000, NULL)));
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_reassignments(world.client, 5000, &list)));
  EXPECT_EQ_INT(0, list->count);
  g_clear_pointer(&list, milena_reassignment_list_free);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_reassign_partitions(world.client, moves, 2, false, 5000, &list)));
  ASSERT_EQ_INT(1, list->count); /* the fake tells the last */
  EXPECT_EQ_INT(2, list->reassignments[0].partition);
  g_clear_pointer(&list, milena_reassignment_list_free);
  EXPECT_EQ_STR("OK", reason_of(milena_admin_list_reassignments(world.client, 5000, &list)));
  ASSERT_EQ_INT(2, list->count); /* in pages of one */
  EXPECT_EQ_STR("t", list->reassignments[0].topic);
  ASSERT_EQ_INT(3, list->reassignments[0].target_replica_count);
  EXPECT_EQ_INT(3, list->reassignments[0].target_replicas[0]);
  EXPECT_EQ_INT(2, list->reassignments[0].pending_replica_count);
  EXPECT_EQ_INT(1, list->reassignments[0].replicas_before[0]);
  g_clear_pointer(&list, milena_reassignment_list_free);
  MilenaTopic *topic = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_describe_topic(world.client, "t", 5000, &topic)));
  EXPECT_EQ_INT(3, topic->partitions[0].target_replica_count);
  EXPECT_EQ_INT(0, topic->partitions[1].target_replica_count);
  milena_topic_free(topic);
  uint32_t cancelled = 0;
  EXPECT_EQ_STR("OK",
                reason_of(milena_admin_cancel_reassignments(world.client, "t", NULL, 0, false, 5000, &cancelled)));
  EXPECT_EQ_INT(2, cancelled);
  moves[0].partition = 7;
  EXPECT_EQ_STR("UNKNOWN_PARTITION",
                reason_of(milena_admin_reassign_partitions(world.client, moves, 1, false, 5000, NULL)));
}

TEST(admin, elects_leaders) {
  g_auto(World) world = world_new(2, 2);
  MilenaElectedList *list = NULL;
  EXPECT_EQ_STR("OK", reason_of(milena_admin_elect_leaders(world.client, MILENA_ELECTION_PREFERRED, NULL, NULL, 0,
                                                           false, 5000, &list)));
  EXPECT_EQ_INT(0, list->count);
  g_clear_pointer(&list, milena_elected_list_free);
  fake_cluster_set_leader(world.cluster, "t", 1, -1, TRUE);
  static const int32_t PARTITION[] = {1};
  EXPECT_EQ_STR("OK", reason_of(milena_admin_elect_leaders(world.client, MILENA_ELECTION_UNCLEAN, "t", PARTITION, 1,
                                                           false, 5000, &list)));
  ASSERT_EQ_INT(1, list->count);
  EXPECT_EQ_STR("t", list->leaders[0].topic);
  EXPECT_EQ_INT(1, list->leaders[0].partition);
  EXPECT_TRUE(list->leaders[0].unclean);
  milena_elected_list_free(list);
}
