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

struct Nodes {
  Host *host;
  Liveness *liveness;
  Presence *presence; /* of brokers; coordinators have no listener for us */
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

/* Epoch and state of a registration. Returns FALSE when there is none. */
static gboolean find_node(const MetadataImage *image, NodeKind kind, gint32 id, guint64 *ret_epoch,
                          gboolean *ret_fenced) {
  if (kind == NODE_KIND(COORDINATOR)) {
    const MetadataCoordinator *coordinator = metadata_image_coordinator(image, id);
    if (!coordinator)
      return FALSE;
    *ret_epoch = coordinator->epoch;
    *ret_fenced = coordinator->fenced;
    return TRUE;
  }
  const MetadataBroker *broker = metadata_image_broker(image, id);
  if (!broker)
    return FALSE;
  *ret_epoch = broker->epoch;
  *ret_fenced = broker->fenced;
  return TRUE;
}

/* Its process was seen to be gone, and it has not been heard since. */
static gboolean is_gone(const Nodes *nodes, NodeKind kind, gint32 id, guint64 epoch) {
  return kind == NODE_KIND(BROKER) && presence_is_gone(nodes->presence, id, epoch);
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
  response.heartbeat_interval = &interval;
  response.session_timeout = &timeout;
  rpc_call_reply(node->call, &response.base, NULL, 0);
}

void nodes_register(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__RegisterNodeRequest *request) {
  Failure *failure = host_check_active(nodes->host);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  const MetadataImage *tip = host_tip(nodes->host);
  guint64 epoch = 0;
  gboolean fenced = FALSE, alive = FALSE;
  if (find_node(tip, request->kind, request->id, &epoch, &fenced))
    alive = !is_gone(nodes, request->kind, request->id, epoch) &&
            liveness_may_live(nodes->liveness, request->kind, request->id, epoch, fenced, g_get_monotonic_time());
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

/* What the heartbeat changes: it takes the node's leaderships, or brings it back. */
static gboolean wanted_fence(Nodes *nodes, const Milena__Internal__V1__HeartbeatRequest *request, gboolean leaves,
                             gboolean fenced) {
  if (leaves || liveness_has_left(nodes->liveness, request->kind, request->id, request->epoch))
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

void nodes_heartbeat(Nodes *nodes, RpcCall *call, const Milena__Internal__V1__HeartbeatRequest *request) {
  Failure *failure = host_check_active(nodes->host);
  const MetadataImage *tip = host_tip(nodes->host);
  g_autoptr(GPtrArray) records = metadata_records_new();
  guint64 epoch = 0;
  gboolean fenced = TRUE;
  if (!failure)
    find_node(tip, request->kind, request->id, &epoch, &fenced);
  gboolean hands_over = !failure && hand_over(tip, request, records);
  gboolean leaves = request->shutting_down && !hands_over;
  gboolean fence = wanted_fence(nodes, request, leaves, fenced);
  if (!failure && !hands_over)
    failure = metadata_command_fence_node(tip, request->kind, request->id, request->epoch, fence, records);
  if (failure) {
    rpc_call_finish(call, failure);
    return;
  }
  liveness_heard(nodes->liveness, request->kind, request->id, epoch, g_get_monotonic_time());
  if (request->kind == NODE_KIND(BROKER))
    presence_heard(nodes->presence, request->id, epoch);
  if (leaves)
    liveness_left(nodes->liveness, request->kind, request->id, epoch);
  if (records->len > 0)
    slog_info(hands_over ? "hands its leaderships over: it stops"
              : fence    ? "fenced: it stops"
                         : "unfenced",
              "kind", kind_name(request->kind), "id", SLOG_INT(request->id), NULL);
  NodeCall *node = g_new(NodeCall, 1);
  *node = (NodeCall){nodes, call, request->kind, request->id, epoch, fence};
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

static void fence_if_gone(Nodes *nodes, NodeKind kind, gint32 id, guint64 epoch, gboolean fenced, gint64 now_us) {
  gboolean gone = is_gone(nodes, kind, id, epoch);
  if (fenced || (!gone && liveness_is_alive(nodes->liveness, kind, id, epoch, fenced, now_us)))
    return;
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_autoptr(Failure) failure = metadata_command_fence_node(host_tip(nodes->host), kind, id, epoch, TRUE, records);
  if (failure || records->len == 0)
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
    fence_if_gone(nodes, NODE_KIND(BROKER), broker->id, broker->epoch, broker->fenced, now_us);
  metadata_iter_coordinators(&iter, tip);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    fence_if_gone(nodes, NODE_KIND(COORDINATOR), coordinator->id, coordinator->epoch, coordinator->fenced, now_us);
  return G_SOURCE_CONTINUE;
}

/* What another controller saw is not known here; this one has been watching all along. */
static void on_gone(gint32 broker_id, guint64 epoch, gpointer data) {
  Nodes *nodes = data;
  const MetadataBroker *broker = metadata_image_broker(host_tip(nodes->host), broker_id);
  if (host_is_active(nodes->host) && broker && broker->epoch == epoch)
    fence_if_gone(nodes, NODE_KIND(BROKER), broker_id, epoch, broker->fenced, g_get_monotonic_time());
}

/* ---- Making ---- */

static void on_active(gboolean active, gpointer data) {
  Nodes *nodes = data;
  if (!active)
    return;
  liveness_begin(nodes->liveness, g_get_monotonic_time());
  look(nodes); /* who died together with the active controller before */
}

/* Sessions follow heartbeats, not the log; but registrations say where brokers are to be watched. */
static void on_applied(MetadataImage *image, const GPtrArray *records, gpointer data) {
  Nodes *nodes = data;
  gboolean moved = !records;
  for (guint i = 0; !moved && i < records->len; i++) {
    const MetadataRecord *record = g_ptr_array_index(records, i);
    moved = record->record_case == MILENA__INTERNAL__V1__METADATA_RECORD__RECORD_REGISTER_BROKER;
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
