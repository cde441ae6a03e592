/* The cleaner: see cleaner.h.
 *
 *   resting ──interval──► asking every shard for its dirtiest log ──► running one ──► asking ...
 *      ▲                       │ none has one                          (ends early when the broker stops)
 *      └───────────────────────┘
 *
 * Invariants: one round of questions or one run is under way at a time; what a shard was asked is answered before the
 * next thing happens; nothing is submitted to the store once `stopping` was seen.
 *
 * Thread: its own loop; questions and writes visit the shards'. Failure modes: a shard whose mailbox is full: later;
 * damage that is read: the partition stands back as after any read (compact_run_over). */
#include "services/broker/cleaner.h"

#include <pthread.h>

#include "services/base/slog.h"
#include "services/broker/compact.h"

#define MAILBOX_MAX 1024

/* A question that visits one shard. */
typedef struct {
  LoopTask task;
  Cleaner *cleaner;
  Shard *shard;
  gboolean found;
  CompactCandidate candidate;
} Question;

/* The word that a run is over, on its way to the shard and back. */
typedef struct {
  LoopTask task;
  Cleaner *cleaner;
  Shard *shard;
  guint64 log_id;
  gint64 again_us;
  Failure *failure;
} Farewell;

struct Cleaner {
  Broker *broker;
  CleanerOptions options;
  Loop *loop;
  Timers *timers;
  Timer rest;
  Question *questions; /* one a shard */
  guint asked;         /* not answered yet */
  CompactCandidate candidate;
  LogCompaction *compaction;
  CompactWrite write;
  gint64 begun_us;
  Farewell farewell;
  gboolean stopping, is_idle; /* resting, or stopped */

  pthread_mutex_t mutex; /* guards the next */
  pthread_cond_t cond;
  gboolean stopped;
};

static void ask(Cleaner *cleaner);

static void on_rested(Timer *timer, gpointer data) {
  (void)timer;
  ask(data);
}

static void come_to_rest(Cleaner *cleaner) {
  cleaner->is_idle = TRUE;
  if (!cleaner->stopping) {
    timer_set(cleaner->timers, &cleaner->rest, g_get_monotonic_time() + cleaner->options.interval_ms * 1000, on_rested,
              cleaner);
    return;
  }
  pthread_mutex_lock(&cleaner->mutex);
  cleaner->stopped = TRUE;
  pthread_cond_signal(&cleaner->cond);
  pthread_mutex_unlock(&cleaner->mutex);
}

/* ---- a run ---- */

static void on_farewell_back(LoopTask *task) {
  Farewell *farewell = (Farewell *)((char *)task - G_STRUCT_OFFSET(Farewell, task));
  Cleaner *cleaner = farewell->cleaner;
  g_clear_pointer(&farewell->failure, failure_free);
  if (cleaner->stopping)
    come_to_rest(cleaner);
  else
    ask(cleaner);
}

static void run_farewell(LoopTask *task) {
  Farewell *farewell = (Farewell *)((char *)task - G_STRUCT_OFFSET(Farewell, task));
  compact_run_over(farewell->shard, farewell->log_id, farewell->again_us, farewell->failure);
  farewell->task.run = on_farewell_back;
  loop_post_completion(farewell->cleaner->loop, &farewell->task);
}

static void say_farewell(Cleaner *cleaner, guint64 log_id, const Failure *failure) {
  cleaner->farewell = (Farewell){.task = {.run = run_farewell},
                                 .cleaner = cleaner,
                                 .shard = broker_owner(cleaner->broker, log_id),
                                 .log_id = log_id,
                                 .again_us = g_get_monotonic_time() + cleaner->options.interval_ms * 1000,
                                 .failure = failure ? failure_copy(failure) : NULL};
  loop_post_completion(cleaner->farewell.shard->loop, &cleaner->farewell.task);
}

static void report(const Cleaner *cleaner, const Failure *failure) {
  const CompactCandidate *candidate = &cleaner->candidate;
  gint64 took_ms = (g_get_monotonic_time() - cleaner->begun_us) / 1000;
  if (failure) {
    slog_info("a compaction ended early", "partition", candidate->name, "error", failure_message(failure), NULL);
    return;
  }
  CompactNote note;
  log_store_compact_note(cleaner->broker->store, candidate->log_id, &note);
  slog_info("log compacted", "partition", candidate->name, "bytes_before", SLOG_INT(note.bytes_before), "bytes_after",
            SLOG_INT(note.bytes_after), "records", SLOG_INT(note.records), "took_ms", SLOG_INT(took_ms), NULL);
}

static void on_done(LogCompaction *compaction, const Failure *failure, gpointer data) {
  Cleaner *cleaner = data;
  report(cleaner, failure);
  say_farewell(cleaner, cleaner->candidate.log_id, failure);
  cleaner->compaction = NULL;
  compact_candidate_clear(&cleaner->candidate);
  log_compaction_free(compaction);
}

static void on_written(CompactWrite *write, gpointer data) {
  Cleaner *cleaner = data;
  g_clear_pointer(&write->compacted, log_compacted_free);
  log_compaction_written(cleaner->compaction, write->accepted);
}

static void on_write(LogCompaction *compaction, LogCompacted *compacted, gpointer data) {
  Cleaner *cleaner = data;
  cleaner->compaction = compaction;
  cleaner->write = (CompactWrite){.log_id = cleaner->candidate.log_id,
                                  .cuts = cleaner->candidate.cuts,
                                  .compacted = compacted,
                                  .asker = cleaner->loop,
                                  .done = on_written,
                                  .user_data = cleaner};
  if (compact_write_start(&cleaner->write, broker_owner(cleaner->broker, cleaner->candidate.log_id)))
    return;
  log_compacted_free(compacted);
  log_compaction_written(compaction, FALSE);
}

/* @candidate: taken */
static void run(Cleaner *cleaner, CompactCandidate *candidate) {
  gint64 now_ms = g_get_real_time() / 1000;
  cleaner->candidate = *candidate;
  cleaner->begun_us = g_get_monotonic_time();
  const LogCompactionOptions options = {.log_id = candidate->log_id,
                                        .start_offset = candidate->start_offset,
                                        .compacted_to = candidate->compacted_to,
                                        .end_offset = candidate->end_offset,
                                        .before_ms = now_ms - candidate->min_lag_ms + 1,
                                        .now_ms = now_ms,
                                        .delete_retention_ms = candidate->delete_retention_ms,
                                        .remembered = g_steal_pointer(&cleaner->candidate.remembered),
                                        .map_bytes = (gsize)cleaner->options.map_bytes,
                                        .bytes_per_second = cleaner->options.bytes_per_second,
                                        .write = on_write,
                                        .done = on_done,
                                        .data = cleaner};
  cleaner->compaction = log_compaction_new(cleaner->broker->store, cleaner->loop, cleaner->timers, &options);
}

/* ---- asking ---- */

static void choose(Cleaner *cleaner) {
  Question *best = NULL;
  for (guint i = 0; i < cleaner->broker->shard_count; i++) {
    Question *question = &cleaner->questions[i];
    if (question->found && (!best || question->candidate.dirty_ratio > best->candidate.dirty_ratio))
      best = question;
  }
  for (guint i = 0; i < cleaner->broker->shard_count; i++)
    if (&cleaner->questions[i] != best)
      compact_candidate_clear(&cleaner->questions[i].candidate);
  if (best && !cleaner->stopping)
    run(cleaner, &best->candidate);
  else if (best)
    compact_candidate_clear(&best->candidate);
  if (!best || cleaner->stopping)
    come_to_rest(cleaner);
}

static void on_answered(LoopTask *task) {
  Question *question = (Question *)((char *)task - G_STRUCT_OFFSET(Question, task));
  if (--question->cleaner->asked == 0)
    choose(question->cleaner);
}

static void run_question(LoopTask *task) {
  Question *question = (Question *)((char *)task - G_STRUCT_OFFSET(Question, task));
  question->found = compact_find_candidate(question->shard, g_get_real_time() / 1000, &question->candidate);
  question->task.run = on_answered;
  loop_post_completion(question->cleaner->loop, &question->task);
}

static void ask(Cleaner *cleaner) {
  cleaner->is_idle = FALSE;
  cleaner->asked = cleaner->broker->shard_count;
  for (guint i = 0; i < cleaner->broker->shard_count; i++) {
    cleaner->questions[i] =
        (Question){.task = {.run = run_question}, .cleaner = cleaner, .shard = cleaner->broker->shards[i]};
    loop_post_completion(cleaner->broker->shards[i]->loop, &cleaner->questions[i].task);
  }
}

/* ---- life ---- */

static void begin(gpointer data) {
  Cleaner *cleaner = data;
  cleaner->timers = timers_new(cleaner->loop);
  come_to_rest(cleaner);
}

static void begin_stop(gpointer data) {
  Cleaner *cleaner = data;
  cleaner->stopping = TRUE;
  timer_clear(cleaner->timers, &cleaner->rest);
  if (cleaner->compaction)
    log_compaction_cancel(cleaner->compaction);
  if (cleaner->is_idle)
    come_to_rest(cleaner);
}

static void end_timers(gpointer data) {
  Cleaner *cleaner = data;
  timers_free(cleaner->timers);
}

Cleaner *cleaner_new(Broker *broker, const CleanerOptions *options) {
  Cleaner *cleaner = g_new0(Cleaner, 1);
  cleaner->broker = broker;
  cleaner->options = *options;
  cleaner->questions = g_new0(Question, broker->shard_count);
  pthread_mutex_init(&cleaner->mutex, NULL);
  pthread_cond_init(&cleaner->cond, NULL);
  cleaner->loop = loop_new("log-cleaner", MAILBOX_MAX);
  loop_start(cleaner->loop);
  loop_call(cleaner->loop, begin, cleaner);
  return cleaner;
}

void cleaner_stop(Cleaner *cleaner) {
  if (!cleaner)
    return;
  loop_call(cleaner->loop, begin_stop, cleaner);
  pthread_mutex_lock(&cleaner->mutex);
  while (!cleaner->stopped)
    pthread_cond_wait(&cleaner->cond, &cleaner->mutex);
  pthread_mutex_unlock(&cleaner->mutex);
  loop_call_and_wait(cleaner->loop, end_timers, cleaner);
  loop_free(cleaner->loop);
  pthread_cond_destroy(&cleaner->cond);
  pthread_mutex_destroy(&cleaner->mutex);
  g_free(cleaner->questions);
  g_free(cleaner);
}
