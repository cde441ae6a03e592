/* When a front may be behind: ask the active controller what it knows of a topic, and wait until the front's own image
 * shows as much.
 *
 *   topic:   asked ──answer──► waiting for the image ──► done
 *   version:                   waiting for the image ──► done
 *
 * Waiting for the image, instead of using the controller's answer, keeps one source of truth: the committed metadata in
 * its order. Thread: the front's loop. Failure modes: no controller, or too late, is told to who asked. */
#include "services/broker/front.h"
#include "services/broker/front_internal.h"

struct FrontRefresh {
  Front *front;
  FrontRefreshDone done;
  gpointer user_data;
  GList link; /* in the front's refreshes */
  gint64 deadline_us;
  Timer timer;
  FrontWatch watch;
  guint64 version;                  /* wait for this version, if not 0 */
  Milena__V1__GetTopicResponse *told; /* or until the image shows this; borrowed from message */
  RpcMessage *message;
  RpcClientCall *call;
  Failure *failure; /* to be told by the timer */
};

static void refresh_free(FrontRefresh *refresh) {
  Front *front = refresh->front;
  timer_clear(front->timers, &refresh->timer);
  front_watch_remove(front, &refresh->watch);
  g_queue_unlink(&front->refreshes, &refresh->link);
  rpc_message_unref(refresh->message);
  failure_free(refresh->failure);
  g_free(refresh);
}

/* An abandoned call still reports; it then finds that nobody asks any more. */
typedef struct {
  FrontRefresh *refresh; /* NULL once it ended */
} Asked;

static void finish(FrontRefresh *refresh, Failure *failure) {
  FrontRefreshDone done = refresh->done;
  gpointer user_data = refresh->user_data;
  if (refresh->call)
    rpc_client_call_cancel(refresh->call);
  refresh_free(refresh);
  done(failure, user_data);
  failure_free(failure);
}
