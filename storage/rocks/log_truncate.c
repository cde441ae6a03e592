#include "storage/rocks/log_truncate.h"

#include "storage/log/hot.h"
#include "storage/log/key.h"
#include "storage/rocks/catalog.h"
#include "storage/rocks/log_cursor.h"

/* Where the log must be cut so that nothing at or behind @offset is left and no batch is torn. */
static gint64 find_end(RocksDb *db, const LogEntry *entry, gint64 offset) {
  for (guint i = entry->span_count; i-- > 0;) {
    const LogSpan *span = &entry->spans[i];
    if (span->first_offset >= offset)
      continue;
    g_autoptr(LogCursor) cursor = log_cursor_new(db, span->segment, LOG_KEY_BATCH, entry->log_id);
    log_cursor_seek_before(cursor, offset);
    gint64 base;
    if (!log_cursor_offset(cursor, &base))
      continue; /* cut before; or unreadable, and then what recovery told is all we have */
    LogBatch head = LOG_BATCH_INIT;
    g_autoptr(Failure) failure = log_cursor_head(cursor, &head);
    gint64 next = failure ? G_MAXINT64 : log_batch_next_offset(&head);
    return next > offset ? base : next;
  }
  return offset;
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
  gint64 end = offset < entry->end_offset || entry->damaged ? find_end(db, entry, offset) : entry->end_offset;
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
