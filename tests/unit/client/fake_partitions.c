/* Replicas in the fake cluster: a partition has its leader as its only replica until it is moved. A reassignment is
 * under way until it was listed twice; then the first broker of its target leads. Any broker takes the calls. */
#include "tests/unit/client/fake_internal.h"

static Failure *find(FakeBroker *broker, const char *name, gint32 number, FakePartition **ret_partition) {
  FakeTopic *topic = fake_find_topic(broker->cluster, name);
  if (!topic)
    return failure_new(FAILURE(UNKNOWN_TOPIC), "there is no topic %s", name);
  if (number < 0 || (guint)number >= topic->partitions->len)
    return failure_new(FAILURE(UNKNOWN_PARTITION), "there is no partition %d", number);
  *ret_partition = FAKE_PARTITION(topic, (guint)number);
  return NULL;
}

static FakeBroker *find_broker(const FakeCluster *cluster, gint32 id) {
  return id >= 1 && (guint)id <= cluster->brokers->len ? cluster->brokers->pdata[id - 1] : NULL;
}

static Failure *no_broker(gint32 id) {
  return failure_new(FAILURE(UNKNOWN_BROKER), "there is no broker %d", id);
}

/* ---- Brokers ---- */

static void fill_broker(const FakeBroker *broker, gboolean drained, Milena__V1__Broker *ret_proto) {
  milena__v1__broker__init(ret_proto);
  ret_proto->id = broker->id;
  ret_proto->address = broker->address;
  ret_proto->drained = drained;
  ret_proto->leader_count = 1; /* that nobody else can lead */
}

void fake_on_get_broker(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const Milena__V1__GetBrokerRequest *request = rpc_message_body(message);
  const FakeBroker *broker = find_broker(((FakeBroker *)user_data)->cluster, request->id);
  if (!broker) {
    rpc_call_finish(call, no_broker(request->id));
    return;
  }
  Milena__V1__Broker proto;
  fill_broker(broker, broker->drained, &proto);
  Milena__V1__GetBrokerResponse response = MILENA__V1__GET_BROKER_RESPONSE__INIT;
  response.broker = &proto;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_drain(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const Milena__V1__DrainBrokerRequest *request = rpc_message_body(message);
  FakeBroker *broker = find_broker(((FakeBroker *)user_data)->cluster, request->id);
  if (!broker) {
    rpc_call_finish(call, no_broker(request->id));
    return;
  }
  broker->drained |= !request->validate_only;
  Milena__V1__Broker proto;
  fill_broker(broker, TRUE, &proto);
  Milena__V1__DrainBrokerResponse response = MILENA__V1__DRAIN_BROKER_RESPONSE__INIT;
  response.broker = &proto;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_undrain(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const Milena__V1__UndrainBrokerRequest *request = rpc_message_body(message);
  FakeBroker *broker = find_broker(((FakeBroker *)user_data)->cluster, request->id);
  if (!broker) {
    rpc_call_finish(call, no_broker(request->id));
    return;
  }
  broker->drained &= request->validate_only;
  Milena__V1__Broker proto;
  fill_broker(broker, FALSE, &proto);
  Milena__V1__UndrainBrokerResponse response = MILENA__V1__UNDRAIN_BROKER_RESPONSE__INIT;
  response.broker = &proto;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- Elections: where there is no leader, an unclean one makes broker 1 lead; preferred ones change nothing ---- */

void fake_on_elect(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__ElectLeadersRequest *request = rpc_message_body(message);
  FakePartition *partition = NULL;
  gint32 number = request->n_partitions ? request->partitions[0] : 0;
  Failure *failure = *request->topic ? find(broker, request->topic, number, &partition) : NULL;
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  Milena__V1__ElectedLeader elected = MILENA__V1__ELECTED_LEADER__INIT, *place = &elected;
  Milena__V1__ElectLeadersResponse response = MILENA__V1__ELECT_LEADERS_RESPONSE__INIT;
  if (partition && partition->leader_id < 0 && request->type == MILENA__V1__ELECTION_TYPE__ELECTION_TYPE_UNCLEAN) {
    elected.topic = request->topic;
    elected.partition = number;
    elected.leader_id = 1;
    elected.unclean = TRUE;
    response.n_elected = 1;
    response.elected = &place;
    if (!request->validate_only)
      partition->leader_id = 1;
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- Reassignments ---- */

typedef struct {
  Milena__V1__Reassignment proto;
  gint32 before;
} Move;

static void fill_move(const FakeTopic *topic, guint number, Move *ret_move) {
  FakePartition *partition = FAKE_PARTITION(topic, number);
  milena__v1__reassignment__init(&ret_move->proto);
  ret_move->before = partition->leader_id;
  ret_move->proto.topic = topic->name;
  ret_move->proto.partition = (gint32)number;
  ret_move->proto.n_target_replicas = partition->target_count;
  ret_move->proto.target_replicas = partition->target;
  ret_move->proto.n_pending_replicas = partition->target_count > 0 ? partition->target_count - 1 : 0;
  ret_move->proto.pending_replicas = partition->target + 1;
  ret_move->proto.n_replicas_before = 1;
  ret_move->proto.replicas_before = &ret_move->before;
}

void fake_on_reassign(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__ReassignPartitionsRequest *request = rpc_message_body(message);
  Failure *failure = NULL;
  FakePartition *partition = NULL;
  for (gsize i = 0; i < request->n_reassignments && !failure; i++) {
    const Milena__V1__PartitionReassignment *move = request->reassignments[i];
    failure = find(broker, move->topic, move->partition, &partition);
    if (!partition)
      break; /* with the failure */
    for (gsize j = 0; j < move->n_replicas && !failure; j++)
      failure = find_broker(broker->cluster, move->replicas[j]) ? NULL : no_broker(move->replicas[j]);
    for (gsize j = 0; j < move->n_replicas && !failure && !request->validate_only; j++)
      partition->target[j] = move->replicas[j];
    if (!failure && !request->validate_only) {
      partition->target_count = (guint)move->n_replicas;
      partition->listings = 0;
    }
  }
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  Move move = {0};
  Milena__V1__Reassignment *place = &move.proto;
  Milena__V1__ReassignPartitionsResponse response = MILENA__V1__REASSIGN_PARTITIONS_RESPONSE__INIT;
  if (partition && partition->target_count > 0) {
    const Milena__V1__PartitionReassignment *last = request->reassignments[request->n_reassignments - 1];
    fill_move(fake_find_topic(broker->cluster, last->topic), (guint)last->partition, &move);
    response.n_reassignments = 1;
    response.reassignments = &place;
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

static void finish_move(FakePartition *partition) {
  partition->leader_id = partition->target[0];
  partition->leader_epoch++;
  partition->target_count = 0;
}

/* One a page, so that clients follow the tokens. The token is how many were listed before. */
void fake_on_list_reassignments(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeCluster *cluster = ((FakeBroker *)user_data)->cluster;
  const Milena__V1__ListReassignmentsRequest *request = rpc_message_body(message);
  guint64 skip = g_ascii_strtoull(request->page_token, NULL, 10), seen = 0;
  Move move;
  Milena__V1__Reassignment *place = &move.proto;
  Milena__V1__ListReassignmentsResponse response = MILENA__V1__LIST_REASSIGNMENTS_RESPONSE__INIT;
  g_autofree char *token = g_strdup_printf("%" G_GUINT64_FORMAT, skip + 1);
  for (guint i = 0; i < cluster->topics->len; i++) {
    FakeTopic *topic = cluster->topics->pdata[i];
    for (guint j = 0; j < topic->partitions->len; j++) {
      FakePartition *partition = FAKE_PARTITION(topic, j);
      if (partition->target_count > 0 && skip == 0 && partition->listings++ == 2)
        finish_move(partition);
      if (partition->target_count == 0)
        continue;
      if (seen == skip) {
        fill_move(topic, j, &move);
        response.n_reassignments = 1;
        response.reassignments = &place;
      } else if (seen == skip + 1) {
        response.next_page_token = token;
      }
      seen++;
    }
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_cancel_reassignments(RpcCall *call, RpcMessage *message, gpointer user_data) {
  FakeBroker *broker = user_data;
  const Milena__V1__CancelReassignmentsRequest *request = rpc_message_body(message);
  Milena__V1__CancelReassignmentsResponse response = MILENA__V1__CANCEL_REASSIGNMENTS_RESPONSE__INIT;
  for (guint i = 0; i < broker->cluster->topics->len; i++) {
    FakeTopic *topic = broker->cluster->topics->pdata[i];
    if (*request->topic && !g_str_equal(topic->name, request->topic))
      continue;
    for (guint j = 0; j < topic->partitions->len; j++) {
      response.cancelled += FAKE_PARTITION(topic, j)->target_count > 0;
      if (!request->validate_only)
        FAKE_PARTITION(topic, j)->target_count = 0;
    }
  }
  rpc_call_reply(call, &response.base, NULL, 0);
}
