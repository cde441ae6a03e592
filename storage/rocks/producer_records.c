/* The records of producers: see producer_records.h. No state of its own.
 *
 * Failure modes: a record that does not match its checksum is told with its log, and damages that log alone; a read
 * that RocksDB refuses while a log is cut ends the process like a failed write, since the cut could not be finished. */
#include "storage/rocks/producer_records.h"

gsize producer_records_put(RocksDb *db, guint64 log_id, gint64 producer_id, const guint8 *value, gsize len,
                           rocksdb_writebatch_t *batch) {
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  log_producer_key_encode(log_id, producer_id, key);
  rocksdb_writebatch_put_cf(batch, db->producers_cf, (const char *)key, sizeof key, (const char *)value, len);
  return sizeof key + len;
}

void producer_records_forget(RocksDb *db, guint64 log_id, const gint64 *producer_ids, guint count,
                             rocksdb_writebatch_t *batch) {
  for (guint i = 0; i < count; i++) {
    guint8 key[LOG_PRODUCER_KEY_BYTES];
    log_producer_key_encode(log_id, producer_ids[i], key);
    rocksdb_writebatch_delete_cf(batch, db->producers_cf, (const char *)key, sizeof key);
  }
}

/* The log's keys lie from the first up to, not including, the end; no producer has the highest id there is. */
static void log_range(guint64 log_id, guint8 ret_first[LOG_PRODUCER_KEY_BYTES],
                      guint8 ret_end[LOG_PRODUCER_KEY_BYTES]) {
  log_producer_key_encode(log_id, 1, ret_first);
  log_producer_key_encode(log_id, G_MAXINT64, ret_end);
}

void producer_records_drop(RocksDb *db, guint64 log_id, rocksdb_writebatch_t *batch) {
  guint8 first[LOG_PRODUCER_KEY_BYTES], end[LOG_PRODUCER_KEY_BYTES];
  log_range(log_id, first, end);
  rocksdb_writebatch_delete_range_cf(batch, db->producers_cf, (const char *)first, sizeof first, (const char *)end,
                                     sizeof end);
  const gint64 highest = G_MAXINT64;
  producer_records_forget(db, log_id, &highest, 1, batch);
}

/* ---- reading ---- */

/* One record. @producer: NULL when @failure says that it can't be read. Both borrowed. */
typedef Failure *(*RecordFunc)(guint64 log_id, gint64 producer_id, const LogProducer *producer, Failure *failure,
                               gpointer data);

/* Visit the records from @first on until @func returns a failure, or another log begins (@log_id, unless it is 0). */
static Failure *visit(RocksDb *db, const guint8 *first, gsize first_len, guint64 only_log_id, RecordFunc func,
                      gpointer data) {
  Failure *failure = NULL;
  rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(db->db, db->read_options, db->producers_cf);
  for (rocksdb_iter_seek(iterator, (const char *)first, first_len); !failure && rocksdb_iter_valid(iterator);
       rocksdb_iter_next(iterator)) {
    size_t key_len, value_len;
    const guint8 *key = (const guint8 *)rocksdb_iter_key(iterator, &key_len);
    const guint8 *value = (const guint8 *)rocksdb_iter_value(iterator, &value_len);
    guint64 log_id;
    gint64 producer_id;
    failure = log_producer_key_decode(key, key_len, &log_id, &producer_id);
    if (failure || (only_log_id && log_id != only_log_id))
      break;
    LogProducer producer;
    Failure *damage = log_producer_decode(value, value_len, log_id, producer_id, &producer);
    failure = func(log_id, producer_id, damage ? NULL : &producer, damage, data);
    failure_free(damage);
  }
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  rocksdb_iter_destroy(iterator);
  if (error && !failure)
    failure = rocks_failure(FAILURE(CORRUPT_LOG), error, "the store's records of producers can't be read");
  else
    rocksdb_free(error);
  return failure;
}

/* ---- cutting ---- */

typedef struct {
  RocksDb *db;
  rocksdb_writebatch_t *batch;
  LogProducers *producers;
} Cutting;

static Failure *load_record(guint64 log_id, gint64 producer_id, const LogProducer *producer, Failure *failure,
                            gpointer data) {
  const Cutting *cutting = data;
  if (failure)
    producer_records_forget(cutting->db, log_id, &producer_id, 1, cutting->batch);
  else
    log_producers_restore(cutting->producers, producer);
  return NULL;
}

void producer_records_truncate(RocksDb *db, guint64 log_id, gint64 end_offset, rocksdb_writebatch_t *batch) {
  g_autoptr(LogProducers) producers = log_producers_new();
  Cutting cutting = {.db = db, .batch = batch, .producers = producers};
  guint8 first[LOG_PRODUCER_KEY_BYTES], end[LOG_PRODUCER_KEY_BYTES];
  log_range(log_id, first, end);
  g_autoptr(Failure) failure = visit(db, first, sizeof first, log_id, load_record, &cutting);
  if (failure)
    rocks_die("reading the producers of a log that is cut", failure_message(failure));
  g_autoptr(GArray) changed = g_array_new(FALSE, FALSE, sizeof(gint64));
  log_producers_truncate(producers, end_offset, changed);
  for (guint i = 0; i < changed->len; i++) {
    gint64 producer_id = g_array_index(changed, gint64, i);
    guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
    gsize len = log_producer_encode(log_producers_find(producers, producer_id), log_id, value);
    producer_records_put(db, log_id, producer_id, value, len, batch);
  }
}

/* ---- telling ---- */

typedef struct {
  LogStoreProducerFunc func;
  gpointer data;
} Telling;

static Failure *tell_record(guint64 log_id, gint64 producer_id, const LogProducer *producer, Failure *failure,
                            gpointer data) {
  (void)producer_id;
  const Telling *telling = data;
  if (failure && failure_reason(failure) == FAILURE(UNSUPPORTED))
    return failure_copy(failure);
  telling->func(log_id, producer, failure, telling->data);
  return NULL;
}

Failure *producer_records_tell(RocksDb *db, LogStoreProducerFunc func, gpointer data) {
  Telling telling = {.func = func, .data = data};
  return visit(db, (const guint8 *)"", 0, 0, tell_record, &telling);
}
