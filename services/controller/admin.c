/* AdminService; see admin.h.
 *
 * Reads answer from what is committed, once this is known to be the active controller still; writes run their command
 * against the tip, propose the records, and answer with the metadata right after them (proposal.h). Owning thread: the
 * host's loop.
 */
#include "services/controller/admin.h"

#include <string.h>

#include "controller/metadata/view.h"
#include "services/controller/partitions.h"
#include "services/controller/proposal.h"
#include "services/controller/services.h"

#define WARNING_KEYS_MOVE                                                                                              \
  "Keys move: a key's new records may go to another partition than its old ones, so their order across the change is " \
  "not kept."

/* ---- Writes ---- */

/* A write that waits to be committed. */
typedef struct TopicCall TopicCall;
struct TopicCall {
  RpcCall *call;
  char *name;                 /* of the topic that is the answer */
  char id[METADATA_ID_BYTES]; /* or its id, where it must be this incarnation */
  void (*reply)(const TopicCall *topic_call, Milena__V1__Topic *topic); /* @topic: borrowed; NULL when it is gone */
};

static void topic_call_free(gpointer data) {
  TopicCall *topic_call = data;
  g_free(topic_call->name);
  g_free(topic_call);
}

static void answer(RpcCall *call, MetadataImage *image, gpointer data) {
  (void)call;
  const TopicCall *topic_call = data;
  const MetadataTopic *found = metadata_image_topic_by_name(image, topic_call->name);
  Milena__V1__Topic *topic = found ? metadata_view_topic(found) : NULL;
  topic_call->reply(topic_call, topic);
  if (topic)
    milena__v1__topic__free_unpacked(topic, NULL);
}

/* Carry out a command that ended well or not.
 *
 * @failure: of the command; taken
 * @records: taken
 * @name: of the topic, borrowed; not read on failure
 * @id: its id where the answer tells it; NULL else */
static void carry_out(Host *host, RpcCall *call, Failure *failure, GPtrArray *records, const char *name, const char *id,
                      gboolean validate_only, void (*reply)(const TopicCall *, Milena__V1__Topic *)) {
  TopicCall *topic_call = g_new0(TopicCall, 1);
  topic_call->call = call;
  topic_call->name = failure ? NULL : g_strdup(name);
  g_strlcpy(topic_call->id, id && !failure ? id : "", sizeof topic_call->id);
  topic_call->reply = reply;
  proposal_carry_out(host, call, failure, records, validate_only, answer, topic_call, topic_call_free);
}

/* The topic of an answer was deleted between two commands of one moment. */
static gboolean finish_without_topic(const TopicCall *topic_call, const Milena__V1__Topic *topic) {
  if (topic)
    return FALSE;
  rpc_call_finish(
      topic_call->call,
      failure_set_resource(failure_new(FAILURE(UNKNOWN_TOPIC),
                                       "The topic \"%s\" was deleted by somebody else meanwhile.", topic_call->name),
                           "topic", topic_call->name));
  return TRUE;
}

static void reply_create(const TopicCall *topic_call, Milena__V1__Topic *topic) {
  if (finish_without_topic(topic_call, topic))
    return;
  Milena__V1__CreateTopicResponse response = MILENA__V1__CREATE_TOPIC_RESPONSE__INIT;
  response.topic = topic;
  rpc_call_reply(topic_call->call, &response.base, NULL, 0);
}

static void create_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  Host *host = ((const ControllerParts *)user_data)->host;
  const Milena__V1__CreateTopicRequest *request = rpc_message_body(message);
  GPtrArray *records = metadata_records_new();
  Failure *failure = host_check_active(host);
  MetadataContext context = host_context(host);
  if (!failure)
    failure = metadata_command_create_topic(host_tip(host), &context, request, records);
  carry_out(host, call, failure, records, request->name, NULL, request->validate_only, reply_create);
}

static void reply_update(const TopicCall *topic_call, Milena__V1__Topic *topic) {
  if (finish_without_topic(topic_call, topic))
    return;
  Milena__V1__UpdateTopicResponse response = MILENA__V1__UPDATE_TOPIC_RESPONSE__INIT;
  response.topic = topic;
  rpc_call_reply(topic_call->call, &response.base, NULL, 0);
}

static void update_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  Host *host = ((const ControllerParts *)user_data)->host;
  const Milena__V1__UpdateTopicRequest *request = rpc_message_body(message);
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_update_topic(host_tip(host), request, records, &topic);
  carry_out(host, call, failure, records, topic ? topic->name : NULL, NULL, request->validate_only, reply_update);
}

static void reply_delete(const TopicCall *topic_call, Milena__V1__Topic *topic) {
  (void)topic; /* gone, or created again already */
  Milena__V1__DeleteTopicResponse response = MILENA__V1__DELETE_TOPIC_RESPONSE__INIT;
  response.id = (char *)topic_call->id;
  rpc_call_reply(topic_call->call, &response.base, NULL, 0);
}

static void delete_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  Host *host = ((const ControllerParts *)user_data)->host;
  const Milena__V1__DeleteTopicRequest *request = rpc_message_body(message);
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_delete_topic(host_tip(host), request, records, &topic);
  carry_out(host, call, failure, records, topic ? topic->name : NULL, topic ? topic->id : NULL, request->validate_only,
            reply_delete);
}

static void reply_add_partitions(const TopicCall *topic_call, Milena__V1__Topic *topic) {
  if (finish_without_topic(topic_call, topic))
    return;
  Milena__V1__AddPartitionsResponse response = MILENA__V1__ADD_PARTITIONS_RESPONSE__INIT;
  response.topic = topic;
  response.warning = (char *)WARNING_KEYS_MOVE;
  rpc_call_reply(topic_call->call, &response.base, NULL, 0);
}

static void add_partitions(RpcCall *call, RpcMessage *message, gpointer user_data) {
  Host *host = ((const ControllerParts *)user_data)->host;
  const Milena__V1__AddPartitionsRequest *request = rpc_message_body(message);
  GPtrArray *records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  Failure *failure = host_check_active(host);
  if (!failure)
    failure = metadata_command_add_partitions(host_tip(host), request, records, &topic);
  carry_out(host, call, failure, records, topic ? topic->name : NULL, NULL, request->validate_only,
            reply_add_partitions);
}

/* ---- Reads ---- */

/* Make the answer of @image. */
typedef Failure *(*ReadAnswer)(MetadataImage *image, const void *request, ProtobufCMessage **ret_response);

/* A read that waits until this is known to be the active controller still: one that was cut off answers no old tale. */
typedef struct {
  RpcCall *call;
  RpcMessage *request;
  ReadAnswer answer;
} ReadCall;

static void read_done(const Failure *failure, MetadataImage *image, gpointer data) {
  ReadCall *read = data;
  ProtobufCMessage *response = NULL;
  Failure *refused = failure ? failure_copy(failure) : read->answer(image, rpc_message_body(read->request), &response);
  if (refused) {
    rpc_call_finish(read->call, refused);
  } else {
    rpc_call_reply(read->call, response, NULL, 0);
    protobuf_c_message_free_unpacked(response, NULL);
  }
  rpc_message_unref(read->request);
  g_free(read);
}

static void start_read(RpcCall *call, RpcMessage *message, gpointer user_data, ReadAnswer answer) {
  const ControllerParts *parts = user_data;
  ReadCall *read = g_new(ReadCall, 1);
  *read = (ReadCall){call, rpc_message_ref(message), answer};
  host_read(parts->host, read_done, read);
}

static Failure *answer_get_topic(MetadataImage *image, const void *request, ProtobufCMessage **ret_response) {
  return metadata_view_get_topic(image, request, (Milena__V1__GetTopicResponse **)ret_response);
}

static void get_topic(RpcCall *call, RpcMessage *message, gpointer user_data) {
  start_read(call, message, user_data, answer_get_topic);
}

static Failure *answer_list_topics(MetadataImage *image, const void *request, ProtobufCMessage **ret_response) {
  return metadata_view_list_topics(image, request, (Milena__V1__ListTopicsResponse **)ret_response);
}

static void list_topics(RpcCall *call, RpcMessage *message, gpointer user_data) {
  start_read(call, message, user_data, answer_list_topics);
}

static Failure *answer_get_broker(MetadataImage *image, const void *request, ProtobufCMessage **ret_response) {
  return metadata_view_get_broker(image, request, (Milena__V1__GetBrokerResponse **)ret_response);
}

static void get_broker(RpcCall *call, RpcMessage *message, gpointer user_data) {
  start_read(call, message, user_data, answer_get_broker);
}

static Failure *answer_list_brokers(MetadataImage *image, const void *request, ProtobufCMessage **ret_response) {
  return metadata_view_list_brokers(image, request, (Milena__V1__ListBrokersResponse **)ret_response);
}

static void list_brokers(RpcCall *call, RpcMessage *message, gpointer user_data) {
  start_read(call, message, user_data, answer_list_brokers);
}

/* ---- Controllers ---- */

static void bootstrap_cluster(RpcCall *call, RpcMessage *message, gpointer user_data) {
  quorum_admin_bootstrap(((const ControllerParts *)user_data)->quorum, call, message);
}

static void list_controllers(RpcCall *call, RpcMessage *message, gpointer user_data) {
  quorum_admin_list(((const ControllerParts *)user_data)->quorum, call, message);
}

static void add_controller(RpcCall *call, RpcMessage *message, gpointer user_data) {
  quorum_admin_add(((const ControllerParts *)user_data)->quorum, call, message);
}

static void remove_controller(RpcCall *call, RpcMessage *message, gpointer user_data) {
  quorum_admin_remove(((const ControllerParts *)user_data)->quorum, call, message);
}

static void transfer_leadership(RpcCall *call, RpcMessage *message, gpointer user_data) {
  quorum_admin_transfer(((const ControllerParts *)user_data)->quorum, call, message);
}

/* ---- Replicas ---- */

static Host *host_of(gpointer user_data) {
  return ((const ControllerParts *)user_data)->host;
}

static void elect_leaders(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_elect(host_of(user_data), call, rpc_message_body(message));
}

static void reassign_partitions(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_reassign(host_of(user_data), call, rpc_message_body(message));
}

static void cancel_reassignments(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_cancel(host_of(user_data), call, rpc_message_body(message));
}

static void list_reassignments(RpcCall *call, RpcMessage *message, gpointer user_data) {
  moves_list(((const ControllerParts *)user_data)->moves, call, message);
}

static void drain_broker(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_drain(host_of(user_data), call, rpc_message_body(message));
}

static void undrain_broker(RpcCall *call, RpcMessage *message, gpointer user_data) {
  partitions_undrain(host_of(user_data), call, rpc_message_body(message));
}

const RpcMethodHandler ADMIN_HANDLERS[] = {
    {.name = "CreateTopic", .unary = create_topic},
    {.name = "GetTopic", .unary = get_topic},
    {.name = "ListTopics", .unary = list_topics},
    {.name = "UpdateTopic", .unary = update_topic},
    {.name = "DeleteTopic", .unary = delete_topic},
    {.name = "AddPartitions", .unary = add_partitions},
    {.name = "ListBrokers", .unary = list_brokers},
    {.name = "GetBroker", .unary = get_broker},
    {.name = "DrainBroker", .unary = drain_broker},
    {.name = "UndrainBroker", .unary = undrain_broker},
    {.name = "ElectLeaders", .unary = elect_leaders},
    {.name = "ReassignPartitions", .unary = reassign_partitions},
    {.name = "ListReassignments", .unary = list_reassignments},
    {.name = "CancelReassignments", .unary = cancel_reassignments},
    {.name = "BootstrapCluster", .unary = bootstrap_cluster},
    {.name = "ListControllers", .unary = list_controllers},
    {.name = "AddController", .unary = add_controller},
    {.name = "RemoveController", .unary = remove_controller},
    {.name = "TransferLeadership", .unary = transfer_leadership},
    {.name = NULL},
};
