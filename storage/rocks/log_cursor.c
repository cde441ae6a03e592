/* A cursor: see log_cursor.h.
 *
 * Values are copied out of the iterator, whose blocks do not go into the cache: who reads a log passes each of them
 * once. So one block's memory serves for the next, and is still in the processor's cache when it is copied, which costs
 * less than getting a value again by its key, pinned (docs/decisions/0009-hot-path.md). An iterator that pins
 * everything it passes would spare the copy, but keep memtables and files alive as long as the slowest consumer of any
 * batch. */
#include "storage/rocks/log_cursor.h"

struct LogCursor {
  LogSegment *segment;
  LogKeyKind kind;
  guint64 log_id;
  guint8 lower[LOG_KEY_BYTES], upper[LOG_KEY_BYTES]; /* the iterator's bounds: must outlive it */
  rocksdb_readoptions_t *options;
  rocksdb_iterator_t *iterator;
  Failure *failure; /* a key that is none: an end of its own kind */
};

LogCursor *log_cursor_new(RocksDb *db, LogSegment *segment, LogKeyKind kind, guint64 log_id) {
  LogCursor *cursor = g_new0(LogCursor, 1);
  cursor->segment = log_segment_ref(segment);
  cursor->kind = kind;
  cursor->log_id = log_id;
  log_key_range(kind, log_id, cursor->lower, cursor->upper);
  cursor->options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_iterate_lower_bound(cursor->options, (const char *)cursor->lower, LOG_KEY_BYTES);
  rocksdb_readoptions_set_iterate_upper_bound(cursor->options, (const char *)cursor->upper, LOG_KEY_BYTES);
  rocksdb_readoptions_set_fill_cache(cursor->options, 0);
  cursor->iterator = rocksdb_create_iterator_cf(db->db, cursor->options, segment->cf);
  return cursor;
}

void log_cursor_free(LogCursor *cursor) {
  if (!cursor)
    return;
  rocksdb_iter_destroy(cursor->iterator);
  rocksdb_readoptions_destroy(cursor->options);
  log_segment_unref(cursor->segment);
  failure_free(cursor->failure);
  g_free(cursor);
}

LogSegment *log_cursor_segment(LogCursor *cursor) {
  return cursor->segment;
}

void log_cursor_seek(LogCursor *cursor, gint64 offset) {
  guint8 key[LOG_KEY_BYTES];
  log_key_encode(cursor->kind, cursor->log_id, offset, key);
  rocksdb_iter_seek(cursor->iterator, (const char *)key, sizeof key);
}

void log_cursor_seek_before(LogCursor *cursor, gint64 offset) {
  if (offset <= 0) {
    rocksdb_iter_seek_for_prev(cursor->iterator, (const char *)cursor->lower, LOG_KEY_BYTES);
    if (rocksdb_iter_valid(cursor->iterator))
      rocksdb_iter_prev(cursor->iterator);
    return;
  }
  guint8 key[LOG_KEY_BYTES];
  log_key_encode(cursor->kind, cursor->log_id, offset - 1, key);
  rocksdb_iter_seek_for_prev(cursor->iterator, (const char *)key, sizeof key);
}

void log_cursor_seek_holding(LogCursor *cursor, gint64 offset) {
  log_cursor_seek(cursor, offset);
  gint64 found, before;
  if (log_cursor_offset(cursor, &found) && found == offset)
    return; /* as a rule: who reads on begins with a batch */
  log_cursor_seek_before(cursor, offset);
  if (!log_cursor_offset(cursor, &before)) {
    log_cursor_seek(cursor, offset);
    return;
  }
  LogBatch head = LOG_BATCH_INIT;
  g_autoptr(Failure) failure = log_cursor_head(cursor, &head);
  /* A damaged one may hold it: to be found by who reads it. Seeking to it turns the iterator around for good. */
  log_cursor_seek(cursor, failure || log_batch_next_offset(&head) > offset ? before : offset);
}

void log_cursor_next(LogCursor *cursor) {
  rocksdb_iter_next(cursor->iterator);
}

/* The key that it stands on; FALSE at the end. */
static gboolean current_key(LogCursor *cursor, LogKey *ret_key) {
  if (cursor->failure || !rocksdb_iter_valid(cursor->iterator))
    return FALSE;
  size_t len;
  const char *key = rocksdb_iter_key(cursor->iterator, &len);
  cursor->failure = log_key_decode((const guint8 *)key, len, ret_key);
  return cursor->failure == NULL;
}

gboolean log_cursor_offset(LogCursor *cursor, gint64 *ret_offset) {
  LogKey key;
  if (!current_key(cursor, &key))
    return FALSE;
  *ret_offset = key.base_offset;
  return TRUE;
}

Failure *log_cursor_check(LogCursor *cursor) {
  if (cursor->failure)
    return failure_copy(cursor->failure);
  char *error = NULL;
  rocksdb_iter_get_error(cursor->iterator, &error);
  if (!error)
    return NULL;
  return rocks_failure(FAILURE(CORRUPT_LOG), error, "log %" G_GUINT64_FORMAT " can't be read in segment %u",
                       cursor->log_id, cursor->segment->number);
}

gsize log_cursor_value_bytes(LogCursor *cursor) {
  size_t len;
  rocksdb_iter_value(cursor->iterator, &len);
  return len;
}

Failure *log_cursor_head(LogCursor *cursor, LogBatch *ret_batch) {
  LogKey key;
  INVARIANT(current_key(cursor, &key), "it stands on an entry");
  size_t len;
  const char *value = rocksdb_iter_value(cursor->iterator, &len);
  return log_batch_parse_stored_header((const guint8 *)value, len, &key, ret_batch, NULL);
}

Failure *log_cursor_batch(LogCursor *cursor, LogBatch *ret_batch) {
  LogKey key;
  INVARIANT(current_key(cursor, &key), "it stands on an entry");
  size_t len;
  const char *stored = rocksdb_iter_value(cursor->iterator, &len);
  g_autoptr(GBytes) value = g_bytes_new(stored, len);
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  Failure *failure = log_batch_parse_stored(value, &key, &batch);
  if (!failure)
    failure = log_batch_verify(&batch);
  if (failure)
    return failure_add(failure_add(failure, "log_id", "%" G_GUINT64_FORMAT, cursor->log_id), "offset",
                       "%" G_GINT64_FORMAT, key.base_offset);
  *ret_batch = batch;
  batch = (LogBatch)LOG_BATCH_INIT;
  return NULL;
}

Failure *log_cursor_time(LogCursor *cursor, gint64 *ret_max_timestamp_ms) {
  LogKey key;
  INVARIANT(current_key(cursor, &key), "it stands on an entry");
  size_t len;
  const char *value = rocksdb_iter_value(cursor->iterator, &len);
  return log_time_value_decode((const guint8 *)value, len, &key, ret_max_timestamp_ms);
}
