/* Records that are deleted, and what is left on the brokers' disks: plain calls that wait, on the caller's thread. See
 * milena.h. Keeps no state. */
#include "client/libmilena/client.h"
#include "client/libmilena/convert.h"
#include "milena/v1/admin_service.pb-c.h"
#include "services/base/times.h"

/* ---- Deleting records ---- */

static MilenaError *check_deletions(const MilenaDeletion *deletions, size_t count) {
  if (count == 0)
    return milena_error_new(FAILURE(INVALID_FIELD), "there is nothing to delete");
  for (size_t i = 0; i < count; i++)
    if (deletions[i].topic == NULL || *deletions[i].topic == '\0')
      return milena_error_new(FAILURE(INVALID_FIELD), "deletion %zu names no topic", i);
  return NULL;
}

static Milena__V1__PartitionDeletion *deletion_protos(const MilenaDeletion *deletions, size_t count) {
  Milena__V1__PartitionDeletion *protos = g_new(Milena__V1__PartitionDeletion, count);
  for (size_t i = 0; i < count; i++) {
    milena__v1__partition_deletion__init(&protos[i]);
    protos[i].topic = (char *)deletions[i].topic;
    protos[i].partition = deletions[i].partition;
    if (deletions[i].before_offset < 0)
      continue;
    protos[i].before_presence_case = MILENA__V1__PARTITION_DELETION__BEFORE_PRESENCE_BEFORE_OFFSET;
    protos[i].before_offset = deletions[i].before_offset;
  }
  return protos;
}

static MilenaDeletionResult *take_results(const Milena__V1__DeleteRecordsResponse *body) {
  MilenaDeletionResult *results = g_new0(MilenaDeletionResult, body->n_results);
  for (gsize i = 0; i < body->n_results; i++) {
    Failure *failure = failure_from_status(body->results[i]->status);
    results[i].log_start_offset = failure == NULL ? body->results[i]->log_start_offset : -1;
    results[i].error = milena_error_take(failure, OUTCOME_NOT_WRITTEN);
  }
  return results;
}

MilenaError *milena_admin_delete_records(MilenaClient *client, const MilenaDeletion *deletions, size_t count,
                                         bool validate_only, int32_t timeout_ms, MilenaDeletionResult **ret_results) {
  MilenaError *error = check_deletions(deletions, count);
  if (error != NULL)
    return error;
  g_autofree Milena__V1__PartitionDeletion *protos = deletion_protos(deletions, count);
  g_autofree Milena__V1__PartitionDeletion **places = g_new(Milena__V1__PartitionDeletion *, count);
  for (size_t i = 0; i < count; i++)
    places[i] = &protos[i];
  Milena__V1__DeleteRecordsRequest request = MILENA__V1__DELETE_RECORDS_REQUEST__INIT;
  request.n_deletions = count;
  request.deletions = places;
  request.validate_only = validate_only;
  g_autoptr(RpcMessage) response = NULL;
  error = client_call(client, &milena__v1__admin_service__descriptor, "DeleteRecords", &request.base,
                      CALL_WRITE_IDEMPOTENT, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__DeleteRecordsResponse *body = rpc_message_body(response);
  if (body->n_results != count)
    return milena_error_new(FAILURE(INTERNAL),
                            "DeleteRecords answered %zu of %zu deletions: ask for the broker's version",
                            body->n_results, count);
  *ret_results = take_results(body);
  return NULL;
}

void milena_admin_deletion_results_free(MilenaDeletionResult *results, size_t count) {
  for (size_t i = 0; results != NULL && i < count; i++)
    milena_error_free(results[i].error);
  g_free(results);
}

/* ---- Storage ---- */

MilenaError *milena_admin_get_broker_storage(MilenaClient *client, int32_t id, int32_t timeout_ms,
                                             MilenaBrokerStorage **ret_storage) {
  Milena__V1__GetBrokerStorageRequest request = MILENA__V1__GET_BROKER_STORAGE_REQUEST__INIT;
  request.broker_id = id;
  g_autoptr(RpcMessage) response = NULL;
  MilenaError *error = client_call(client, &milena__v1__admin_service__descriptor, "GetBrokerStorage", &request.base,
                                   CALL_READ, client_deadline_us(timeout_ms), &response);
  if (error != NULL)
    return error;
  const Milena__V1__BrokerStorage *proto =
      ((const Milena__V1__GetBrokerStorageResponse *)rpc_message_body(response))->storage;
  if (proto == NULL)
    return milena_error_new(FAILURE(INTERNAL), "broker %d answered without its storage: ask for its version", id);
  MilenaBrokerStorage *storage = g_new0(MilenaBrokerStorage, 1);
  storage->broker_id = proto->broker_id;
  storage->log_count = proto->log_count;
  storage->disk_bytes = proto->disk_bytes;
  storage->live_bytes = proto->live_bytes;
  storage->expired_held_bytes = proto->expired_held_bytes;
  storage->segment_count = proto->n_segments;
  storage->segments = g_new0(MilenaStorageSegment, proto->n_segments + 1);
  for (gsize i = 0; i < proto->n_segments; i++)
    storage->segments[i] = (MilenaStorageSegment){.number = proto->segments[i]->number,
                                                  .created_ms = times_timestamp_ms(proto->segments[i]->created, 0),
                                                  .bytes = proto->segments[i]->bytes,
                                                  .expired_bytes = proto->segments[i]->expired_bytes,
                                                  .log_count = proto->segments[i]->log_count};
  *ret_storage = storage;
  return NULL;
}

void milena_broker_storage_free(MilenaBrokerStorage *storage) {
  if (storage == NULL)
    return;
  g_free(storage->segments);
  g_free(storage);
}
