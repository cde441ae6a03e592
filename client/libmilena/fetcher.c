/* The consumer's half on the client's loop: looks up where to start, keeps fetches waiting at the leaders, queues what
 * comes, and waits out what passes.
 *
 * Of a broker several fetches may be under way, each for other partitions: partitions that have room again, and those
 * that are new, need not wait for a long poll on the rest. When there are as many as there may be, the long polls that
 * wait for new records are given up, and one fetch asks for all of that: so a partition that was just assigned is read
 * at once. A partition's fetch is given up once at most until it is answered: on a slow network nobody starves.
 *
 * Invariants
 *   1. A part is in at most one request (`asked`).
 *   2. What is queued, and what requests under way may bring, is at most prefetch_bytes, but for one answer.
 *   3. An answer counts only for parts whose generation is that of the request.
 *   4. Each broker's fetches under way bring at most its share of prefetch_bytes: no broker keeps another's from being
 *      asked.
 *
 * Owned by the client's loop; parts and chunks under the consumer's mutex. Troubles that pass are kept in
 * consumer->trouble and tried again with a backoff; others rest their part. */
#include "client/libmilena/fetcher_internal.h"

MilenaClient *fetcher_client(const Fetcher *fetcher) {
  return fetcher->consumer->client;
}

/* ---- asks ---- */

/* The mutex is held, where parts are in it. */
Ask *ask_new(Fetcher *fetcher, AskKind kind, gint32 broker_id, const char *address) {
  Ask *ask = g_new0(Ask, 1);
  *ask = (Ask){.fetcher = fetcher, .kind = kind, .broker_id = broker_id, .address = g_strdup(address), .at_end = TRUE};
  ask->parts = g_ptr_array_new();
  ask->generations = g_array_new(FALSE, FALSE, sizeof(guint32));
  return ask;
}

void ask_add(Ask *ask, Part *part) {
  part->asked = TRUE;
  ask->at_end =
      ask->at_end && !part->displaced && part->high_watermark >= 0 && part->fetch_offset >= part->high_watermark;
  g_ptr_array_add(ask->parts, part_ref(part));
  g_array_append_val(ask->generations, part->generation);
}

/* The part, if the answer still counts for it. */
Part *ask_part(const Ask *ask, guint index) {
  Part *part = ask->parts->pdata[index];
  return part->assigned && part->generation == g_array_index(ask->generations, guint32, index) ? part : NULL;
}

/* The mutex is held. */
void ask_free(Ask *ask) {
  if (ask->call != NULL)
    rpc_client_call_unref(ask->call);
  for (guint i = 0; i < ask->parts->len; i++)
    part_unref(ask->parts->pdata[i]);
  g_ptr_array_unref(ask->parts);
  g_array_unref(ask->generations);
  g_free(ask->address);
  g_free(ask);
}

/* It was answered. The mutex is held. */
void ask_finish(Ask *ask) {
  Fetcher *fetcher = ask->fetcher;
  fetcher->reserved_bytes -= ask->reserved_bytes;
  g_ptr_array_remove_fast(fetcher->asks, ask);
  ask_free(ask);
}

/* ---- life ---- */

static void fetcher_wake_run(LoopTask *task) {
  Fetcher *fetcher = (Fetcher *)((char *)task - G_STRUCT_OFFSET(Fetcher, wake_task));
  atomic_store(&fetcher->woken, false);
  if (!fetcher->closed)
    fetcher_pump(fetcher);
}

void fetcher_wake(Fetcher *fetcher) {
  if (!atomic_exchange(&fetcher->woken, true))
    loop_post_completion(client_loop(fetcher_client(fetcher)), &fetcher->wake_task); /* one at a time: always fits */
}

/* Of a broker that serves no more nothing is waited for. */
static void fetcher_on_view(gpointer data) {
  Fetcher *fetcher = data;
  g_autoptr(View) view = client_view(fetcher_client(fetcher));
  pthread_mutex_lock(&fetcher->consumer->mutex);
  for (guint i = fetcher->asks->len; i-- > 0;) {
    Ask *ask = fetcher->asks->pdata[i];
    if (view_broker_serves(view, ask->broker_id, ask->address))
      continue;
    g_autoptr(Failure) gone =
        failure_new(FAILURE(PEER_UNREACHABLE), "the cluster's metadata says that it serves no more");
    rpc_client_call_abandon(ask->call);
    ask_failed(ask, gone);
    ask_finish(ask);
  }
  pthread_mutex_unlock(&fetcher->consumer->mutex);
  fetcher_wake(fetcher);
}

Fetcher *fetcher_new(MilenaConsumer *consumer) {
  Fetcher *fetcher = g_new0(Fetcher, 1);
  fetcher->consumer = consumer;
  fetcher->wake_task.run = fetcher_wake_run;
  fetcher->asks = g_ptr_array_new();
  client_listen(consumer->client, fetcher_on_view, fetcher);
  return fetcher;
}

static void fetcher_close_run(gpointer data) {
  Fetcher *fetcher = data;
  fetcher->closed = TRUE;
  fetcher_clear_timer(fetcher);
  pthread_mutex_lock(&fetcher->consumer->mutex);
  for (guint i = 0; i < fetcher->asks->len; i++) {
    Ask *ask = fetcher->asks->pdata[i];
    rpc_client_call_abandon(ask->call);
    ask_free(ask);
  }
  g_ptr_array_set_size(fetcher->asks, 0);
  pthread_mutex_unlock(&fetcher->consumer->mutex);
}

static void nothing(gpointer data) {
  (void)data;
}

void fetcher_free(Fetcher *fetcher) {
  if (fetcher == NULL)
    return;
  MilenaClient *client = fetcher_client(fetcher);
  client_unlisten(client, fetcher_on_view, fetcher);
  loop_call_and_wait(client_loop(client), fetcher_close_run, fetcher);
  /* A wake-up may still be in the mailbox: behind it there is none. */
  loop_call_and_wait(client_loop(client), nothing, NULL);
  g_ptr_array_unref(fetcher->asks);
  g_free(fetcher);
}
