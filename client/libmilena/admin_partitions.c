/* Administration of replicas: plain calls that wait, on the caller's thread. See milena.h. Keeps no state. */
#include "client/libmilena/client.h"
#include "client/libmilena/convert.h"
#include "milena/v1/admin_service.pb-c.h"

/* Of one page of a listing. */
#define PAGE_SIZE 1000

static MilenaError *call(MilenaClient *client, const char *method, const ProtobufCMessage *request, CallKind kind,
                         gint64 deadline_us, RpcMessage **ret_response) {
  return client_call(client, &milena__v1__admin_service__descriptor, method, request, kind, deadline_us, ret_response);
}

/* ---- Brokers in maintenance ---- */

static MilenaError *take_broker(const Milena__V1__Broker *proto, const char *method, MilenaBroker **ret_broker) {
  if (ret_broker == NULL)
    return NULL;
  if (proto == NULL)
    return milena_error_new(FAILURE(INTERNAL), "%s answered without a broker: ask for the broker's version", method);
  *ret_broker = convert_broker(proto);
  return NULL;
}

MilenaError *milena_admin_drain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                       MilenaBroker **ret_broker) {
  Milena__V1__DrainBrokerRequest request = MILENA__V1__DRAIN_BROKER_REQUEST__INIT;
  request.id = id;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call(client, "DrainBroker", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__DrainBrokerResponse *body = rpc_message_body(response);
  return take_broker(body->broker, "DrainBroker", ret_broker);
}

MilenaError *milena_admin_undrain_broker(MilenaClient *client, int32_t id, bool validate_only, int32_t timeout_ms,
                                         MilenaBroker **ret_broker) {
  Milena__V1__UndrainBrokerRequest request = MILENA__V1__UNDRAIN_BROKER_REQUEST__INIT;
  request.id = id;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call(client, "UndrainBroker", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__UndrainBrokerResponse *body = rpc_message_body(response);
  return take_broker(body->broker, "UndrainBroker", ret_broker);
}

/* ---- Elections ---- */

void milena_elected_list_free(MilenaElectedList *list) {
  if (list == NULL)
    return;
  for (size_t i = 0; i < list->count; i++)
    g_free(list->leaders[i].topic);
  g_free(list->leaders);
  g_free(list);
}

static MilenaElectedList *take_elected(const Milena__V1__ElectLeadersResponse *body) {
  MilenaElectedList *list = g_new0(MilenaElectedList, 1);
  list->leaders = g_new0(MilenaElectedLeader, body->n_elected);
  list->count = body->n_elected;
  for (gsize i = 0; i < body->n_elected; i++) {
    const Milena__V1__ElectedLeader *elected = body->elected[i];
    list->leaders[i] =
        (MilenaElectedLeader){g_strdup(elected->topic), elected->partition, elected->leader_id, elected->unclean};
  }
  return list;
}

MilenaError *milena_admin_elect_leaders(MilenaClient *client, MilenaElection election, const char *topic,
                                        const int32_t *partitions, size_t count, bool validate_only, int32_t timeout_ms,
                                        MilenaElectedList **ret_list) {
  Milena__V1__ElectLeadersRequest request = MILENA__V1__ELECT_LEADERS_REQUEST__INIT;
  request.type = (Milena__V1__ElectionType)election;
  if (topic != NULL)
    request.topic = (char *)topic;
  request.n_partitions = count;
  request.partitions = (int32_t *)partitions;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error =
      call(client, "ElectLeaders", &request.base, CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), &response);
  if (error == NULL && ret_list != NULL)
    *ret_list = take_elected(rpc_message_body(response));
  return error;
}

/* ---- Reassignments ---- */

static void reassignment_clear(gpointer data) {
  MilenaReassignment *reassignment = data;
  g_free(reassignment->topic);
  g_free(reassignment->target_replicas);
  g_free(reassignment->pending_replicas);
  g_free(reassignment->pending_remaining);
  g_free(reassignment->pending_bytes);
  g_free(reassignment->pending_seconds);
  g_free(reassignment->replicas_before);
}

void milena_reassignment_list_free(MilenaReassignmentList *list) {
  if (list == NULL)
    return;
  for (size_t i = 0; i < list->count; i++)
    reassignment_clear(&list->reassignments[i]);
  g_free(list->reassignments);
  g_free(list);
}

static int32_t *copy_ids(const int32_t *ids, size_t count) {
  return g_memdup2(ids, count * sizeof *ids);
}

static int64_t offsets_of(const Milena__V1__ReplicaProgress *progress) {
  return progress->remaining_offsets;
}

static int64_t bytes_of(const Milena__V1__ReplicaProgress *progress) {
  return progress->remaining_bytes_presence_case ==
                 MILENA__V1__REPLICA_PROGRESS__REMAINING_BYTES_PRESENCE_REMAINING_BYTES
             ? progress->remaining_bytes
             : -1;
}

static int64_t seconds_of(const Milena__V1__ReplicaProgress *progress) {
  return progress->time_left != NULL ? progress->time_left->seconds : -1;
}

/* Of each pending replica; -1 where that is not told. */
static int64_t *take_pending(const Milena__V1__Reassignment *proto,
                             int64_t (*part)(const Milena__V1__ReplicaProgress *progress)) {
  int64_t *told = g_new(int64_t, MAX(proto->n_pending_replicas, 1));
  for (size_t i = 0; i < proto->n_pending_replicas; i++) {
    told[i] = -1;
    for (size_t j = 0; j < proto->n_progress; j++)
      if (proto->progress[j]->broker_id == proto->pending_replicas[i])
        told[i] = part(proto->progress[j]);
  }
  return told;
}

static void add_reassignments(Milena__V1__Reassignment *const *protos, size_t count, GArray *reassignments) {
  for (size_t i = 0; i < count; i++) {
    MilenaReassignment reassignment = {
        .topic = g_strdup(protos[i]->topic),
        .partition = protos[i]->partition,
        .target_replicas = copy_ids(protos[i]->target_replicas, protos[i]->n_target_replicas),
        .target_replica_count = protos[i]->n_target_replicas,
        .pending_replicas = copy_ids(protos[i]->pending_replicas, protos[i]->n_pending_replicas),
        .pending_replica_count = protos[i]->n_pending_replicas,
        .pending_remaining = take_pending(protos[i], offsets_of),
        .pending_bytes = take_pending(protos[i], bytes_of),
        .pending_seconds = take_pending(protos[i], seconds_of),
        .throttle_bytes_per_s = protos[i]->throttle_bytes_per_second,
        .leader_end_offset = protos[i]->leader_end_offset,
        .replicas_before = copy_ids(protos[i]->replicas_before, protos[i]->n_replicas_before),
        .replica_before_count = protos[i]->n_replicas_before,
    };
    g_array_append_val(reassignments, reassignment);
  }
}

/* @reassignments: taken. */
static MilenaReassignmentList *make_list(GArray *reassignments) {
  MilenaReassignmentList *list = g_new0(MilenaReassignmentList, 1);
  list->count = reassignments->len;
  list->reassignments = (MilenaReassignment *)g_array_free(reassignments, FALSE);
  return list;
}

MilenaError *milena_admin_reassign_partitions(MilenaClient *client, const MilenaMove *moves, size_t count,
                                              bool validate_only, int32_t timeout_ms,
                                              MilenaReassignmentList **ret_list) {
  g_autofree Milena__V1__PartitionReassignment *bodies = g_new(Milena__V1__PartitionReassignment, count);
  g_autofree Milena__V1__PartitionReassignment **places = g_new(Milena__V1__PartitionReassignment *, count);
  for (size_t i = 0; i < count; i++) {
    milena__v1__partition_reassignment__init(&bodies[i]);
    bodies[i].topic = (char *)moves[i].topic;
    bodies[i].partition = moves[i].partition;
    bodies[i].n_replicas = moves[i].replica_count;
    bodies[i].replicas = (int32_t *)moves[i].replicas;
    bodies[i].throttle_bytes_per_second = moves[i].throttle_bytes_per_s;
    places[i] = &bodies[i];
  }
  Milena__V1__ReassignPartitionsRequest request = MILENA__V1__REASSIGN_PARTITIONS_REQUEST__INIT;
  request.n_reassignments = count;
  request.reassignments = places;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call(client, "ReassignPartitions", &request.base, CALL_WRITE_IDEMPOTENT,
                            client_deadline_us(timeout_ms), &response);
  if (error != NULL || ret_list == NULL)
    return error;
  const Milena__V1__ReassignPartitionsResponse *body = rpc_message_body(response);
  GArray *reassignments = g_array_new(FALSE, FALSE, sizeof(MilenaReassignment));
  add_reassignments(body->reassignments, body->n_reassignments, reassignments);
  *ret_list = make_list(reassignments);
  return NULL;
}

/* One page. @token: owned; replaced by the next page's, NULL on the last. */
static MilenaError *list_page(MilenaClient *client, gint64 deadline_us, char **token, GArray *reassignments) {
  Milena__V1__ListReassignmentsRequest request = MILENA__V1__LIST_REASSIGNMENTS_REQUEST__INIT;
  request.page_size = PAGE_SIZE;
  if (*token != NULL)
    request.page_token = *token;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call(client, "ListReassignments", &request.base, CALL_READ, deadline_us, &response);
  if (error != NULL)
    return error;
  const Milena__V1__ListReassignmentsResponse *body = rpc_message_body(response);
  add_reassignments(body->reassignments, body->n_reassignments, reassignments);
  g_free(*token);
  *token = body->next_page_token[0] != '\0' ? g_strdup(body->next_page_token) : NULL;
  return NULL;
}

MilenaError *milena_admin_list_reassignments(MilenaClient *client, int32_t timeout_ms,
                                             MilenaReassignmentList **ret_list) {
  gint64 deadline_us = client_deadline_us(timeout_ms);
  GArray *reassignments = g_array_new(FALSE, FALSE, sizeof(MilenaReassignment));
  g_autofree char *token = NULL;
  MilenaError *error;
  do
    error = list_page(client, deadline_us, &token, reassignments);
  while (error == NULL && token != NULL);
  MilenaReassignmentList *list = make_list(reassignments);
  if (error != NULL)
    milena_reassignment_list_free(list);
  else
    *ret_list = list;
  return error;
}

MilenaError *milena_admin_cancel_reassignments(MilenaClient *client, const char *topic, const int32_t *partitions,
                                               size_t count, bool validate_only, int32_t timeout_ms,
                                               uint32_t *ret_cancelled) {
  Milena__V1__CancelReassignmentsRequest request = MILENA__V1__CANCEL_REASSIGNMENTS_REQUEST__INIT;
  if (topic != NULL)
    request.topic = (char *)topic;
  request.n_partitions = count;
  request.partitions = (int32_t *)partitions;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = call(client, "CancelReassignments", &request.base, CALL_WRITE_IDEMPOTENT,
                            client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__CancelReassignmentsResponse *body = rpc_message_body(response);
  if (ret_cancelled != NULL)
    *ret_cancelled = body->cancelled;
  return NULL;
}
