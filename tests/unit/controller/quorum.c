/* See quorum.h. */
#include "tests/unit/controller/quorum.h"

#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "tests/shim/shim.h"

#define CALL_US ((gint64)20 * G_USEC_PER_SEC)
#define PATIENCE_US ((gint64)60 * G_USEC_PER_SEC)
#define SESSION_MS 20000

/* ---- Members ---- */

void quorum_init(Quorum *quorum) {
  *quorum = (Quorum){.client = rpc_client_new(NULL), .snapshot_entries = 1000};
  for (guint id = 1; id <= QUORUM_MAX; id++) {
    Member *member = &quorum->members[id];
    *member = (Member){.listen = g_strdup("127.0.0.1:0"), .peer_listen = g_strdup("127.0.0.1:0")};
    quorum_lose_disk(quorum, id);
  }
}

void quorum_lose_disk(Quorum *quorum, guint id) {
  Member *member = &quorum->members[id];
  g_free(member->folder);
  member->folder = g_strdup_printf("%s/controller-%u-XXXXXX", shim_temp_dir(), id);
  ASSERT_TRUE(g_mkdtemp(member->folder) != NULL);
}

static void move_to(Member *member, const char *listen, const char *peer_listen) {
  g_free(member->listen);
  g_free(member->peer_listen);
  member->listen = g_strdup(listen);
  member->peer_listen = g_strdup(peer_listen);
}

void quorum_move(Quorum *quorum, guint id) {
  move_to(&quorum->members[id], "127.0.0.1:0", "127.0.0.1:0");
}

void quorum_start(Quorum *quorum, guint id) {
  Member *member = &quorum->members[id];
  ControllerOptions options = {
      .id = (gint32)id,
      .listen = member->listen,
      .peer_listen = member->peer_listen,
      .advertise = "",
      .peer_advertise = "",
      .data_dir = member->folder,
      .cluster_id = "",
      .session_timeout_ms = SESSION_MS,
      .heartbeat_interval_ms = SESSION_MS / 4,
      .snapshot_entries = quorum->snapshot_entries,
      .drain_grace_ms = 1000,
  };
  rpc_client_forget(quorum->client, member->peer_listen); /* no channel waits because it was away */
  g_autoptr(Failure) failure = controller_start(&options, &member->controller);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
  else
    move_to(member, controller_address(member->controller), controller_peer_address(member->controller));
}

void quorum_stop(Quorum *quorum, guint id) {
  g_clear_pointer(&quorum->members[id].controller, controller_stop);
}

void quorum_clear(Quorum *quorum) {
  g_clear_pointer(&quorum->client, rpc_client_free);
  for (guint id = 1; id <= QUORUM_MAX; id++) {
    Member *member = &quorum->members[id];
    quorum_stop(quorum, id);
    g_free(member->folder);
    g_free(member->listen);
    g_free(member->peer_listen);
  }
}

const char *quorum_peer_address(const Quorum *quorum, guint id) {
  return quorum->members[id].peer_listen;
}

/* ---- Calls ---- */

static Failure *call(Quorum *quorum, guint id, const ProtobufCServiceDescriptor *service, const char *method,
                     const ProtobufCMessage *request, RpcMessage **ret_response) {
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = rpc_client_unary_sync(quorum->client, quorum->members[id].peer_listen, service, method, request,
                                           g_get_monotonic_time() + CALL_US, &response);
  if (!failure && ret_response)
    *ret_response = g_steal_pointer(&response);
  return failure;
}

Failure *quorum_call(Quorum *quorum, guint id, const char *method, const ProtobufCMessage *request,
                     RpcMessage **ret_response) {
  return call(quorum, id, &milena__v1__admin_service__descriptor, method, request, ret_response);
}

static gboolean is_elsewhere(const Failure *failure) {
  FailureReason reason = failure ? failure_reason(failure) : FAILURE(UNSPECIFIED);
  return reason == FAILURE(NOT_CONTROLLER) || reason == FAILURE(CONTROLLER_NOT_AVAILABLE) ||
         reason == FAILURE(NOT_BOOTSTRAPPED) || reason == FAILURE(DRAINING);
}

/* Of whoever is active, tried in turns. */
static Failure *ask(Quorum *quorum, const ProtobufCServiceDescriptor *service, const char *method,
                    const ProtobufCMessage *request, RpcMessage **ret_response) {
  gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
  Failure *failure = NULL;
  do {
    for (guint id = 1; id <= QUORUM_MAX; id++) {
      if (!quorum->members[id].controller)
        continue;
      failure_free(failure);
      failure = call(quorum, id, service, method, request, ret_response);
      if (!is_elsewhere(failure))
        return failure;
    }
    g_usleep(5000);
  } while (g_get_monotonic_time() < until_us);
  return failure;
}

Failure *quorum_ask(Quorum *quorum, const char *method, const ProtobufCMessage *request, RpcMessage **ret_response) {
  return ask(quorum, &milena__v1__admin_service__descriptor, method, request, ret_response);
}

RpcMessage *quorum_list(Quorum *quorum, guint asked, guint id, const Milena__V1__ControllerState **ret_state) {
  Milena__V1__ListControllersRequest request = MILENA__V1__LIST_CONTROLLERS_REQUEST__INIT;
  RpcMessage *message = NULL;
  g_autoptr(Failure) failure = quorum_call(quorum, asked, "ListControllers", &request.base, &message);
  if (failure) {
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
    return NULL;
  }
  const Milena__V1__ListControllersResponse *response = rpc_message_body(message);
  *ret_state = NULL;
  for (gsize i = 0; i < response->n_controllers; i++)
    if (response->controllers[i]->id == (gint32)id)
      *ret_state = response->controllers[i];
  return message;
}

/* It is active: it answers a read that only the active one may. */
static gboolean is_active(Quorum *quorum, guint id) {
  Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  g_autoptr(Failure) failure = quorum_call(quorum, id, "ListTopics", &request.base, NULL);
  return !failure;
}

guint quorum_active(Quorum *quorum, guint except) {
  gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
  do {
    for (guint id = 1; id <= QUORUM_MAX; id++)
      if (id != except && quorum->members[id].controller && is_active(quorum, id))
        return id;
    g_usleep(5000);
  } while (g_get_monotonic_time() < until_us);
  shim_fail(__FILE__, __LINE__, "no controller became active");
  return 0;
}

/* ---- Changes ---- */

Failure *quorum_bootstrap(Quorum *quorum, guint asked, guint count, const char *request_id, RpcMessage **ret_response) {
  Milena__V1__BootstrapClusterRequest request = MILENA__V1__BOOTSTRAP_CLUSTER_REQUEST__INIT;
  Milena__V1__InitialController bodies[QUORUM_MAX], *pointers[QUORUM_MAX];
  for (guint i = 0; i < count; i++) {
    bodies[i] = (Milena__V1__InitialController)MILENA__V1__INITIAL_CONTROLLER__INIT;
    bodies[i].id = (gint32)(i + 1);
    bodies[i].peer_address = (char *)quorum_peer_address(quorum, i + 1);
    pointers[i] = &bodies[i];
  }
  request.n_controllers = count;
  request.controllers = pointers;
  request.request_id = (char *)request_id;
  return quorum_call(quorum, asked, "BootstrapCluster", &request.base, ret_response);
}

void quorum_begin(Quorum *quorum, guint count) {
  for (guint id = 1; id <= count; id++)
    quorum_start(quorum, id);
  g_autoptr(Failure) failure = quorum_bootstrap(quorum, 1, count, "begin", NULL);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
}

Failure *quorum_add(Quorum *quorum, guint id, RpcMessage **ret_response) {
  Milena__V1__AddControllerRequest request = MILENA__V1__ADD_CONTROLLER_REQUEST__INIT;
  request.id = (gint32)id;
  request.peer_address = (char *)quorum_peer_address(quorum, id);
  return quorum_ask(quorum, "AddController", &request.base, ret_response);
}

Failure *quorum_remove(Quorum *quorum, guint id) {
  Milena__V1__RemoveControllerRequest request = MILENA__V1__REMOVE_CONTROLLER_REQUEST__INIT;
  request.id = (gint32)id;
  return quorum_ask(quorum, "RemoveController", &request.base, NULL);
}

Failure *quorum_transfer(Quorum *quorum, guint id) {
  Milena__V1__TransferLeadershipRequest request = MILENA__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
  request.id = (gint32)id;
  return quorum_ask(quorum, "TransferLeadership", &request.base, NULL);
}

/* ---- Metadata ---- */

Failure *quorum_ask_as_node(Quorum *quorum, const char *method, const ProtobufCMessage *request,
                            RpcMessage **ret_response) {
  return ask(quorum, &milena__internal__v1__controller_service__descriptor, method, request, ret_response);
}

void quorum_add_broker(Quorum *quorum) {
  const ProtobufCServiceDescriptor *service = &milena__internal__v1__controller_service__descriptor;
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = 1;
  request.incarnation = (char *)"00000000-0000-4000-8000-000000000001";
  request.process_id = (char *)"00000000-0000-4000-8000-000000000002";
  request.address = (char *)"127.0.0.1:7600";
  request.peer_address = (char *)"127.0.0.1:7650";
  g_autoptr(RpcMessage) message = NULL;
  EXPECT_NULL(ask(quorum, service, "RegisterNode", &request.base, &message));
  if (!message)
    return;
  Milena__Internal__V1__HeartbeatRequest heartbeat = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  heartbeat.kind = request.kind;
  heartbeat.id = 1;
  heartbeat.epoch = heartbeat.metadata_version =
      ((const Milena__Internal__V1__RegisterNodeResponse *)rpc_message_body(message))->epoch;
  EXPECT_NULL(ask(quorum, service, "Heartbeat", &heartbeat.base, NULL));
}

Failure *quorum_create_topic(Quorum *quorum, const char *name) {
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.partitions = 1;
  request.request_id = (char *)name;
  return quorum_ask(quorum, "CreateTopic", &request.base, NULL);
}

static RpcMessage *get_metadata(Quorum *quorum, guint id) {
  Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
  RpcMessage *message = NULL;
  g_autoptr(Failure) failure =
      call(quorum, id, &milena__v1__metadata_service__descriptor, "GetMetadata", &request.base, &message);
  if (failure)
    shim_fail(__FILE__, __LINE__, "%s", failure_message(failure));
  return message;
}

guint quorum_count_topics(Quorum *quorum, guint id) {
  g_autoptr(RpcMessage) message = get_metadata(quorum, id);
  return message ? (guint)((const Milena__V1__GetMetadataResponse *)rpc_message_body(message))->cluster->n_topics : 0;
}

guint quorum_count_controllers(Quorum *quorum, guint id) {
  g_autoptr(RpcMessage) message = get_metadata(quorum, id);
  return message ? (guint)((const Milena__V1__GetMetadataResponse *)rpc_message_body(message))->cluster->n_controllers
                 : 0;
}
