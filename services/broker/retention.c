/* Records that are over go: see retention.h.
 *
 * How often depends on the shortest retention among the shard's partitions, so that what is over goes within a tenth of
 * it, or a minute. A look takes the partitions as they were at its beginning, LOOK_AT_ONCE in a turn.
 *
 * Invariants: the log start of a partition moves here only while this broker leads it, and knows its high watermark.
 * Failure modes: a clock that jumped ahead pauses retention by time; a store that takes no more writes gets the start
 * with the next look. */
#include "services/broker/retention.h"

#include "services/base/slog.h"
#include "services/broker/partition_internal.h"

#define LOOK_AT_ONCE 500
#define LOOK_MIN_MS 1000
#define LOOK_MAX_MS 60000

struct Retention {
  Shard *shard;
  gboolean stopped;
  gboolean soon; /* the next look is within LOOK_MIN_MS */
  Timer timer;
  LogRetentionClock clock;
  GArray *chunks; /* room for those of one log */

  /* While looking. */
  GArray *log_ids; /* of guint64; NULL while quiet */
  guint next;
  gint64 now_ms;
  gboolean by_time;                   /* the wall clock is to be trusted */
  gint64 shortest_ms, shortest_bytes; /* of those that were looked at; or LOG_RETENTION_NONE */
};

static void look(Retention *retention);

static void on_timer(Timer *timer, gpointer data) {
  (void)timer;
  look(data);
}

static void look_in(Retention *retention, gint64 ms) {
  timer_set(retention->shard->timers, &retention->timer, g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND,
            on_timer, retention);
}

void retention_look_soon(Retention *retention) {
  if (retention->stopped || retention->log_ids || retention->soon)
    return;
  retention->soon = TRUE; /* many changes do not put it off */
  look_in(retention, LOOK_MIN_MS);
}

static gint64 shorter(gint64 a, gint64 b) {
  if (a < 0 || b < 0)
    return MAX(a, b);
  return MIN(a, b);
}

/* ---- one partition ---- */

static void look_at(Retention *retention, Partition *partition) {
  Broker *broker = retention->shard->broker;
  partition_save_start(partition);
  if (partition->doomed || (partition->retention_ms < 0 && partition->retention_bytes < 0))
    return;
  retention->shortest_ms = shorter(retention->shortest_ms, partition->retention_ms);
  retention->shortest_bytes = shorter(retention->shortest_bytes, partition->retention_bytes);
  if (!replica_knows_high_watermark(partition->replica) || replica_damage(partition->replica))
    return;
  g_array_set_size(retention->chunks, 0);
  if (!log_store_chunks(broker->store, partition->log_id, retention->chunks))
    return;
  const LogRetention rules = {.retention_ms = retention->by_time ? partition->retention_ms : LOG_RETENTION_NONE,
                              .retention_bytes = partition->retention_bytes,
                              .now_ms = retention->now_ms};
  const LogStand stand = replica_stand(partition->replica);
  partition_advance_start(partition, log_retention_start((const LogChunk *)(gpointer)retention->chunks->data,
                                                         retention->chunks->len, &stand, &rules));
}

/* ---- a look ---- */

static void begin(Retention *retention) {
  retention->log_ids = g_array_new(FALSE, FALSE, sizeof(guint64));
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, retention->shard->partitions);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    g_array_append_val(retention->log_ids, ((Partition *)value)->log_id);
  retention->next = 0;
  retention->soon = FALSE;
  retention->now_ms = g_get_real_time() / 1000;
  retention->shortest_ms = retention->shortest_bytes = LOG_RETENTION_NONE;
  gboolean jumped;
  retention->by_time =
      log_retention_clock(&retention->clock, retention->now_ms, g_get_monotonic_time() / 1000, &jumped);
  if (jumped)
    slog_warning("the clock jumped ahead: no records go by their age for a while; set the clock right, if it is wrong",
                 "pause_ms", SLOG_INT(LOG_RETENTION_PAUSE_MS), NULL);
}

/* The shortest of all shards, each as its latest look found it. */
static void tidy_store(Retention *retention) {
  Broker *broker = retention->shard->broker;
  atomic_store(&retention->shard->shortest_retention_ms, retention->shortest_ms);
  atomic_store(&retention->shard->shortest_retention_bytes, retention->shortest_bytes);
  gint64 ms = LOG_RETENTION_NONE, bytes = LOG_RETENTION_NONE;
  for (guint i = 0; i < broker->shard_count; i++) {
    ms = shorter(ms, atomic_load(&broker->shards[i]->shortest_retention_ms));
    bytes = shorter(bytes, atomic_load(&broker->shards[i]->shortest_retention_bytes));
  }
  log_store_tidy(broker->store, log_roll_for(ms, bytes, (LogRoll){G_MAXINT64, G_MAXINT64}));
}

static void end(Retention *retention) {
  tidy_store(retention);
  g_clear_pointer(&retention->log_ids, g_array_unref);
  gint64 ms = retention->shortest_bytes >= 0 ? LOOK_MAX_MS / 10 : LOOK_MAX_MS;
  if (retention->shortest_ms >= 0)
    ms = MIN(ms, retention->shortest_ms / 10);
  look_in(retention, MAX(ms, LOOK_MIN_MS));
}

static void look(Retention *retention) {
  if (!retention->log_ids)
    begin(retention);
  for (guint i = 0; i < LOOK_AT_ONCE && retention->next < retention->log_ids->len; i++) {
    guint64 log_id = g_array_index(retention->log_ids, guint64, retention->next++);
    Partition *partition = partition_lookup(retention->shard, log_id);
    if (partition)
      look_at(retention, partition);
  }
  if (retention->next < retention->log_ids->len)
    look_in(retention, 0);
  else
    end(retention);
}

/* ---- life ---- */

Retention *retention_new(Shard *shard) {
  Retention *retention = g_new0(Retention, 1);
  retention->shard = shard;
  retention->chunks = g_array_new(FALSE, FALSE, sizeof(LogChunk));
  shard->shortest_retention_ms = shard->shortest_retention_bytes = LOG_RETENTION_NONE;
  return retention;
}

void retention_stop(Retention *retention) {
  retention->stopped = TRUE;
  timer_clear(retention->shard->timers, &retention->timer);
}

void retention_free(Retention *retention) {
  if (!retention)
    return;
  retention_stop(retention);
  g_clear_pointer(&retention->log_ids, g_array_unref);
  g_array_unref(retention->chunks);
  g_free(retention);
}
