/* The controllers' part of AdminService in the fake cluster: broker N is controller N as well, and those that are no
 * members wait to be added. Only the active one takes changes; the others point to it. */
#include "tests/unit/client/fake_internal.h"

#define DIRECTORY "11111111-2222-4333-8444-555555555555"

static gboolean is_member(const FakeCluster *cluster, gint32 id) {
  return id >= 1 && id < 32 && (cluster->controllers & (1u << id)) != 0;
}

static const char *address_of(const FakeCluster *cluster, gint32 id) {
  if (id < 1 || (guint)id > cluster->brokers->len)
    return "127.0.0.1:1";
  return ((const FakeBroker *)cluster->brokers->pdata[id - 1])->address;
}

/* Ends the call when this is not the active one. */
static gboolean turned_away(RpcCall *call, const FakeBroker *broker) {
  const FakeCluster *cluster = broker->cluster;
  if (broker->id == cluster->active_controller)
    return FALSE;
  Failure *failure = failure_new(FAILURE(NOT_CONTROLLER), "the active controller is %d", cluster->active_controller);
  rpc_call_finish(call, failure_add(failure, "address", "%s", address_of(cluster, cluster->active_controller)));
  return TRUE;
}

static void fill(const FakeCluster *cluster, gint32 id, Milena__V1__ControllerState *ret_state) {
  milena__v1__controller_state__init(ret_state);
  ret_state->id = id;
  ret_state->address = ret_state->peer_address = (char *)address_of(cluster, id);
  ret_state->directory_id = (char *)DIRECTORY;
  gboolean far = (guint)id > cluster->brokers->len;
  ret_state->role =
      far ? MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_LEARNER : MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_VOTER;
  ret_state->active = id == cluster->active_controller;
  ret_state->match_index = far ? 0 : 1234;
  ret_state->lag = far ? 1234 : 0;
  if (far)
    ret_state->link_error = (char *)"nobody listens there";
}

void fake_on_list_controllers(RpcCall *call, RpcMessage *message, gpointer user_data) {
  (void)message;
  const FakeBroker *broker = user_data;
  const FakeCluster *cluster = broker->cluster;
  Milena__V1__ControllerState states[32], *pointers[32];
  Milena__V1__ListControllersResponse response = MILENA__V1__LIST_CONTROLLERS_RESPONSE__INIT;
  for (gint32 id = 1; id < 32; id++) {
    if (!is_member(cluster, id))
      continue;
    fill(cluster, id, &states[response.n_controllers]);
    pointers[response.n_controllers] = &states[response.n_controllers];
    response.n_controllers++;
  }
  response.controllers = pointers;
  response.cluster_id = (char *)(cluster->controllers ? "the-cluster" : "");
  response.active_id = cluster->active_controller;
  response.answered_by = broker->id;
  response.term = 7;
  response.commit_index = response.last_index = 1234;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_add_controller(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  const Milena__V1__AddControllerRequest *request = rpc_message_body(message);
  if (turned_away(call, broker))
    return;
  if (is_member(broker->cluster, request->id)) {
    rpc_call_finish(call, failure_new(FAILURE(CONTROLLER_EXISTS), "controller %d is a member", request->id));
    return;
  }
  if (!request->validate_only)
    broker->cluster->controllers |= 1u << request->id;
  Milena__V1__ControllerState state;
  fill(broker->cluster, request->id, &state);
  Milena__V1__AddControllerResponse response = MILENA__V1__ADD_CONTROLLER_RESPONSE__INIT;
  response.controller = &state;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_remove_controller(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  const Milena__V1__RemoveControllerRequest *request = rpc_message_body(message);
  if (turned_away(call, broker))
    return;
  Failure *failure = NULL;
  if (!is_member(broker->cluster, request->id))
    failure = failure_new(FAILURE(UNKNOWN_CONTROLLER), "there is no controller %d", request->id);
  else if (*request->directory_id && !g_str_equal(request->directory_id, DIRECTORY))
    failure = failure_new(FAILURE(DIRECTORY_MISMATCH), "it has another folder");
  else if (request->id == 2 && !request->force)
    failure = failure_new(FAILURE(QUORUM_AT_RISK), "too few would be left");
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  if (!request->validate_only)
    broker->cluster->controllers &= ~(1u << request->id);
  if (g_atomic_int_compare_and_exchange(&broker->cluster->lose_removal, 1, 0)) {
    rpc_call_finish(call, failure_new(FAILURE(UNKNOWN_OUTCOME), "the connection broke"));
    return;
  }
  Milena__V1__RemoveControllerResponse response = MILENA__V1__REMOVE_CONTROLLER_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_transfer(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  const Milena__V1__TransferLeadershipRequest *request = rpc_message_body(message);
  if (turned_away(call, broker))
    return;
  if (!request->validate_only)
    broker->cluster->active_controller = request->id ? request->id : 2;
  Milena__V1__TransferLeadershipResponse response = MILENA__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
  response.active_id = broker->cluster->active_controller;
  response.term = 8;
  rpc_call_reply(call, &response.base, NULL, 0);
}

void fake_on_bootstrap(RpcCall *call, RpcMessage *message, gpointer user_data) {
  const FakeBroker *broker = user_data;
  const Milena__V1__BootstrapClusterRequest *request = rpc_message_body(message);
  if (broker->cluster->controllers) {
    rpc_call_finish(call, failure_new(FAILURE(ALREADY_BOOTSTRAPPED), "it has a cluster"));
    return;
  }
  for (gsize i = 0; i < request->n_controllers && !request->validate_only; i++)
    broker->cluster->controllers |= 1u << request->controllers[i]->id;
  Milena__V1__BootstrapClusterResponse response = MILENA__V1__BOOTSTRAP_CLUSTER_RESPONSE__INIT;
  response.cluster_id = (char *)"the-cluster";
  rpc_call_reply(call, &response.base, NULL, 0);
}
