/* Routes and the metadata of one loop. See front.h.
 *
 * Invariant: `image` is never newer than what every shard has applied (shard.h), so a route that says "here" is to a
 * partition that its shard knows. Thread: the front's loop, which is also its shard's. Failure modes: only answers. */
#include "services/broker/front.h"

#include "services/broker/front_internal.h"

Front *front_new(Shard *shard) {
  Front *front = g_new0(Front, 1);
  front->shard = shard;
  front->timers = shard->timers;
  front->image = metadata_image_new();
  front->controller_id = -1;
  g_queue_init(&front->watches);
  g_queue_init(&front->refreshes);
  return front;
}

void front_free(Front *front) {
  if (!front)
    return;
  INVARIANT(g_queue_is_empty(&front->refreshes), "nobody waits for a front that goes");
  metadata_image_unref(front->image);
  g_free(front->controller);
  g_free(front);
}

Loop *front_loop(const Front *front) {
  return front->shard->loop;
}

Timers *front_timers(Front *front) {
  return front->timers;
}

RpcClient *front_client(Front *front) {
  return front->shard->broker->client;
}

gint32 front_broker_id(const Front *front) {
  return front->shard->broker->id;
}

MetadataImage *front_image(Front *front) {
  LOOP_ASSERT_CURRENT(front->shard->loop);
  return front->image;
}

gint32 front_active_controller_id(const Front *front) {
  return front->controller_id;
}

gboolean front_is_draining(const Front *front) {
  return g_atomic_int_get(&front->shard->broker->draining) != 0;
}

/* ---- changes ---- */

void front_watch_add(Front *front, FrontWatch *watch) {
  watch->link.data = watch;
  g_queue_push_tail_link(&front->watches, &watch->link);
}

void front_watch_remove(Front *front, FrontWatch *watch) {
  if (!watch->link.data)
    return;
  g_queue_unlink(&front->watches, &watch->link);
  watch->link.data = NULL;
}

/* A watch that is called may remove itself, or others: each goes to the end of the queue before it is called, and as
 * many are called as were there. */
static void tell_watches(Front *front, MetadataImage *before, MetadataImage *now) {
  guint count = g_queue_get_length(&front->watches);
  for (; count > 0 && front->watches.head; count--) {
    GList *link = g_queue_pop_head_link(&front->watches);
    FrontWatch *watch = link->data;
    g_queue_push_tail_link(&front->watches, link);
    watch->changed(watch, before, now);
  }
}

void front_set_image(Front *front, MetadataImage *image) {
  LOOP_ASSERT_CURRENT(front->shard->loop);
  MetadataImage *before = front->image;
  front->image = metadata_image_ref(image);
  tell_watches(front, before, image);
  metadata_image_unref(before);
}

void front_set_controller(Front *front, const char *address, gint32 id) {
  LOOP_ASSERT_CURRENT(front->shard->loop);
  g_free(front->controller);
  front->controller = g_strdup(address);
  front->controller_id = id;
  g_autoptr(MetadataImage) image = metadata_image_ref(front->image); /* a watch may wait, and end, with it */
  tell_watches(front, image, image);
}

/* ---- routes ---- */

void route_clear(Route *route) {
  metadata_image_unref(route->image);
  *route = (Route)ROUTE_INIT;
}

gboolean route_fill_hint(const Route *route, Milena__V1__RouteHint *ret_hint) {
  if (!route->partition)
    return FALSE;
  milena__v1__route_hint__init(ret_hint);
  ret_hint->leader_id = route->leader ? route->leader->id : -1;
  if (route->leader)
    ret_hint->leader_address = route->leader->address;
  ret_hint->leader_epoch = route->partition->leader_epoch;
  ret_hint->metadata_version = metadata_image_version(route->image);
  return TRUE;
}

Failure *front_find_topic(Front *front, const char *topic_name, const char *topic_id, const MetadataTopic **ret_topic) {
  return metadata_image_find_topic(front_image(front), topic_name, topic_id, ret_topic);
}

gboolean front_leader_is_gone(MetadataImage *now, gint32 leader_id, guint64 registration) {
  const MetadataBroker *leader = metadata_image_broker(now, leader_id);
  return !leader || leader->fenced || leader->epoch != registration;
}

static Failure *refuse_proxy(const Route *route, gint32 partition) {
  Failure *failure = failure_new(FAILURE(NOT_LEADER),
                                 "partition %d of topic '%s' is led by broker %d at %s, and the request asks for no "
                                 "forwarding: go there",
                                 partition, route->topic->name, route->leader->id, route->leader->address);
  failure_add(failure, "leader", "%d", route->leader->id);
  failure_add(failure, "leader_address", "%s", route->leader->address);
  failure_add(failure, "leader_epoch", "%d", route->partition->leader_epoch);
  return failure_add(failure, "metadata_version", "%" G_GUINT64_FORMAT, metadata_image_version(route->image));
}

Failure *route_no_partition(const MetadataTopic *topic, gint32 partition) {
  Failure *failure =
      failure_new(FAILURE(UNKNOWN_PARTITION), "topic '%s' has no partition %d: it has %u, numbered from 0", topic->name,
                  partition, topic->partition_count);
  g_autofree char *name = g_strdup_printf("%s/%d", topic->name, partition);
  return failure_set_resource(failure, "partition", name);
}

static Failure *no_leader(const Route *route, gint32 partition) {
  Failure *failure = failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                                 "partition %d of topic '%s' has no leader now: none of the brokers that hold it is "
                                 "up; try again soon",
                                 partition, route->topic->name);
  failure_set_retry_delay(failure, 200);
  return failure_add(failure, "leader_epoch", "%d", route->partition->leader_epoch);
}

Failure *front_route(Front *front, const char *topic_name, const char *topic_id, gint32 partition, gboolean no_proxy,
                     Route *ret_route) {
  *ret_route = (Route)ROUTE_INIT;
  MetadataImage *image = front_image(front);
  ret_route->image = metadata_image_ref(image);
  Failure *failure = metadata_image_find_topic(image, topic_name, topic_id, &ret_route->topic);
  if (failure)
    return failure;
  ret_route->partition = metadata_topic_partition(ret_route->topic, partition);
  if (!ret_route->partition)
    return route_no_partition(ret_route->topic, partition);
  if (ret_route->partition->leader_id >= 0)
    ret_route->leader = metadata_image_broker(image, ret_route->partition->leader_id);
  if (!ret_route->leader)
    return no_leader(ret_route, partition);
  if (ret_route->leader->id == front_broker_id(front))
    ret_route->shard = broker_owner(front->shard->broker, ret_route->partition->log_id);
  else if (no_proxy)
    return refuse_proxy(ret_route, partition);
  return NULL;
}

gboolean front_failure_may_be_stale(const Failure *failure) {
  switch ((int)failure_reason(failure)) {
  case FAILURE(UNKNOWN_TOPIC):
  case FAILURE(UNKNOWN_PARTITION):
  case FAILURE(TOPIC_ID_MISMATCH):
  case FAILURE(NOT_LEADER):
  case FAILURE(LEADER_NOT_AVAILABLE):
    return TRUE;
  default:
    return FALSE;
  }
}
