/* The way of records into the log: see appender.h.
 *
 *   added ──► builder ──closed──► window: batches, oldest first ──sent──► acknowledged ──all before it too──► durable
 *                                   ▲          │ refused, lost, the leader changed
 *                                   └─ rewind ─┘  all of the window is sent again, in order, after RETRY_MS
 *
 * Invariants
 *   1. Batches are sent in the order of their sequences, and never one while an earlier one is not sent.
 *   2. A batch is the same bytes whenever it is sent: the leader answers a second one as the first.
 *   3. At most WINDOW batches are under way: a producer's five last ones are known again.
 *
 * Owner: the coordinator's loop. Failure modes: what can't succeed any more (fenced, refused by name) and what has been
 * tried for too long ends the appender; its owner loads the partition anew. */
#include "services/group_coordinator/appender.h"

#include "services/base/slog.h"
#include "storage/log/producers.h"
#include "storage/log/records.h"

/* Two: while one is on its way to the disks, the next one travels. More would make batches smaller, and fsyncs more. */
#define WINDOW 2
#define BATCH_BYTES_MAX (256 << 10)
#define RETRY_MS 20
#define RETRY_MOST_MS 500
G_STATIC_ASSERT(WINDOW <= LOG_PRODUCER_BATCHES);

typedef struct {
  Appender *appender;
  LogBatch batch;
  guint64 last;         /* number of its last record */
  gint64 until_us;      /* monotonic: then it is given up */
  BrokerAppend *append; /* NULL: not under way */
  guint tries;
  gboolean acknowledged;
  BrokerReceipt receipt;
} Batch;

struct Appender {
  BrokerLinks *links;
  Timers *timers;
  char *topic, *topic_id;
  gint32 partition;
  guint32 lease_epoch;
  gint64 timeout_us;
  AppenderEvents events;
  gpointer data;

  char *leader; /* NULL: there is none */
  gint32 leader_epoch;
  LogRecordsBuilder *builder;
  guint64 added;         /* number of the last record in the builder, or before */
  guint32 next_sequence; /* of the next batch */
  gboolean has_begun;    /* the first batch is durable */
  GQueue batches;        /* of Batch: the first WINDOW of them may be under way */
  gsize backlog_bytes;
  Timer retry, deadline;
  guint retry_ms; /* 0 after a success */
  gboolean is_dead;
};

static void send_window(Appender *appender);

/* ---- ending ---- */

static void batch_free(gpointer data) {
  Batch *batch = data;
  if (batch->append)
    broker_append_abandon(batch->append);
  log_batch_clear(&batch->batch);
  g_free(batch);
}

static void stop(Appender *appender) {
  timer_clear(appender->timers, &appender->retry);
  timer_clear(appender->timers, &appender->deadline);
  g_queue_clear_full(&appender->batches, batch_free);
}

/* A batch is certainly not in the log while it was sent once, and refused then; nor is any behind it. */
static gboolean may_be_written(const Appender *appender, const Failure *failure) {
  const Batch *oldest = appender->batches.head ? appender->batches.head->data : NULL;
  return failure_reason(failure) == FAILURE(UNKNOWN_OUTCOME) || (oldest && oldest->tries > 1);
}

static void die(Appender *appender, const Failure *failure) {
  g_autoptr(Failure) kept = failure_copy(failure); /* it may be a batch's */
  gboolean unknown = may_be_written(appender, failure);
  appender->is_dead = TRUE;
  stop(appender);
  appender->events.failed(kept, unknown, appender->data);
}

/* ---- time ---- */

static void on_deadline(Timer *timer, gpointer data) {
  (void)timer;
  Appender *appender = data;
  g_autoptr(Failure) failure = failure_new(
      FAILURE(UNKNOWN_OUTCOME), "the partition's leader did not confirm an append in time: it may or may not be kept");
  die(appender, failure);
}

static void watch_deadline(Appender *appender) {
  const Batch *oldest = g_queue_peek_head(&appender->batches);
  if (oldest)
    timer_set(appender->timers, &appender->deadline, oldest->until_us, on_deadline, appender);
  else
    timer_clear(appender->timers, &appender->deadline);
}

static void on_retry(Timer *timer, gpointer data) {
  (void)timer;
  send_window(data);
}

/* All of the window is sent again, after a moment. */
static void rewind_window(Appender *appender, gboolean at_once) {
  for (GList *link = appender->batches.head; link; link = link->next) {
    Batch *batch = link->data;
    if (batch->append)
      broker_append_abandon(batch->append);
    batch->append = NULL;
    batch->acknowledged = FALSE;
  }
  if (at_once) {
    timer_clear(appender->timers, &appender->retry);
    send_window(appender);
    return;
  }
  appender->retry_ms = appender->retry_ms ? MIN(2 * appender->retry_ms, RETRY_MOST_MS) : RETRY_MS;
  timer_set(appender->timers, &appender->retry, g_get_monotonic_time() + appender->retry_ms * G_TIME_SPAN_MILLISECOND,
            on_retry, appender);
}

/* ---- answers ---- */

/* Sent again it may be taken; or an answer was lost, and the leader knows it again. */
static gboolean is_worth_retrying(const Failure *failure) {
  switch ((int)failure_reason(failure)) {
  case FAILURE(UNKNOWN_OUTCOME):
  case FAILURE(NOT_LEADER):
  case FAILURE(UNKNOWN_TOPIC): /* a leader whose metadata is behind */
  case FAILURE(UNKNOWN_PARTITION):
  case FAILURE(DISK_LOW):
  case FAILURE(DEADLINE_EXCEEDED):
  case FAILURE(CANCELLED):
    return TRUE;
  default:
    return failure_is_retriable(failure);
  }
}

/* Which batches are durable now. */
static void settle(Appender *appender) {
  guint64 durable = 0;
  BrokerReceipt first;
  gboolean is_first = FALSE, is_any = FALSE;
  for (Batch *batch; (batch = g_queue_peek_head(&appender->batches)) && batch->acknowledged;) {
    g_queue_pop_head(&appender->batches);
    durable = batch->last;
    is_any = TRUE;
    if (!appender->has_begun) {
      first = batch->receipt;
      is_first = appender->has_begun = TRUE;
    }
    appender->backlog_bytes -= log_batch_payload_bytes(&batch->batch);
    batch_free(batch);
  }
  if (!is_any)
    return;
  appender->retry_ms = 0;
  watch_deadline(appender);
  appender_flush(appender);
  if (!appender->is_dead)
    appender->events.durable(durable, is_first ? &first : NULL, appender->data);
}

static void on_appended(const BrokerReceipt *receipt, const Failure *failure, gpointer data) {
  Batch *batch = data;
  Appender *appender = batch->appender;
  batch->append = NULL;
  if (receipt) {
    batch->acknowledged = TRUE;
    batch->receipt = *receipt;
    settle(appender);
    return;
  }
  if (!is_worth_retrying(failure)) {
    die(appender, failure);
    return;
  }
  slog_debug("an append is tried again", "partition", SLOG_INT(appender->partition), "error", failure_message(failure),
             NULL);
  rewind_window(appender, FALSE);
}

/* ---- sending ---- */

static void send_window(Appender *appender) {
  if (!appender->leader || appender->is_dead || timer_is_set(&appender->retry))
    return;
  guint place = 0;
  for (GList *link = appender->batches.head; link && place < WINDOW; link = link->next, place++) {
    Batch *batch = link->data;
    if (batch->append || batch->acknowledged)
      continue;
    const BrokerTarget target = {appender->leader, appender->topic, appender->topic_id, appender->partition};
    batch->tries++;
    batch->append = broker_links_append(appender->links, &target, &batch->batch, on_appended, batch);
  }
}

static void close_batch(Appender *appender) {
  Batch *batch = g_new0(Batch, 1);
  batch->appender = appender;
  batch->last = appender->added;
  batch->until_us = g_get_monotonic_time() + appender->timeout_us;
  batch->batch = (LogBatch)LOG_BATCH_INIT;
  appender->backlog_bytes -= log_records_builder_bytes(appender->builder);
  Failure *failure =
      log_records_builder_finish_unsealed(appender->builder, MILENA__V1__COMPRESSION__COMPRESSION_NONE, &batch->batch);
  INVARIANT(!failure, "what is not compressed can't fail to be");
  batch->batch.producer_id = LOG_PRODUCER_COORDINATOR;
  batch->batch.producer_epoch = appender->lease_epoch;
  batch->batch.first_sequence = appender->next_sequence;
  log_batch_seal(&batch->batch);
  appender->next_sequence += batch->batch.record_count;
  appender->backlog_bytes += log_batch_payload_bytes(&batch->batch);
  g_queue_push_tail(&appender->batches, batch);
  if (appender->batches.length == 1)
    watch_deadline(appender);
}

void appender_flush(Appender *appender) {
  if (appender->is_dead)
    return;
  if (appender->batches.length < WINDOW && log_records_builder_count(appender->builder) > 0)
    close_batch(appender);
  send_window(appender);
}

Failure *appender_add(Appender *appender, guint64 number, GBytes *key, GBytes *value, gint64 wall_ms) {
  gsize key_len, value_len = 0;
  const void *key_data = g_bytes_get_data(key, &key_len), *value_data = NULL;
  if (value)
    value_data = g_bytes_get_data(value, &value_len);
  LogField key_field = log_field(key_data, key_len);
  LogField value_field = value ? log_field(value_data, value_len) : LOG_FIELD_NONE;
  gsize before = log_records_builder_bytes(appender->builder);
  if (before > 0 && before + log_records_bytes(key_field, value_field, NULL, 0) > BATCH_BYTES_MAX) {
    close_batch(appender);
    before = 0;
  }
  Failure *failure = log_records_builder_add(appender->builder, key_field, value_field, NULL, 0, wall_ms);
  if (failure)
    return failure;
  appender->backlog_bytes += log_records_builder_bytes(appender->builder) - before;
  appender->added = number;
  return NULL;
}

void appender_set_leader(Appender *appender, const char *address, gint32 leader_epoch) {
  if (!g_strcmp0(appender->leader, address) && appender->leader_epoch == leader_epoch)
    return;
  char *before = appender->leader;
  appender->leader = g_strdup(address);
  appender->leader_epoch = leader_epoch;
  g_free(before);
  if (!appender->is_dead)
    rewind_window(appender, TRUE);
}

gboolean appender_is_idle(const Appender *appender) {
  return appender->is_dead || (appender->batches.length == 0 && log_records_builder_count(appender->builder) == 0);
}

gsize appender_backlog_bytes(const Appender *appender) {
  return appender->backlog_bytes;
}

/* ---- life ---- */

Appender *appender_new(const AppenderOptions *options) {
  Appender *appender = g_new0(Appender, 1);
  *appender = (Appender){.links = options->links,
                         .timers = options->timers,
                         .topic = g_strdup(options->topic),
                         .topic_id = g_strdup(options->topic_id),
                         .partition = options->partition,
                         .lease_epoch = options->lease_epoch,
                         .timeout_us = options->timeout_ms * G_TIME_SPAN_MILLISECOND,
                         .events = *options->events,
                         .data = options->data,
                         .leader_epoch = -1,
                         .builder = log_records_builder_new()};
  g_queue_init(&appender->batches);
  return appender;
}

void appender_free(Appender *appender) {
  if (!appender)
    return;
  stop(appender);
  log_records_builder_free(appender->builder);
  g_free(appender->leader);
  g_free(appender->topic);
  g_free(appender->topic_id);
  g_free(appender);
}
