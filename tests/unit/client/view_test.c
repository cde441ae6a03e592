/* Views of the cluster, and errors: pure. */
#include "client/libmilena/error.h"
#include "client/libmilena/view.h"
#include "tests/shim/shim.h"

typedef struct {
  Milena__V1__Broker broker;
  Milena__V1__Partition partition;
  Milena__V1__Topic topic;
  Milena__V1__Broker *brokers[1];
  Milena__V1__Partition *partitions[1];
  Milena__V1__Topic *topics[1];
} Pieces;

/* Broker @id at @address leads the one partition of topic @name. */
static void pieces_init(Pieces *pieces, gint32 id, const char *address, const char *name, const char *topic_id) {
  milena__v1__broker__init(&pieces->broker);
  milena__v1__partition__init(&pieces->partition);
  milena__v1__topic__init(&pieces->topic);
  pieces->broker.id = id;
  pieces->broker.address = (char *)address;
  pieces->partition.leader_id = id;
  pieces->topic.name = (char *)name;
  pieces->topic.id = (char *)topic_id;
  pieces->brokers[0] = &pieces->broker;
  pieces->partitions[0] = &pieces->partition;
  pieces->topics[0] = &pieces->topic;
  pieces->topic.n_partitions = 1;
  pieces->topic.partitions = pieces->partitions;
}

static View *view_of(Pieces *pieces) {
  Milena__V1__ClusterMetadata cluster = MILENA__V1__CLUSTER_METADATA__INIT;
  cluster.version = 7;
  cluster.n_brokers = 1;
  cluster.brokers = pieces->brokers;
  cluster.n_topics = 1;
  cluster.topics = pieces->topics;
  View *view = NULL;
  g_autoptr(Failure) failure = view_new_from_image(&cluster, &view);
  EXPECT_NULL(failure);
  return view;
}

static const char *leader_reason(const View *view, const char *topic, gint32 partition) {
  gint32 leader_id;
  const char *address;
  g_autoptr(Failure) failure = view_leader(view, topic, partition, &leader_id, &address);
  return failure != NULL ? failure_reason_name(failure_reason(failure)) : address;
}

TEST(view, tells_leaders) {
  Pieces pieces;
  pieces_init(&pieces, 3, "h:1", "t", "id-1");
  g_autoptr(View) view = view_of(&pieces);
  EXPECT_EQ_STR("h:1", leader_reason(view, "t", 0));
  EXPECT_EQ_STR("UNKNOWN_PARTITION", leader_reason(view, "t", 1));
  EXPECT_EQ_STR("UNKNOWN_PARTITION", leader_reason(view, "t", -1));
  EXPECT_EQ_STR("UNKNOWN_TOPIC", leader_reason(view, "x", 0));
  EXPECT_TRUE(view_is_known(view));
  EXPECT_EQ_INT(7, view_version(view));
}

TEST(view, without_a_leader_or_its_address) {
  Pieces pieces;
  pieces_init(&pieces, 3, "h:1", "t", "id-1");
  pieces.partition.leader_id = -1;
  g_autoptr(View) none = view_of(&pieces);
  EXPECT_EQ_STR("LEADER_NOT_AVAILABLE", leader_reason(none, "t", 0));
  pieces.partition.leader_id = 4;
  g_autoptr(View) unknown = view_of(&pieces);
  EXPECT_EQ_STR("LEADER_NOT_AVAILABLE", leader_reason(unknown, "t", 0));
}

TEST(view, changes_replace_and_remove) {
  Pieces pieces, others;
  pieces_init(&pieces, 3, "h:1", "t", "id-1");
  g_autoptr(View) before = view_of(&pieces);
  pieces_init(&others, 4, "h:2", "t", "id-2"); /* re-created, at another broker */
  Milena__V1__MetadataChange change = MILENA__V1__METADATA_CHANGE__INIT;
  char *gone[] = {(char *)"id-1", (char *)"never-was"};
  gint32 gone_brokers[] = {3};
  change.version = 8;
  change.n_brokers = 1;
  change.brokers = others.brokers;
  change.n_topics = 1;
  change.topics = others.topics;
  change.n_removed_topic_ids = 2;
  change.removed_topic_ids = gone;
  change.n_removed_broker_ids = 1;
  change.removed_broker_ids = gone_brokers;
  g_autoptr(View) after = NULL;
  g_autoptr(Failure) failure = view_new_from_change(before, &change, &after);
  ASSERT_NULL(failure);
  EXPECT_EQ_STR("h:2", leader_reason(after, "t", 0));
  EXPECT_EQ_STR("id-2", view_topic(after, "t")->id);
  EXPECT_EQ_STR("h:1", leader_reason(before, "t", 0)); /* a view never changes */
  g_autoptr(GPtrArray) addresses = g_ptr_array_new();
  view_add_addresses(after, addresses);
  ASSERT_EQ_INT(1, addresses->len);
  EXPECT_EQ_STR("h:2", (const char *)addresses->pdata[0]);
}

TEST(view, refuses_partitions_with_a_gap) {
  Pieces pieces;
  pieces_init(&pieces, 3, "h:1", "t", "id-1");
  pieces.partition.partition = 1;
  Milena__V1__ClusterMetadata cluster = MILENA__V1__CLUSTER_METADATA__INIT;
  cluster.n_topics = 1;
  cluster.topics = pieces.topics;
  View *view = NULL;
  g_autoptr(Failure) failure = view_new_from_image(&cluster, &view);
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(failure));
  EXPECT_NULL(view);
}

static const struct {
  const char *name;
  FailureReason reason;
  Outcome outcome;
} OUTCOMES[] = {
    {"not_leader", FAILURE(NOT_LEADER), OUTCOME_NOT_WRITTEN},
    {"overloaded", FAILURE(OVERLOADED), OUTCOME_NOT_WRITTEN},
    {"corrupt_batch", FAILURE(CORRUPT_BATCH), OUTCOME_NOT_WRITTEN},
    {"unknown_topic", FAILURE(UNKNOWN_TOPIC), OUTCOME_NOT_WRITTEN},
    {"unknown_outcome", FAILURE(UNKNOWN_OUTCOME), OUTCOME_UNKNOWN},
    {"deadline", FAILURE(DEADLINE_EXCEEDED), OUTCOME_UNKNOWN},
    {"internal", FAILURE(INTERNAL), OUTCOME_UNKNOWN},
    {"cancelled", FAILURE(CANCELLED), OUTCOME_UNKNOWN},
};
TEST_ROWS(outcome_of_a_write, OUTCOMES) {
  g_autoptr(Failure) failure = failure_new(OUTCOMES[row].reason, "x");
  EXPECT_EQ_INT(OUTCOMES[row].outcome, outcome_of_write(failure));
}

TEST(error, an_unknown_outcome_is_never_retriable) {
  g_autoptr(MilenaError) error = milena_error_take(failure_new_code(14, "the connection broke"), OUTCOME_UNKNOWN);
  EXPECT_TRUE(milena_error_is_outcome_unknown(error));
  EXPECT_FALSE(milena_error_is_retriable(error));
  EXPECT_EQ_STR("UNAVAILABLE", milena_error_code_name(error));
  EXPECT_EQ_STR("UNSPECIFIED", milena_error_reason(error));
}

TEST(error, shows_its_metadata) {
  g_autoptr(MilenaError) error =
      milena_error_take(failure_add(failure_new(FAILURE(NOT_LEADER), "x"), "leader", "3"), OUTCOME_NOT_WRITTEN);
  const char *key, *value;
  EXPECT_TRUE(milena_error_metadata_at(error, 0, &key, &value));
  EXPECT_EQ_STR("leader", key);
  EXPECT_EQ_STR("3", value);
  EXPECT_FALSE(milena_error_metadata_at(error, 1, &key, &value));
  EXPECT_EQ_STR("3", milena_error_metadata(error, "leader"));
  EXPECT_TRUE(milena_error_is_retriable(error));
  EXPECT_EQ_INT(0, milena_error_code(NULL));
  EXPECT_EQ_STR("OK", milena_error_message(NULL));
}
