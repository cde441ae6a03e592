/* Reassignments as commands: what is refused, retries, and the replication factor that follows. The rules themselves
 * are in partition_rules_test. */
#include "controller/metadata/placement.h"
#include "controller/metadata/view.h"
#include "tests/unit/metadata/fixture.h"

/* Brokers 1 to 4, and the topic "a" of two partitions with @factor replicas. */
static void moving_cluster(Cluster *cluster, guint32 factor) {
  cluster_init(cluster);
  for (gint32 id = 1; id <= 4; id++)
    cluster_add_broker(cluster, id, "");
  cluster_create_replicated(cluster, "a", 2, factor);
}

static const MetadataTopic *topic_a(const Cluster *cluster) {
  return metadata_image_topic_by_name(cluster->image, "a");
}

/* @ids: "2,3,1" */
static Failure *try_move(Cluster *cluster, gint32 partition, const char *ids, GPtrArray *records) {
  gint32 replicas[20];
  g_auto(GStrv) parts = g_strsplit(ids, ",", -1);
  Milena__V1__PartitionReassignment move = MILENA__V1__PARTITION_REASSIGNMENT__INIT, *place = &move;
  for (char **part = parts; *part; part++)
    replicas[move.n_replicas++] = (gint32)g_ascii_strtoll(*part, NULL, 10);
  move.topic = (char *)"a";
  move.partition = partition;
  move.replicas = replicas;
  Milena__V1__ReassignPartitionsRequest request = MILENA__V1__REASSIGN_PARTITIONS_REQUEST__INIT;
  request.n_reassignments = 1;
  request.reassignments = &place;
  return metadata_command_reassign_partitions(cluster->image, &request, records);
}

static void move(Cluster *cluster, gint32 partition, const char *ids) {
  GPtrArray *records = metadata_records_new();
  cluster_apply(cluster, try_move(cluster, partition, ids, records), records);
}

static guint64 throttle_of(const Cluster *cluster, guint number) {
  return topic_a(cluster)->partitions[number]->throttle_bytes;
}

static Failure *try_throttled(Cluster *cluster, guint64 bytes, GPtrArray *records) {
  gint32 replicas[] = {3, 4};
  Milena__V1__PartitionReassignment move = MILENA__V1__PARTITION_REASSIGNMENT__INIT, *place = &move;
  move.topic = (char *)"a";
  move.n_replicas = 2;
  move.replicas = replicas;
  move.throttle_bytes_per_second = bytes;
  Milena__V1__ReassignPartitionsRequest request = MILENA__V1__REASSIGN_PARTITIONS_REQUEST__INIT;
  request.n_reassignments = 1;
  request.reassignments = &place;
  return metadata_command_reassign_partitions(cluster->image, &request, records);
}

/* The leader proposes that all replicas are in sync, and the controller carries it out. */
static void all_in_sync(Cluster *cluster, guint number) {
  const MetadataPartition *partition = topic_a(cluster)->partitions[number];
  Milena__Internal__V1__InSyncMember members[8], *places[8];
  for (guint i = 0; i < partition->replica_count; i++) {
    milena__internal__v1__in_sync_member__init(&members[i]);
    members[i].broker_id = partition->replicas[i];
    members[i].broker_epoch = metadata_image_broker(cluster->image, partition->replicas[i])->epoch;
    places[i] = &members[i];
  }
  Milena__Internal__V1__InSyncProposal proposal = MILENA__INTERNAL__V1__IN_SYNC_PROPOSAL__INIT;
  proposal.topic_id = (char *)topic_a(cluster)->id;
  proposal.partition = (gint32)number;
  proposal.leader_epoch = partition->leader_epoch;
  proposal.partition_epoch = partition->partition_epoch;
  proposal.n_members = partition->replica_count;
  proposal.members = places;
  GPtrArray *records = metadata_records_new();
  guint64 epoch = metadata_image_broker(cluster->image, partition->leader_id)->epoch;
  Failure *failure = metadata_command_alter_in_sync(cluster->image, partition->leader_id, epoch, &proposal, records);
  for (guint i = 0; i < records->len; i++)
    EXPECT_TRUE(!metadata_is_unclean(cluster->image, records->pdata[i]));
  if (!failure)
    failure = metadata_command_follow_factors(cluster->image, records);
  cluster_apply(cluster, failure, records);
}

TEST(factor, follows_when_all_partitions_have_more_replicas) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  move(&cluster, 0, "1,2,3");
  move(&cluster, 1, "2,3,4");
  EXPECT_EQ_INT(2, topic_a(&cluster)->replication_factor);
  all_in_sync(&cluster, 0);
  EXPECT_EQ_INT(2, topic_a(&cluster)->replication_factor); /* the other still moves */
  EXPECT_EQ_INT(1, metadata_topic_min_insync_replicas(topic_a(&cluster)));
  all_in_sync(&cluster, 1);
  EXPECT_EQ_INT(3, topic_a(&cluster)->replication_factor);
  EXPECT_EQ_INT(2, metadata_topic_min_insync_replicas(topic_a(&cluster)));
  cluster_clear(&cluster);
}

/* A snapshot is applied in parts, which show no topic whole: the factor must not follow a part. */
TEST(factor, is_the_same_out_of_a_snapshot) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  move(&cluster, 0, "1,2,3");
  all_in_sync(&cluster, 0); /* one partition has three, the other two */
  g_autoptr(GPtrArray) records = metadata_image_to_records(cluster.image);
  g_autoptr(MetadataImage) image = metadata_image_new();
  for (guint i = 0; i < records->len; i++) {
    MetadataImage *next = NULL;
    g_autoptr(Failure) failure =
        metadata_image_apply(image, (MetadataRecord **)&records->pdata[i], 1, cluster.version, &next);
    ASSERT_NULL(failure);
    metadata_image_unref(image);
    image = next;
  }
  EXPECT_EQ_INT(2, metadata_image_topic_by_name(image, "a")->replication_factor);
  cluster_clear(&cluster);
}

/* With the factor the minimum falls, and who was eligible under the old one may lack what is acknowledged under the
 * new one: in the same transaction. */
TEST(factor, that_falls_makes_nobody_eligible_who_should_not_be) {
  Cluster cluster;
  moving_cluster(&cluster, 3);
  move(&cluster, 0, "1,2");
  cluster_fence(&cluster, 2, TRUE);
  const MetadataPartition *first = topic_a(&cluster)->partitions[0];
  EXPECT_EQ_INT(1, first->isr_count);
  ASSERT_EQ_INT(1, first->eligible_count); /* below the minimum of three replicas, which is two */
  const MetadataPartition *second = topic_a(&cluster)->partitions[1];
  gint32 left[2] = {0};
  guint count = 0;
  for (guint i = 0; i < second->isr_count && count < 2; i++)
    left[count++] = second->isr[i];
  ASSERT_EQ_INT(2, count);
  g_autofree char *ids = g_strdup_printf("%d,%d", left[0], left[1]);
  move(&cluster, 1, ids);
  EXPECT_EQ_INT(2, topic_a(&cluster)->replication_factor);
  EXPECT_EQ_INT(1, metadata_topic_min_insync_replicas(topic_a(&cluster)));
  EXPECT_EQ_INT(0, topic_a(&cluster)->partitions[0]->eligible_count);
  cluster_clear(&cluster);
}

static void set_min(Milena__V1__TopicConfig *config, guint32 replicas) {
  config->min_insync_replicas_presence_case =
      MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
  config->min_insync_replicas = replicas;
}

TEST(factor, bounds_the_minimum_while_partitions_move) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  move(&cluster, 0, "1,2,3");
  move(&cluster, 1, "1,2,3");
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  set_min(&config, 3);
  char *path = (char *)"min_insync_replicas";
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = 1;
  mask.paths = &path;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"a";
  request.config = &config;
  request.update_mask = &mask;
  g_autoptr(GPtrArray) records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  g_autoptr(Failure) early = metadata_command_update_topic(cluster.image, &request, records, &topic);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(early)); /* the moves may be taken back */
  all_in_sync(&cluster, 0);
  all_in_sync(&cluster, 1);
  EXPECT_NULL(metadata_command_update_topic(cluster.image, &request, records, &topic));
  cluster_clear(&cluster);
}

static void drain(Cluster *cluster, gint32 id) {
  GPtrArray *records = metadata_records_new();
  cluster_apply(cluster, metadata_command_drain_broker(cluster->image, id, TRUE, records), records);
}

/* Broker 3 is fenced, 4 drained; partition 0 is on 1 and 2. */
static const struct {
  const char *name, *ids, *reason, *says;
} MOVES[] = {
    {"unknown_broker", "1,9", "UNKNOWN_BROKER", "9"},
    {"fenced_broker", "1,3", "NOT_ENOUGH_BROKERS", "broker 3, which is fenced"},
    {"drained_broker", "1,4", "NOT_ENOUGH_BROKERS", "undrain it"},
    {"one_broker_twice", "1,1", "INVALID_FIELD", "two replicas on one broker"},
    {"too_many", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "INVALID_FIELD", "at most 16"},
    {"another_order", "2,1", NULL, NULL},
};

TEST_ROWS(move, MOVES) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  move(&cluster, 0, "1,2");
  cluster_fence(&cluster, 3, TRUE);
  drain(&cluster, 4);
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) failure = try_move(&cluster, 0, MOVES[row].ids, records);
  EXPECT_EQ_STR(MOVES[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  if (MOVES[row].says && failure)
    EXPECT_CONTAINS(failure_message(failure), MOVES[row].says);
  EXPECT_EQ_INT(failure ? 0 : 1, records->len);
  cluster_clear(&cluster);
}

/* Three replicas have the minimum 2: one alone could acknowledge nothing. */
TEST(move, rule_14_never_leaves_fewer_replicas_than_the_minimum) {
  Cluster cluster;
  moving_cluster(&cluster, 3);
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) failure = try_move(&cluster, 0, "1", records);
  EXPECT_EQ_STR("INVALID_FIELD", failure ? failure_reason_name(failure_reason(failure)) : NULL);
  EXPECT_EQ_INT(0, records->len);
  EXPECT_NULL(try_move(&cluster, 0, "1,2", records));
  cluster_clear(&cluster);
}

TEST(move, again_changes_nothing_also_when_its_broker_is_away_by_now) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  move(&cluster, 0, "1,2");
  move(&cluster, 0, "1,3");
  cluster_fence(&cluster, 3, TRUE);
  g_autoptr(GPtrArray) records = metadata_records_new();
  EXPECT_NULL(try_move(&cluster, 0, "1,3", records));
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

/* All the moves above are clean as well: all_in_sync looks. Here the new leader comes alone. */
TEST(move, to_one_other_broker_is_no_unclean_election) {
  Cluster cluster;
  moving_cluster(&cluster, 1);
  gint32 other = topic_a(&cluster)->partitions[0]->leader_id == 4 ? 1 : 4;
  g_autofree char *ids = g_strdup_printf("%d", other);
  move(&cluster, 0, ids);
  all_in_sync(&cluster, 0);
  EXPECT_EQ_INT(other, topic_a(&cluster)->partitions[0]->leader_id);
  EXPECT_EQ_INT(1, topic_a(&cluster)->partitions[0]->isr_count);
  cluster_clear(&cluster);
}

/* Accepted, as an operator may mean it, and told. Brokers 1 and 2 share a rack, 3 and 4 have others. */
TEST(move, of_two_replicas_into_one_rack_is_warned_of_where_another_rack_has_room) {
  static const struct {
    gint32 to[2];
    gboolean warned, elsewhere_is_away;
  } MOVES[] = {{{1, 2}, TRUE, FALSE}, {{1, 3}, FALSE, FALSE}, {{3, 4}, FALSE, FALSE}, {{1, 2}, FALSE, TRUE}};
  static const char *const RACKS[] = {"a", "a", "b", "c"};
  for (guint i = 0; i < G_N_ELEMENTS(MOVES); i++) {
    Cluster cluster;
    cluster_init(&cluster);
    for (gint32 id = 1; id <= 4; id++)
      cluster_add_broker(&cluster, id, RACKS[id - 1]);
    for (gint32 id = 3; id <= 4 && MOVES[i].elsewhere_is_away; id++)
      cluster_fence(&cluster, id, TRUE);
    Milena__V1__PartitionReassignment move = MILENA__V1__PARTITION_REASSIGNMENT__INIT, *place = &move;
    move.topic = (char *)"t";
    move.replicas = (gint32 *)MOVES[i].to;
    move.n_replicas = 2;
    Milena__V1__ReassignPartitionsRequest request = MILENA__V1__REASSIGN_PARTITIONS_REQUEST__INIT;
    request.n_reassignments = 1;
    request.reassignments = &place;
    g_autoptr(GPtrArray) warnings = metadata_placement_warnings(cluster.image, &request);
    EXPECT_EQ_INT(MOVES[i].warned, warnings->len);
    if (warnings->len > 0)
      EXPECT_EQ_STR(
          "Partition 0 of \"t\" is to be on the brokers 1 and 2, both in rack \"a\", which may be lost as one, "
          "though broker 3 stands in rack \"b\".",
          warnings->pdata[0]);
    cluster_clear(&cluster);
  }
}

TEST(partitions, are_named_once) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  gint32 twice[] = {1, 1};
  Milena__V1__ElectLeadersRequest elect = MILENA__V1__ELECT_LEADERS_REQUEST__INIT;
  elect.type = MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_PREFERRED;
  elect.topic = (char *)"a";
  elect.n_partitions = 2;
  elect.partitions = twice;
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) elected = metadata_command_elect_leaders(cluster.image, &elect, records);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(elected));
  Milena__V1__CancelReassignmentsRequest cancel = MILENA__V1__CANCEL_REASSIGNMENTS_REQUEST__INIT;
  cancel.topic = (char *)"a";
  cancel.n_partitions = 2;
  cancel.partitions = twice;
  guint count = 0;
  g_autoptr(Failure) cancelled = metadata_command_cancel_reassignments(cluster.image, &cancel, records, &count);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(cancelled));
  cluster_clear(&cluster);
}

TEST(unclean, is_found_by_the_record_that_makes_it_so) {
  Cluster cluster;
  moving_cluster(&cluster, 3);
  move(&cluster, 0, "1,2,3");
  cluster_fence(&cluster, 3, TRUE); /* two are left: it lacks what comes now */
  cluster_fence(&cluster, 2, TRUE); /* below the minimum: it is eligible */
  cluster_fence(&cluster, 1, TRUE);
  EXPECT_EQ_INT(-1, topic_a(&cluster)->partitions[0]->leader_id);
  Milena__V1__ElectLeadersRequest elect = MILENA__V1__ELECT_LEADERS_REQUEST__INIT;
  elect.type = MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN;
  elect.topic = (char *)"a";
  gint32 number = 0;
  elect.n_partitions = 1;
  elect.partitions = &number;
  g_autoptr(GPtrArray) none = metadata_records_new();
  EXPECT_NULL(metadata_command_elect_leaders(cluster.image, &elect, none));
  EXPECT_EQ_INT(0, none->len); /* all are away */
  cluster_fence(&cluster, 3, FALSE);
  EXPECT_EQ_INT(-1, topic_a(&cluster)->partitions[0]->leader_id); /* never by itself */
  g_autoptr(GPtrArray) records = metadata_records_new();
  EXPECT_NULL(metadata_command_elect_leaders(cluster.image, &elect, records));
  ASSERT_EQ_INT(1, records->len);
  EXPECT_TRUE(metadata_is_unclean(cluster.image, records->pdata[0]));
  cluster_fence(&cluster, 2, FALSE); /* eligible: a clean leader */
  EXPECT_EQ_INT(2, topic_a(&cluster)->partitions[0]->leader_id);
  cluster_clear(&cluster);
}

/* The record looks as the one of to_one_other_broker_is_no_unclean_election does. */
TEST(unclean, is_found_too_where_it_ends_a_move) {
  Cluster cluster;
  moving_cluster(&cluster, 1);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.unclean_leader_election = TRUE;
  char *paths[] = {(char *)"unclean_leader_election"};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = 1;
  mask.paths = paths;
  Milena__V1__UpdateTopicRequest update = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  update.name = (char *)"a";
  update.config = &config;
  update.update_mask = &mask;
  const MetadataTopic *topic;
  GPtrArray *updated = metadata_records_new();
  cluster_apply(&cluster, metadata_command_update_topic(cluster.image, &update, updated, &topic), updated);
  gint32 before = topic_a(&cluster)->partitions[0]->leader_id, other = before == 4 ? 1 : 4;
  g_autofree char *ids = g_strdup_printf("%d", other);
  move(&cluster, 0, ids);
  g_autoptr(GPtrArray) records = metadata_records_new();
  guint64 epoch = metadata_image_broker(cluster.image, before)->epoch;
  EXPECT_NULL(metadata_command_fence_node(cluster.image, MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER, before,
                                          epoch, TRUE, records));
  guint unclean = 0;
  for (guint i = 0; i < records->len; i++)
    unclean += metadata_is_unclean(cluster.image, records->pdata[i]);
  EXPECT_EQ_INT(1, unclean);
  cluster_clear(&cluster);
}

/* The operator gives up what is damaged of the last copy: another epoch, of the same leader, in which it is cut. */
TEST(unclean, a_leader_that_alone_counts_is_told_to_cut_damage) {
  Cluster cluster;
  moving_cluster(&cluster, 1);
  gint32 leader_id = topic_a(&cluster)->partitions[0]->leader_id;
  gint32 leader_epoch = topic_a(&cluster)->partitions[0]->leader_epoch;
  g_autofree char *ids = g_strdup_printf("%d", leader_id);
  move(&cluster, 0, ids);
  Milena__V1__ElectLeadersRequest elect = MILENA__V1__ELECT_LEADERS_REQUEST__INIT;
  elect.type = MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN_CUTTING_DAMAGE;
  elect.topic = (char *)"a";
  GPtrArray *records = metadata_records_new();
  g_autoptr(Failure) unnamed = metadata_command_elect_leaders(cluster.image, &elect, records);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), unnamed ? (int)failure_reason(unnamed) : 0);
  gint32 number = 0;
  elect.n_partitions = 1;
  elect.partitions = &number;
  EXPECT_NULL(metadata_command_elect_leaders(cluster.image, &elect, records));
  ASSERT_EQ_INT(1, records->len);
  EXPECT_TRUE(metadata_is_unclean(cluster.image, records->pdata[0]));
  EXPECT_TRUE(metadata_cuts_damage(records->pdata[0]));
  cluster_apply(&cluster, NULL, records);
  const MetadataPartition *partition = topic_a(&cluster)->partitions[0];
  EXPECT_EQ_INT(leader_id, partition->leader_id);
  EXPECT_TRUE(partition->leader_epoch > leader_epoch);
  EXPECT_EQ_INT(partition->leader_epoch, partition->damage_cut_epoch);
  cluster_fence(&cluster, leader_id, TRUE);
  cluster_fence(&cluster, leader_id, FALSE);
  partition = topic_a(&cluster)->partitions[0];
  EXPECT_EQ_INT(leader_id, partition->leader_id);
  EXPECT_TRUE(partition->leader_epoch > partition->damage_cut_epoch); /* it was for that epoch alone */
  cluster_clear(&cluster);
}

TEST(throttle, lasts_as_long_as_its_reassignment_and_is_changed_alone) {
  Cluster cluster;
  moving_cluster(&cluster, 2);
  GPtrArray *records = metadata_records_new();
  cluster_apply(&cluster, try_throttled(&cluster, 1000, records), records);
  EXPECT_EQ_INT(1000, throttle_of(&cluster, 0));
  EXPECT_EQ_INT(0, throttle_of(&cluster, 1));
  records = metadata_records_new();
  EXPECT_NULL(try_throttled(&cluster, 1000, records));
  EXPECT_EQ_INT(0, records->len); /* nothing changes */
  cluster_apply(&cluster, try_throttled(&cluster, 2000, records), records);
  EXPECT_EQ_INT(2000, throttle_of(&cluster, 0));
  EXPECT_EQ_INT(2, topic_a(&cluster)->partitions[0]->target_count);
  all_in_sync(&cluster, 0);
  EXPECT_EQ_INT(0, topic_a(&cluster)->partitions[0]->target_count);
  EXPECT_EQ_INT(0, throttle_of(&cluster, 0));
  cluster_clear(&cluster);
}
