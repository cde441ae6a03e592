/* See admin_service.h. The controller is asked first, always: what somebody just created through another broker is
 * there at once. The answer of a broker that stands in for it may be older by what this broker has not heard yet.
 *
 * Thread: the front's loop. */
#include "services/broker/admin_service.h"

#include "controller/metadata/view.h"
#include "services/broker/front_internal.h"

/* What the caller of a write hears: this broker was reached, the controller was not. */
static Failure *controller_away(const char *why) {
  return failure_set_retry_delay(failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                                             "this broker reaches no active controller now: nothing was changed, try "
                                             "again soon (%s)",
                                             why),
                                 500);
}

static char *route_to_controller(gpointer data, Failure **ret_failure) {
  Front *front = data;
  if (front->controller)
    return g_strdup(front->controller);
  *ret_failure = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE), "none is known");
  return NULL;
}

/* Answer, and free the answer; or finish with the failure. */
static void answer(RpcCall *call, Failure *failure, ProtobufCMessage *response) {
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  rpc_call_reply(call, response, NULL, 0);
  protobuf_c_message_free_unpacked(response, NULL);
}

static void get_topic_here(RpcCall *call, RpcMessage *request, const MetadataImage *image) {
  Milena__V1__GetTopicResponse *response = NULL;
  Failure *failure = metadata_view_get_topic(image, rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void list_topics_here(RpcCall *call, RpcMessage *request, const MetadataImage *image) {
  Milena__V1__ListTopicsResponse *response = NULL;
  Failure *failure = metadata_view_list_topics(image, rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void get_broker_here(RpcCall *call, RpcMessage *request, const MetadataImage *image) {
  Milena__V1__GetBrokerResponse *response = NULL;
  Failure *failure = metadata_view_get_broker(image, rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

static void list_brokers_here(RpcCall *call, RpcMessage *request, const MetadataImage *image) {
  Milena__V1__ListBrokersResponse *response = NULL;
  Failure *failure = metadata_view_list_brokers(image, rpc_message_body(request), &response);
  answer(call, failure, (ProtobufCMessage *)response);
}

/* The calls that change nothing. */
static const struct {
  const char *method;
  void (*here)(RpcCall *call, RpcMessage *request, const MetadataImage *image);
} READS[] = {
    {"GetTopic", get_topic_here},
    {"ListTopics", list_topics_here},
    {"GetBroker", get_broker_here},
    {"ListBrokers", list_brokers_here},
};

static gboolean stand_in(RpcCall *call, RpcMessage *request, const char *method, const Failure *failure,
                         gpointer data) {
  for (gsize i = 0; i < G_N_ELEMENTS(READS); i++) {
    if (!g_str_equal(READS[i].method, method))
      continue;
    READS[i].here(call, request, front_image(data));
    return TRUE;
  }
  rpc_call_finish(call, controller_away(failure_message(failure)));
  return TRUE;
}

RpcForward *admin_forward_new(Front *front) {
  RpcForward *forward = g_new0(RpcForward, 1);
  *forward = (RpcForward){
      .client = front_client(front), .route = route_to_controller, .stand_in = stand_in, .route_data = front};
  return forward;
}

const RpcMethodHandler ADMIN_SERVICE_HANDLERS[] = {
    {.name = "CreateTopic", .unary = rpc_forward_unary},
    {.name = "GetTopic", .unary = rpc_forward_unary},
    {.name = "ListTopics", .unary = rpc_forward_unary},
    {.name = "UpdateTopic", .unary = rpc_forward_unary},
    {.name = "DeleteTopic", .unary = rpc_forward_unary},
    {.name = "AddPartitions", .unary = rpc_forward_unary},
    {.name = "ListBrokers", .unary = rpc_forward_unary},
    {.name = "GetBroker", .unary = rpc_forward_unary},
    {NULL},
};
