/* When a front may be behind: ask the active controller what it knows of a topic, and wait until the front's own image
 * shows as much.
 *
 *   topic:   asked ──answer──► waiting for the image ──► done
 *   version:                   waiting for the image ──► done
 *
 * Waiting for the image, instead of using the controller's answer, keeps one source of truth: the committed metadata in
 * its order. Thread: the front's loop. Failure modes: no controller, or too late, is told to who asked. */
#include "services/broker/front.h"

#include "milena/v1/admin_service.pb-c.h"
#include "services/broker/front_internal.h"

struct FrontRefresh {
  Front *front;
  FrontRefreshDone done;
  gpointer user_data;
  GList link; /* in the front's refreshes */
  Timer timer;
  FrontWatch watch;

  guint64 version;  /* wait for this version, if not 0 ... */
  RpcMessage *told; /* ... or until the image shows this GetTopicResponse; NULL while it is not there */
  RpcClientCall *call;
  gboolean no_controller;
};

static void refresh_free(FrontRefresh *refresh) {
  Front *front = refresh->front;
  timer_clear(front->timers, &refresh->timer);
  front_watch_remove(front, &refresh->watch);
  g_queue_unlink(&front->refreshes, &refresh->link);
  if (refresh->call) {
    rpc_client_call_abandon(refresh->call);
    rpc_client_call_unref(refresh->call);
  }
  rpc_message_unref(refresh->told);
  g_free(refresh);
}

void front_refresh_cancel(FrontRefresh *refresh) {
  refresh_free(refresh);
}

static void finish(FrontRefresh *refresh, const Failure *failure) {
  FrontRefreshDone done = refresh->done;
  gpointer user_data = refresh->user_data;
  refresh_free(refresh);
  done(failure, user_data);
}

/* ---- waiting for the image ---- */

/* The front's image shows at least what the controller told. */
static gboolean image_shows(MetadataImage *image, const Milena__V1__Topic *topic) {
  const MetadataTopic *known = metadata_image_topic_by_id(image, topic->id);
  if (!known || known->partition_count < topic->n_partitions)
    return FALSE;
  for (size_t i = 0; i < topic->n_partitions; i++) {
    const Milena__V1__Partition *told = topic->partitions[i];
    const MetadataPartition *partition = metadata_topic_partition(known, told->partition);
    if (!partition || partition->leader_epoch < told->leader_epoch)
      return FALSE;
  }
  return TRUE;
}

static gboolean is_up_to_date(const FrontRefresh *refresh) {
  MetadataImage *image = refresh->front->image;
  if (!refresh->told)
    return refresh->version > 0 && metadata_image_version(image) >= refresh->version;
  const Milena__V1__GetTopicResponse *response = rpc_message_body(refresh->told);
  return !response->topic || image_shows(image, response->topic);
}

static void on_image(FrontWatch *watch, MetadataImage *before, MetadataImage *now) {
  (void)before;
  (void)now;
  FrontRefresh *refresh = (FrontRefresh *)((char *)watch - G_STRUCT_OFFSET(FrontRefresh, watch));
  if (is_up_to_date(refresh))
    finish(refresh, NULL);
}

static Failure *no_controller(void) {
  return failure_set_retry_delay(
      failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                  "this broker reaches no active controller now, so it can't tell whether its metadata is current: try "
                  "again soon"),
      500);
}

static void on_told(RpcMessage *response, const Failure *failure, gpointer user_data) {
  FrontRefresh *refresh = user_data;
  g_clear_pointer(&refresh->call, rpc_client_call_unref);
  if (failure && failure_reason(failure) == FAILURE(NOT_BOOTSTRAPPED)) {
    /* It lost its disk, at the address where the active one was: so far this broker knows no other. */
    g_autoptr(Failure) nobody = no_controller();
    finish(refresh, nobody);
    return;
  }
  if (failure) {
    finish(refresh, failure);
    return;
  }
  refresh->told = rpc_message_ref(response);
  if (is_up_to_date(refresh))
    finish(refresh, NULL);
}

static void on_timer(Timer *timer, gpointer data) {
  (void)timer;
  FrontRefresh *refresh = data;
  g_autoptr(Failure) failure = NULL;
  if (refresh->no_controller)
    failure = no_controller();
  else if (is_up_to_date(refresh))
    failure = NULL;
  else
    failure = failure_new(FAILURE(CONTROLLER_NOT_AVAILABLE),
                          "this broker's metadata did not catch up with the controller's in time: nothing was done, "
                          "try again soon");
  finish(refresh, failure);
}

/* ---- starting ---- */

static FrontRefresh *refresh_new(Front *front, FrontRefreshDone done, gpointer user_data) {
  LOOP_ASSERT_CURRENT(front->shard->loop);
  FrontRefresh *refresh = g_new0(FrontRefresh, 1);
  *refresh = (FrontRefresh){.front = front, .done = done, .user_data = user_data};
  refresh->link.data = refresh;
  g_queue_push_tail_link(&front->refreshes, &refresh->link);
  refresh->watch.changed = on_image;
  return refresh;
}

static gint64 bounded(gint64 deadline_us) {
  return MIN(deadline_us, g_get_monotonic_time() + FRONT_REFRESH_MAX_MS * G_GINT64_CONSTANT(1000));
}

FrontRefresh *front_refresh_topic(Front *front, const char *topic_name, const char *topic_id, gint64 deadline_us,
                                  FrontRefreshDone done, gpointer user_data) {
  FrontRefresh *refresh = refresh_new(front, done, user_data);
  if (!front->controller) {
    refresh->no_controller = TRUE;
    timer_set(front->timers, &refresh->timer, 0, on_timer, refresh);
    return refresh;
  }
  gint64 until_us = bounded(deadline_us);
  timer_set(front->timers, &refresh->timer, until_us, on_timer, refresh);
  front_watch_add(front, &refresh->watch);
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = (char *)(topic_name ? topic_name : "");
  request.id = (char *)(topic_id ? topic_id : "");
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  refresh->call = rpc_client_unary(front_client(front), front->controller, &milena__v1__admin_service__descriptor,
                                   "GetTopic", message, until_us, front_loop(front), on_told, refresh);
  return refresh;
}

FrontRefresh *front_refresh_version(Front *front, guint64 version, gint64 deadline_us, FrontRefreshDone done,
                                    gpointer user_data) {
  FrontRefresh *refresh = refresh_new(front, done, user_data);
  refresh->version = version;
  gboolean now = metadata_image_version(front->image) >= version;
  timer_set(front->timers, &refresh->timer, now ? 0 : bounded(deadline_us), on_timer, refresh);
  if (!now)
    front_watch_add(front, &refresh->watch);
  return refresh;
}

void front_end_refreshes(Front *front) {
  g_autoptr(Failure) failure = failure_new(FAILURE(DRAINING), "this broker is stopping: go to another one");
  while (front->refreshes.head)                   /* finish takes it out of the queue */
    finish(front->refreshes.head->data, failure); /* NOLINT(clang-analyzer-unix.Malloc) */
}
