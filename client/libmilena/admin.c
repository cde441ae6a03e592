/* Administration: plain calls that wait, on the caller's thread. See milena.h. Keeps no state: client_call finds a
 * broker and asks others where that does no harm. */
#include <string.h>

#include "client/libmilena/client.h"
#include "client/libmilena/convert.h"
#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "services/base/times.h"

/* Of one page of a listing. */
#define PAGE_SIZE 1000

static MilenaError *admin_call(MilenaClient *client, const char *method, const ProtobufCMessage *request, CallKind kind,
                               gint64 deadline_us, RpcMessage **ret_response) {
  return client_call(client, &milena__v1__admin_service__descriptor, method, request, kind, deadline_us, ret_response);
}

static MilenaError *need_name(const char *name) {
  if (name != NULL && name[0] != '\0')
    return NULL;
  return milena_error_new(FAILURE(INVALID_FIELD), "a topic needs a name");
}

static MilenaError *no_topic_in_answer(const char *method) {
  return milena_error_new(FAILURE(INTERNAL), "%s answered without a topic: ask for the broker's version", method);
}

/* @proto: of an answer, may be NULL. @ret_topic: may be NULL. */
static MilenaError *take_topic(const Milena__V1__Topic *proto, const char *method, MilenaTopic **ret_topic) {
  if (ret_topic == NULL)
    return NULL;
  if (proto == NULL)
    return no_topic_in_answer(method);
  *ret_topic = convert_topic(proto);
  return NULL;
}

/* ---- topics ---- */

MilenaError *milena_admin_create_topic(MilenaClient *client, const MilenaNewTopic *topic, int32_t timeout_ms,
                                       MilenaTopic **ret_topic) {
  MilenaError *error = need_name(topic->name);
  if (error != NULL)
    return error;
  g_autofree char *request_id = g_uuid_string_random();
  TopicConfigProto config;
  convert_to_config(&topic->config, &config);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)topic->name;
  request.partitions = topic->partitions;
  request.replication_factor = topic->replication_factor;
  request.config = &config.config;
  request.validate_only = topic->validate_only;
  request.request_id = request_id; /* a retry is answered as the first try */
  g_autoptr(RpcMessage) response = NULL;
  error = admin_call(client, "CreateTopic", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms),
                     &response);
  if (error != NULL)
    return error;
  const Milena__V1__CreateTopicResponse *body = rpc_message_body(response);
  return take_topic(body->topic, "CreateTopic", ret_topic);
}

/* One page. @token: owned; replaced by the next page's, NULL on the last. */
static MilenaError *list_topics_page(MilenaClient *client, gint64 deadline_us, char **token, GArray *topics) {
  Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  request.page_size = PAGE_SIZE;
  if (*token != NULL)
    request.page_token = *token;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = admin_call(client, "ListTopics", &request.base, CALL_READ, deadline_us, &response);
  if (error != NULL)
    return error;
  const Milena__V1__ListTopicsResponse *body = rpc_message_body(response);
  for (gsize i = 0; i < body->n_topics; i++) {
    MilenaTopic topic;
    convert_topic_into(body->topics[i], &topic);
    g_array_append_val(topics, topic);
  }
  g_free(*token);
  *token = body->next_page_token[0] != '\0' ? g_strdup(body->next_page_token) : NULL;
  return NULL;
}

MilenaError *milena_admin_list_topics(MilenaClient *client, int32_t timeout_ms, MilenaTopicList **ret_list) {
  gint64 deadline_us = client_deadline_us(timeout_ms);
  GArray *topics = g_array_new(FALSE, FALSE, sizeof(MilenaTopic));
  g_autofree char *token = NULL;
  MilenaError *error;
  do
    error = list_topics_page(client, deadline_us, &token, topics);
  while (error == NULL && token != NULL);
  MilenaTopicList *list = g_new0(MilenaTopicList, 1);
  list->count = topics->len;
  list->topics = (MilenaTopic *)g_array_free(topics, FALSE);
  if (error != NULL)
    milena_topic_list_free(list);
  else
    *ret_list = list;
  return error;
}

MilenaError *milena_admin_describe_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                         MilenaTopic **ret_topic) {
  MilenaError *error = need_name(name);
  if (error != NULL)
    return error;
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  g_autoptr(RpcMessage) response = NULL;
  error = admin_call(client, "GetTopic", &request.base, CALL_READ, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetTopicResponse *body = rpc_message_body(response);
  return take_topic(body->topic, "GetTopic", ret_topic);
}

MilenaError *milena_admin_alter_topic(MilenaClient *client, const char *name, const MilenaTopicConfig *config,
                                      const char *const *fields, size_t field_count, bool validate_only,
                                      int32_t timeout_ms, MilenaTopic **ret_topic) {
  MilenaError *error = need_name(name);
  if (error != NULL)
    return error;
  TopicConfigProto proto;
  convert_to_config(config, &proto);
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = field_count;
  mask.paths = (char **)fields;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.config = &proto.config;
  request.update_mask = &mask;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  /* It sets the named fields to these values: a second time changes nothing, unless somebody else changed them in
   * between, whose change then was the earlier one (milena.h says so). */
  error = admin_call(client, "UpdateTopic", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms),
                     &response);
  if (error != NULL)
    return error;
  const Milena__V1__UpdateTopicResponse *body = rpc_message_body(response);
  return take_topic(body->topic, "UpdateTopic", ret_topic);
}

MilenaError *milena_admin_delete_topic(MilenaClient *client, const char *name, bool validate_only, int32_t timeout_ms) {
  MilenaError *error = need_name(name);
  if (error != NULL)
    return error;
  Milena__V1__DeleteTopicRequest request = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.validate_only = validate_only;
  return admin_call(client, "DeleteTopic", &request.base, CALL_WRITE, client_deadline_us(timeout_ms), NULL);
}

MilenaError *milena_admin_add_partitions(MilenaClient *client, const char *name, uint32_t total_partitions,
                                         bool validate_only, int32_t timeout_ms, MilenaTopic **ret_topic,
                                         char **ret_warning) {
  MilenaError *error = need_name(name);
  if (error != NULL)
    return error;
  Milena__V1__AddPartitionsRequest request = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
  request.name = (char *)name;
  request.total_partitions = total_partitions;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  error = admin_call(client, "AddPartitions", &request.base, CALL_WRITE, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__AddPartitionsResponse *body = rpc_message_body(response);
  error = take_topic(body->topic, "AddPartitions", ret_topic);
  if (error == NULL && ret_warning != NULL)
    *ret_warning = g_strdup(body->warning);
  return error;
}

void milena_string_free(char *string) {
  g_free(string);
}

/* ---- brokers, the cluster ---- */

static MilenaError *list_brokers_page(MilenaClient *client, gint64 deadline_us, char **token, GArray *brokers) {
  Milena__V1__ListBrokersRequest request = MILENA__V1__LIST_BROKERS_REQUEST__INIT;
  request.page_size = PAGE_SIZE;
  if (*token != NULL)
    request.page_token = *token;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = admin_call(client, "ListBrokers", &request.base, CALL_READ, deadline_us, &response);
  if (error != NULL)
    return error;
  const Milena__V1__ListBrokersResponse *body = rpc_message_body(response);
  for (gsize i = 0; i < body->n_brokers; i++) {
    MilenaBroker broker;
    convert_broker_into(body->brokers[i], &broker);
    g_array_append_val(brokers, broker);
  }
  g_free(*token);
  *token = body->next_page_token[0] != '\0' ? g_strdup(body->next_page_token) : NULL;
  return NULL;
}

MilenaError *milena_admin_list_brokers(MilenaClient *client, int32_t timeout_ms, MilenaBrokerList **ret_list) {
  gint64 deadline_us = client_deadline_us(timeout_ms);
  GArray *brokers = g_array_new(FALSE, FALSE, sizeof(MilenaBroker));
  g_autofree char *token = NULL;
  MilenaError *error;
  do
    error = list_brokers_page(client, deadline_us, &token, brokers);
  while (error == NULL && token != NULL);
  MilenaBrokerList *list = g_new0(MilenaBrokerList, 1);
  list->count = brokers->len;
  list->brokers = (MilenaBroker *)g_array_free(brokers, FALSE);
  if (error != NULL)
    milena_broker_list_free(list);
  else
    *ret_list = list;
  return error;
}

MilenaError *milena_admin_get_broker(MilenaClient *client, int32_t id, int32_t timeout_ms, MilenaBroker **ret_broker) {
  Milena__V1__GetBrokerRequest request = MILENA__V1__GET_BROKER_REQUEST__INIT;
  request.id = id;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      admin_call(client, "GetBroker", &request.base, CALL_READ, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetBrokerResponse *body = rpc_message_body(response);
  if (body->broker == NULL)
    return milena_error_new(FAILURE(INTERNAL), "GetBroker answered without a broker: ask for the broker's version");
  *ret_broker = convert_broker(body->broker);
  return NULL;
}

/* GetMetadata, checked to hold a cluster. @names: of topics; NULL and 0: all */
static MilenaError *get_metadata(MilenaClient *client, char **names, size_t count, int32_t timeout_ms,
                                 RpcMessage **ret_response) {
  Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
  request.topics = names;
  request.n_topics = count;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = client_call(client, &milena__v1__metadata_service__descriptor, "GetMetadata", &request.base,
                                   CALL_READ, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetMetadataResponse *body = rpc_message_body(response);
  if (body->cluster == NULL)
    return milena_error_new(FAILURE(INTERNAL), "GetMetadata answered without a cluster: ask for the broker's version");
  *ret_response = g_steal_pointer(&response);
  return NULL;
}

MilenaError *milena_admin_describe_cluster(MilenaClient *client, int32_t timeout_ms, MilenaCluster **ret_cluster) {
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = get_metadata(client, NULL, 0, timeout_ms, &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetMetadataResponse *body = rpc_message_body(response);
  *ret_cluster = convert_cluster(body->cluster);
  return NULL;
}

MilenaError *milena_admin_find_topic(MilenaClient *client, const char *name, int32_t timeout_ms,
                                     MilenaTopic **ret_topic) {
  MilenaError *error = need_name(name);
  if (error != NULL)
    return error;
  char *names[] = {(char *)name};
  g_autoptr(RpcMessage) response = NULL;
  error = get_metadata(client, names, 1, timeout_ms, &response);
  if (error != NULL)
    return error;
  const Milena__V1__GetMetadataResponse *body = rpc_message_body(response);
  return take_topic(body->cluster->n_topics > 0 ? body->cluster->topics[0] : NULL, "GetMetadata", ret_topic);
}

/* ---- offsets ---- */

static MilenaError *check_queries(const MilenaOffsetQuery *queries, size_t count) {
  PositionProto ignored;
  for (size_t i = 0; i < count; i++) {
    MilenaError *error = need_name(queries[i].topic);
    if (error != NULL)
      return error;
    if (!convert_to_position(queries[i].position, &ignored))
      return milena_error_new(FAILURE(INVALID_FIELD), "the position of query %zu is none", i);
  }
  return NULL;
}

/* The queries of a request: its messages, and what they point at. */
typedef struct {
  Milena__V1__OffsetQuery query;
  PositionProto position;
} QueryProto;

static GPtrArray *pack_queries(const MilenaOffsetQuery *queries, size_t count) {
  GPtrArray *protos = g_ptr_array_new_with_free_func(g_free);
  for (size_t i = 0; i < count; i++) {
    QueryProto *proto = g_new(QueryProto, 1);
    milena__v1__offset_query__init(&proto->query);
    proto->query.topic = (char *)queries[i].topic;
    proto->query.partition = queries[i].partition;
    convert_to_position(queries[i].position, &proto->position);
    proto->query.position = &proto->position.position;
    g_ptr_array_add(protos, proto);
  }
  return protos;
}

static MilenaOffsetResult *take_offsets(const Milena__V1__ListOffsetsResponse *body) {
  MilenaOffsetResult *results = g_new0(MilenaOffsetResult, body->n_results);
  for (gsize i = 0; i < body->n_results; i++) {
    Failure *failure = failure_from_status(body->results[i]->status);
    results[i].offset = failure == NULL ? body->results[i]->offset : -1;
    results[i].timestamp_ms = times_timestamp_ms(body->results[i]->timestamp, 0);
    results[i].error = milena_error_take(failure, OUTCOME_NOT_WRITTEN);
  }
  return results;
}

MilenaError *milena_admin_list_offsets(MilenaClient *client, const MilenaOffsetQuery *queries, size_t count,
                                       int32_t timeout_ms, MilenaOffsetResult **ret_results) {
  MilenaError *error = check_queries(queries, count);
  if (error != NULL)
    return error;
  g_autoptr(GPtrArray) protos = pack_queries(queries, count);
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = count;
  request.queries = (Milena__V1__OffsetQuery **)protos->pdata; /* each begins with its query */
  g_autoptr(RpcMessage) response = NULL;
  error = client_call(client, &milena__v1__consumer_service__descriptor, "ListOffsets", &request.base, CALL_READ,
                      client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__ListOffsetsResponse *body = rpc_message_body(response);
  if (body->n_results != count)
    return milena_error_new(FAILURE(INTERNAL), "ListOffsets answered %zu of %zu queries: ask for the broker's version",
                            body->n_results, count);
  *ret_results = take_offsets(body);
  return NULL;
}

void milena_offset_results_free(MilenaOffsetResult *results, size_t count) {
  for (size_t i = 0; results != NULL && i < count; i++)
    milena_error_free(results[i].error);
  g_free(results);
}
