/* Consumer groups against real processes, by direct calls to the coordinators: joining, committing, leaving; and what
 * remains when coordinators and brokers are killed, frozen, stopped or all started anew. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "milena/v1/group_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/membership/coordinators.h"
#include "services/rpc/client.h"
#include "storage/log/producers.h"
#include "storage/log/records.h"
#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

#define CALL_MS 10000
/* A machine with a load of 20 does all of it in this time. */
#define PATIENCE_MS 90000
/* In partition 0 of the topic. */
#define RECORDS 100

typedef struct {
  Cluster *cluster;
  RpcClient *client;
  guint coordinators;
} World;

static void world_clear(World *world) {
  rpc_client_free(world->client);
  cluster_down(world->cluster);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static gboolean world_init(World *world, guint controllers, guint brokers, guint coordinators) {
  *world = (World){.cluster = cluster_up_of(controllers, brokers, coordinators), .coordinators = coordinators};
  if (!world->cluster)
    return FALSE;
  world->client = rpc_client_new(NULL);
  EXPECT_EQ_INT(0, cluster_milena(world->cluster, "topics", "create", "t", "--partitions", "4", NULL)->exit_code);
  g_autoptr(GString) lines = g_string_new(NULL);
  for (guint i = 0; i < RECORDS; i++)
    g_string_append_printf(lines, "%u\n", i);
  const Ran *ran = cluster_milena_with_input(world->cluster, lines->str, "produce", "t", "--partition", "0", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
  return TRUE;
}

/* ---- calls ---- */

static char *coordinator_address(const World *world, guint id) {
  return g_strdup_printf("127.0.0.1:%u", cluster_port(world->cluster, 200 + id - 1));
}

static Failure *call_at(World *world, const char *address, const char *method, const ProtobufCMessage *request,
                        RpcMessage **ret_response) {
  return rpc_client_unary_sync(world->client, address, &milena__v1__group_service__descriptor, method, request,
                               g_get_monotonic_time() + CALL_MS * 1000, ret_response);
}

/* Who coordinates the group, as this coordinator says; 0: it does not. */
static gint32 owner_by(World *world, const char *address, const char *group) {
  Milena__V1__GetCoordinatorRequest request = MILENA__V1__GET_COORDINATOR_REQUEST__INIT;
  request.group = (char *)group;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = call_at(world, address, "GetCoordinator", &request.base, &response);
  return failure ? 0 : ((Milena__V1__GetCoordinatorResponse *)rpc_message_body(response))->coordinator->id;
}

/* As any living one says; 0: nobody says. */
static gint32 find_coordinator(World *world, const char *group) {
  for (guint id = 1; id <= world->coordinators; id++) {
    g_autofree char *name = g_strdup_printf("coordinator-%u", id);
    g_autofree char *address = coordinator_address(world, id);
    gint32 owner = cluster_pid(world->cluster, name) ? owner_by(world, address, group) : 0;
    if (owner)
      return owner;
  }
  return 0;
}

/* What a client tries again: nothing was changed; or a commit, which may be repeated. */
static gboolean is_to_be_tried_again(const Failure *failure) {
  return failure_is_retriable(failure) || failure_reason(failure) == FAILURE(NOT_COORDINATOR) ||
         failure_reason(failure) == FAILURE(UNKNOWN_OUTCOME) || failure_code(failure) == 14;
}

/* Call the group's coordinator, wherever it is by now, until it answers; as clients do. */
static Failure *call(World *world, const char *group, const char *method, const ProtobufCMessage *request,
                     RpcMessage **ret_response) {
  gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
  Failure *failure = NULL;
  do {
    failure_free(g_steal_pointer(&failure));
    gint32 id = find_coordinator(world, group);
    if (id) {
      g_autofree char *address = coordinator_address(world, (guint)id);
      failure = call_at(world, address, method, request, ret_response);
      if (!failure || !is_to_be_tried_again(failure))
        return failure;
    }
    g_usleep(20000);
  } while (g_get_monotonic_time() < deadline);
  return failure ? failure : failure_new(FAILURE(COORDINATOR_NOT_AVAILABLE), "nobody coordinates the group");
}

/* ---- what members do ---- */

typedef struct {
  const char *group;
  char id[64];
  guint32 epoch;
  guint owned; /* of topic t */
  gint32 partitions[8];
  guint32 version; /* of the assignment */
} Member;

static void take_assignment(Member *member, const Milena__V1__Assignment *assignment) {
  member->owned = 0;
  member->version = assignment->version;
  for (gsize i = 0; i < assignment->n_topics; i++)
    for (gsize j = 0; j < assignment->topics[i]->n_partitions && member->owned < G_N_ELEMENTS(member->partitions); j++)
      member->partitions[member->owned++] = assignment->topics[i]->partitions[j]->partition;
}

/* A heartbeat: a join while the member has no epoch. It owns what it was told, and gives up at once what is not in it.
 */
static Failure *beat(World *world, Member *member) {
  char *topics[] = {(char *)"t"};
  Milena__V1__GroupSubscription subscription = MILENA__V1__GROUP_SUBSCRIPTION__INIT;
  subscription.n_topics = 1;
  subscription.topics = topics;
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  request.group = (char *)member->group;
  request.member_id = member->id;
  request.member_epoch = member->epoch;
  if (!member->epoch)
    request.subscription = &subscription;
  Milena__V1__TopicPartitions topic = MILENA__V1__TOPIC_PARTITIONS__INIT, *owned_topics[] = {&topic};
  Milena__V1__OwnedPartitions owned = MILENA__V1__OWNED_PARTITIONS__INIT;
  topic.topic = (char *)"t";
  topic.n_partitions = member->owned;
  topic.partitions = member->partitions;
  owned.n_topics = member->owned > 0;
  owned.topics = owned_topics;
  request.owned = &owned;
  request.assignment_version = member->version;
  request.offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  request.tell_assignment = TRUE;
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = call(world, member->group, "Heartbeat", &request.base, &response);
  if (failure)
    return failure;
  const Milena__V1__HeartbeatResponse *answer = rpc_message_body(response);
  g_strlcpy(member->id, answer->member_id, sizeof member->id);
  member->epoch = answer->member_epoch;
  if (answer->assignment)
    take_assignment(member, answer->assignment);
  return NULL;
}

typedef struct {
  World *world;
  Member *member;
  guint wanted;
} Wanting;

static gboolean owns_wanted(gpointer data) {
  Wanting *wanting = data;
  g_autoptr(Failure) failure = beat(wanting->world, wanting->member);
  if (failure)
    shim_fail(__FILE__, __LINE__, "a heartbeat was refused: %s", failure_message(failure));
  return failure || wanting->member->owned == wanting->wanted;
}

static void join(World *world, Member *member, const char *group, guint wanted) {
  *member = (Member){.group = group};
  EXPECT_TRUE(cluster_until(owns_wanted, &(Wanting){world, member, wanted}, PATIENCE_MS));
}

static Failure *leave(World *world, Member *member) {
  Milena__V1__HeartbeatRequest request = MILENA__V1__HEARTBEAT_REQUEST__INIT;
  request.group = (char *)member->group;
  request.member_id = member->id;
  request.member_epoch = member->epoch;
  request.leave = MILENA__V1__LEAVE__LEAVE_FOR_GOOD;
  g_autoptr(RpcMessage) response = NULL;
  return call(world, member->group, "Heartbeat", &request.base, &response);
}

/* Commit partition 0 of t. @member: NULL for a tool; @address: NULL for the coordinator, wherever it is */
static Failure *commit_at(World *world, const char *address, const char *group, const Member *member, gint64 offset) {
  Milena__V1__OffsetCommit commit = MILENA__V1__OFFSET_COMMIT__INIT, *commits[] = {&commit};
  commit.topic = (char *)"t";
  commit.offset = offset;
  commit.metadata = (char *)"so far";
  Milena__V1__CommitOffsetsRequest request = MILENA__V1__COMMIT_OFFSETS_REQUEST__INIT;
  request.group = (char *)group;
  request.member_id = member ? (char *)member->id : (char *)"";
  request.member_epoch = member ? member->epoch : 0;
  request.n_offsets = 1;
  request.offsets = commits;
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = address ? call_at(world, address, "CommitOffsets", &request.base, &response)
                             : call(world, group, "CommitOffsets", &request.base, &response);
  if (failure)
    return failure;
  const Milena__V1__CommitOffsetsResponse *answer = rpc_message_body(response);
  EXPECT_EQ_INT(1, answer->n_results);
  return answer->n_results ? failure_from_status(answer->results[0]->status) : NULL;
}

static Failure *commit(World *world, const char *group, const Member *member, gint64 offset) {
  return commit_at(world, NULL, group, member, offset);
}

/* What is committed of partition 0 of t; -1: nothing. */
static gint64 committed(World *world, const char *group) {
  gint32 zero = 0;
  Milena__V1__TopicPartitions topic = MILENA__V1__TOPIC_PARTITIONS__INIT, *topics[] = {&topic};
  topic.topic = (char *)"t";
  topic.n_partitions = 1;
  topic.partitions = &zero;
  Milena__V1__FetchOffsetsRequest request = MILENA__V1__FETCH_OFFSETS_REQUEST__INIT;
  request.group = (char *)group;
  request.n_topics = 1;
  request.topics = topics;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure = call(world, group, "FetchOffsets", &request.base, &response);
  if (failure && failure_reason(failure) == FAILURE(UNKNOWN_GROUP))
    return -1;
  if (failure) {
    shim_fail(__FILE__, __LINE__, "offsets can't be fetched: %s", failure_message(failure));
    return -2;
  }
  const Milena__V1__FetchOffsetsResponse *answer = rpc_message_body(response);
  const Milena__V1__CommittedOffset *offset = answer->n_offsets == 1 ? answer->offsets[0]->committed : NULL;
  return offset ? offset->offset : -1;
}

static void expect_none(Failure *failure, const char *what) {
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s: %s", what, failure_message(failure));
  failure_free(failure);
}

static void expect_reason(FailureReason reason, Failure *failure) {
  EXPECT_EQ_STR(failure_reason_name(reason), failure ? failure_reason_name(failure_reason(failure)) : "none");
  failure_free(failure);
}

/* A group whose coordinator is @id. */
static char *group_of(World *world, gint32 id) {
  for (guint i = 0; i < 200; i++) {
    char *group = g_strdup_printf("g%u", i);
    gint32 owner = find_coordinator(world, group);
    if (owner == id)
      return group;
    if (!owner) {
      g_usleep(50000);
      i--;
    }
    g_free(group);
  }
  shim_fail(__FILE__, __LINE__, "no group is coordinated by %d", id);
  return g_strdup("g");
}

static void operate(World *world, const char *verb, const char *name, const char *flag) {
  const char *folder = cluster_folder(world->cluster);
  EXPECT_EQ_INT(0, cluster_milena(world->cluster, "local", verb, name, "--data", folder, flag, NULL)->exit_code);
}

/* ---- one coordinator ---- */

TEST(groups, members_share_and_commit) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 1, 1))
    return;
  Member one, two;
  join(&world, &one, "g", 4);
  two = (Member){.group = "g"};
  expect_none(beat(&world, &two), "the second joins");
  EXPECT_TRUE(cluster_until(owns_wanted, &(Wanting){&world, &one, 2}, PATIENCE_MS));
  expect_none(leave(&world, &two), "the second leaves");
  EXPECT_TRUE(cluster_until(owns_wanted, &(Wanting){&world, &one, 4}, PATIENCE_MS));
  EXPECT_EQ_INT(-1, committed(&world, "g"));
  expect_none(commit(&world, "g", &one, 0), "a commit");
  EXPECT_EQ_INT(0, committed(&world, "g"));
  Member stale = one;
  stale.epoch += 100;
  expect_reason(FAILURE(FENCED), commit(&world, "g", &stale, 0));
  expect_reason(FAILURE(OFFSET_OUT_OF_RANGE), commit(&world, "g", &one, RECORDS + 1));
  expect_none(commit(&world, "g", &one, RECORDS), "a commit of the very end");
  expect_none(leave(&world, &one), "the first leaves");
  expect_reason(FAILURE(UNKNOWN_MEMBER), commit(&world, "g", &one, 0));
}

TEST(groups, a_group_is_told_with_its_lag_and_reset) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 1, 1))
    return;
  expect_none(commit(&world, "g", NULL, 10), "a tool commits");
  Milena__V1__GetGroupRequest get = MILENA__V1__GET_GROUP_REQUEST__INIT;
  get.group = (char *)"g";
  g_autoptr(RpcMessage) response = NULL;
  expect_none(call(&world, "g", "GetGroup", &get.base, &response), "the group");
  const Milena__V1__Group *group =
      response ? ((Milena__V1__GetGroupResponse *)rpc_message_body(response))->group : NULL;
  EXPECT_TRUE(group && group->coordinator);
  if (!group || !group->coordinator)
    return;
  EXPECT_EQ_INT(1, group->coordinator->id);
  ASSERT_EQ_INT(1, group->n_partitions);
  EXPECT_EQ_INT(100, group->partitions[0]->high_watermark);
  EXPECT_EQ_INT(90, group->total_lag);

  Milena__V1__ResetOffsetsRequest reset = MILENA__V1__RESET_OFFSETS_REQUEST__INIT;
  reset.group = (char *)"g";
  reset.target_case = MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_SHIFT;
  reset.shift = 1000;
  reset.validate_only = TRUE;
  g_autoptr(RpcMessage) dry = NULL, wet = NULL;
  expect_none(call(&world, "g", "ResetOffsets", &reset.base, &dry), "a dry run");
  ASSERT_TRUE(dry != NULL);
  const Milena__V1__ResetOffsetsResponse *told = rpc_message_body(dry);
  ASSERT_EQ_INT(1, told->n_results);
  EXPECT_EQ_INT(10, told->results[0]->before);
  EXPECT_EQ_INT(100, told->results[0]->after);
  EXPECT_EQ_INT(10, committed(&world, "g"));
  reset.shift = -7;
  reset.validate_only = FALSE;
  expect_none(call(&world, "g", "ResetOffsets", &reset.base, &wet), "a reset");
  EXPECT_EQ_INT(3, committed(&world, "g"));

  Milena__V1__ListGroupsRequest list = MILENA__V1__LIST_GROUPS_REQUEST__INIT;
  g_autoptr(RpcMessage) page = NULL;
  expect_none(commit(&world, "a", NULL, 1), "another group");
  expect_none(call(&world, "g", "ListGroups", &list.base, &page), "the groups");
  ASSERT_TRUE(page != NULL);
  const Milena__V1__ListGroupsResponse *groups = rpc_message_body(page);
  ASSERT_EQ_INT(2, groups->n_groups);
  EXPECT_EQ_STR("a", groups->groups[0]->group);
  EXPECT_EQ_STR("g", groups->groups[1]->group);
  EXPECT_EQ_INT(0, groups->n_missing);
  Milena__V1__DeleteGroupRequest drop = MILENA__V1__DELETE_GROUP_REQUEST__INIT;
  drop.group = (char *)"g";
  g_autoptr(RpcMessage) dropped = NULL;
  expect_none(call(&world, "g", "DeleteGroup", &drop.base, &dropped), "the group goes");
  EXPECT_EQ_INT(-1, committed(&world, "g"));
}

/* ---- the topic is Milena's own ---- */

/* A batch of one record at a broker. @port: offset of the listener */
static Failure *produce(World *world, guint port, gint32 partition, gint64 producer_id, guint32 epoch) {
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", cluster_port(world->cluster, port));
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  expect_none(log_records_builder_add(builder, log_field("k", 1), log_field("v", 1), NULL, 0, 1), "a record");
  expect_none(log_records_builder_finish_unsealed(builder, MILENA__V1__COMPRESSION__COMPRESSION_NONE, &batch),
              "a batch");
  batch.producer_id = producer_id;
  batch.producer_epoch = epoch;
  log_batch_seal(&batch);
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);
  Milena__V1__PartitionBatch item = MILENA__V1__PARTITION_BATCH__INIT, *items[] = {&item};
  item.topic = (char *)"__consumer_offsets";
  item.partition = partition;
  item.batch = &proto.batch;
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.n_batches = 1;
  request.batches = items;
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = rpc_client_unary_sync(world->client, address, &milena__v1__producer_service__descriptor, "Produce",
                                           &request.base, g_get_monotonic_time() + CALL_MS * 1000, &response);
  return failure ? failure
                 : failure_from_status(((Milena__V1__ProduceResponse *)rpc_message_body(response))->results[0]->status);
}

TEST(groups, their_topic_is_read_by_all_and_written_by_leases_alone) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 1, 1))
    return;
  expect_none(commit(&world, "g", NULL, 0), "a commit makes the topic");
  gint32 partition = coordinators_partition("g", 50);
  expect_reason(FAILURE(INTERNAL_TOPIC), produce(&world, 0, 0, 0, 0));
  expect_reason(FAILURE(INTERNAL_TOPIC), produce(&world, 0, 0, LOG_PRODUCER_COORDINATOR, 9));
  /* At the brokers' own listener, as a coordinator of a lease before would: the fence of epoch 1 is in the log. */
  expect_reason(FAILURE(FENCED), produce(&world, 50, partition, LOG_PRODUCER_COORDINATOR, 0));
  const Ran *ran = cluster_milena(world.cluster, "topics", "delete", "__consumer_offsets", "--yes", NULL);
  EXPECT_TRUE(ran->exit_code != 0);
  EXPECT_CONTAINS(ran->err, "Milena's own");
  ran = cluster_milena(world.cluster, "topics", "create", "__mine", NULL);
  EXPECT_TRUE(ran->exit_code != 0);
  ran = cluster_milena(world.cluster, "consume", "__consumer_offsets", "--timeout", "20", NULL);
  EXPECT_EQ_INT(0, ran->exit_code);
}

/* ---- coordinators that go ---- */

/* A member of a group at coordinator 1, with a commit of @offset. */
static char *settle_at_first(World *world, Member *member, gint64 offset) {
  char *group = group_of(world, 1);
  join(world, member, group, 4);
  expect_none(commit(world, group, member, offset), "a commit");
  return group;
}

/* The member is one still, and its offset is there, wherever the group is now. */
static void expect_goes_on(World *world, Member *member, gint64 offset) {
  guint32 epoch = member->epoch;
  EXPECT_EQ_INT(offset, committed(world, member->group));
  expect_none(beat(world, member), "its session goes on");
  EXPECT_EQ_INT(epoch, member->epoch);
  EXPECT_EQ_INT(4, member->owned);
  expect_none(commit(world, member->group, member, offset + 1), "it commits on");
  EXPECT_EQ_INT(offset + 1, committed(world, member->group));
}

TEST(groups, a_killed_coordinator_is_followed_by_another) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3, 2))
    return;
  Member member;
  g_autofree char *group = settle_at_first(&world, &member, 0);
  operate(&world, "stop", "coordinator-1", "--kill");
  expect_goes_on(&world, &member, 0);
  EXPECT_EQ_INT(2, find_coordinator(&world, group));
  /* It comes back, and gets a share. */
  operate(&world, "start", "coordinator-1", NULL);
  g_autofree char *again = group_of(&world, 1);
  expect_none(commit(&world, again, NULL, 0), "at the one that came back");
}

TEST(groups, a_stopped_coordinator_hands_over) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3, 2))
    return;
  Member member;
  g_autofree char *group = settle_at_first(&world, &member, 0);
  operate(&world, "stop", "coordinator-1", NULL);
  expect_goes_on(&world, &member, 0);
  g_autofree char *log = cluster_log(world.cluster, "coordinator-1");
  EXPECT_CONTAINS(log, "stopped");
}

/* A commit that one coordinator is to take, once it can. */
typedef struct {
  World *world;
  const char *address, *group;
  const Member *member;
} Commit;

static gboolean is_taken(gpointer data) {
  const Commit *commit = data;
  g_autoptr(Failure) failure = commit_at(commit->world, commit->address, commit->group, commit->member, 7);
  return failure == NULL;
}

static gboolean is_second_s(gpointer data) {
  const Commit *commit = data;
  return owner_by(commit->world, commit->address, commit->group) == 2;
}

TEST(groups, a_frozen_coordinator_that_wakes_up_changes_nothing) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3, 2))
    return;
  Member member;
  g_autofree char *group = settle_at_first(&world, &member, 0);
  g_autofree char *frozen = coordinator_address(&world, 1);
  GPid pid = cluster_pid(world.cluster, "coordinator-1");
  kill(pid, SIGSTOP);
  g_autofree char *other = coordinator_address(&world, 2);
  Commit commit = {&world, other, group, &member};
  EXPECT_TRUE(cluster_until(is_second_s, &commit, PATIENCE_MS));
  EXPECT_TRUE(cluster_until(is_taken, &commit, PATIENCE_MS));
  kill(pid, SIGCONT);
  g_autoptr(Failure) late = commit_at(&world, frozen, group, &member, 3);
  EXPECT_TRUE(late != NULL);
  EXPECT_EQ_INT(7, committed(&world, group));
}

/* ---- brokers that go ---- */

TEST(groups, a_killed_broker_keeps_no_commit) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3, 1))
    return;
  Member member;
  g_autofree char *group = settle_at_first(&world, &member, 0);
  for (guint i = 1; i <= 3; i++) {
    g_autofree char *name = g_strdup_printf("broker-%u", i);
    operate(&world, "stop", name, "--kill");
    expect_none(commit(&world, group, &member, i), "a commit without one of the brokers");
    operate(&world, "start", name, NULL);
    EXPECT_EQ_INT(i, committed(&world, group));
  }
}

TEST(groups, offsets_outlive_all_processes) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3, 2))
    return;
  static const char *const NAMES[] = {"coordinator-1", "coordinator-2", "broker-1",
                                      "broker-2",      "broker-3",      "controller-1"};
  for (guint i = 0; i < 20; i++) {
    g_autofree char *group = g_strdup_printf("g%u", i);
    expect_none(commit(&world, group, NULL, i), "a commit");
  }
  for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
    operate(&world, "stop", NAMES[i], "--kill");
  for (guint i = G_N_ELEMENTS(NAMES); i-- > 0;)
    operate(&world, "start", NAMES[i], NULL);
  for (guint i = 0; i < 20; i++) {
    g_autofree char *group = g_strdup_printf("g%u", i);
    EXPECT_EQ_INT(i, committed(&world, group));
  }
}
