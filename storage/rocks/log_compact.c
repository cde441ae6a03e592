/* One run of the cleaner over one log: see log_compact.h.
 *
 * States: mapping ──► rewriting ──► moving ──► (mapping again | settling) ──► over; each goes on by reads, writes and
 * pauses, of which one at a time is under way.
 *
 * Invariants
 *   1. A record goes only when the map knows a later one of its key, and that one is in the log: in the segments, below
 *      what was mapped, until it is moved itself.
 *   2. All that was compacted before is rewritten with a map before what that map was made of is moved: so the part has
 *      each key at most once below the end of a run, and a tombstone there has nothing older to delete.
 *   3. Tombstones go only from below note.clean_to, delete.retention after note.clean_ms.
 *   4. The last batch below the bound is never moved: a log's last batch is in a segment, and ends where the log does.
 *
 * Owner: the loop's thread. Failure modes: damage that a read meets, a write that is refused; both end the run. */
#include "storage/rocks/log_compact.h"

#include "services/base/invariant.h"
#include "storage/log/compact.h"

#define CHUNK_BYTES (1 << 20)

typedef enum { MAPPING, REWRITING, MOVING, SETTLING, OVER } Phase;

struct LogCompaction {
  LogStore *store;
  Loop *loop;
  Timers *timers;
  LogCompactionOptions options;
  Phase phase;
  LogKeyMap *map;
  CompactNote note;         /* as the next write will leave it */
  gint64 tombstones_before; /* 0: none go in this run */
  gint64 next;              /* read from here */
  gint64 map_end;           /* behind the last batch that is in the map */
  gboolean map_is_full;     /* there is more behind it */
  gint64 compacted_to;
  gint64 drop_before;                           /* what the part has below is of no log any more: for the first write */
  LogCompactCounts part, run_before, run_after; /* the part so far, as this pass leaves it; all that the run saw */
  LogRead read;
  gboolean is_reading, is_writing, is_cancelled;
  Failure *failure;
  Timer timer; /* a pause, or the end */
  gint64 begun_us;
  guint64 bytes;
};

static void count(LogCompactCounts *sum, const LogCompactCounts *more) {
  sum->batches += more->batches;
  sum->records += more->records;
  sum->bytes += more->bytes;
  sum->tombstones += more->tombstones;
}

/* ---- the end ---- */

static void on_over(Timer *timer, gpointer data) {
  (void)timer;
  LogCompaction *compaction = data;
  compaction->options.done(compaction, compaction->failure, compaction->options.data);
}

/* @failure: taken */
static void end(LogCompaction *compaction, Failure *failure) {
  compaction->phase = OVER;
  compaction->failure = failure;
  timer_set(compaction->timers, &compaction->timer, g_get_monotonic_time(), on_over, compaction);
}

static Failure *cancelled(void) {
  return failure_new(FAILURE(CANCELLED), "the compaction was called off");
}

/* ---- steps ---- */

static void go_on(LogCompaction *compaction);

static void on_pause(Timer *timer, gpointer data) {
  (void)timer;
  go_on(data);
}

/* Go on when the throttle lets it. */
static void go_on_later(LogCompaction *compaction) {
  gint64 at_us = g_get_monotonic_time();
  if (compaction->options.bytes_per_second > 0)
    at_us = MAX(at_us, compaction->begun_us + (gint64)((double)compaction->bytes * G_USEC_PER_SEC /
                                                       (double)compaction->options.bytes_per_second));
  timer_set(compaction->timers, &compaction->timer, at_us, on_pause, compaction);
}

static void on_read(LogRead *read);

static void start_read(LogCompaction *compaction, gint64 from, gint64 end_offset) {
  compaction->read = (LogRead){.log_id = compaction->options.log_id,
                               .from_offset = from,
                               .end_offset = end_offset,
                               .max_bytes = CHUNK_BYTES,
                               .as_of_now = TRUE,
                               .loop = compaction->loop,
                               .done = on_read};
  compaction->is_reading = log_store_read(compaction->store, &compaction->read);
  if (!compaction->is_reading) /* others read so much: they come first */
    timer_set(compaction->timers, &compaction->timer, g_get_monotonic_time() + G_USEC_PER_SEC / 10, on_pause,
              compaction);
}

static void hand_out(LogCompaction *compaction, LogCompacted *compacted) {
  compacted->drop_before = compaction->drop_before;
  compaction->drop_before = 0;
  compacted->compacted_to = compaction->compacted_to;
  compacted->note = compaction->note;
  for (guint i = 0; i < compacted->batches->len; i++)
    compaction->bytes += log_batch_stored_bytes(LOG_BATCH_AT(compacted->batches, i));
  compaction->is_writing = TRUE;
  compaction->options.write(compaction, compacted, compaction->options.data);
}

void log_compaction_written(LogCompaction *compaction, gboolean accepted) {
  INVARIANT(compaction->is_writing, "a write that was handed out is answered once");
  compaction->is_writing = FALSE;
  if (accepted && !compaction->is_cancelled)
    go_on_later(compaction);
  else
    end(compaction, cancelled());
}

/* ---- mapping ---- */

static void begin_mapping(LogCompaction *compaction) {
  compaction->phase = MAPPING;
  compaction->map_is_full = FALSE;
  compaction->next = compaction->map_end = MAX(compaction->compacted_to, compaction->options.start_offset);
  log_key_map_clear(compaction->map);
}

static void begin_rewriting(LogCompaction *compaction) {
  compaction->phase = REWRITING;
  compaction->next = compaction->options.start_offset;
  compaction->part = (LogCompactCounts){0};
}

/* Returns FALSE at the end of what may be compacted, or of what fits. */
static gboolean map_batch(LogCompaction *compaction, const LogBatch *batch) {
  if (log_batch_next_offset(batch) >= compaction->options.end_offset ||
      batch->append_timestamp_ms >= compaction->options.before_ms)
    return FALSE;
  if (!log_key_map_add(compaction->map, batch)) {
    compaction->map_is_full = TRUE;
    return FALSE;
  }
  compaction->map_end = compaction->next = log_batch_next_offset(batch);
  return TRUE;
}

static void map_chunk(LogCompaction *compaction, const GArray *batches) {
  gboolean more = batches->len > 0;
  for (guint i = 0; i < batches->len && more; i++)
    more = map_batch(compaction, LOG_BATCH_AT(batches, i));
  if (!more)
    begin_rewriting(compaction);
  go_on_later(compaction);
}

/* ---- rewriting and moving ---- */

static Failure *compact_chunk(LogCompaction *compaction, const GArray *batches, LogCompacted *compacted,
                              LogCompactCounts *ret_before, LogCompactCounts *ret_after) {
  const LogCompactRules rules = {.map = compaction->map,
                                 .start_offset = compaction->options.start_offset,
                                 .tombstones_before =
                                     compaction->phase == REWRITING ? compaction->tombstones_before : 0,
                                 .remembered = compaction->options.remembered};
  return log_compact(&rules, batches, compacted->batches, ret_before, ret_after);
}

/* The totals that the note has behind this write. */
static void note_change(CompactNote *note, const LogCompactCounts *before, const LogCompactCounts *after) {
  note->records += after->records;
  note->records -= MIN(note->records, before->records);
  if (note->batches == COMPACT_NOTE_UNKNOWN)
    return;
  note->batches += (gint64)after->batches - (gint64)before->batches;
  note->bytes += (gint64)after->bytes - (gint64)before->bytes;
}

/* What was compacted before has been seen whole: its figures are known from here on. */
static void begin_moving(LogCompaction *compaction) {
  compaction->phase = MOVING;
  compaction->next = MAX(compaction->compacted_to, compaction->options.start_offset);
  compaction->note.records = compaction->part.records;
  compaction->note.batches = (gint64)compaction->part.batches;
  compaction->note.bytes = (gint64)compaction->part.bytes;
}

static void rewrite_chunk(LogCompaction *compaction, const GArray *batches) {
  if (batches->len == 0) {
    begin_moving(compaction);
    go_on_later(compaction);
    return;
  }
  LogCompactCounts before, after;
  LogCompacted *compacted = log_compacted_new();
  Failure *failure = compact_chunk(compaction, batches, compacted, &before, &after);
  if (failure) {
    log_compacted_free(compacted);
    end(compaction, failure);
    return;
  }
  compaction->drop_before = MIN(compaction->drop_before, LOG_BATCH_AT(batches, 0)->base_offset);
  compaction->next = log_batch_next_offset(LOG_BATCH_AT(batches, batches->len - 1));
  count(&compaction->run_before, &before);
  count(&compaction->run_after, &after);
  if (after.records == before.records && after.batches * 4 > before.batches * 3) { /* not worth a write */
    after = (LogCompactCounts){before.batches, before.records, before.bytes, after.tombstones};
    count(&compaction->part, &after);
    log_compacted_free(compacted);
    go_on_later(compaction);
    return;
  }
  count(&compaction->part, &after);
  for (guint i = 0; i < batches->len; i++)
    g_array_append_val(compacted->gone, LOG_BATCH_AT(batches, i)->base_offset);
  note_change(&compaction->note, &before, &after);
  hand_out(compaction, compacted);
}

static void begin_settling(LogCompaction *compaction) {
  compaction->phase = SETTLING;
  CompactNote *note = &compaction->note;
  note->tombstones = compaction->part.tombstones;
  /* What is clean now is noted anew once the tombstones of what was noted have gone. */
  if (note->clean_to == 0 || compaction->tombstones_before == note->clean_to) {
    note->clean_to = compaction->compacted_to;
    note->clean_ms = compaction->options.now_ms;
  }
  note->compacted_ms = compaction->options.now_ms;
  note->bytes_before = compaction->run_before.bytes;
  note->bytes_after = compaction->run_after.bytes;
  note->runs++;
  hand_out(compaction, log_compacted_new());
}

static void move_chunk(LogCompaction *compaction, const GArray *batches) {
  LogCompactCounts before, after;
  LogCompacted *compacted = log_compacted_new();
  Failure *failure = compact_chunk(compaction, batches, compacted, &before, &after);
  if (failure) {
    log_compacted_free(compacted);
    end(compaction, failure);
    return;
  }
  compaction->next =
      batches->len ? log_batch_next_offset(LOG_BATCH_AT(batches, batches->len - 1)) : compaction->map_end;
  compaction->compacted_to = compaction->next;
  count(&compaction->run_before, &before);
  count(&compaction->run_after, &after);
  count(&compaction->part, &after);
  note_change(&compaction->note, &(LogCompactCounts){0}, &after);
  hand_out(compaction, compacted);
}

/* ---- the machine ---- */

static void on_read(LogRead *read) {
  LogCompaction *compaction = (LogCompaction *)((char *)read - G_STRUCT_OFFSET(LogCompaction, read));
  compaction->is_reading = FALSE;
  g_autoptr(GArray) batches = g_steal_pointer(&read->batches);
  g_autoptr(Failure) failure = g_steal_pointer(&read->failure);
  log_read_clear(read);
  for (guint i = 0; i < batches->len; i++)
    compaction->bytes += log_batch_stored_bytes(LOG_BATCH_AT(batches, i));
  if (failure || compaction->is_cancelled)
    end(compaction, failure ? g_steal_pointer(&failure) : cancelled());
  else if (compaction->phase == MAPPING)
    map_chunk(compaction, batches);
  else if (compaction->phase == REWRITING)
    rewrite_chunk(compaction, batches);
  else
    move_chunk(compaction, batches);
}

/* The next step of the phase, or the next phase. */
static void go_on(LogCompaction *compaction) {
  const LogCompactionOptions *options = &compaction->options;
  if (compaction->is_cancelled) {
    end(compaction, cancelled());
    return;
  }
  if (compaction->phase == REWRITING && compaction->next >= compaction->compacted_to)
    begin_moving(compaction);
  if (compaction->phase == MOVING && compaction->next >= compaction->map_end) {
    if (!compaction->map_is_full) {
      begin_settling(compaction);
      return;
    }
    begin_mapping(compaction);
  }
  if (compaction->phase == SETTLING) /* that was written */
    end(compaction, NULL);
  else if (compaction->phase == MAPPING)
    start_read(compaction, compaction->next, options->end_offset);
  else if (compaction->phase == REWRITING)
    start_read(compaction, compaction->next, compaction->compacted_to);
  else
    start_read(compaction, compaction->next, compaction->map_end);
}

LogCompaction *log_compaction_new(LogStore *store, Loop *loop, Timers *timers, const LogCompactionOptions *options) {
  LogCompaction *compaction = g_new0(LogCompaction, 1);
  compaction->store = store;
  compaction->loop = loop;
  compaction->timers = timers;
  compaction->options = *options;
  compaction->compacted_to = options->compacted_to;
  compaction->drop_before = options->start_offset;
  compaction->map = log_key_map_new(options->map_bytes);
  compaction->begun_us = g_get_monotonic_time();
  log_store_compact_note(store, options->log_id, &compaction->note);
  CompactNote *note = &compaction->note;
  note->clean_to = MIN(note->clean_to, options->compacted_to); /* the log was cut since */
  note->clean_ms = MIN(note->clean_ms, options->now_ms);       /* the clock was set back since */
  if (options->start_offset > 0)                               /* what lies below may still be counted */
    note->batches = note->bytes = COMPACT_NOTE_UNKNOWN;
  if (options->now_ms - note->clean_ms >= options->delete_retention_ms)
    compaction->tombstones_before = note->clean_to;
  begin_mapping(compaction);
  go_on_later(compaction);
  return compaction;
}

void log_compaction_cancel(LogCompaction *compaction) {
  compaction->is_cancelled = TRUE;
  if (!compaction->is_reading && !compaction->is_writing && compaction->phase != OVER) /* it pauses */
    timer_set(compaction->timers, &compaction->timer, g_get_monotonic_time(), on_pause, compaction);
}

void log_compaction_free(LogCompaction *compaction) {
  if (!compaction)
    return;
  INVARIANT(!compaction->is_reading && !compaction->is_writing, "a run is freed when it is over");
  timer_clear(compaction->timers, &compaction->timer);
  log_key_map_free(compaction->map);
  g_array_unref(compaction->options.remembered);
  failure_free(compaction->failure);
  g_free(compaction);
}

guint64 log_compaction_bytes(const LogCompaction *compaction) {
  return compaction->bytes;
}
