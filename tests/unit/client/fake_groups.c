/* GroupService in the fake cluster: one broker is the coordinator of all groups, the others refuse. Groups read topic
 * "t" alone, whatever they subscribe to. A member gets partition p when p modulo the members is its place, once whoever
 * had it said that it gave it up. */
#include <string.h>

#include "milena/v1/group_service.pb-c.h"
#include "services/base/times.h"
#include "tests/unit/client/fake_internal.h"

#define PARTITIONS_MAX 64

typedef struct {
  char *id, *instance_id;
  guint32 epoch;
  guint64 owned, told; /* bit p: partition p */
  gboolean change;     /* `told` is news to it */
  RpcCall *held;       /* a long poll */
  GSource *timer;      /* of it */
} FakeMember;

struct FakeGroups {
  FakeCluster *cluster;
  GPtrArray *members; /* of FakeMember, in the order of their joins */
  gint64 committed[PARTITIONS_MAX];
  guint commits, heartbeats;
  guint lost_heartbeats, lost_commits; /* how many answers to drop */
  FailureReason refusal;               /* of the next heartbeat; 0: none */
};

static void release(FakeMember *member) {
  if (member->timer) {
    g_source_destroy(member->timer);
    g_clear_pointer(&member->timer, g_source_unref);
  }
  member->held = NULL;
}

static void member_free(gpointer data) {
  FakeMember *member = data;
  if (member->held)
    rpc_call_finish(member->held, failure_new(FAILURE(UNKNOWN_MEMBER), "the member %s is gone", member->id));
  release(member);
  g_free(member->id);
  g_free(member->instance_id);
  g_free(member);
}

FakeGroups *fake_groups_new(FakeCluster *cluster) {
  FakeGroups *groups = g_new0(FakeGroups, 1);
  groups->cluster = cluster;
  groups->members = g_ptr_array_new_with_free_func(member_free);
  memset(groups->committed, -1, sizeof groups->committed);
  return groups;
}

void fake_groups_free(FakeGroups *groups) {
  g_ptr_array_unref(groups->members);
  g_free(groups);
}

static FakeMember *find(FakeGroups *groups, const char *id) {
  for (guint i = 0; i < groups->members->len; i++) {
    FakeMember *member = groups->members->pdata[i];
    if (strcmp(member->id, id) == 0)
      return member;
  }
  return NULL;
}

static guint partition_count(const FakeGroups *groups) {
  const FakeTopic *topic = fake_find_topic(groups->cluster, "t");
  return topic ? MIN(topic->partitions->len, PARTITIONS_MAX) : 0;
}

static void answer(FakeGroups *groups, RpcCall *call, FakeMember *member) {
  Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
  Milena__V1__Assignment assignment = MILENA__V1__ASSIGNMENT__INIT;
  Milena__V1__AssignedTopic topic = MILENA__V1__ASSIGNED_TOPIC__INIT, *topics[] = {&topic};
  Milena__V1__AssignedPartition partitions[PARTITIONS_MAX], *pointers[PARTITIONS_MAX];
  Milena__V1__CommittedOffset committed[PARTITIONS_MAX];
  Google__Protobuf__Duration interval;
  const FakeTopic *t = fake_find_topic(groups->cluster, "t");
  times_duration_set(&interval, 200);
  response.member_id = member->id;
  response.member_epoch = member->epoch;
  response.heartbeat_interval = &interval;
  response.explanation = (char *)"the fake shares";
  if (member->change && t) {
    topic.topic = t->name;
    topic.topic_id = t->id;
    topic.partitions = pointers;
    for (gint32 p = 0; p < PARTITIONS_MAX; p++) {
      if (!(member->told >> p & 1))
        continue;
      Milena__V1__AssignedPartition *assigned = pointers[topic.n_partitions++] = &partitions[p];
      milena__v1__assigned_partition__init(assigned);
      milena__v1__committed_offset__init(&committed[p]);
      assigned->partition = p;
      committed[p].offset = groups->committed[p];
      assigned->committed = groups->committed[p] >= 0 ? &committed[p] : NULL;
    }
    assignment.topics = topics;
    assignment.n_topics = topic.n_partitions > 0;
    response.assignment = &assignment;
    member->change = FALSE;
  }
  if (groups->lost_heartbeats > 0) {
    groups->lost_heartbeats--;
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "the answer is lost"));
    return;
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* Give what is free to whom it belongs, ask for what does not belong to whom has it, and answer who waits. */
static void reconcile(FakeGroups *groups) {
  guint count = partition_count(groups), members = groups->members->len;
  guint64 taken = 0;
  for (guint i = 0; i < members; i++) {
    const FakeMember *member = groups->members->pdata[i];
    taken |= member->owned | member->told;
  }
  for (guint i = 0; i < members; i++) {
    FakeMember *member = groups->members->pdata[i];
    guint64 target = 0;
    for (guint p = i; p < count; p += members)
      target |= (guint64)1 << p;
    guint64 told = member->owned & target;
    told |= target & ~taken;
    told |= member->told & target;
    taken |= told;
    if (told != member->told) {
      member->told = told;
      member->change = TRUE;
      member->epoch++;
    }
    if (member->change && member->held) {
      RpcCall *held = member->held;
      release(member);
      answer(groups, held, member);
    }
  }
}

static gboolean on_held_long_enough(gpointer data) {
  FakeMember *member = data;
  RpcCall *held = member->held;
  FakeGroups *groups = rpc_call_state(held);
  release(member);
  answer(groups, held, member);
  return G_SOURCE_REMOVE;
}

static void held_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)cancelled;
  FakeGroups *groups = state;
  for (guint i = 0; i < groups->members->len; i++) {
    FakeMember *member = groups->members->pdata[i];
    if (member->held == call)
      release(member);
  }
}

static const RpcCallEvents HELD_EVENTS = {.closed = held_closed};

/* The fake answers the call later, or at once when there is news. */
static void hold(FakeGroups *groups, RpcCall *call, FakeMember *member, gint64 wait_ms) {
  if (member->change || wait_ms <= 0) {
    answer(groups, call, member);
    return;
  }
  if (member->held)
    rpc_call_finish(member->held, failure_new(FAILURE(CANCELLED), "another heartbeat came"));
  release(member);
  rpc_call_set_events(call, &HELD_EVENTS, groups);
  member->held = call;
  member->timer = loop_add_timeout(groups->cluster->loop, (guint)wait_ms, on_held_long_enough, member);
}

static FakeMember *join(FakeGroups *groups, const Milena__V1__HeartbeatRequest *request) {
  FakeMember *member = find(groups, request->member_id);
  if (!member) {
    member = g_new0(FakeMember, 1);
    member->id = g_strdup(request->member_id);
    member->instance_id = g_strdup(request->instance_id);
    g_ptr_array_add(groups->members, member);
  }
  member->epoch++;
  member->owned = 0;
  member->change = TRUE;
  return member;
}

static void take_owned(FakeMember *member, const Milena__V1__OwnedPartitions *owned) {
  member->owned = 0;
  for (gsize i = 0; i < owned->n_topics; i++)
    for (gsize k = 0; k < owned->topics[i]->n_partitions; k++)
      member->owned |= (guint64)1 << owned->topics[i]->partitions[k];
}

/* Ends the call when this is not the coordinator. */
static gboolean turned_away(RpcCall *call, const FakeBroker *broker) {
  gint32 coordinator = broker->cluster->coordinator;
  if (broker->id == coordinator)
    return FALSE;
  rpc_call_finish(call, failure_new(FAILURE(NOT_COORDINATOR), "the coordinator is broker %d", coordinator));
  return TRUE;
}

static void on_heartbeat(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  FakeGroups *groups = broker->cluster->groups;
  const Milena__V1__HeartbeatRequest *request = rpc_message_body(message);
  if (turned_away(call, broker))
    return;
  groups->heartbeats++;
  if (groups->refusal) {
    rpc_call_finish(call, failure_new(groups->refusal, "as it was ordered"));
    groups->refusal = 0;
    return;
  }
  FakeMember *member =
      request->member_epoch == 0 && !request->leave ? join(groups, request) : find(groups, request->member_id);
  if (!member) {
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_MEMBER), "there is no member %s", request->member_id));
    return;
  }
  if (request->leave) {
    Milena__V1__HeartbeatResponse response = MILENA__V1__HEARTBEAT_RESPONSE__INIT;
    g_ptr_array_remove(groups->members, member);
    rpc_call_reply(call, &response.base, NULL, 0);
    reconcile(groups);
    return;
  }
  if (request->owned)
    take_owned(member, request->owned);
  member->change = member->change || request->tell_assignment;
  reconcile(groups);
  hold(groups, call, member, times_duration_ms(request->max_wait, 0));
}

static Failure *check_commit(FakeGroups *groups, const Milena__V1__CommitOffsetsRequest *request) {
  const FakeMember *member = find(groups, request->member_id);
  if (!member)
    return failure_new(FAILURE(UNKNOWN_MEMBER), "there is no member %s", request->member_id);
  if (member->epoch != request->member_epoch)
    return failure_new(FAILURE(FENCED), "the epoch of the member is %u", member->epoch);
  return NULL;
}

static void on_commit(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  FakeGroups *groups = broker->cluster->groups;
  const Milena__V1__CommitOffsetsRequest *request = rpc_message_body(message);
  if (turned_away(call, broker))
    return;
  Failure *failure = check_commit(groups, request);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  Milena__V1__CommitOffsetsResponse response = MILENA__V1__COMMIT_OFFSETS_RESPONSE__INIT;
  g_autofree Milena__V1__PartitionResult *results = g_new(Milena__V1__PartitionResult, request->n_offsets);
  g_autofree Milena__V1__PartitionResult **pointers = g_new(Milena__V1__PartitionResult *, request->n_offsets);
  for (gsize i = 0; i < request->n_offsets; i++) {
    groups->committed[request->offsets[i]->partition] = request->offsets[i]->offset;
    milena__v1__partition_result__init(&results[i]);
    pointers[i] = &results[i];
  }
  groups->commits++;
  response.results = pointers;
  response.n_results = request->n_offsets;
  if (groups->lost_commits > 0) {
    groups->lost_commits--;
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "the answer is lost"));
    return;
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void on_get_coordinator(RpcCall *call, RpcMessage *message, gpointer user_data) {
  (void)message;
  const FakeBroker *broker = user_data;
  const FakeBroker *coordinator = broker->cluster->brokers->pdata[broker->cluster->coordinator - 1];
  Milena__V1__GroupCoordinator proto = MILENA__V1__GROUP_COORDINATOR__INIT;
  Milena__V1__GetCoordinatorResponse response = MILENA__V1__GET_COORDINATOR_RESPONSE__INIT;
  proto.id = coordinator->id;
  proto.address = coordinator->address;
  response.coordinator = &proto;
  rpc_call_reply(call, &response.base, NULL, 0);
}

const RpcMethodHandler FAKE_GROUP_HANDLERS[] = {{.name = "Heartbeat", .unary = on_heartbeat},
                                                {.name = "CommitOffsets", .unary = on_commit},
                                                {.name = "GetCoordinator", .unary = on_get_coordinator},
                                                {NULL}};

/* ---- orders ---- */

typedef struct {
  FakeCluster *cluster;
  FakeGroupOrders orders;
  FakeGroupState state;
  gint32 coordinator;
  gboolean throw_out;
} Order;

static void order_on_loop(gpointer data) {
  Order *order = data;
  FakeGroups *groups = order->cluster->groups;
  groups->lost_heartbeats += order->orders.lose_heartbeats;
  groups->lost_commits += order->orders.lose_commits;
  groups->refusal = order->orders.refuse ? order->orders.refuse : groups->refusal;
  if (order->orders.coordinator)
    order->cluster->coordinator = order->orders.coordinator;
  if (order->orders.throw_out)
    g_ptr_array_set_size(groups->members, 0);
  order->state = (FakeGroupState){groups->members->len, groups->heartbeats, groups->commits, {0}};
  memcpy(order->state.committed, groups->committed, sizeof order->state.committed);
}

FakeGroupState fake_cluster_order_groups(FakeCluster *cluster, const FakeGroupOrders *orders) {
  Order order = {.cluster = cluster};
  if (orders)
    order.orders = *orders;
  loop_call_and_wait(cluster->loop, order_on_loop, &order);
  return order.state;
}
