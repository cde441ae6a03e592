/* See broker.h: registration, heartbeats and the followed metadata, as services/membership and services/broker/node.c
 * have them.
 *
 * Invariants: one call of the membership is under way at a time; versions of the metadata only rise. */
#include "services/broker/replica/assignment.h"
#include "tests/sim/cluster/office.h"

#define FOLLOW_EVERY_US 60000
#define LAGGING_MAX 10
#define RETRY_US 80000
#define PATIENCE_US 700000
#define LEAVE_POLL_US 50000

static guint64 any_controller(Cluster *cluster) {
  guint64 id = 1 + sim_below(cluster->sim, NODES_MAX);
  while (!cluster->world->nodes[id]->store)
    id = id % NODES_MAX + 1;
  return id;
}

/* ---- Registration and heartbeats ---- */

static void act(Broker *broker, gpointer data) {
  (void)data;
  if (broker->call)
    return;
  Cluster *cluster = broker->cluster;
  broker->call = call_new(cluster, broker->epoch ? CALL_HEARTBEAT : CALL_REGISTER, broker, broker->controller);
  g_strlcpy(broker->call->process_id, broker->process_id, METADATA_ID_BYTES);
  g_strlcpy(broker->call->incarnation, broker->incarnation, METADATA_ID_BYTES);
  if (broker->call->kind == CALL_REGISTER)
    broker->call->damaged = logs_damaged(broker);
  broker->call->flag = broker->epoch ? broker->leaving : broker->stopped_in_order;
  broker->call->version = broker->followed ? metadata_image_version(broker->followed) : 0;
  call_start(broker->call, PATIENCE_US);
}

static void publish(Broker *broker) {
  MetadataImage *image = broker->followed;
  if (!image || replica_assignment_is_of_the_past(image, broker->epoch) || image == broker->image)
    return;
  metadata_image_ref(image);
  metadata_image_unref(broker->image);
  broker->image = image;
  logs_assign(broker, image);
  streams_look(broker);
  damage_look(broker);
}

static void next_controller(Broker *broker, const Call *call) {
  gboolean silent = call->reason == FAILURE(DEADLINE_EXCEEDED) || call->reason == FAILURE(PEER_UNREACHABLE);
  gboolean hinted = !silent && call->hint > 0;
  broker->controller = hinted ? call->hint : any_controller(broker->cluster);
}

static void registered(Broker *broker, const Call *call) {
  broker_tell(broker, "is registered with epoch %d", (int)call->ret_epoch);
  broker->epoch = call->ret_epoch;
  broker->stop_told = TRUE;
  broker->fenced = TRUE;
  publish(broker);
}

/* Whom it follows stays behind the active one: another one is followed. */
static void note_lag(Broker *broker, const Call *call) {
  guint64 version = broker->followed ? metadata_image_version(broker->followed) : 0;
  broker->lagging = version < call->ret_version ? broker->lagging + 1 : 0;
  if (broker->lagging < LAGGING_MAX)
    return;
  broker->lagging = 0;
  broker->followee = any_controller(broker->cluster);
}

void membership_answered(Broker *broker, const Call *call) {
  if (broker->call != call)
    return;
  gboolean registers = call->kind == CALL_REGISTER;
  Call *held = broker->call;
  broker->call = NULL;
  gint64 delay_us = RETRY_US;
  if (!call->reason && registers) {
    registered(broker, call);
    delay_us = 0;
  } else if (!call->reason && broker->leaving && call->may_stop) {
    broker_ends_in_order(broker);
    call_unref(held);
    return;
  } else if (!call->reason) {
    if (broker->fenced != call->fenced)
      broker_tell(broker, call->fenced ? "hears that it is fenced" : "hears that it is fenced no more");
    broker->fenced = call->fenced;
    note_lag(broker, call);
    gboolean news = broker->fenced && call->version < broker->epoch && broker->followed &&
                    metadata_image_version(broker->followed) >= broker->epoch;
    delay_us = news ? 0 : broker->leaving ? LEAVE_POLL_US : broker->cluster->shape.heartbeat_us;
  } else if (!registers && (call->reason == FAILURE(FENCED) || call->reason == FAILURE(UNKNOWN_BROKER))) {
    broker_tell(broker, "registers again: its session has ended");
    broker->epoch = 0;
    broker->fenced = TRUE;
  } else {
    next_controller(broker, call);
  }
  call_unref(held);
  broker_after(broker, delay_us, act, NULL, NULL);
}

/* ---- Metadata ---- */

static void follow(Broker *broker, gpointer data) {
  (void)data;
  Call *call = call_new(broker->cluster, CALL_FOLLOW, broker, broker->followee);
  call->version = broker->followed ? metadata_image_version(broker->followed) : 0;
  call_start(call, PATIENCE_US);
  call_unref(call);
}

void membership_followed(Broker *broker, const Call *call) {
  if (call->reason)
    broker->followee = any_controller(broker->cluster);
  else if (sim_chance(broker->cluster->sim, 20))
    broker->followee = any_controller(broker->cluster); /* now and then it finds it slow */
  guint64 version = broker->followed ? metadata_image_version(broker->followed) : 0;
  if (call->image && metadata_image_version(call->image) > version) {
    metadata_image_ref(call->image);
    metadata_image_unref(broker->followed);
    broker->followed = call->image;
    publish(broker);
  }
  /* Nothing that was not told before: what calls have found out since is newer. */
  if (!call->reason && call->hint && call->hint != broker->told)
    broker->controller = broker->told = call->hint;
  broker_after(broker, FOLLOW_EVERY_US, follow, NULL, NULL);
}

void membership_begin(Broker *broker) {
  broker->controller = any_controller(broker->cluster);
  broker->followee = any_controller(broker->cluster);
  broker_after(broker, 0, act, NULL, NULL);
  broker_after(broker, 0, follow, NULL, NULL);
}
