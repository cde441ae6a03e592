/* GetBrokerStorage: see storage_service.h. What is passed on lives until the call is closed. */
#include "services/broker/storage_service.h"

#include "milena/v1/admin_service.pb-c.h"
#include "services/base/times.h"
#include "services/broker/front_internal.h"

#define ASK_TIMEOUT_MS 5000

typedef Milena__V1__StorageSegment SegmentProto;

typedef struct {
  RpcCall *call;
  RpcClientCall *ask; /* NULL once it was answered */
} Passed;

/* ---- here ---- */

static void answer_here(RpcCall *call, const Broker *broker) {
  g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(LogSegmentInfo));
  log_store_segments(broker->store, infos);
  LogStoreStats stats;
  log_store_stats(broker->store, &stats);
  g_autofree SegmentProto *segments = g_new(SegmentProto, infos->len + 1);
  g_autofree SegmentProto **places = g_new(SegmentProto *, infos->len + 1);
  g_autofree Google__Protobuf__Timestamp *times = g_new(Google__Protobuf__Timestamp, infos->len + 1);
  for (guint i = 0; i < infos->len; i++) {
    const LogSegmentInfo *info = &g_array_index(infos, LogSegmentInfo, i);
    milena__v1__storage_segment__init(&segments[i]);
    times_timestamp_set(&times[i], info->created_ms);
    segments[i].number = info->number;
    segments[i].created = &times[i];
    segments[i].bytes = info->bytes;
    segments[i].expired_bytes = MAX(info->bytes - info->needed_bytes, 0);
    segments[i].log_count = info->log_count;
    places[i] = &segments[i];
  }
  Milena__V1__BrokerStorage storage = MILENA__V1__BROKER_STORAGE__INIT;
  storage.broker_id = broker->id;
  storage.log_count = stats.logs;
  storage.disk_bytes = log_store_disk_bytes(broker->store);
  storage.live_bytes = stats.needed_bytes;
  storage.expired_held_bytes = stats.expired_held_bytes;
  const DiskFigures disk = disk_figures(broker->disk);
  storage.file_system_bytes = disk.total_bytes;
  storage.free_bytes = disk.free_bytes;
  storage.low_watermark_bytes = disk.low_bytes;
  storage.disk_low = !disk_has_room(broker->disk, DISK_FOR_CLIENTS);
  storage.n_segments = infos->len;
  storage.segments = places;
  Milena__V1__GetBrokerStorageResponse response = MILENA__V1__GET_BROKER_STORAGE_RESPONSE__INIT;
  response.storage = &storage;
  rpc_call_reply(call, &response.base, NULL, 0);
}

/* ---- elsewhere ---- */

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Passed *passed = state;
  if (passed->ask) {
    rpc_client_call_abandon(passed->ask);
    rpc_client_call_unref(passed->ask);
  }
  g_free(passed);
}

static void on_answer(RpcMessage *response, const Failure *failure, gpointer data) {
  Passed *passed = data;
  g_clear_pointer(&passed->ask, rpc_client_call_unref);
  if (failure)
    rpc_call_finish(passed->call, failure_copy(failure));
  else
    rpc_call_reply_message(passed->call, response);
}

static void pass_on(RpcCall *call, Front *front, const MetadataBroker *to) {
  static const RpcCallEvents EVENTS = {.closed = closed};
  Milena__V1__GetBrokerStorageRequest request = MILENA__V1__GET_BROKER_STORAGE_REQUEST__INIT;
  request.broker_id = to->id;
  request.no_proxy = TRUE;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  Passed *passed = g_new0(Passed, 1);
  passed->call = call;
  rpc_call_set_events(call, &EVENTS, passed);
  gint64 until_us = MIN(rpc_call_answer_by_us(call), g_get_monotonic_time() + ASK_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND);
  passed->ask = rpc_client_unary(front_client(front), to->peer_address, &milena__v1__admin_service__descriptor,
                                 "GetBrokerStorage", message, until_us, front_loop(front), on_answer, passed);
}

static Failure *unknown_broker(gint32 id) {
  g_autofree char *name = g_strdup_printf("%d", id);
  return failure_set_resource(failure_new(FAILURE(UNKNOWN_BROKER), "No broker with the id %d ever registered.", id),
                              "broker", name);
}

void get_broker_storage(RpcCall *call, RpcMessage *request, gpointer data) {
  Front *front = data;
  const Milena__V1__GetBrokerStorageRequest *body = rpc_message_body(request);
  if (body->broker_id == front_broker_id(front)) {
    answer_here(call, front->shard->broker);
    return;
  }
  const MetadataBroker *to = metadata_image_broker(front_image(front), body->broker_id);
  if (!to)
    rpc_call_finish(call, unknown_broker(body->broker_id));
  else if (body->no_proxy)
    rpc_call_finish(call, failure_add_violation(failure_new(FAILURE(INVALID_FIELD),
                                                            "this is broker %d, and broker %d is asked with no_proxy",
                                                            front_broker_id(front), body->broker_id),
                                                "broker_id", "the broker that is called"));
  else
    pass_on(call, front, to);
}
