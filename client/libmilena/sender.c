/* Sends what the accumulator holds: see sender.h.
 *
 * A pump looks at every lane with something in it: is its first batch due, is there a leader, has its link room? It
 * runs when something changed (an append, an answer, a link, the metadata, a timer), never more than once at a time.
 *
 * Invariants
 *   1. Of a lane at most one batch is in flight: a retry can't be overtaken by what follows it.
 *   2. A batch is sent again only when it certainly was not written, or when the user asked for at-least-once.
 *   3. Every batch is reported once, before its deadline or at it.
 *
 * Owned by the client's loop, but for sender_wake. Callbacks of the user run on the loop with nothing locked. */
#include "client/libmilena/sender.h"

#include <stdatomic.h>

#include "client/libmilena/convert.h"
#include "client/libmilena/link.h"
#include "services/base/times.h"

struct Sender {
  MilenaClient *client;
  Accumulator *accumulator;
  const MilenaProducerOptions *options;
  LoopTask wake_task; /* users' threads, and ourselves → the loop */
  atomic_bool woken;  /* wake_task is posted */
  GHashTable *links;  /* broker id (the link's) → Link, owned */
  GSource *timer;
  guint rotation; /* where a pump begins: lanes take turns where a link has little room */
  gboolean closed;
};

static void sender_pump(Sender *sender);

static void sender_on_view(gpointer data) {
  Sender *sender = data;
  g_autoptr(View) view = client_view(sender->client);
  accumulator_update(sender->accumulator, view);
  sender_wake(sender);
}

static void sender_wake_run(LoopTask *task) {
  Sender *sender = (Sender *)((char *)task - G_STRUCT_OFFSET(Sender, wake_task));
  atomic_store(&sender->woken, false);
  if (!sender->closed)
    sender_pump(sender);
}

static void link_destroy(gpointer data) {
  link_free(data);
}

Sender *sender_new(MilenaClient *client, Accumulator *accumulator, const MilenaProducerOptions *options) {
  Sender *sender = g_new0(Sender, 1);
  sender->client = client;
  sender->accumulator = accumulator;
  sender->options = options;
  sender->wake_task.run = sender_wake_run;
  sender->links = g_hash_table_new_full(g_int_hash, g_int_equal, NULL, link_destroy);
  client_listen(client, sender_on_view, sender);
  return sender;
}

void sender_wake(Sender *sender) {
  if (!atomic_exchange(&sender->woken, true))
    loop_post_completion(client_loop(sender->client), &sender->wake_task); /* one at a time: always fits */
}

MilenaClient *sender_client(Sender *sender) {
  return sender->client;
}

const MilenaProducerOptions *sender_options(Sender *sender) {
  return sender->options;
}

void sender_link_changed(Sender *sender) {
  sender_wake(sender);
}

/* ---- reports ---- */

static void call_waiters(const Batch *batch, MilenaDelivery *delivery) {
  gint64 base_offset = delivery->offset;
  for (guint i = 0; batch->waiters != NULL && i < batch->waiters->len; i++) {
    const BatchWaiter *waiter = &g_array_index(batch->waiters, BatchWaiter, i);
    delivery->offset = base_offset >= 0 ? base_offset + waiter->index : -1;
    delivery->timestamp_ms = waiter->timestamp_ms;
    waiter->done(delivery, waiter->user_data);
  }
}

static void report_written(Sender *sender, Batch *batch, const Milena__V1__ProduceResult *result) {
  MilenaDelivery delivery = {
      .topic = batch->lane->topic->name,
      .partition = batch->lane->partition,
      .offset = sender->options->acks == MILENA_ACKS_NONE ? -1 : result->base_offset,
      .append_time_ms = times_timestamp_ms(result->append_time, 0),
      .leader_epoch = result->leader_epoch,
      .replicas = result->replicas,
      .synced_replicas = result->synced_replicas,
      .duplicate = result->duplicate,
  };
  call_waiters(batch, &delivery);
  accumulator_finish(sender->accumulator, batch, TRUE, FALSE);
}

/* @failure: taken. */
static void report_failed(Sender *sender, Batch *batch, Failure *failure, Outcome outcome) {
  if (batch->maybe_written)
    outcome = OUTCOME_UNKNOWN;
  failure_add(failure, "topic", "%s", batch->lane->topic->name);
  failure_add(failure, "partition", "%d", batch->lane->partition);
  g_autoptr(MilenaError) error = milena_error_take(failure, outcome);
  MilenaDelivery delivery = {
      .topic = batch->lane->topic->name, .partition = batch->lane->partition, .offset = -1, .error = error};
  call_waiters(batch, &delivery);
  accumulator_finish(sender->accumulator, batch, FALSE, outcome == OUTCOME_UNKNOWN);
}

/* Its time is over and it is not in flight: say what held it up. */
static void report_expired(Sender *sender, Batch *batch) {
  Failure *failure = batch->last != NULL ? failure_copy(batch->last) : accumulator_get_trouble(sender->accumulator);
  if (failure == NULL)
    failure = failure_new(FAILURE(PEER_UNREACHABLE), "the batch could not be sent in time");
  else if (failure_reason(failure) == FAILURE(UNSPECIFIED)) {
    Failure *named = failure_new(FAILURE(PEER_UNREACHABLE), "%s", failure_message(failure));
    failure_free(failure);
    failure = named;
  }
  failure_prefix(failure, "gave up after %u tries within %d ms", batch->attempts, sender->options->timeout_ms);
  report_failed(sender, batch, failure, OUTCOME_NOT_WRITTEN);
}

/* ---- answers ---- */

/* The leader does not know what the metadata has: it learns of it in a moment, or the metadata loses it. */
static gboolean is_news_to_leader(const Batch *batch, const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  return (reason == FAILURE(UNKNOWN_TOPIC) || reason == FAILURE(UNKNOWN_PARTITION)) &&
         g_get_monotonic_time() < batch->created_us + CLIENT_MISSING_GRACE_US;
}

static gboolean may_retry(const Sender *sender, const Batch *batch, const Failure *failure, Outcome outcome) {
  if (sender->closed || g_get_monotonic_time() >= batch->deadline_us)
    return FALSE;
  if (is_news_to_leader(batch, failure))
    return TRUE;
  return outcome == OUTCOME_UNKNOWN ? sender->options->retry_unknown : failure_is_retriable(failure);
}

void sender_batch_answered(Sender *sender, Batch *batch, const Milena__V1__ProduceResult *result, Failure *failure,
                           Outcome outcome) {
  LOOP_ASSERT_CURRENT(client_loop(sender->client));
  INVARIANT(batch->lane->in_flight == batch, "a lane has one batch in flight");
  batch->lane->in_flight = NULL;
  if (!sender->closed)
    sender_wake(sender); /* the lane is free */
  if (failure == NULL) {
    accumulator_set_trouble(sender->accumulator, NULL);
    report_written(sender, batch, result);
    return;
  }
  if (!may_retry(sender, batch, failure, outcome)) {
    report_failed(sender, batch, failure, outcome);
    return;
  }
  batch->maybe_written |= outcome == OUTCOME_UNKNOWN;
  gint64 pause_ms = client_backoff_ms(sender->client, MAX(batch->attempts, 1));
  batch->not_before_us =
      g_get_monotonic_time() + MAX(pause_ms, failure_retry_delay_ms(failure)) * G_TIME_SPAN_MILLISECOND;
  accumulator_set_trouble(sender->accumulator, failure_copy(failure));
  failure_free(batch->last);
  batch->last = failure;
  accumulator_put_back(sender->accumulator, batch);
}

/* ---- the pump ---- */

/* What one run of the pump knows. */
typedef struct {
  View *view;
  gint64 now_us;
  gint64 next_us; /* when to look again at the latest */
} Pump;

static void pump_look_again(Pump *pump, gint64 at_us) {
  pump->next_us = MIN(pump->next_us, at_us);
}

static Link *sender_link(Sender *sender, gint32 broker_id, const char *address) {
  Link *link = g_hash_table_lookup(sender->links, &broker_id);
  if (link == NULL) {
    link = link_new(sender, broker_id, address);
    g_hash_table_insert(sender->links, (gpointer)link_broker_id(link), link);
  }
  link_set_address(link, address);
  return link;
}

/* The link to a lane's leader, or NULL with why there is none. @ret_fatal: waiting will not help. */
static Link *lane_link(Sender *sender, Lane *lane, Pump *pump, Failure **ret_failure, gboolean *ret_fatal) {
  gint32 leader_id;
  const char *address;
  Failure *failure = view_leader(pump->view, lane->topic->name, lane->partition, &leader_id, &address);
  if (failure == NULL) {
    lane->missing_since_us = 0;
    return sender_link(sender, leader_id, address);
  }
  *ret_failure = failure;
  if (failure_reason(failure) == FAILURE(LEADER_NOT_AVAILABLE) || !view_is_known(pump->view))
    return NULL;
  if (lane->missing_since_us == 0)
    lane->missing_since_us = pump->now_us;
  *ret_fatal = pump->now_us >= lane->missing_since_us + CLIENT_MISSING_GRACE_US;
  if (!*ret_fatal)
    pump_look_again(pump, lane->missing_since_us + CLIENT_MISSING_GRACE_US);
  return NULL;
}

/* Encode and send a lane's first batch. */
static void pump_send(Sender *sender, Lane *lane, Link *link, Pump *pump) {
  Batch *batch = accumulator_take(sender->accumulator, lane);
  Failure *failure = accumulator_encode(sender->accumulator, batch);
  if (failure != NULL) {
    report_failed(sender, batch, failure, OUTCOME_NOT_WRITTEN);
    return;
  }
  batch->attempts++;
  lane->in_flight = batch;
  if (!link_send(link, batch, pump->now_us)) {
    lane->in_flight = NULL; /* the stream is ending: it will say so */
    batch->attempts--;
    accumulator_put_back(sender->accumulator, batch);
    return;
  }
  accumulator_count_sent(sender->accumulator, batch);
}

static void pump_lane(Sender *sender, Lane *lane, Pump *pump) {
  LaneHead head;
  accumulator_peek(sender->accumulator, lane, pump->now_us, &head);
  if (head.empty || lane->in_flight != NULL)
    return;
  g_autoptr(Failure) failure = NULL;
  const Failure *why = NULL;
  gboolean fatal = FALSE;
  gint64 retry_us = G_MAXINT64;
  if (pump->now_us < head.deadline_us) {
    pump_look_again(pump, head.deadline_us);
    gint64 due_us = MAX(head.due ? 0 : head.due_us, head.not_before_us);
    if (pump->now_us < due_us) {
      pump_look_again(pump, due_us);
      return;
    }
    Link *link = lane_link(sender, lane, pump, &failure, &fatal);
    if (link != NULL && link_can_send(link, pump->now_us, &retry_us, &why)) {
      pump_send(sender, lane, link, pump);
      return;
    }
    pump_look_again(pump, retry_us);
    if (failure != NULL || why != NULL)
      accumulator_set_trouble(sender->accumulator, failure_copy(failure != NULL ? failure : why));
    if (!fatal)
      return;
  }
  Batch *batch = accumulator_take(sender->accumulator, lane);
  if (fatal)
    report_failed(sender, batch, g_steal_pointer(&failure), OUTCOME_NOT_WRITTEN);
  else
    report_expired(sender, batch);
}

static gboolean sender_on_timer(gpointer data) {
  Sender *sender = data;
  g_clear_pointer(&sender->timer, g_source_unref);
  sender_pump(sender);
  return G_SOURCE_REMOVE;
}

static void sender_set_timer(Sender *sender, const Pump *pump) {
  if (sender->timer != NULL) {
    g_source_destroy(sender->timer);
    g_clear_pointer(&sender->timer, g_source_unref);
  }
  if (pump->next_us == G_MAXINT64)
    return;
  gint64 delay_ms = (MAX(pump->next_us - pump->now_us, 0) + 999) / 1000;
  sender->timer =
      loop_add_timeout(client_loop(sender->client), (guint)MIN(delay_ms, G_MAXINT32), sender_on_timer, sender);
}

static void sender_pump(Sender *sender) {
  Pump pump = {client_view(sender->client), g_get_monotonic_time(), G_MAXINT64};
  g_autoptr(GPtrArray) lanes = accumulator_active(sender->accumulator);
  guint first = sender->rotation++;
  for (guint i = 0; i < lanes->len; i++)
    pump_lane(sender, lanes->pdata[(first + i) % lanes->len], &pump);
  GHashTableIter iter;
  gpointer link;
  g_hash_table_iter_init(&iter, sender->links);
  while (g_hash_table_iter_next(&iter, NULL, &link))
    pump_look_again(&pump, link_check_time(link, pump.now_us));
  sender_set_timer(sender, &pump);
  view_unref(pump.view);
}

/* ---- the end ---- */

static void sender_close_run(gpointer data) {
  Sender *sender = data;
  sender->closed = TRUE;
  if (sender->timer != NULL) {
    g_source_destroy(sender->timer);
    g_clear_pointer(&sender->timer, g_source_unref);
  }
  g_hash_table_remove_all(sender->links); /* answers what is in flight */
  g_autoptr(GPtrArray) lanes = accumulator_active(sender->accumulator);
  for (guint i = 0; i < lanes->len; i++) {
    Lane *lane = lanes->pdata[i];
    LaneHead head;
    for (accumulator_peek(sender->accumulator, lane, 0, &head); !head.empty;
         accumulator_peek(sender->accumulator, lane, 0, &head)) {
      Batch *batch = accumulator_take(sender->accumulator, lane);
      report_failed(sender, batch,
                    failure_new(FAILURE(CANCELLED), "the producer was closed before the record could be sent"),
                    OUTCOME_NOT_WRITTEN);
    }
  }
}

void sender_close(Sender *sender) {
  client_unlisten(sender->client, sender_on_view, sender);
  loop_call_and_wait(client_loop(sender->client), sender_close_run, sender);
}

static void nothing(gpointer data) {
  (void)data;
}

void sender_free(Sender *sender) {
  if (sender == NULL)
    return;
  /* A wake-up may still be in the mailbox: behind it there is none. */
  loop_call_and_wait(client_loop(sender->client), nothing, NULL);
  g_hash_table_unref(sender->links);
  g_free(sender);
}
