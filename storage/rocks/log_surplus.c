#include "storage/rocks/log_surplus.h"

#include "storage/log/key.h"
#include "storage/rocks/bulk_mark.h"
#include "storage/rocks/log_truncate.h"

/* Put the cut of what one mark marks, and of the mark. */
static void put_cut(const LogSegment *segment, const BulkMark *mark, rocksdb_writebatch_t *batch) {
  guint8 key[BULK_MARK_KEY_BYTES], ignored[BULK_MARK_PADDED_BYTES];
  log_truncate_put_range(LOG_KEY_BATCH, mark->log_id, mark->first_offset, segment, batch);
  log_truncate_put_range(LOG_KEY_TIME, mark->log_id, mark->first_offset, segment, batch);
  bulk_mark_encode(mark, FALSE, key, ignored);
  rocksdb_writebatch_delete_cf(batch, segment->cf, (const char *)key, sizeof key);
}

/* Put the cuts of all marks from @group on. */
static Failure *put_cuts(RocksDb *db, const LogSegment *segment, guint64 group, rocksdb_writebatch_t *batch,
                         guint *cuts) {
  guint8 start[BULK_MARK_KEY_BYTES], end[BULK_MARK_KEY_BYTES];
  bulk_mark_range(group, start, end);
  rocksdb_readoptions_t *options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)end, sizeof end);
  rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(db->db, options, segment->cf);
  Failure *failure = NULL;
  for (rocksdb_iter_seek(iterator, (const char *)start, sizeof start); !failure && rocksdb_iter_valid(iterator);
       rocksdb_iter_next(iterator)) {
    size_t key_len, value_len;
    const char *key = rocksdb_iter_key(iterator, &key_len);
    const char *value = rocksdb_iter_value(iterator, &value_len);
    BulkMark mark;
    failure = bulk_mark_decode((const guint8 *)key, key_len, (const guint8 *)value, value_len, &mark);
    if (failure)
      break;
    put_cut(segment, &mark, batch);
    ++*cuts;
  }
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  rocksdb_iter_destroy(iterator);
  rocksdb_readoptions_destroy(options);
  if (error && !failure)
    return rocks_failure(FAILURE(CORRUPT_LOG), error, "the marks in segment %u can't be read", segment->number);
  rocksdb_free(error);
  return failure;
}

Failure *log_surplus_cut(RocksDb *db, LogIndex *index, guint32 first_segment, guint64 last_group, guint *ret_cuts) {
  *ret_cuts = 0;
  Failure *failure = NULL;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  for (guint i = 0; i < log_index_segment_count(index) && !failure; i++) {
    const LogSegment *segment = log_index_segment(index, i);
    if (segment->number >= first_segment)
      failure = put_cuts(db, segment, last_group + 1, batch, ret_cuts);
  }
  char *error = NULL;
  if (*ret_cuts > 0)
    rocksdb_write(db->db, db->write_options, batch, &error);
  rocks_check("cutting what was never acknowledged", error);
  rocksdb_writebatch_destroy(batch);
  return failure;
}
