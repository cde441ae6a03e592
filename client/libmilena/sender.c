/* Sends what the accumulator holds: see sender.h.
 *
 * A pump looks at every lane with something in it: is its first batch due, is there a leader, has its link room? It
 * runs when something changed (an append, an answer, a link, the metadata, a timer), never more than once at a time.
 * Lanes take turns: where a link has room for few, those come first that had it longest ago.
 *
 * Invariants
 *   1. Of a lane at most one batch is in flight; of an idempotent producer's up to LANE_IN_FLIGHT_MAX, in the order of
 *      their sequences, an open one among the first LANE_OPEN_IN_FLIGHT_MAX. Once one is put back, none is sent until
 *      all in flight are answered: so a retry is never overtaken by what follows it, and a leader that refused one
 *      refuses those behind it.
 *   2. A batch is sent again only when it certainly was not written, when its sequence keeps it from being written
 *      twice, or when the user asked for at-least-once. It keeps its sequence while an earlier try may have been
 *      written; only what certainly was not gets another.
 *   3. Every batch is reported once, before its deadline or at it; of a lane in order.
 *
 * Owned by the client's loop, but for sender_wake. Callbacks of the user run on the loop with nothing locked. */
#include "client/libmilena/sender.h"

#include <stdatomic.h>

#include "client/libmilena/identity.h"
#include "client/libmilena/link.h"
#include "client/libmilena/report.h"

/* Batches of one partition that an idempotent producer has in flight: as many as a leader remembers. */
#define LANE_IN_FLIGHT_MAX 5
/* An open batch leaves only while fewer than so many are in flight: behind them it takes more records until an answer
 * comes. Where nothing lingers and brokers are busy, records would else travel one by one, which makes them busier. */
#define LANE_OPEN_IN_FLIGHT_MAX 2
/* Of one lane, before others have their turn. */
#define PUMP_BATCHES_MAX 16

struct Sender {
  MilenaClient *client;
  Accumulator *accumulator;
  const MilenaProducerOptions *options;
  LoopTask wake_task; /* users' threads, and ourselves → the loop */
  atomic_bool woken;  /* wake_task is posted */
  GHashTable *links;  /* broker id (the link's) → Link, owned */
  GSource *timer;
  gint64 timer_us;    /* when it fires, at the latest */
  Identity *identity; /* NULL: not idempotent */
  gboolean closed;
};

static void sender_pump(Sender *sender);

static void sender_on_view(gpointer data) {
  Sender *sender = data;
  g_autoptr(View) view = client_view(sender->client);
  accumulator_update(sender->accumulator, view);
  GHashTableIter iter;
  gpointer link;
  g_hash_table_iter_init(&iter, sender->links);
  while (g_hash_table_iter_next(&iter, NULL, &link))
    link_look(link, view);
  sender_wake(sender);
}

static void sender_on_identity(gpointer data) {
  sender_wake(data);
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
  if (options->idempotent && options->acks != MILENA_ACKS_NONE)
    sender->identity = identity_new(client, sender_on_identity, sender);
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

/* ---- what becomes of a batch ---- */

static gboolean is_idempotent(const Sender *sender) {
  return sender->identity != NULL;
}

static guint32 first_sequence(const Batch *batch) {
  return batch->encoded.first_sequence;
}

static void finish_written(Sender *sender, Batch *batch) {
  if (batch->sequenced)
    sequence_written(&batch->lane->sequence, first_sequence(batch), batch->count);
  report_written(sender->accumulator, batch);
}

/* @failure: taken. */
static void finish_failed(Sender *sender, Batch *batch, Failure *failure, Outcome outcome) {
  gboolean certain = outcome == OUTCOME_NOT_WRITTEN && !batch->maybe_written;
  if (batch->sequenced)
    sequence_give_up(&batch->lane->sequence, first_sequence(batch), batch->count, certain);
  report_failed(sender->accumulator, batch, failure, outcome);
}

/* Try again later. @failure: taken; why; NULL when the batch is not to blame. */
static void put_back(Sender *sender, Batch *batch, Failure *failure) {
  batch->not_before_us = 0;
  if (failure != NULL) {
    gint64 pause_ms = client_backoff_ms(sender->client, MAX(batch->attempts, 1));
    batch->not_before_us =
        g_get_monotonic_time() + MAX(pause_ms, failure_retry_delay_ms(failure)) * G_TIME_SPAN_MILLISECOND;
    accumulator_set_trouble(sender->accumulator, failure_copy(failure));
    failure_free(batch->last);
    batch->last = failure;
  }
  batch->lane->draining = TRUE;
  accumulator_put_back(sender->accumulator, batch);
}

/* ---- answers ---- */

/* The leader does not know what the metadata has: it learns of it in a moment, or the metadata loses it. */
static gboolean is_news_to_leader(const Batch *batch, const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  return (reason == FAILURE(UNKNOWN_TOPIC) || reason == FAILURE(UNKNOWN_PARTITION)) &&
         g_get_monotonic_time() < batch->created_us + CLIENT_MISSING_GRACE_US;
}

/* The leader's memory of this producer and ours differ. */
static gboolean is_about_sequence(const Batch *batch, const Failure *failure) {
  FailureReason reason = failure_reason(failure);
  return batch->sequenced &&
         (reason == FAILURE(SEQUENCE_MISMATCH) || reason == FAILURE(UNKNOWN_PRODUCER) || reason == FAILURE(FENCED));
}

static gboolean may_retry(const Sender *sender, const Batch *batch, const Failure *failure, Outcome outcome) {
  if (sender->closed || g_get_monotonic_time() >= batch->deadline_us)
    return FALSE;
  if (is_about_sequence(batch, failure) || is_news_to_leader(batch, failure))
    return TRUE;
  return outcome == OUTCOME_UNKNOWN ? batch->sequenced || sender->options->retry_unknown
                                    : failure_is_retriable(failure);
}

/* Its sequence is older than what the leader remembers: it was written, but nobody knows where. */
static gboolean is_too_old(const Failure *failure) {
  const char *expected = failure_get(failure, "expected"), *actual = failure_get(failure, "actual");
  return failure_reason(failure) == FAILURE(SEQUENCE_MISMATCH) && expected != NULL && actual != NULL &&
         (gint32)((guint32)g_ascii_strtoull(actual, NULL, 10) - (guint32)g_ascii_strtoull(expected, NULL, 10)) < 0;
}

/* The leader refused a batch for its sequence. Behind a batch that failed that is to be expected: both are sent again,
 * in order. For the first one it means that the leader lost what it had, or forgot us. @failure: taken. */
static void on_sequence_refused(Sender *sender, Batch *batch, Failure *failure) {
  Sequence *sequence = &batch->lane->sequence;
  gboolean is_fenced = failure_reason(failure) == FAILURE(FENCED);
  gboolean expected = sequence->reset != SEQUENCE_GOES_ON || !sequence_is_head(sequence, first_sequence(batch));
  if (is_too_old(failure))
    batch->maybe_written = TRUE;
  else if (expected && !is_fenced) {
    failure_free(failure);
    put_back(sender, batch, NULL);
    return;
  }
  if (is_fenced)
    identity_renew(sender->identity, sequence->producer_id, sequence->producer_epoch, TRUE);
  sequence_disown(sequence);
  put_back(sender, batch, failure);
}

static void on_written(Sender *sender, Batch *batch, const Milena__V1__ProduceResult *result) {
  accumulator_set_trouble(sender->accumulator, NULL);
  batch->receipt = report_receipt(batch, result, sender->options->acks);
  if (!batch->sequenced || sequence_is_head(&batch->lane->sequence, first_sequence(batch))) {
    finish_written(sender, batch);
    return;
  }
  batch->written = TRUE; /* one before it is not resolved: reports keep their order */
  put_back(sender, batch, NULL);
}

void sender_batch_answered(Sender *sender, Batch *batch, const Milena__V1__ProduceResult *result, Failure *failure,
                           Outcome outcome) {
  LOOP_ASSERT_CURRENT(client_loop(sender->client));
  gboolean was_in_flight = g_queue_remove(&batch->lane->in_flight, batch);
  INVARIANT(was_in_flight, "what is answered was in flight");
  if (!sender->closed)
    sender_wake(sender); /* the lane has room */
  if (failure == NULL) {
    on_written(sender, batch, result);
  } else if (!may_retry(sender, batch, failure, outcome)) {
    finish_failed(sender, batch, failure, outcome);
  } else if (is_about_sequence(batch, failure)) {
    on_sequence_refused(sender, batch, failure);
  } else {
    batch->maybe_written |= outcome == OUTCOME_UNKNOWN;
    put_back(sender, batch, failure);
  }
}

/* ---- sequences ---- */

/* Nothing of the lane is in flight, and its numbers do not go on: take them from the batches that will be sent again.
 * What may have been written can't get another number, or it might be there twice. */
static void lane_restart(Sender *sender, Lane *lane) {
  GQueue kept = G_QUEUE_INIT;
  LaneHead head;
  for (;;) {
    accumulator_peek(sender->accumulator, lane, 0, &head);
    if (head.empty || !head.sequenced)
      break;
    Batch *batch = accumulator_take(sender->accumulator, lane);
    if (batch->written) {
      finish_written(sender, batch);
    } else if (batch->maybe_written) {
      Failure *failure = failure_new(
          FAILURE(UNKNOWN_OUTCOME),
          "the records may or may not have been written: an earlier try was not answered, and the leader "
          "can't tell any more%s%s",
          batch->last != NULL ? "; it said: " : "", batch->last != NULL ? failure_message(batch->last) : "");
      finish_failed(sender, batch, failure, OUTCOME_UNKNOWN);
    } else {
      batch->sequenced = FALSE;
      g_queue_push_tail(&kept, batch);
    }
  }
  for (Batch *batch = g_queue_pop_head(&kept); batch != NULL; batch = g_queue_pop_head(&kept))
    accumulator_put_back(sender->accumulator, batch);
  Sequence *sequence = &lane->sequence;
  if (sequence->reset == SEQUENCE_NEW_EPOCH)
    identity_renew(sender->identity, sequence->producer_id, sequence->producer_epoch, FALSE);
  sequence_restart(sequence);
}

/* Give a batch its producer and its numbers, once. */
static void batch_number(Batch *batch) {
  if (batch->sequenced)
    return;
  Sequence *sequence = &batch->lane->sequence;
  batch->encoded.producer_id = sequence->producer_id;
  batch->encoded.producer_epoch = sequence->producer_epoch;
  batch->encoded.first_sequence = sequence_take(sequence, batch->count);
  log_batch_seal(&batch->encoded);
  batch->sequenced = TRUE;
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

/* Whether the lane has an id to send with. */
static IdentityState lane_identity(Sender *sender, Lane *lane, Pump *pump, const Failure **ret_failure) {
  gint64 producer_id;
  guint32 producer_epoch;
  gint64 retry_us = G_MAXINT64;
  if (!is_idempotent(sender) || lane->sequence.producer_id != 0)
    return IDENTITY_KNOWN;
  IdentityState state =
      identity_get(sender->identity, pump->now_us, &producer_id, &producer_epoch, &retry_us, ret_failure);
  if (state == IDENTITY_KNOWN)
    sequence_begin(&lane->sequence, producer_id, producer_epoch);
  pump_look_again(pump, retry_us);
  return state;
}

/* Encode and send a lane's first batch. Returns whether the lane may have another one to send. */
static gboolean pump_send(Sender *sender, Lane *lane, Link *link, Pump *pump) {
  Batch *batch = accumulator_take(sender->accumulator, lane);
  Failure *failure = accumulator_encode(sender->accumulator, batch);
  if (failure != NULL) {
    finish_failed(sender, batch, failure, OUTCOME_NOT_WRITTEN);
    return TRUE;
  }
  if (is_idempotent(sender))
    batch_number(batch);
  else if (batch->attempts == 0)
    log_batch_seal(&batch->encoded);
  batch->attempts++;
  g_queue_push_tail(&lane->in_flight, batch);
  if (!link_send(link, batch, pump->now_us)) {
    g_queue_pop_tail(&lane->in_flight); /* the stream is ending: it will say so */
    batch->attempts--;
    put_back(sender, batch, NULL);
    return FALSE;
  }
  accumulator_count_sent(sender->accumulator, batch);
  return TRUE;
}

/* Send a lane's first batch, which is due, if that is possible. Returns whether to go on with the lane.
 *
 * @ret_fatal: set to why it never will be; untouched otherwise; owned by the caller */
static gboolean pump_due(Sender *sender, Lane *lane, Pump *pump, Failure **ret_fatal) {
  g_autoptr(Failure) failure = NULL;
  const Failure *why = NULL;
  gboolean fatal = FALSE;
  gint64 retry_us = G_MAXINT64;
  IdentityState identity = lane_identity(sender, lane, pump, &why);
  if (identity == IDENTITY_REFUSED) {
    *ret_fatal = failure_copy(why);
    return TRUE;
  }
  Link *link = lane_link(sender, lane, pump, &failure, &fatal);
  if (link != NULL && link_can_send(link, pump->now_us, &retry_us, &why) && identity == IDENTITY_KNOWN)
    return pump_send(sender, lane, link, pump);
  pump_look_again(pump, retry_us);
  if (failure != NULL || why != NULL)
    accumulator_set_trouble(sender->accumulator, failure_copy(failure != NULL ? failure : why));
  if (fatal)
    *ret_fatal = g_steal_pointer(&failure);
  return fatal;
}

/* Whether a lane may send more now. */
static gboolean lane_is_open(Sender *sender, Lane *lane) {
  guint in_flight = lane->in_flight.length;
  gboolean must_drain = lane->draining || lane->sequence.reset != SEQUENCE_GOES_ON;
  if (must_drain && in_flight > 0)
    return FALSE;
  lane->draining = FALSE;
  if (lane->sequence.reset != SEQUENCE_GOES_ON)
    lane_restart(sender, lane);
  return in_flight < (is_idempotent(sender) ? LANE_IN_FLIGHT_MAX : 1);
}

/* Do what is to be done with a lane's first batch. Returns whether to go on with the next. */
static gboolean pump_head(Sender *sender, Lane *lane, Pump *pump) {
  LaneHead head;
  if (!lane_is_open(sender, lane))
    return FALSE;
  accumulator_peek(sender->accumulator, lane, pump->now_us, &head);
  if (head.empty)
    return FALSE;
  if (head.written) {
    if (lane->in_flight.length > 0)
      return FALSE; /* one before it */
    finish_written(sender, accumulator_take(sender->accumulator, lane));
    return TRUE;
  }
  if (pump->now_us >= head.deadline_us) {
    Batch *batch = accumulator_take(sender->accumulator, lane);
    Failure *why = report_why_expired(sender->accumulator, batch, sender->options->timeout_ms);
    finish_failed(sender, batch, why, OUTCOME_NOT_WRITTEN);
    return TRUE;
  }
  pump_look_again(pump, head.deadline_us);
  if (head.open && lane->in_flight.length >= LANE_OPEN_IN_FLIGHT_MAX)
    return FALSE; /* the next answer pumps */
  gint64 due_us = MAX(head.due ? 0 : head.due_us, head.not_before_us);
  if (pump->now_us < due_us) {
    pump_look_again(pump, due_us);
    return FALSE;
  }
  Failure *fatal = NULL;
  gboolean go_on = pump_due(sender, lane, pump, &fatal);
  if (fatal != NULL)
    finish_failed(sender, accumulator_take(sender->accumulator, lane), fatal, OUTCOME_NOT_WRITTEN);
  return go_on;
}

static void pump_lane(Sender *sender, Lane *lane, Pump *pump) {
  for (guint i = 0; i < PUMP_BATCHES_MAX; i++)
    if (!pump_head(sender, lane, pump))
      return;
  sender_wake(sender); /* the others first */
}

static gboolean sender_on_timer(gpointer data) {
  Sender *sender = data;
  g_clear_pointer(&sender->timer, g_source_unref);
  sender_pump(sender);
  return G_SOURCE_REMOVE;
}

/* A timer that fires early stays: a pump too many now and then costs less than a new timer for each. */
static void sender_set_timer(Sender *sender, const Pump *pump) {
  if (pump->next_us == G_MAXINT64 || (sender->timer != NULL && sender->timer_us <= pump->next_us))
    return;
  if (sender->timer != NULL) {
    g_source_destroy(sender->timer);
    g_clear_pointer(&sender->timer, g_source_unref);
  }
  sender->timer_us = pump->next_us;
  gint64 delay_ms = (MAX(pump->next_us - pump->now_us, 0) + 999) / 1000;
  sender->timer =
      loop_add_timeout(client_loop(sender->client), (guint)MIN(delay_ms, G_MAXINT32), sender_on_timer, sender);
}

static void sender_pump(Sender *sender) {
  Pump pump = {client_view(sender->client), g_get_monotonic_time(), G_MAXINT64};
  g_autoptr(GPtrArray) lanes = accumulator_active(sender->accumulator);
  for (guint i = 0; i < lanes->len; i++)
    pump_lane(sender, lanes->pdata[i], &pump);
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
  if (sender->identity != NULL)
    identity_stop(sender->identity);
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
      if (batch->written)
        report_written(sender->accumulator, batch);
      else
        report_failed(sender->accumulator, batch,
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
  identity_free(sender->identity);
  g_free(sender);
}
