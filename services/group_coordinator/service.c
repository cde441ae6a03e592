/* GroupService: the calls that go straight to the groups, and what all calls share (group_call.h).
 *
 *   request ──hash of the group──► tenure ──token──► groups ... answer ──► reply
 *
 * Invariant: a GroupCall lives from its handler until its RPC has closed, and is asked about in one place at a time.
 * Owner: the coordinator's loop. Failure modes: what the tenure or the groups refuse is the answer. */
#include "services/base/times.h"
#include "services/group_coordinator/group_call.h"
#include "services/membership/coordinators.h"

/* ---- calls ---- */

static void on_closed(RpcCall *rpc, gboolean cancelled, gpointer state) {
  (void)rpc;
  (void)cancelled;
  GroupCall *call = state;
  tenure_forget(&call->ask);
  ends_abandon(call->ends);
  commit_ends_forget(call->coordinator->commit_ends, call);
  if (call->response)
    protobuf_c_message_free_unpacked(call->response, NULL);
  if (call->resets)
    g_array_unref(call->resets);
  rpc_message_unref(call->message);
  g_free(call);
}

GroupCall *group_call_new(Coordinator *coordinator, RpcCall *rpc, RpcMessage *message, gboolean writes) {
  static const RpcCallEvents EVENTS = {.closed = on_closed};
  GroupCall *call = g_new0(GroupCall, 1);
  call->coordinator = coordinator;
  call->rpc = rpc;
  call->message = rpc_message_ref(message);
  call->ask.writes = writes;
  call->ask.answered = group_call_answered;
  rpc_call_set_events(rpc, &EVENTS, call);
  return call;
}

gboolean group_call_find(GroupCall *call, const char *group, Tenure **ret_tenure) {
  Failure *failure = coordinator_find_tenure(call->coordinator, group, ret_tenure);
  if (failure)
    rpc_call_finish(call->rpc, failure);
  return failure == NULL;
}

void group_call_reply(GroupCall *call, ProtobufCMessage *response) {
  rpc_call_reply(call->rpc, response, NULL, 0);
  protobuf_c_message_free_unpacked(response, NULL);
}

void group_call_refuse(GroupCall *call, Failure *failure) {
  rpc_call_finish(call->rpc, failure);
}

void group_call_answered(GroupAsk *ask, ProtobufCMessage *response, Failure *failure) {
  GroupCall *call = (GroupCall *)ask;
  if (failure)
    group_call_refuse(call, failure);
  else
    group_call_reply(call, response);
}

/* ---- handlers ---- */

static void heartbeat(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__HeartbeatRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, FALSE);
  Tenure *tenure;
  if (group_call_find(call, request->group, &tenure))
    groups_heartbeat(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, rpc_call_client(rpc),
                     tenure_now());
}

static void fetch_offsets(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__FetchOffsetsRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, FALSE);
  Tenure *tenure;
  if (group_call_find(call, request->group, &tenure))
    groups_fetch_offsets(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request);
}

static void update_group(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__UpdateGroupRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, TRUE);
  Tenure *tenure;
  if (group_call_find(call, request->group, &tenure))
    groups_update(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, tenure_now());
}

static void delete_offsets(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__DeleteOffsetsRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, TRUE);
  Tenure *tenure;
  if (group_call_find(call, request->group, &tenure))
    groups_delete_offsets(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, tenure_now());
}

static void delete_group(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__DeleteGroupRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, TRUE);
  Tenure *tenure;
  if (group_call_find(call, request->group, &tenure))
    groups_delete(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, tenure_now());
}

static void get_coordinator(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  Coordinator *coordinator = user_data;
  const Milena__V1__GetCoordinatorRequest *request = rpc_message_body(message);
  CoordinatorPlace place = {0};
  Failure *failure = coordinators_check_group(request->group);
  failure = failure ? failure : coordinator_check(coordinator);
  if (!failure) {
    failure = coordinators_find(coordinator->image, request->group, &place);
    if (!place.topic)
      coordinator_want_topic(coordinator);
  }
  if (failure) {
    rpc_call_finish(rpc, failure);
    return;
  }
  Milena__V1__GroupCoordinator told;
  coordinators_fill(coordinator->image, &place, &told);
  Milena__V1__GetCoordinatorResponse response = MILENA__V1__GET_COORDINATOR_RESPONSE__INIT;
  response.coordinator = &told;
  rpc_call_reply(rpc, &response.base, NULL, 0);
}

const RpcMethodHandler GROUP_SERVICE_HANDLERS[] = {
    {.name = "Heartbeat", .unary = heartbeat},
    {.name = "CommitOffsets", .unary = group_commit},
    {.name = "FetchOffsets", .unary = fetch_offsets},
    {.name = "ListGroups", .unary = group_list},
    {.name = "GetGroup", .unary = group_get},
    {.name = "UpdateGroup", .unary = update_group},
    {.name = "ResetOffsets", .unary = group_reset},
    {.name = "DeleteOffsets", .unary = delete_offsets},
    {.name = "DeleteGroup", .unary = delete_group},
    {.name = "GetCoordinator", .unary = get_coordinator},
    {.name = NULL},
};
