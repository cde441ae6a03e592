/* See admin_service.h. The controller is asked first, always: what somebody just created through another broker is
 * there at once. The answer of a broker that stands in for it may be older by what this broker has not heard yet.
 *
 * Thread: the front's loop. */
#include "services/broker/admin_service.h"

#include <string.h>

#include "controller/metadata/view.h"
#include "services/base/invariant.h"
#include "services/broker/admin_call.h"
#include "services/broker/front_internal.h"
#include "services/broker/read/delete_records.h"
#include "services/broker/storage_service.h"

/* ---- Reads, answered here ---- */

/* Answer, and free the answer; or finish with the failure. */
static void answer(RpcCall *call, Failure *failure, ProtobufCMessage *response) {
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  rpc_call_reply(call, response, NULL, 0);
  protobuf_c_message_free_unpacked(response, NULL);
}

static void get_topic_here(RpcCall *call, RpcMessage *request, Front *front) {
  Milena__V1__GetTopicResponse *response = NULL;
  Failure *failure = metadata_view_get_topic(front_image(front), rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void list_topics_here(RpcCall *call, RpcMessage *request, Front *front) {
  Milena__V1__ListTopicsResponse *response = NULL;
  Failure *failure = metadata_view_list_topics(front_image(front), rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void get_broker_here(RpcCall *call, RpcMessage *request, Front *front) {
  Milena__V1__GetBrokerResponse *response = NULL;
  Failure *failure = metadata_view_get_broker(front_image(front), rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void list_brokers_here(RpcCall *call, RpcMessage *request, Front *front) {
  Milena__V1__ListBrokersResponse *response = NULL;
  Failure *failure = metadata_view_list_brokers(front_image(front), rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void list_reassignments_here(RpcCall *call, RpcMessage *request, Front *front) {
  Milena__V1__ListReassignmentsResponse *response = NULL;
  Failure *failure = metadata_view_list_reassignments(front_image(front), rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

/* Names and addresses alone: what the controllers agree on is known to them. There are so few that they are one page.
 */
static void list_controllers_here(RpcCall *call, RpcMessage *request, Front *front) {
  (void)request;
  g_autoptr(GPtrArray) states = g_ptr_array_new_with_free_func(g_free);
  MetadataIter iter;
  metadata_iter_controllers(&iter, front_image(front));
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));) {
    Milena__V1__ControllerState *state = g_new(Milena__V1__ControllerState, 1);
    milena__v1__controller_state__init(state);
    state->id = controller->id;
    state->address = controller->address;
    state->peer_address = controller->peer_address;
    state->link_error = (char *)"this broker reaches no controller";
    g_ptr_array_add(states, state);
  }
  Milena__V1__ListControllersResponse response = MILENA__V1__LIST_CONTROLLERS_RESPONSE__INIT;
  response.n_controllers = states->len;
  response.controllers = (Milena__V1__ControllerState **)states->pdata;
  response.cluster_id = (char *)metadata_image_cluster_id(front_image(front));
  response.active_id = -1;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- Writes, and what of them can be sent twice ---- */

/* Created twice with one request_id is created once; without one of the caller's, this call gets its own. */
static RpcMessage *prepare_create_topic(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  Milena__V1__CreateTopicRequest body = *(const Milena__V1__CreateTopicRequest *)rpc_message_body(request);
  g_autofree char *id = g_uuid_string_random();
  *ret_dry = body.validate_only;
  gboolean given = *body.request_id != '\0';
  body.request_id = given ? body.request_id : id;
  RpcMessage *sent = given ? rpc_message_ref(request) : rpc_message_pack(&body.base, NULL, 0);
  *ret_repeat = rpc_message_ref(sent);
  return sent;
}

/* The id of the topic that is meant, or NULL: a repetition without it might meet one that was created in between. */
static const char *pin(Front *front, const char *name, const char *id) {
  const MetadataTopic *topic = NULL;
  g_autoptr(Failure) failure = metadata_image_find_topic(front_image(front), name, id, &topic);
  return failure ? NULL : topic->id;
}

static RpcMessage *prepare_delete_topic(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  Milena__V1__DeleteTopicRequest body = *(const Milena__V1__DeleteTopicRequest *)rpc_message_body(request);
  *ret_dry = body.validate_only;
  const char *id = pin(front, body.name, body.id);
  if (id) {
    body.id = (char *)id;
    *ret_repeat = rpc_message_pack(&body.base, NULL, 0);
  }
  return rpc_message_ref(request);
}

static RpcMessage *prepare_add_partitions(Front *front, RpcMessage *request, RpcMessage **ret_repeat,
                                          gboolean *ret_dry) {
  Milena__V1__AddPartitionsRequest body = *(const Milena__V1__AddPartitionsRequest *)rpc_message_body(request);
  *ret_dry = body.validate_only;
  const char *id = pin(front, body.name, body.id);
  if (id) {
    body.id = (char *)id;
    *ret_repeat = rpc_message_pack(&body.base, NULL, 0);
  }
  return rpc_message_ref(request);
}

/* These are not repeated: a second try would undo what somebody else set in between. */
static RpcMessage *prepare_update_topic(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__UpdateTopicRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

static RpcMessage *prepare_drain(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__DrainBrokerRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

static RpcMessage *prepare_undrain(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__UndrainBrokerRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

static RpcMessage *prepare_elect(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__ElectLeadersRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

static RpcMessage *prepare_reassign(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__ReassignPartitionsRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

static RpcMessage *prepare_cancel(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  (void)ret_repeat;
  *ret_dry = ((const Milena__V1__CancelReassignmentsRequest *)rpc_message_body(request))->validate_only;
  return rpc_message_ref(request);
}

/* One that was added is found by its folder. */
static RpcMessage *prepare_add_controller(Front *front, RpcMessage *request, RpcMessage **ret_repeat,
                                          gboolean *ret_dry) {
  (void)front;
  *ret_dry = ((const Milena__V1__AddControllerRequest *)rpc_message_body(request))->validate_only;
  *ret_repeat = rpc_message_ref(request);
  return rpc_message_ref(request);
}

static RpcMessage *prepare_remove_controller(Front *front, RpcMessage *request, RpcMessage **ret_repeat,
                                             gboolean *ret_dry) {
  (void)front;
  Milena__V1__RemoveControllerRequest body = *(const Milena__V1__RemoveControllerRequest *)rpc_message_body(request);
  g_autofree char *id = g_uuid_string_random();
  *ret_dry = body.validate_only;
  gboolean given = *body.request_id != '\0';
  body.request_id = given ? body.request_id : id;
  RpcMessage *sent = given ? rpc_message_ref(request) : rpc_message_pack(&body.base, NULL, 0);
  *ret_repeat = rpc_message_ref(sent);
  return sent;
}

/* Handing over to one controller twice is the same as once; to "the best one" it is not. */
static RpcMessage *prepare_transfer(Front *front, RpcMessage *request, RpcMessage **ret_repeat, gboolean *ret_dry) {
  (void)front;
  const Milena__V1__TransferLeadershipRequest *body = rpc_message_body(request);
  *ret_dry = body->validate_only;
  if (body->id != 0)
    *ret_repeat = rpc_message_ref(request);
  return rpc_message_ref(request);
}

/* ---- The calls ---- */

static const AdminMethod METHODS[] = {
    {"CreateTopic", ADMIN_WRITE, .prepare = prepare_create_topic},
    {"UpdateTopic", ADMIN_WRITE, .prepare = prepare_update_topic},
    {"DeleteTopic", ADMIN_WRITE, .prepare = prepare_delete_topic},
    {"AddPartitions", ADMIN_WRITE, .prepare = prepare_add_partitions},
    {"GetTopic", ADMIN_READ, .here = get_topic_here},
    {"ListTopics", ADMIN_READ, .here = list_topics_here},
    {"GetBroker", ADMIN_READ, .here = get_broker_here},
    {"ListBrokers", ADMIN_READ, .here = list_brokers_here},
    {"ListControllers", ADMIN_READ_ANY, .here = list_controllers_here},
    {"AddController", ADMIN_WRITE, .prepare = prepare_add_controller},
    {"RemoveController", ADMIN_WRITE, .prepare = prepare_remove_controller},
    {"TransferLeadership", ADMIN_WRITE, .prepare = prepare_transfer},
    {"DrainBroker", ADMIN_WRITE, .prepare = prepare_drain},
    {"UndrainBroker", ADMIN_WRITE, .prepare = prepare_undrain},
    {"ElectLeaders", ADMIN_WRITE, .prepare = prepare_elect},
    {"ReassignPartitions", ADMIN_WRITE, .prepare = prepare_reassign},
    {"ListReassignments", ADMIN_READ, .here = list_reassignments_here},
    {"CancelReassignments", ADMIN_WRITE, .prepare = prepare_cancel},
};

static void pass_on(RpcCall *call, RpcMessage *request, gpointer user_data) {
  const char *name = strrchr(rpc_call_method(call), '/') + 1;
  gsize i = 0;
  while (i < G_N_ELEMENTS(METHODS) && strcmp(METHODS[i].name, name) != 0)
    i++;
  INVARIANT(i < G_N_ELEMENTS(METHODS), "each method that is passed on is in the table");
  admin_call_begin(user_data, call, request, &METHODS[i]);
}

static void bootstrap_cluster(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  const char *cluster_id = metadata_image_cluster_id(front_image(user_data));
  Failure *failure =
      *cluster_id
          ? failure_new(FAILURE(ALREADY_BOOTSTRAPPED), "this broker belongs to the cluster %s already", cluster_id)
          : failure_new(FAILURE(NOT_BOOTSTRAPPED),
                        "a broker can't begin a cluster: ask one of the controllers that are to be its first");
  rpc_call_finish(call, failure);
}

const RpcMethodHandler ADMIN_SERVICE_HANDLERS[] = {
    {.name = "CreateTopic", .unary = pass_on},
    {.name = "GetTopic", .unary = pass_on},
    {.name = "ListTopics", .unary = pass_on},
    {.name = "UpdateTopic", .unary = pass_on},
    {.name = "DeleteTopic", .unary = pass_on},
    {.name = "AddPartitions", .unary = pass_on},
    {.name = "ListBrokers", .unary = pass_on},
    {.name = "GetBroker", .unary = pass_on},
    {.name = "BootstrapCluster", .unary = bootstrap_cluster},
    {.name = "ListControllers", .unary = pass_on},
    {.name = "AddController", .unary = pass_on},
    {.name = "RemoveController", .unary = pass_on},
    {.name = "TransferLeadership", .unary = pass_on},
    {.name = "DrainBroker", .unary = pass_on},
    {.name = "UndrainBroker", .unary = pass_on},
    {.name = "ElectLeaders", .unary = pass_on},
    {.name = "ReassignPartitions", .unary = pass_on},
    {.name = "ListReassignments", .unary = pass_on},
    {.name = "CancelReassignments", .unary = pass_on},
    {.name = "DeleteRecords", .unary = delete_records},
    {.name = "GetBrokerStorage", .unary = get_broker_storage},
    {NULL},
};

const RpcMethodHandler PEER_ADMIN_HANDLERS[] = {
    {.name = "DeleteRecords", .unary = delete_records},
    {.name = "GetBrokerStorage", .unary = get_broker_storage},
    {NULL},
};
