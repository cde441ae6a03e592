#include "storage/rocks/compacted_part.h"

#include "storage/log/key.h"
#include "storage/rocks/log_cursor.h"
#include "storage/rocks/log_truncate.h"

static void put_note(RocksDb *db, guint64 log_id, const CompactNote *note, rocksdb_writebatch_t *batch) {
  guint8 key[COMPACT_NOTE_KEY_BYTES], value[COMPACT_NOTE_VALUE_BYTES];
  compact_note_key(log_id, key);
  compact_note_encode(note, log_id, value);
  rocksdb_writebatch_put_cf(batch, db->catalog_cf, (const char *)key, sizeof key, (const char *)value, sizeof value);
}

/* The batches of a log from @from to before @to. */
static void put_range(const LogSegment *part, guint64 log_id, gint64 from, gint64 to, rocksdb_writebatch_t *batch) {
  guint8 start[LOG_KEY_BYTES], end[LOG_KEY_BYTES];
  log_key_encode(LOG_KEY_BATCH, log_id, from, start);
  log_key_encode(LOG_KEY_BATCH, log_id, to, end);
  rocksdb_writebatch_delete_range_cf(batch, part->cf, (const char *)start, sizeof start, (const char *)end, sizeof end);
}

void compacted_part_put(RocksDb *db, LogIndex *index, guint64 log_id, const LogCompacted *compacted,
                        rocksdb_writebatch_t *batch, CompactNote *ret_note) {
  const LogSegment *part = log_index_compacted(index);
  if (compacted->drop_before > 0)
    put_range(part, log_id, 0, compacted->drop_before, batch);
  for (guint i = 0; i < compacted->gone->len; i++) {
    guint8 key[LOG_KEY_BYTES];
    log_key_encode(LOG_KEY_BATCH, log_id, g_array_index(compacted->gone, gint64, i), key);
    rocksdb_writebatch_delete_cf(batch, part->cf, (const char *)key, sizeof key);
  }
  for (guint i = 0; i < compacted->batches->len; i++)
    log_batch_put(LOG_BATCH_AT(compacted->batches, i), log_id, part, batch);
  *ret_note = compacted->note;
  ret_note->segment = log_index_active(index)->number;
  put_note(db, log_id, ret_note, batch);
}

void compacted_part_cut(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 end_offset,
                        rocksdb_writebatch_t *batch, CompactNote *ret_note) {
  put_range(log_index_compacted(index), entry->log_id, end_offset, G_MAXINT64, batch);
  *ret_note = entry->note;
  ret_note->batches = ret_note->bytes = COMPACT_NOTE_UNKNOWN;
  ret_note->clean_to = MIN(ret_note->clean_to, end_offset);
  ret_note->segment = log_index_active(index)->number;
  put_note(db, entry->log_id, ret_note, batch);
}

void compacted_part_drop(RocksDb *db, LogIndex *index, guint64 log_id, rocksdb_writebatch_t *batch) {
  guint8 key[COMPACT_NOTE_KEY_BYTES];
  put_range(log_index_compacted(index), log_id, 0, G_MAXINT64, batch);
  compact_note_key(log_id, key);
  rocksdb_writebatch_delete_cf(batch, db->catalog_cf, (const char *)key, sizeof key);
}

static Failure *wrong(const LogEntry *entry, const char *what, gint64 want, gint64 found) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "the compacted part of log %" G_GUINT64_FORMAT " is damaged: it has %" G_GINT64_FORMAT
                     " %s, though its note says %" G_GINT64_FORMAT,
                     entry->log_id, found, what, want);
}

Failure *compacted_part_verify(RocksDb *db, LogIndex *index, const LogEntry *entry, gint64 *ret_good_end,
                               guint64 *bytes) {
  g_autoptr(LogCursor) cursor = log_cursor_new(db, log_index_compacted(index), LOG_KEY_BATCH, entry->log_id);
  gint64 base, batches = 0, found_bytes = 0;
  *ret_good_end = 0;
  for (log_cursor_seek(cursor, 0); log_cursor_offset(cursor, &base); log_cursor_next(cursor)) {
    if (base < *ret_good_end || base >= entry->compacted_to)
      return failure_new(FAILURE(CORRUPT_LOG),
                         "the compacted part of log %" G_GUINT64_FORMAT " holds a batch at offset %" G_GINT64_FORMAT
                         ", which does not belong there",
                         entry->log_id, base);
    g_auto(LogBatch) batch = LOG_BATCH_INIT;
    Failure *failure = log_cursor_batch(cursor, &batch);
    if (failure)
      return failure;
    batches++;
    found_bytes += (gint64)log_cursor_value_bytes(cursor);
    *ret_good_end = log_batch_next_offset(&batch);
  }
  *bytes += (guint64)found_bytes;
  Failure *failure = log_cursor_check(cursor);
  const CompactNote *note = &entry->note;
  if (failure || note->batches == COMPACT_NOTE_UNKNOWN)
    return failure;
  if (batches == note->batches && found_bytes == note->bytes)
    return NULL;
  *ret_good_end = 0; /* which of them are missing nobody can tell */
  return batches != note->batches ? wrong(entry, "batches", note->batches, batches)
                                  : wrong(entry, "bytes", note->bytes, found_bytes);
}
