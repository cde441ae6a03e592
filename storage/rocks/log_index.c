/* Which logs there are and where: see log_index.h.
 *
 * Invariants
 *   1. Spans of a log rise strictly in segment number and in first offset.
 *   2. A span is there before data of its log in that segment can be seen: who finds no later span has seen everything
 *      that was written before it looked.
 *   3. The generation of a log never repeats: it comes from one counter of the index.
 *   4. A segment's log_count is the number of spans in it, so one that has 0, and is not written to, can go. */
#include "storage/rocks/log_index.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "storage/log/retention.h"

struct LogIndex {
  pthread_rwlock_t lock;
  GPtrArray *segments; /* of LogSegment, ascending */
  LogSegment *compacted;
  LogStoreStats totals; /* of compaction alone */
  GHashTable *logs;     /* &LogEntry.log_id → LogEntry */
  guint32 generations;
  /* The writer's. */
  guint damaged;
  gboolean has_unneeded;
};

/* ---- segments ---- */

LogSegment *log_segment_new(guint32 number, rocksdb_column_family_handle_t *cf, gint64 created_ms) {
  LogSegment *segment = g_atomic_rc_box_new0(LogSegment);
  segment->number = number;
  segment->cf = cf;
  segment->created_ms = created_ms;
  return segment;
}

LogSegment *log_segment_ref(LogSegment *segment) {
  return g_atomic_rc_box_acquire(segment);
}

static void segment_clear(gpointer data) {
  LogSegment *segment = data;
  rocksdb_column_family_handle_destroy(segment->cf);
}

void log_segment_unref(LogSegment *segment) {
  if (segment)
    g_atomic_rc_box_release_full(segment, segment_clear);
}

/* ---- the index ---- */

static void entry_free(gpointer data) {
  LogEntry *entry = data;
  for (guint i = 0; i < entry->span_count; i++)
    log_segment_unref(entry->spans[i].segment);
  g_free(entry->spans);
  g_free(entry);
}

LogIndex *log_index_new(void) {
  LogIndex *index = g_new0(LogIndex, 1);
  pthread_rwlock_init(&index->lock, NULL);
  index->segments = g_ptr_array_new_with_free_func((GDestroyNotify)log_segment_unref);
  index->logs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, entry_free);
  return index;
}

void log_index_free(LogIndex *index) {
  if (!index)
    return;
  g_hash_table_unref(index->logs);
  g_ptr_array_unref(index->segments);
  log_segment_unref(index->compacted);
  pthread_rwlock_destroy(&index->lock);
  g_free(index);
}

void log_index_add_segment(LogIndex *index, LogSegment *segment) {
  INVARIANT(index->segments->len == 0 || log_index_active(index)->number < segment->number,
            "segments are numbered in the order of their making");
  if (index->segments->len > 0)
    index->has_unneeded |= log_index_active(index)->log_count == 0;
  pthread_rwlock_wrlock(&index->lock);
  g_ptr_array_add(index->segments, segment);
  pthread_rwlock_unlock(&index->lock);
}

guint log_index_segment_count(LogIndex *index) {
  pthread_rwlock_rdlock(&index->lock);
  guint count = index->segments->len;
  pthread_rwlock_unlock(&index->lock);
  return count;
}

LogSegment *log_index_segment(LogIndex *index, guint i) {
  return g_ptr_array_index(index->segments, i);
}

LogSegment *log_index_segment_by_number(LogIndex *index, guint32 number) {
  for (guint i = index->segments->len; i-- > 0;)
    if (log_index_segment(index, i)->number == number)
      return log_index_segment(index, i);
  return NULL;
}

LogSegment *log_index_active(LogIndex *index) {
  INVARIANT(index->segments->len > 0, "there is always a segment to write to");
  return g_ptr_array_index(index->segments, index->segments->len - 1);
}

LogEntry *log_index_get(LogIndex *index, guint64 log_id) {
  return g_hash_table_lookup(index->logs, &log_id);
}

LogEntry *log_index_add(LogIndex *index, guint64 log_id, const LogHot *hot) {
  INVARIANT(!log_index_get(index, log_id), "a log is made once");
  LogEntry *entry = g_new0(LogEntry, 1);
  *entry = (LogEntry){.log_id = log_id,
                      .end_offset = hot ? hot->log_end_offset : 0,
                      .needed_from = hot ? log_hot_needed_from(hot) : 0,
                      .appended_bytes = hot ? hot->appended_bytes : 0,
                      .max_timestamp_ms = hot ? hot->max_timestamp_ms : LOG_TIMESTAMP_NONE,
                      .unindexed_bytes = G_MAXINT32 /* index the first batch: where the last entry is was not kept */};
  pthread_rwlock_wrlock(&index->lock);
  entry->generation = ++index->generations;
  g_hash_table_insert(index->logs, &entry->log_id, entry);
  pthread_rwlock_unlock(&index->lock);
  return entry;
}

void log_index_mark_damaged(LogIndex *index, LogEntry *entry) {
  if (!entry->damaged)
    index->damaged++;
  entry->damaged = TRUE;
}

static void end_damage(LogIndex *index, LogEntry *entry) {
  if (entry->damaged)
    index->damaged--;
  entry->damaged = FALSE;
}

guint log_index_damaged_count(LogIndex *index) {
  return index->damaged;
}

void log_index_remove(LogIndex *index, LogEntry *entry) {
  end_damage(index, entry);
  log_index_drop_spans(index, entry, entry->span_count);
  guint64 log_id = entry->log_id;
  pthread_rwlock_wrlock(&index->lock);
  index->totals.compacted_bytes -= MAX(entry->note.bytes, 0);
  g_hash_table_remove(index->logs, &log_id);
  pthread_rwlock_unlock(&index->lock);
}

static int compare_entries(gconstpointer a, gconstpointer b) {
  const LogEntry *left = *(LogEntry *const *)a, *right = *(LogEntry *const *)b;
  return left->log_id < right->log_id ? -1 : left->log_id > right->log_id;
}

GPtrArray *log_index_sorted(LogIndex *index) {
  GPtrArray *entries = g_ptr_array_sized_new(g_hash_table_size(index->logs));
  GHashTableIter iter;
  gpointer entry;
  g_hash_table_iter_init(&iter, index->logs);
  while (g_hash_table_iter_next(&iter, NULL, &entry))
    g_ptr_array_add(entries, entry);
  g_ptr_array_sort(entries, compare_entries);
  return entries;
}

guint64 log_index_count(LogIndex *index) {
  pthread_rwlock_rdlock(&index->lock);
  guint64 count = g_hash_table_size(index->logs);
  pthread_rwlock_unlock(&index->lock);
  return count;
}

/* ---- spans ---- */

gint64 log_index_span_bytes(const LogEntry *entry, guint i) {
  gint64 end = i + 1 < entry->span_count ? entry->spans[i + 1].bytes_before : entry->appended_bytes;
  return MAX(end - entry->spans[i].bytes_before, 0);
}

/* The log needs nothing more of that span's segment. The lock is held. */
static void release_span(LogIndex *index, const LogEntry *entry, guint i) {
  LogSegment *segment = entry->spans[i].segment;
  gint64 bytes =
      MIN(log_index_span_bytes(entry, i), atomic_load_explicit(&segment->needed_bytes, memory_order_relaxed));
  atomic_fetch_sub_explicit(&segment->needed_bytes, bytes, memory_order_relaxed);
  segment->log_count--;
  index->has_unneeded |= segment->log_count == 0;
  log_segment_unref(segment);
}

void log_index_add_span(LogIndex *index, LogEntry *entry, const LogSpan *span) {
  const LogSpan *last = entry->span_count ? &entry->spans[entry->span_count - 1] : NULL;
  INVARIANT(!last || (last->segment->number < span->segment->number && last->first_offset < span->first_offset),
            "a log's spans rise in segment and offset");
  pthread_rwlock_wrlock(&index->lock);
  entry->spans = g_renew(LogSpan, entry->spans, entry->span_count + 1);
  entry->spans[entry->span_count] = *span;
  log_segment_ref(span->segment);
  span->segment->log_count++;
  entry->span_count++;
  pthread_rwlock_unlock(&index->lock);
}

guint log_index_unneeded_spans(const LogEntry *entry, gint64 needed_from) {
  guint count = 0;
  while (count < entry->span_count) {
    gint64 end = count + 1 < entry->span_count ? entry->spans[count + 1].first_offset : entry->end_offset;
    if (end > needed_from)
      break;
    count++;
  }
  return count;
}

void log_index_drop_spans(LogIndex *index, LogEntry *entry, guint count) {
  INVARIANT(count <= entry->span_count, "only spans that are there are dropped");
  pthread_rwlock_wrlock(&index->lock);
  for (guint i = 0; i < count; i++)
    release_span(index, entry, i);
  entry->span_count -= count;
  memmove(entry->spans, entry->spans + count, entry->span_count * sizeof *entry->spans);
  pthread_rwlock_unlock(&index->lock);
}

void log_index_remove_segment(LogIndex *index, LogSegment *segment) {
  INVARIANT(segment->log_count == 0 && segment != log_index_active(index), "a segment goes when nobody needs it");
  pthread_rwlock_wrlock(&index->lock);
  g_ptr_array_remove(index->segments, segment);
  pthread_rwlock_unlock(&index->lock);
}

gboolean log_index_take_unneeded(LogIndex *index) {
  gboolean has = index->has_unneeded;
  index->has_unneeded = FALSE;
  return has;
}

void log_index_cut(LogIndex *index, LogEntry *entry, gint64 end_offset) {
  end_damage(index, entry);
  pthread_rwlock_wrlock(&index->lock);
  guint left = entry->span_count;
  while (left > 0 && entry->spans[left - 1].first_offset >= end_offset)
    release_span(index, entry, --left);
  entry->span_count = left;
  entry->generation = ++index->generations;
  pthread_rwlock_unlock(&index->lock);
}

/* ---- the compacted part ---- */

void log_index_add_compacted(LogIndex *index, LogSegment *segment) {
  INVARIANT(!index->compacted, "there is one compacted part");
  index->compacted = segment;
}

LogSegment *log_index_compacted(LogIndex *index) {
  return index->compacted;
}

static void count_note(LogStoreStats *totals, const CompactNote *before, const CompactNote *after) {
  totals->compacted_bytes += MAX(after->bytes, 0) - MAX(before->bytes, 0);
  totals->compacted_ms = MAX(totals->compacted_ms, after->compacted_ms);
  if (after->runs == before->runs)
    return;
  totals->compactions++;
  totals->compaction_bytes_before += after->bytes_before;
  totals->compaction_bytes_after += after->bytes_after;
}

void log_index_set_compacted(LogIndex *index, LogEntry *entry, gint64 compacted_to, const CompactNote *note) {
  pthread_rwlock_wrlock(&index->lock);
  entry->compacted_to = compacted_to;
  if (note) {
    count_note(&index->totals, &entry->note, note);
    entry->note = *note;
  }
  pthread_rwlock_unlock(&index->lock);
}

void log_index_load_note(LogIndex *index, LogEntry *entry, const CompactNote *note) {
  const CompactNote before = {.runs = note->runs}; /* those were of earlier processes */
  count_note(&index->totals, &before, note);
  entry->note = *note;
}

void log_index_compact_stats(LogIndex *index, LogStoreStats *stats) {
  pthread_rwlock_rdlock(&index->lock);
  stats->compactions = index->totals.compactions;
  stats->compaction_bytes_before = index->totals.compaction_bytes_before;
  stats->compaction_bytes_after = index->totals.compaction_bytes_after;
  stats->compacted_ms = index->totals.compacted_ms;
  stats->compacted_bytes = index->totals.compacted_bytes;
  pthread_rwlock_unlock(&index->lock);
}

void log_index_compact_note(LogIndex *index, guint64 log_id, CompactNote *ret_note) {
  pthread_rwlock_rdlock(&index->lock);
  const LogEntry *entry = g_hash_table_lookup(index->logs, &log_id);
  *ret_note = entry ? entry->note : (CompactNote){0};
  pthread_rwlock_unlock(&index->lock);
}

/* ---- looking up ---- */

void log_place_clear(LogPlace *place) {
  g_clear_pointer(&place->segment, log_segment_unref);
}

#define COMPACTED G_MAXUINT /* instead of the number of a span */

/* The i-th span as a place, or the compacted part; none behind the last. The lock is held. */
static LogPlace place_at(const LogIndex *index, const LogEntry *entry, guint i) {
  LogPlace place = {.from_offset = entry->compacted_to, .generation = entry->generation};
  if (i == COMPACTED) {
    place.segment = log_segment_ref(index->compacted);
    place.from_offset = 0;
    place.part_end = entry->compacted_to;
  } else if (i < entry->span_count) {
    place.segment = log_segment_ref(entry->spans[i].segment);
    place.is_last = i + 1 == entry->span_count;
  } else {
    place.is_last = TRUE;
  }
  return place;
}

/* Look @log_id up, choose one of its spans, and give it as a place. */
typedef guint (*ChooseFunc)(const LogEntry *entry, gint64 value);

static gboolean locate(LogIndex *index, guint64 log_id, ChooseFunc choose, gint64 value, LogPlace *ret_place) {
  pthread_rwlock_rdlock(&index->lock);
  const LogEntry *entry = g_hash_table_lookup(index->logs, &log_id);
  if (entry)
    *ret_place = place_at(index, entry, choose(entry, value));
  pthread_rwlock_unlock(&index->lock);
  return entry != NULL;
}

static guint choose_by_offset(const LogEntry *entry, gint64 offset) {
  if (offset < entry->compacted_to)
    return COMPACTED;
  guint low = 0, high = entry->span_count; /* spans below low begin at or before the offset */
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (entry->spans[middle].first_offset <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? low - 1 : 0;
}

static guint choose_by_time(const LogEntry *entry, gint64 timestamp_ms) {
  guint low = 0, high = entry->span_count; /* what lies before spans below low is all earlier */
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (entry->spans[middle].max_timestamp_before < timestamp_ms)
      low = middle + 1;
    else
      high = middle;
  }
  /* What the segments have below its end, the compacted part has instead. */
  if (entry->compacted_to > 0 && (low == 0 || entry->spans[low - 1].first_offset < entry->compacted_to))
    return COMPACTED;
  return low ? low - 1 : 0;
}

static guint choose_next(const LogEntry *entry, gint64 number) {
  guint i = entry->span_count;
  while (i > 0 && entry->spans[i - 1].segment->number > number)
    i--;
  return i;
}

gboolean log_index_locate(LogIndex *index, guint64 log_id, gint64 offset, LogPlace *ret_place) {
  return locate(index, log_id, choose_by_offset, offset, ret_place);
}

gboolean log_index_locate_next(LogIndex *index, guint64 log_id, guint32 number, LogPlace *ret_place) {
  return locate(index, log_id, choose_next, number, ret_place);
}

gboolean log_index_locate_time(LogIndex *index, guint64 log_id, gint64 timestamp_ms, LogPlace *ret_place) {
  return locate(index, log_id, choose_by_time, timestamp_ms, ret_place);
}

gboolean log_index_chunks(LogIndex *index, guint64 log_id, GArray *chunks) {
  pthread_rwlock_rdlock(&index->lock);
  const LogEntry *entry = g_hash_table_lookup(index->logs, &log_id);
  for (guint i = 0; entry && i < entry->span_count; i++) {
    const LogSpan *span = &entry->spans[i];
    const LogChunk chunk = {.first_offset = span->first_offset,
                            .max_timestamp_before_ms = span->max_timestamp_before,
                            .bytes_before = span->bytes_before,
                            .closed_ms = atomic_load_explicit(&span->segment->closed_ms, memory_order_relaxed)};
    g_array_append_val(chunks, chunk);
  }
  pthread_rwlock_unlock(&index->lock);
  return entry != NULL;
}

void log_index_infos(LogIndex *index, GArray *infos) {
  pthread_rwlock_rdlock(&index->lock);
  for (guint i = 0; i < index->segments->len; i++) {
    LogSegment *segment = log_index_segment(index, i);
    const LogSegmentInfo info = {.number = segment->number,
                                 .created_ms = segment->created_ms,
                                 .log_count = segment->log_count,
                                 .bytes = atomic_load_explicit(&segment->batch_bytes, memory_order_relaxed),
                                 .needed_bytes = atomic_load_explicit(&segment->needed_bytes, memory_order_relaxed)};
    g_array_append_val(infos, info);
  }
  pthread_rwlock_unlock(&index->lock);
}

gboolean log_index_is_generation(LogIndex *index, guint64 log_id, guint32 generation) {
  pthread_rwlock_rdlock(&index->lock);
  const LogEntry *entry = g_hash_table_lookup(index->logs, &log_id);
  gboolean same = entry && entry->generation == generation;
  pthread_rwlock_unlock(&index->lock);
  return same;
}
