/* Who is in sync, as commands: proposals against stale epochs, what a registration after an old one is worth, damage.
 * REPLICATION.md numbers the rules. */
#include "tests/unit/metadata/fixture.h"

#define BROKERS 3

/* Topic "t", one partition on brokers 1, 2 and 3, all in sync, led by 1; the minimum is 2. */
static void world_init(Cluster *cluster, Milena__V1__Flush flush) {
  cluster_init(cluster);
  for (gint32 id = 1; id <= BROKERS; id++)
    cluster_add_broker(cluster, id, "");
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = flush;
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"t";
  request.partitions = 1;
  request.replication_factor = BROKERS;
  request.config = &config;
  cluster_apply(cluster, metadata_command_create_topic(cluster->image, &context, &request, records), records);
}

static const MetadataPartition *partition_of(const Cluster *cluster) {
  return metadata_image_topic_by_name(cluster->image, "t")->partitions[0];
}

/* "1: 123; " for leader 1, 1 2 3 in sync, nobody eligible. */
static char *text_of(const MetadataPartition *partition) {
  GString *out = g_string_new(NULL);
  g_string_append_printf(out, "%d: ", partition->leader_id);
  for (gint32 id = 1; id <= BROKERS; id++)
    for (guint i = 0; i < partition->isr_count; i++)
      if (partition->isr[i] == id)
        g_string_append_printf(out, "%d", id);
  g_string_append(out, "; ");
  for (gint32 id = 1; id <= BROKERS; id++)
    for (guint i = 0; i < partition->eligible_count; i++)
      if (partition->eligible[i] == id)
        g_string_append_printf(out, "%d", id);
  return g_string_free(out, FALSE);
}

static void expect_state(const Cluster *cluster, const char *expected) {
  g_autofree char *text = text_of(partition_of(cluster));
  EXPECT_EQ_STR(expected, text);
}

static guint64 epoch_of(const Cluster *cluster, gint32 id) {
  return metadata_image_broker(cluster->image, id)->epoch;
}

/* ---- proposals ---- */

/* A proposal that is right, to be spoilt: broker 3, which is out of sync, joins again. */
typedef struct {
  gint32 broker_id;
  guint64 broker_epoch;
  Milena__Internal__V1__InSyncProposal proposal;
  Milena__Internal__V1__InSyncMember members[BROKERS];
  Milena__Internal__V1__InSyncMember *places[BROKERS];
} Proposing;

static void proposing_init(Proposing *proposing, const Cluster *cluster) {
  const MetadataPartition *partition = partition_of(cluster);
  proposing->broker_id = 1;
  proposing->broker_epoch = epoch_of(cluster, 1);
  milena__internal__v1__in_sync_proposal__init(&proposing->proposal);
  proposing->proposal.topic_id = (char *)partition->topic_id;
  proposing->proposal.leader_epoch = partition->leader_epoch;
  proposing->proposal.partition_epoch = partition->partition_epoch;
  proposing->proposal.n_members = BROKERS;
  proposing->proposal.members = proposing->places;
  for (gint32 i = 0; i < BROKERS; i++) {
    proposing->places[i] = &proposing->members[i];
    milena__internal__v1__in_sync_member__init(&proposing->members[i]);
    proposing->members[i].broker_id = i + 1;
  }
  proposing->members[2].broker_epoch = epoch_of(cluster, 3);
}

static Failure *propose(const Cluster *cluster, Proposing *proposing, GPtrArray *records) {
  return metadata_command_alter_in_sync(cluster->image, proposing->broker_id, proposing->broker_epoch,
                                        &proposing->proposal, records);
}

static void of_an_older_registration(Proposing *proposing) {
  proposing->broker_epoch--;
}

static void of_another_leader_epoch(Proposing *proposing) {
  proposing->proposal.leader_epoch--;
}

static void of_an_older_state(Proposing *proposing) {
  proposing->proposal.partition_epoch--;
}

static void not_from_the_leader(Proposing *proposing) {
  proposing->broker_id = 2;
}

static void member_registered_anew(Proposing *proposing) {
  proposing->members[2].broker_epoch--;
}

static void member_is_no_replica(Proposing *proposing) {
  proposing->members[2].broker_id = 7;
}

static void leader_is_missing(Proposing *proposing) {
  proposing->proposal.members = &proposing->places[1];
  proposing->proposal.n_members = 2;
}

static void member_twice(Proposing *proposing) {
  proposing->members[1].broker_id = 3;
  proposing->members[1].broker_epoch = proposing->members[2].broker_epoch;
}

static const struct {
  const char *name;
  void (*spoil)(Proposing *proposing);
  const char *reason;
} PROPOSALS[] = {
    {"rule_8_older_registration_of_the_leader", of_an_older_registration, "FENCED"},
    {"rule_7_another_leader_epoch", of_another_leader_epoch, "FENCED"},
    {"rule_7_an_older_state", of_an_older_state, "FENCED"},
    {"rule_7_only_the_leader_proposes", not_from_the_leader, "FENCED"},
    {"rule_8_older_registration_of_a_member", member_registered_anew, "INELIGIBLE_REPLICA"},
    {"no_replica", member_is_no_replica, "INVALID_FIELD"},
    {"leader_is_missing", leader_is_missing, "INVALID_FIELD"},
    {"member_twice", member_twice, "INVALID_FIELD"},
};

TEST_ROWS(alter_in_sync_refused, PROPOSALS) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  cluster_fence(&cluster, 3, TRUE);
  cluster_fence(&cluster, 3, FALSE);
  expect_state(&cluster, "1: 12; ");
  Proposing proposing;
  proposing_init(&proposing, &cluster);
  if (PROPOSALS[row].spoil == not_from_the_leader)
    proposing.broker_epoch = epoch_of(&cluster, 2);
  PROPOSALS[row].spoil(&proposing);
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) failure = propose(&cluster, &proposing, records);
  EXPECT_EQ_STR(PROPOSALS[row].reason, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  gboolean settles = failure && failure_reason(failure) == FAILURE(INELIGIBLE_REPLICA);
  EXPECT_EQ_INT(settles ? 1 : 0, records->len);
  cluster_clear(&cluster);
}

/* The leader that was told "refused" no longer waits for the member; a copy of the call that was under way meanwhile
 * must not make it a member after all. */
TEST(alter_in_sync, rule_7_refused_it_is_never_accepted_later) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  cluster_fence(&cluster, 3, TRUE);
  Proposing proposing;
  proposing_init(&proposing, &cluster);
  g_autofree char *topic_id = g_strdup(proposing.proposal.topic_id); /* the call outlives the image */
  proposing.proposal.topic_id = topic_id;
  GPtrArray *settling = metadata_records_new();
  g_autoptr(Failure) refused = propose(&cluster, &proposing, settling);
  EXPECT_EQ_INT(FAILURE(INELIGIBLE_REPLICA), refused ? (int)failure_reason(refused) : 0);
  cluster_apply(&cluster, NULL, settling);
  expect_state(&cluster, "1: 12; ");
  cluster_fence(&cluster, 3, FALSE); /* the same registration: all else is as the call says */
  g_autoptr(GPtrArray) none = metadata_records_new();
  g_autoptr(Failure) late = propose(&cluster, &proposing, none);
  EXPECT_EQ_INT(FAILURE(FENCED), late ? (int)failure_reason(late) : 0);
  EXPECT_EQ_INT(0, none->len);
  proposing_init(&proposing, &cluster);
  GPtrArray *records = metadata_records_new();
  cluster_apply(&cluster, propose(&cluster, &proposing, records), records);
  expect_state(&cluster, "1: 123; ");
  cluster_clear(&cluster);
}

TEST(alter_in_sync, takes_who_came_back) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  cluster_fence(&cluster, 3, TRUE);
  Proposing proposing;
  proposing_init(&proposing, &cluster);
  g_autoptr(GPtrArray) settling = metadata_records_new();
  g_autoptr(Failure) fenced = propose(&cluster, &proposing, settling); /* rule 9: it is in no ISR */
  EXPECT_EQ_INT(FAILURE(INELIGIBLE_REPLICA), fenced ? (int)failure_reason(fenced) : 0);
  cluster_fence(&cluster, 3, FALSE);
  proposing_init(&proposing, &cluster);
  GPtrArray *records = metadata_records_new();
  cluster_apply(&cluster, propose(&cluster, &proposing, records), records);
  expect_state(&cluster, "1: 123; ");
  cluster_clear(&cluster);
}

/* ---- registrations after old ones ---- */

static const struct {
  const char *name;
  Milena__V1__Flush flush;
  gboolean same_folder, stopped_in_order;
  gboolean alone; /* all were fenced, 2 first and 1 last */
  const char *expected;
  gboolean damaged;
} RETURNS[] = {
    {"rule_9_leaves_at_once", MILENA__V1__FLUSH__FLUSH_ALWAYS, TRUE, FALSE, FALSE, "2: 23; "},
    {"rule_9_leaves_at_once_in_order_too", MILENA__V1__FLUSH__FLUSH_OS, TRUE, TRUE, FALSE, "2: 23; "},
    {"rule_10_synced_before_it_was_acknowledged", MILENA__V1__FLUSH__FLUSH_ALWAYS, TRUE, FALSE, TRUE, "-1: ; 13"},
    {"rule_10_stopped_in_order", MILENA__V1__FLUSH__FLUSH_OS, TRUE, TRUE, TRUE, "-1: ; 13"},
    {"rule_10_its_tail_may_be_lost", MILENA__V1__FLUSH__FLUSH_OS, TRUE, FALSE, TRUE, "-1: ; 3"},
    {"rule_8_another_folder", MILENA__V1__FLUSH__FLUSH_ALWAYS, FALSE, FALSE, TRUE, "-1: ; 3"},
    {"rule_16_found_damaged", MILENA__V1__FLUSH__FLUSH_ALWAYS, TRUE, TRUE, TRUE, "-1: ; 3", TRUE},
};

TEST_ROWS(register_again, RETURNS) {
  Cluster cluster;
  world_init(&cluster, RETURNS[row].flush);
  if (RETURNS[row].alone) { /* 2 goes while two are left: only 3 and 1 have all that is committed */
    cluster_fence(&cluster, 2, TRUE);
    cluster_fence(&cluster, 3, TRUE);
    cluster_fence(&cluster, 1, TRUE);
    expect_state(&cluster, "-1: ; 13");
  }
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  Milena__Internal__V1__RegisterNodeRequest request =
      broker_request(1, "", RETURNS[row].same_folder ? 1 : 77, 177); /* another process */
  request.stopped_in_order = RETURNS[row].stopped_in_order;
  guint64 damaged[] = {partition_of(&cluster)->log_id + 1, partition_of(&cluster)->log_id};
  request.damaged_log_ids = damaged;
  request.n_damaged_log_ids = RETURNS[row].damaged ? G_N_ELEMENTS(damaged) : 0;
  guint64 epoch = 0;
  cluster_apply(&cluster, metadata_command_register_node(cluster.image, &context, &request, FALSE, records, &epoch),
                records);
  expect_state(&cluster, RETURNS[row].expected);
  EXPECT_TRUE(metadata_image_broker(cluster.image, 1)->fenced);
  cluster_clear(&cluster);
}

/* ---- another flush mode ---- */

static void change_flush(Cluster *cluster, Milena__V1__Flush flush) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  config.flush = flush;
  char *paths[] = {(char *)"flush"};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = 1;
  mask.paths = paths;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)"t";
  request.config = &config;
  request.update_mask = &mask;
  const MetadataTopic *topic;
  GPtrArray *records = metadata_records_new();
  cluster_apply(cluster, metadata_command_update_topic(cluster->image, &request, records, &topic), records);
}

/* The leader proposes 1 and 2; those of @synced have come so far. */
static void tell_synced(Cluster *cluster, const char *synced) {
  Proposing proposing;
  proposing_init(&proposing, cluster);
  for (gsize i = 0; i < proposing.proposal.n_members; i++)
    proposing.members[i].synced = strchr(synced, '0' + proposing.members[i].broker_id) != NULL;
  GPtrArray *records = metadata_records_new();
  cluster_apply(cluster, propose(cluster, &proposing, records), records);
}

/* All are fenced, and 1, last of them, comes back after an end that was not in order: does it count? */
static void expect_kept(Cluster *cluster, gboolean kept) {
  for (gint32 id = 3; id >= 1; id--)
    cluster_fence(cluster, id, TRUE);
  expect_state(cluster, "-1: ; 12");
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  Milena__Internal__V1__RegisterNodeRequest request = broker_request(1, "", 1, 177);
  guint64 epoch = 0;
  cluster_apply(cluster, metadata_command_register_node(cluster->image, &context, &request, FALSE, records, &epoch),
                records);
  expect_state(cluster, kept ? "-1: ; 12" : "-1: ; 2");
}

static const struct {
  const char *name, *synced;
  gboolean back, again, kept;
} FLUSHES[] = {
    {"rule_10_nobody_has_said_that_it_is_synced", "", FALSE, FALSE, FALSE},
    {"rule_10_another_one_has", "23", FALSE, FALSE, FALSE},
    {"rule_10_it_has", "1", FALSE, FALSE, TRUE},
    {"rule_10_all_have", "123", FALSE, FALSE, TRUE},
    {"rule_10_and_the_old_mode_is_back", "123", TRUE, FALSE, FALSE},
    {"rule_10_and_the_mode_went_back_and_forth", "123", TRUE, TRUE, FALSE},
};

TEST_ROWS(flush_always, FLUSHES) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_OS);
  EXPECT_EQ_INT(0, partition_of(&cluster)->unsynced_count);
  guint64 before = partition_of(&cluster)->partition_epoch;
  change_flush(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  EXPECT_EQ_INT(BROKERS, partition_of(&cluster)->unsynced_count);
  EXPECT_TRUE(partition_of(&cluster)->partition_epoch > before); /* a leader that does not know it proposes in vain */
  tell_synced(&cluster, FLUSHES[row].synced);
  if (FLUSHES[row].back)
    change_flush(&cluster, MILENA__V1__FLUSH__FLUSH_OS);
  if (FLUSHES[row].back)
    EXPECT_EQ_INT(0, partition_of(&cluster)->unsynced_count);
  if (FLUSHES[row].again)
    change_flush(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  expect_kept(&cluster, FLUSHES[row].kept);
  cluster_clear(&cluster);
}

/* ---- damage ---- */

/* What is good of the last copy is all that there is: it counts, and is not forgotten with the registration. */
TEST(register_again, found_damaged_the_last_one_counts) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  for (gint32 id = 2; id <= 3; id++) {
    GPtrArray *lost = metadata_records_new();
    MetadataContext context = cluster_context(&cluster);
    Milena__Internal__V1__RegisterNodeRequest request = broker_request(id, "", 70 + id, 170 + id); /* another folder */
    guint64 epoch = 0;
    cluster_apply(&cluster, metadata_command_register_node(cluster.image, &context, &request, FALSE, lost, &epoch),
                  lost);
  }
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  Milena__Internal__V1__RegisterNodeRequest request = broker_request(1, "", 1, 177);
  guint64 damaged[] = {partition_of(&cluster)->log_id}, epoch = 0;
  request.damaged_log_ids = damaged;
  request.n_damaged_log_ids = 1;
  cluster_apply(&cluster, metadata_command_register_node(cluster.image, &context, &request, FALSE, records, &epoch),
                records);
  expect_state(&cluster, "-1: ; 1");
  cluster_clear(&cluster);
}

static Failure *report(const Cluster *cluster, gint32 id, guint64 epoch, GPtrArray *records) {
  Milena__Internal__V1__DamagedReplica replica = MILENA__INTERNAL__V1__DAMAGED_REPLICA__INIT;
  Milena__Internal__V1__DamagedReplica *replicas[] = {&replica};
  replica.topic_id = (char *)partition_of(cluster)->topic_id;
  Milena__Internal__V1__ReportDamageRequest request = MILENA__INTERNAL__V1__REPORT_DAMAGE_REQUEST__INIT;
  request.broker_id = id;
  request.broker_epoch = epoch;
  request.n_replicas = 1;
  request.replicas = replicas;
  return metadata_command_report_damage(cluster->image, &request, records);
}

TEST(damage, rule_16_a_damaged_replica_leads_nothing_and_wins_no_election) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  g_autoptr(GPtrArray) none = metadata_records_new();
  g_autoptr(Failure) stale = report(&cluster, 1, epoch_of(&cluster, 1) - 1, none);
  EXPECT_EQ_INT(FAILURE(FENCED), stale ? (int)failure_reason(stale) : 0);
  GPtrArray *records = metadata_records_new();
  cluster_apply(&cluster, report(&cluster, 1, epoch_of(&cluster, 1), records), records);
  expect_state(&cluster, "2: 23; ");
  cluster_fence(&cluster, 2, TRUE);
  cluster_fence(&cluster, 3, TRUE);
  expect_state(&cluster, "-1: ; 23"); /* 1 is up, and does not lead */
  cluster_clear(&cluster);
}

/* Its only copy: nobody may lead by it without being told to (rule 13). */
TEST(damage, of_the_last_one_leaves_nobody) {
  Cluster cluster;
  world_init(&cluster, MILENA__V1__FLUSH__FLUSH_ALWAYS);
  for (gint32 id = 2; id <= 3; id++) {
    GPtrArray *records = metadata_records_new();
    cluster_apply(&cluster, report(&cluster, id, epoch_of(&cluster, id), records), records);
  }
  expect_state(&cluster, "1: 1; ");
  GPtrArray *records = metadata_records_new();
  cluster_apply(&cluster, report(&cluster, 1, epoch_of(&cluster, 1), records), records);
  expect_state(&cluster, "-1: ; ");
  cluster_clear(&cluster);
}
