/* See sessions.h. No state of its own. Failure modes: none; a stale registration is refused by name. */
#include "services/controller/sessions.h"

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"

gboolean sessions_find(const MetadataImage *tip, NodeKind kind, gint32 id, guint64 *ret_epoch, gboolean *ret_fenced) {
  if (kind == NODE_KIND(COORDINATOR)) {
    const MetadataCoordinator *coordinator = metadata_image_coordinator(tip, id);
    if (!coordinator)
      return FALSE;
    *ret_epoch = coordinator->epoch;
    *ret_fenced = coordinator->fenced;
    return TRUE;
  }
  const MetadataBroker *broker = metadata_image_broker(tip, id);
  if (!broker)
    return FALSE;
  *ret_epoch = broker->epoch;
  *ret_fenced = broker->fenced;
  return TRUE;
}

gboolean sessions_may_live(const Liveness *liveness, const MetadataImage *tip, NodeKind kind, gint32 id, gboolean gone,
                           gint64 now_us) {
  guint64 epoch;
  gboolean fenced;
  return sessions_find(tip, kind, id, &epoch, &fenced) && !gone &&
         liveness_may_live(liveness, kind, id, epoch, fenced, now_us);
}

/* ---- Heartbeats ---- */

/* What the heartbeat changes: it takes the node's leaderships, or brings it back, once it knows of its registration. */
static gboolean wanted_fence(const Liveness *liveness, const Milena__Internal__V1__HeartbeatRequest *request,
                             gboolean leaves, gboolean fenced) {
  if (leaves || liveness_has_left(liveness, request->kind, request->id, request->epoch))
    return TRUE;
  return fenced && request->metadata_version < request->epoch;
}

/* A broker that stops hands its leaderships over first, while it still follows; with its next heartbeat it leaves. One
 * that has none to hand over leaves at once. @records: gets those of the handing over */
static gboolean hand_over(const MetadataImage *tip, const Milena__Internal__V1__HeartbeatRequest *request,
                          GPtrArray *records) {
  const MetadataBroker *broker = request->kind == NODE_KIND(BROKER) ? metadata_image_broker(tip, request->id) : NULL;
  if (!request->shutting_down || !broker || broker->epoch != request->epoch || broker->fenced || broker->stopping)
    return FALSE;
  g_autoptr(GPtrArray) made = metadata_records_new();
  g_autoptr(Failure) failure = metadata_command_stop_broker(tip, request->id, request->epoch, made);
  if (failure || made->len <= 1)
    return FALSE;
  g_ptr_array_extend_and_steal(records, g_steal_pointer(&made));
  return TRUE;
}

Failure *sessions_heartbeat(Liveness *liveness, const MetadataImage *tip,
                            const Milena__Internal__V1__HeartbeatRequest *request, gint64 now_us, GPtrArray *records,
                            SessionsHeartbeat *ret_heartbeat) {
  SessionsHeartbeat heartbeat = {.epoch = 0, .fenced = TRUE};
  sessions_find(tip, request->kind, request->id, &heartbeat.epoch, &heartbeat.fenced);
  heartbeat.hands_over = hand_over(tip, request, records);
  gboolean leaves = request->shutting_down && !heartbeat.hands_over;
  heartbeat.fenced = wanted_fence(liveness, request, leaves, heartbeat.fenced);
  Failure *failure = NULL;
  if (!heartbeat.hands_over)
    failure = metadata_command_fence_node(tip, request->kind, request->id, request->epoch, heartbeat.fenced, records);
  /* Alone: it looks at the same partitions as what was decided before it. */
  if (!failure && records->len == 0 && request->kind == NODE_KIND(BROKER)) {
    failure = metadata_command_set_disk_low(tip, request->id, request->epoch, request->disk_low, records);
    heartbeat.disk_changed = records->len > 0;
  }
  if (failure)
    return failure;
  liveness_heard(liveness, request->kind, request->id, heartbeat.epoch, now_us);
  if (leaves)
    liveness_left(liveness, request->kind, request->id, heartbeat.epoch);
  *ret_heartbeat = heartbeat;
  return NULL;
}

/* ---- Silence ---- */

gboolean sessions_fence(const Liveness *liveness, const MetadataImage *tip, NodeKind kind, gint32 id, gboolean gone,
                        gint64 now_us, GPtrArray *records) {
  guint64 epoch;
  gboolean fenced;
  if (!sessions_find(tip, kind, id, &epoch, &fenced) || fenced ||
      (!gone && liveness_is_alive(liveness, kind, id, epoch, fenced, now_us)))
    return FALSE;
  guint before = records->len;
  g_autoptr(Failure) failure = metadata_command_fence_node(tip, kind, id, epoch, TRUE, records);
  return !failure && records->len > before;
}
