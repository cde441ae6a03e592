#include "storage/rocks/log_truncate.h"

#include "storage/log/compact.h"
#include "storage/log/hot.h"
#include "storage/log/key.h"
#include "storage/rocks/catalog.h"
#include "storage/rocks/compacted_part.h"
#include "storage/rocks/log_cursor.h"

/* The last batch of a log before an offset. */
typedef struct {
  LogSegment *segment; /* where it is; borrowed. NULL: there is none */
  gint64 base;
  LogBatch head;
  gboolean is_unreadable;
} Last;

/* Look in one segment. @from: what lies below is of no account there. Returns FALSE when there is none, or when it
 * could not look: what recovery told is all we have then. */
static gboolean find_in(RocksDb *db, LogSegment *segment, guint64 log_id, gint64 from, gint64 offset, Last *ret_last) {
  g_autoptr(LogCursor) cursor = log_cursor_new(db, segment, LOG_KEY_BATCH, log_id);
  log_cursor_seek_before(cursor, offset);
  gint64 base;
  if (!log_cursor_offset(cursor, &base) || base < from)
    return FALSE;
  *ret_last = (Last){.segment = segment, .base = base, .head = LOG_BATCH_INIT};
  g_autoptr(Failure) failure = log_cursor_head(cursor, &ret_last->head);
  ret_last->is_unreadable = failure != NULL;
  return TRUE;
}

static Last find_last(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 offset) {
  Last last = {0};
  for (guint i = entry->span_count; i-- > 0 && offset > entry->compacted_to;)
    if (entry->spans[i].first_offset < offset &&
        find_in(db, entry->spans[i].segment, entry->log_id, entry->compacted_to, offset, &last))
      return last;
  if (entry->compacted_to > 0)
    find_in(db, log_index_compacted(index), entry->log_id, 0, offset, &last);
  return last;
}

/* The cut goes through a batch with gaps, which may cover many offsets that were batches of their own once: what lies
 * before stays. Returns FALSE when it can't be read. */
static gboolean put_part(RocksDb *db, const Last *last, guint64 log_id, gint64 offset, rocksdb_writebatch_t *batch) {
  g_autoptr(LogCursor) cursor = log_cursor_new(db, last->segment, LOG_KEY_BATCH, log_id);
  g_auto(LogBatch) whole = LOG_BATCH_INIT, part = LOG_BATCH_INIT;
  gint64 ignored;
  log_cursor_seek(cursor, last->base);
  g_autoptr(Failure) failure =
      log_cursor_offset(cursor, &ignored) ? log_cursor_batch(cursor, &whole) : log_cursor_check(cursor);
  if (!failure && whole.records)
    failure = log_compact_part(&whole, last->base, offset, &part);
  if (failure || !part.records)
    return FALSE;
  log_batch_put(&part, log_id, last->segment, batch);
  return TRUE;
}

/* Where the log must be cut so that nothing at or behind @offset is left and no batch is torn. */
static gint64 find_end(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 offset,
                       rocksdb_writebatch_t *batch) {
  Last last = find_last(db, index, entry, offset);
  if (!last.segment)
    return offset;
  if (last.is_unreadable)
    return last.base;
  gint64 next = log_batch_next_offset(&last.head);
  if (next <= offset)
    return next;
  if (last.head.format == LOG_BATCH_FORMAT_GAPS && put_part(db, &last, entry->log_id, offset, batch))
    return offset;
  return last.base;
}

void log_batch_put(const LogBatch *log_batch, guint64 log_id, const LogSegment *segment, rocksdb_writebatch_t *batch) {
  guint8 key[LOG_KEY_BYTES], header[LOG_STORED_HEADER_BYTES];
  log_key_encode(LOG_KEY_BATCH, log_id, log_batch->base_offset, key);
  log_batch_stored_header(log_batch, log_id, header);
  gsize payload_len;
  const char *payload = g_bytes_get_data(log_batch->records, &payload_len);
  const char *const keys[] = {(const char *)key}, *const values[] = {(const char *)header, payload};
  const size_t key_lens[] = {sizeof key}, value_lens[] = {sizeof header, payload_len};
  rocksdb_writebatch_putv_cf(batch, segment->cf, 1, keys, key_lens, 2, values, value_lens);
}

void log_truncate_put_range(LogKeyKind kind, guint64 log_id, gint64 from, const LogSegment *segment,
                            rocksdb_writebatch_t *batch) {
  guint8 start[LOG_KEY_BYTES], ignored[LOG_KEY_BYTES], end[LOG_KEY_BYTES];
  log_key_range(kind, log_id, ignored, end);
  log_key_encode(kind, log_id, from, start);
  rocksdb_writebatch_delete_range_cf(batch, segment->cf, (const char *)start, sizeof start, (const char *)end,
                                     sizeof end);
}

gint64 log_truncate_put(RocksDb *db, LogIndex *index, LogEntry *entry, gint64 offset, rocksdb_writebatch_t *batch) {
  gint64 end =
      offset < entry->end_offset || entry->damaged ? find_end(db, index, entry, offset, batch) : entry->end_offset;
  if (end < entry->compacted_to) {
    CompactNote note;
    compacted_part_cut(db, index, entry, end, batch, &note);
    log_index_set_compacted(index, entry, end, &note);
  }
  gboolean goes_on = TRUE; /* until a span that begins before the end: the last one touched */
  for (guint i = entry->span_count; i-- > 0 && goes_on;) {
    const LogSpan *span = &entry->spans[i];
    goes_on = span->first_offset >= end;
    log_truncate_put_range(LOG_KEY_BATCH, entry->log_id, end, span->segment, batch);
    log_truncate_put_range(LOG_KEY_TIME, entry->log_id, end, span->segment, batch);
    if (!goes_on)
      break;
    CatalogBytes bytes;
    catalog_encode(&(CatalogEntry){.kind = CATALOG_SPAN, .segment = span->segment->number, .log_id = entry->log_id},
                   &bytes);
    rocksdb_writebatch_delete_cf(batch, db->catalog_cf, (const char *)bytes.key, bytes.key_len);
  }
  log_index_cut(index, entry, end);
  entry->end_offset = end;
  return end;
}

void log_truncate_hot(const guint8 *hot_bytes, gsize len, guint64 log_id, gint64 end_offset, GByteArray *out) {
  LogHot hot;
  const Failure *failure = log_hot_decode(hot_bytes, len, log_id, &hot);
  INVARIANT(!failure, "a log is cut with a hot record that can be read");
  log_hot_cut(&hot, end_offset);
  log_hot_encode(&hot, log_id, out);
  log_hot_clear(&hot);
}
