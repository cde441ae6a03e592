/* The node: see node.h.
 *
 * A new image goes out in two steps, so that no call is routed to a shard that does not know the partition yet:
 *
 *   membership ──image──► every shard applies it ──all have──► every front routes by it
 *
 * One image is on its way at a time; of those that come meanwhile only the latest follows. The answer of the last shard
 * to each step is what starts the next. What is older than this process's registration does not go out.
 *
 * Owner: the main loop. Failure modes: a folder of another cluster, or of another broker, is refused for good; an
 * identity that can't be written likewise. */
#include "services/broker/node.h"

#include "services/base/slog.h"
#include "services/broker/front_internal.h"
#include "services/broker/replica/assignment.h"

struct Node {
  Broker *broker;
  Loop *loop;
  Membership *membership;
  NodeEvents events;
  gpointer data;
  guint64 epoch;      /* of our registration; 0: none yet */
  gboolean caught_up; /* once */

  MetadataImage *next;            /* to be published: a reference, or NULL */
  guint publishing;               /* shards that have not answered the step that is under way */
  gboolean stopping;              /* no more is published */
  void (*stopped)(gpointer data); /* to be told once nothing is on its way */
  gpointer stopped_data;
};

/* ---- publishing ---- */

/* One shard's part of publishing one image, or of telling where the controller is. */
typedef struct {
  Node *node;
  Shard *shard;
  MetadataImage *image; /* a reference */
  guint64 epoch;
  char *controller;
  gint32 controller_id;
} Step;

static void publish_next(Node *node);

static void step_free(Step *step) {
  metadata_image_unref(step->image);
  g_free(step->controller);
  g_free(step);
}

/* Run @func, with a step of its own, on each shard's loop. */
static void on_each_shard(Node *node, MetadataImage *image, void (*func)(gpointer step)) {
  for (guint i = 0; i < node->broker->shard_count; i++) {
    Step *step = g_new0(Step, 1);
    *step = (Step){.node = node, .shard = node->broker->shards[i], .epoch = node->epoch};
    step->image = image ? metadata_image_ref(image) : NULL;
    loop_call(step->shard->loop, func, step);
  }
}

static void on_routed(gpointer data) {
  Step *step = data;
  front_set_image(step->shard->front, step->image);
  step_free(step);
}

static void tell_if_stopped(Node *node) {
  if (node->stopped && node->publishing == 0)
    g_steal_pointer (&node->stopped)(node->stopped_data);
}

/* Main loop: one shard has applied the image. */
static void on_applied(gpointer data) {
  Step *step = data;
  Node *node = step->node;
  if (--node->publishing == 0) {
    on_each_shard(node, step->image, on_routed);
    publish_next(node);
    tell_if_stopped(node);
  }
  step_free(step);
}

/* Shard's loop. */
static void on_apply(gpointer data) {
  Step *step = data;
  shard_apply_image(step->shard, step->image, step->epoch);
  loop_call(step->node->loop, on_applied, step);
}

static void publish_next(Node *node) {
  if (node->publishing > 0 || !node->next)
    return;
  g_autoptr(MetadataImage) image = g_steal_pointer(&node->next);
  node->publishing = node->broker->shard_count;
  on_each_shard(node, image, on_apply);
}

static void publish(Node *node, MetadataImage *image) {
  if (node->stopping || !image || replica_assignment_is_of_the_past(image, node->epoch))
    return;
  metadata_image_ref(image);
  metadata_image_unref(node->next);
  node->next = image;
  publish_next(node);
}

/* ---- catching up ---- */

static gboolean contains(const gint32 *ids, guint count, gint32 id) {
  for (guint i = 0; i < count; i++)
    if (ids[i] == id)
      return TRUE;
  return FALSE;
}

/* Replicas that a reassignment brings here do not count: they are nobody's yet. */
static gboolean lags_behind(const MetadataPartition *partition, gint32 id) {
  const gint32 *replicas = partition->before_count > 0 ? partition->before : partition->replicas;
  guint count = partition->before_count > 0 ? partition->before_count : partition->replica_count;
  return contains(replicas, count, id) && partition->leader_id >= 0 && partition->leader_id != id &&
         !contains(partition->isr, partition->isr_count, id);
}

static gboolean is_caught_up(const MetadataImage *image, gint32 id) {
  MetadataIter iter;
  metadata_iter_topics(&iter, image, NULL);
  for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));)
    for (guint i = 0; i < topic->partition_count; i++)
      if (lags_behind(topic->partitions[i], id))
        return FALSE;
  return TRUE;
}

/* Once: it costs a look at everything, and who lags later is still good for clients. */
static void look_whether_caught_up(Node *node, const MetadataImage *image) {
  const MetadataBroker *self = metadata_image_broker(image, node->broker->id);
  if (node->caught_up || !self || self->fenced || self->epoch != node->epoch || !is_caught_up(image, self->id))
    return;
  node->caught_up = TRUE;
  slog_info("caught up: every replica is in sync that can be", NULL);
  if (node->events.caught_up)
    node->events.caught_up(node->data);
}

/* ---- the controller ---- */

/* Shard's loop. */
static void on_controller_known(gpointer data) {
  Step *step = data;
  front_set_controller(step->shard->front, step->controller, step->controller_id);
  step_free(step);
}

/* ---- what the membership says ---- */

static void on_registered(const char *cluster_id, guint64 epoch, gpointer data) {
  Node *node = data;
  LogStore *store = node->broker->store;
  const LogStoreIdentity *identity = log_store_identity(store);
  if (strcmp(identity->cluster_id, cluster_id) != 0 || identity->node_id != node->broker->id) {
    g_autoptr(Failure) failure = log_store_set_identity(store, cluster_id, node->broker->id);
    if (failure) {
      node->events.refused(failure, node->data);
      return;
    }
  }
  log_store_set_told(store);
  node->epoch = epoch;
  publish(node, membership_image(node->membership));
}

static void on_image(MetadataImage *image, gpointer data) {
  publish(data, image);
  look_whether_caught_up(data, image);
}

/* Tell the fronts. */
static void on_controller(const char *peer_address, gint32 id, gpointer data) {
  Node *node = data;
  for (guint i = 0; i < node->broker->shard_count; i++) {
    Step *step = g_new0(Step, 1);
    *step = (Step){.shard = node->broker->shards[i], .controller = g_strdup(peer_address), .controller_id = id};
    loop_call(step->shard->loop, on_controller_known, step);
  }
}

static void on_fenced(gboolean fenced, gpointer data) {
  Node *node = data;
  slog_info(fenced ? "fenced: leads nothing now" : "unfenced: may lead partitions", NULL);
  node->events.fenced(fenced, node->data);
}

static void on_refused(const Failure *failure, gpointer data) {
  Node *node = data;
  node->events.refused(failure, node->data);
}

/* ---- life ---- */

Node *node_new(Broker *broker, Loop *loop, const NodeOptions *options, const NodeEvents *events, gpointer data) {
  static const MembershipEvents EVENTS = {on_registered, on_image, on_fenced, on_controller, on_refused};
  Node *node = g_new0(Node, 1);
  *node = (Node){.broker = broker, .loop = loop, .events = *events, .data = data};
  const LogStoreIdentity *identity = log_store_identity(broker->store);
  const GArray *damaged = broker->damaged_logs;
  const MembershipOptions membership = {.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER,
                                        .id = broker->id,
                                        .rack = options->rack,
                                        .address = options->address,
                                        .peer_address = options->peer_address,
                                        .incarnation = identity->incarnation,
                                        .cluster_id = identity->cluster_id,
                                        .stopped_in_order = log_store_lost_nothing(broker->store),
                                        .damaged_log_ids = (guint64 *)(gpointer)(damaged ? damaged->data : NULL),
                                        .damaged_log_count = damaged ? damaged->len : 0,
                                        .controllers = options->controllers,
                                        .disk_low = disk_figures(broker->disk).level != DISK_FINE,
                                        .session_until_us = &broker->session_until_us};
  node->membership = membership_new(broker->client, loop, &membership, &EVENTS, node);
  return node;
}

void node_start(Node *node) {
  membership_start(node->membership);
}

void node_set_disk_low(Node *node, gboolean low) {
  membership_set_disk_low(node->membership, low);
}

void node_leave(Node *node, guint timeout_ms, void (*left)(gpointer data), gpointer data) {
  membership_leave(node->membership, timeout_ms, left, data);
}

void node_stop(Node *node, void (*stopped)(gpointer data), gpointer data) {
  node->stopping = TRUE;
  g_clear_pointer(&node->next, metadata_image_unref);
  node->stopped = stopped;
  node->stopped_data = data;
  tell_if_stopped(node);
}

void node_free(Node *node) {
  if (!node)
    return;
  membership_free(node->membership);
  metadata_image_unref(node->next);
  g_free(node);
}
