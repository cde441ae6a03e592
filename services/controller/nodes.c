/* Registrations and sessions; see nodes.h.
 *
 *   registered, fenced ──heartbeat, caught up──► unfenced ──session over, or it stops──► fenced
 *        ▲                                                                                 │ heartbeat, caught up
 *        └── another process of its id (the epoch rises) ◄────────────── unfenced ◄────────┘
 *
 * Invariants: fencing and unfencing are metadata, sessions are not; a session ends by fencing only on the active
 * controller, after a full session of its own, or when the process was seen to be gone (presence.h). Owning thread: the
 * host's loop. Failure modes: a proposal that fails is tried again at the next heartbeat or look. */
#include "services/controller/nodes.h"

#include "services/base/slog.h"
#include "services/base/times.h"
#include "services/controller/liveness.h"
#include "services/controller/presence.h"
#include "services/controller/sessions.h"

struct Nodes {
  Host *host;
  Liveness *liveness;
  Presence *presence;
  gint64 session_timeout_ms, heartbeat_interval_ms;
  GSource *timer;
};

/* A call that waits for its proposal. */
typedef struct {
  Nodes *nodes;
  RpcCall *call;
  NodeKind kind;
  gint32 id;
  guint64 epoch;
  gboolean fenced;
} NodeCall;

static const char *kind_name(NodeKind kind) {
  return kind == NODE_KIND(BROKER) ? "broker" : "coordinator";
}

/* Its process was seen to be gone, and it has not been heard since. */
static gboolean is_gone(const Nodes *nodes, NodeKind kind, gint32 id) {
  guint64 epoch;
  gboolean fenced;
  return sessions_find(host_tip(nodes->host), kind, id, &epoch, &fenced) &&
         presence_is_gone(nodes->presence, kind, id, epoch);
}

/* ---- Registration ---- */

static void register_done(const Failure *failure, MetadataImage *image, gpointer data) {
  g_autofree NodeCall *node = data;
  Nodes *nodes = node->nodes;
  if (failure) {
    rpc_call_finish(node->call, failure_copy(failure));
    return;
  }
  liveness_heard(nodes->liveness, node->kind, node->id, node->epoch, g_get_monotonic_time());
  slog_info("registered", "kind", kind_name(node->kind), "id", SLOG_INT(node->id), "epoch", SLOG_INT(node->epoch),
            NULL);
  Google__Protobuf__Duration interval, timeout;
  times_duration_set(&interval, nodes->heartbeat_interval_ms);
  times_duration_set(&timeout, nodes->session_timeout_ms);
  Milena__Internal__V1__RegisterNodeResponse response = MILENA__INTERNAL__V1__REGISTER_NODE_RESPONSE__INIT;
  response.cluster_id = (char *)metadata_image_cluster_id(image);
  response.epoch = node->epoch;
  response.id = node->id;
  response.heartbeat_interval = &interval;
  response.session_timeout = &timeout;
  rpc_call_reply(node->call, &response.base, NULL, 0);
}

/* The id of a coordinator that asks for one: that of an earlier try of the same process, or the lowest that nobody has.
 */
static gint32 choose_coordinator_id(Nodes *nodes, const MetadataImage *tip, const char *process_id) {
  const NodeKind kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR;
  gint64 now_us = g_get_monotonic_time();
  MetadataIter iter;
  metadata_iter_coordinators(&iter, tip);
  gint32 id = 1;
  gboolean found = FALSE;
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));) {
    if (strcmp(coordinator->process_id, process_id) == 0)
      return coordinator->id;
    gboolean taken = !coordinator->fenced || sessions_may_live(nodes->liveness, tip, kind, coordinator->id,
                                                               is_gone(nodes, kind, coordinator->id), now_us);
    found = found || coordinator->id > id || (coordinator->id == id && !taken);
    id += !found && coordinator->id == id;
  }
  return id;
}

void nodes_register(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__RegisterNodeRequest *asked) {
  Failure *failure = host_check_active(nodes->host);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  const MetadataImage *tip = host_tip(nodes->host);
  Milena__Internal__V1__RegisterNodeRequest named = *asked, *request = &named; /* borrows all that it points to */
  if (named.kind == MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR && named.id == 0)
    named.id = choose_coordinator_id(nodes, tip, named.process_id);
  gboolean alive = sessions_may_live(nodes->liveness, tip, request->kind, request->id,
                                     is_gone(nodes, request->kind, request->id), g_get_monotonic_time());
  guint64 epoch = 0;
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = host_context(nodes->host);
  failure = metadata_command_register_node(tip, &context, request, alive, records, &epoch);
  if (failure) {
    slog_warning("registration refused", "kind", kind_name(request->kind), "id", SLOG_INT(request->id), "error",
                 failure_message(failure), NULL);
    rpc_call_finish(call, failure);
    return;
  }
  NodeCall *node = g_new(NodeCall, 1);
  *node = (NodeCall){nodes, call, request->kind, request->id, epoch, TRUE};
  host_propose(nodes->host, g_steal_pointer(&records), register_done, node);
}

/* ---- Heartbeats ---- */

static void heartbeat_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  g_autofree NodeCall *node = data;
  if (failure) {
    rpc_call_finish(node->call, failure_copy(failure));
    return;
  }
  Milena__Internal__V1__HeartbeatResponse response = MILENA__INTERNAL__V1__HEARTBEAT_RESPONSE__INIT;
  response.fenced = node->fenced;
  response.may_stop = liveness_has_left(node->nodes->liveness, node->kind, node->id, node->epoch);
  response.metadata_version = metadata_image_version(host_image(node->nodes->host));
  rpc_call_reply(node->call, &response.base, NULL, 0);
}

void nodes_heartbeat(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__HeartbeatRequest *request) {
  Failure *failure = host_check_active(nodes->host);
  g_autoptr(GPtrArray) records = metadata_records_new();
  SessionsHeartbeat heartbeat;
  if (!failure)
    failure = sessions_heartbeat(nodes->liveness, host_tip(nodes->host), request, g_get_monotonic_time(), records,
                                 &heartbeat);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  presence_heard(nodes->presence, request->kind, request->id, heartbeat.epoch);
  if (heartbeat.disk_changed)
    slog_warning(request->disk_low ? "a broker's disk is nearly full: others lead where they can"
                                   : "a broker's disk has room again",
                 "id", SLOG_INT(request->id), NULL);
  else if (records->len > 0)
    slog_info(heartbeat.hands_over ? "hands its leaderships over: it stops"
              : heartbeat.fenced   ? "fenced: it stops"
                                   : "unfenced",
              "kind", kind_name(request->kind), "id", SLOG_INT(request->id), NULL);
  NodeCall *node = g_new(NodeCall, 1);
  *node = (NodeCall){nodes, call, request->kind, request->id, heartbeat.epoch, heartbeat.fenced};
  host_propose(nodes->host, g_steal_pointer(&records), heartbeat_done, node);
}

/* ---- Producer ids ---- */

/* A broker that waits for its block. */
typedef struct {
  RpcCall *call;
  gint64 first;
} BlockCall;

static void allocate_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  g_autofree BlockCall *block = data;
  if (failure) {
    rpc_call_finish(block->call, failure_copy(failure));
    return;
  }
  Milena__Internal__V1__AllocateProducerIdsResponse response =
      MILENA__INTERNAL__V1__ALLOCATE_PRODUCER_IDS_RESPONSE__INIT;
  response.first_producer_id = block->first;
  response.count = METADATA_PRODUCER_ID_BLOCK;
  rpc_call_reply(block->call, &response.base, NULL, 0);
}

void nodes_allocate_producer_ids(Nodes *nodes, RpcCall *call,
                                 const Milena__Internal__V1__AllocateProducerIdsRequest *request) {
  g_autoptr(GPtrArray) records = metadata_records_new();
  gint64 first = 0;
  Failure *failure = host_check_active(nodes->host);
  if (!failure)
    failure = metadata_command_allocate_producer_ids(host_tip(nodes->host), request->broker_id, request->broker_epoch,
                                                     records, &first);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  BlockCall *block = g_new(BlockCall, 1);
  *block = (BlockCall){.call = call, .first = first};
  host_propose(nodes->host, g_steal_pointer(&records), allocate_done, block);
}

/* ---- Sessions ---- */

static void fence_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  (void)data;
  if (failure)
    slog_warning("fencing failed, and is tried again", "error", failure_message(failure), NULL);
}

static void fence_if_gone(Nodes *nodes, NodeKind kind, gint32 id, gint64 now_us) {
  gboolean gone = is_gone(nodes, kind, id);
  g_autoptr(GPtrArray) records = metadata_records_new();
  if (!sessions_fence(nodes->liveness, host_tip(nodes->host), kind, id, gone, now_us, records))
    return;
  slog_warning(gone ? "fenced: its process is gone" : "fenced: no heartbeat within its session", "kind",
               kind_name(kind), "id", SLOG_INT(id), NULL);
  host_propose(nodes->host, g_steal_pointer(&records), fence_done, NULL);
}

static gboolean look(gpointer data) {
  Nodes *nodes = data;
  if (!host_is_active(nodes->host))
    return G_SOURCE_CONTINUE;
  gint64 now_us = g_get_monotonic_time();
  liveness_tick(nodes->liveness, now_us);
  /* Proposals change the tip; the image that is walked must stay. */
  g_autoptr(MetadataImage) tip = metadata_image_ref(host_tip(nodes->host));
  MetadataIter iter;
  metadata_iter_brokers(&iter, tip, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));)
    fence_if_gone(nodes, NODE_KIND(BROKER), broker->id, now_us);
  metadata_iter_coordinators(&iter, tip);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    fence_if_gone(nodes, NODE_KIND(COORDINATOR), coordinator->id, now_us);
  return G_SOURCE_CONTINUE;
}

/* What another controller saw is not known here; this one has been watching all along. */
static void on_gone(NodeKind kind, gint32 id, guint64 epoch, gpointer data) {
  Nodes *nodes = data;
  guint64 current = 0;
  gboolean fenced;
  sessions_find(host_tip(nodes->host), kind, id, &current, &fenced);
  if (host_is_active(nodes->host) && current == epoch)
    fence_if_gone(nodes, kind, id, g_get_monotonic_time());
}

/* ---- Making ---- */

static void on_active(gboolean active, gpointer data) {
  Nodes *nodes = data;
  if (!active)
    return;
  liveness_begin(nodes->liveness, g_get_monotonic_time());
  look(nodes); /* who died together with the active controller before */
}

/* Sessions follow heartbeats, not the log; but registrations say whom to watch, and where. */
static void on_applied(MetadataImage *image, const GPtrArray *records, gpointer data) {
  Nodes *nodes = data;
  gboolean moved = !records;
  for (guint i = 0; !moved && i < records->len; i++) {
    const MetadataRecord *record = g_ptr_array_index(records, i);
    moved = record->record_case == MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_BROKER ||
            record->record_case == MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_COORDINATOR;
  }
  if (moved && nodes->timer)
    presence_follow(nodes->presence, image);
}

Nodes *nodes_new(Host *host, gint64 session_timeout_ms, gint64 heartbeat_interval_ms) {
  Nodes *nodes = g_new0(Nodes, 1);
  nodes->host = host;
  nodes->session_timeout_ms = session_timeout_ms;
  nodes->heartbeat_interval_ms = heartbeat_interval_ms;
  nodes->liveness = liveness_new(session_timeout_ms);
  nodes->presence = presence_new(host_client(host), host_loop(host), on_gone, nodes);
  host_listen(host, &(HostListener){.active = on_active, .applied = on_applied, .data = nodes});
  return nodes;
}

void nodes_start(Nodes *nodes) {
  nodes->timer = g_timeout_source_new((guint)CLAMP(nodes->session_timeout_ms / 10, 10, 1000));
  g_source_set_callback(nodes->timer, look, nodes, NULL);
  g_source_attach(nodes->timer, loop_context(host_loop(nodes->host)));
  presence_follow(nodes->presence, host_image(nodes->host));
}

void nodes_stop(Nodes *nodes) {
  g_source_destroy(nodes->timer);
  g_clear_pointer(&nodes->timer, g_source_unref);
  presence_stop(nodes->presence);
}

void nodes_free(Nodes *nodes) {
  if (!nodes)
    return;
  liveness_free(nodes->liveness);
  presence_free(nodes->presence);
  g_free(nodes);
}
