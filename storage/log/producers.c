/* The producers of a partition: see producers.h.
 *
 * Invariants
 *   1. A producer has 1 to LOG_PRODUCER_BATCHES batches, all of its epoch, oldest first, offsets rising.
 *   2. Each remembered batch but the oldest begins with the sequence that follows the one before it, modulo 2^32. */
#include "storage/log/producers.h"

#include <string.h>

#include "services/base/invariant.h"
#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"

#define PRODUCER_MAGIC 0xA7
#define PRODUCER_FORMAT 1
#define PRODUCER_CRC_AT 4
#define PRODUCER_HEAD_BYTES 16
#define PRODUCER_BATCH_BYTES 32

struct LogProducers {
  GHashTable *by_id; /* gint64 * in the producer → LogProducer * */
};

LogProducers *log_producers_new(void) {
  LogProducers *producers = g_new0(LogProducers, 1);
  producers->by_id = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
  return producers;
}

void log_producers_free(LogProducers *producers) {
  if (!producers)
    return;
  g_hash_table_unref(producers->by_id);
  g_free(producers);
}

guint log_producers_count(const LogProducers *producers) {
  return g_hash_table_size(producers->by_id);
}

const LogProducer *log_producers_find(const LogProducers *producers, gint64 producer_id) {
  return g_hash_table_lookup(producers->by_id, &producer_id);
}

static const LogProducerBatch *last_batch(const LogProducer *producer) {
  return &producer->batches[producer->batch_count - 1];
}

static guint32 next_sequence(const LogProducer *producer) {
  return last_batch(producer)->first_sequence + last_batch(producer)->record_count;
}

static int compare_offsets(gconstpointer a, gconstpointer b) {
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return left < right ? -1 : left > right;
}

GArray *log_producers_batches(const LogProducers *producers) {
  GArray *offsets = g_array_new(FALSE, FALSE, sizeof(gint64));
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, producers->by_id);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const LogProducer *producer = value;
    for (guint i = 0; i < producer->batch_count; i++)
      g_array_append_val(offsets, producer->batches[i].base_offset);
  }
  g_array_sort(offsets, compare_offsets);
  return offsets;
}

/* ---- Checking ---- */

static const LogProducerBatch *find_batch(const LogProducer *producer, const LogBatch *batch) {
  for (guint i = 0; i < producer->batch_count; i++) {
    const LogProducerBatch *known = &producer->batches[i];
    if (known->first_sequence == batch->first_sequence && known->record_count == log_batch_offset_count(batch))
      return known;
  }
  return NULL;
}

static LogProducerVerdict check_epoch_begin(const LogBatch *batch, LogProducerVerdict otherwise) {
  return batch->first_sequence == 0 ? LOG_PRODUCER_NEXT : otherwise;
}

LogProducerVerdict log_producers_check(const LogProducers *producers, const LogBatch *batch,
                                       LogProducerBatch *ret_before, guint32 *ret_expected) {
  const LogProducer *producer = log_producers_find(producers, batch->producer_id);
  guint32 ignored;
  guint32 *expected = ret_expected ? ret_expected : &ignored;
  *expected = 0;
  if (!producer)
    return check_epoch_begin(batch, LOG_PRODUCER_UNKNOWN);
  if (batch->producer_epoch > producer->epoch)
    return check_epoch_begin(batch, LOG_PRODUCER_GAP);
  if (batch->producer_epoch < producer->epoch) {
    *expected = producer->epoch;
    return LOG_PRODUCER_FENCED;
  }
  const LogProducerBatch *before = find_batch(producer, batch);
  if (before) {
    if (ret_before)
      *ret_before = *before;
    return LOG_PRODUCER_DUPLICATE;
  }
  *expected = next_sequence(producer);
  if (batch->first_sequence == *expected)
    return LOG_PRODUCER_NEXT;
  /* Half of the circle is behind us, the other half ahead. */
  return (gint32)(batch->first_sequence - *expected) > 0 ? LOG_PRODUCER_GAP : LOG_PRODUCER_TOO_OLD;
}

static Failure *sequence_mismatch(const LogBatch *batch, guint32 expected, const char *what) {
  Failure *failure =
      failure_new(FAILURE(SEQUENCE_MISMATCH),
                  "Producer %" G_GINT64_FORMAT " sent a batch that begins with sequence %u, but the next "
                  "is %u: %s. Nothing was written.",
                  batch->producer_id, batch->first_sequence, expected, what);
  failure_add(failure, "expected", "%u", expected);
  return failure_add(failure, "actual", "%u", batch->first_sequence);
}

Failure *log_producers_refusal(LogProducerVerdict verdict, const LogBatch *batch, guint32 expected) {
  switch (verdict) {
  case LOG_PRODUCER_GAP:
    return sequence_mismatch(batch, expected, "a batch before it is missing; send that first");
  case LOG_PRODUCER_TOO_OLD:
    return sequence_mismatch(batch, expected, "it overlaps with what was written longer ago than is remembered");
  case LOG_PRODUCER_FENCED: {
    Failure *failure = failure_new(FAILURE(FENCED),
                                   "Producer %" G_GINT64_FORMAT " has epoch %u by now, and this batch has %u: another "
                                   "process goes on in its place. Call InitProducer to begin anew.",
                                   batch->producer_id, expected, batch->producer_epoch);
    failure_add(failure, "expected", "%u", expected);
    return failure_add(failure, "actual", "%u", batch->producer_epoch);
  }
  case LOG_PRODUCER_UNKNOWN:
    return failure_new(FAILURE(UNKNOWN_PRODUCER),
                       "Producer %" G_GINT64_FORMAT
                       " is not known to this partition, and sequence %u is not its first: "
                       "it was idle for too long, or its records are gone. Call InitProducer to begin anew.",
                       batch->producer_id, batch->first_sequence);
  case LOG_PRODUCER_NEXT:
  case LOG_PRODUCER_DUPLICATE:
    break;
  }
  INVARIANT(FALSE, "what is taken is not refused");
  return NULL;
}

/* ---- Changing ---- */

static LogProducer *get_or_add(LogProducers *producers, gint64 producer_id) {
  LogProducer *producer = g_hash_table_lookup(producers->by_id, &producer_id);
  if (producer)
    return producer;
  producer = g_new0(LogProducer, 1);
  producer->producer_id = producer_id;
  g_hash_table_insert(producers->by_id, &producer->producer_id, producer);
  return producer;
}

static void remember(LogProducer *producer, const LogBatch *batch) {
  INVARIANT(batch->producer_id > 0 && batch->base_offset >= 0, "a stamped batch of a producer is remembered");
  if (producer->epoch != batch->producer_epoch) {
    producer->epoch = batch->producer_epoch;
    producer->batch_count = 0;
  }
  if (producer->batch_count == LOG_PRODUCER_BATCHES) {
    producer->batch_count--;
    memmove(producer->batches, producer->batches + 1, producer->batch_count * sizeof *producer->batches);
  }
  producer->batches[producer->batch_count++] =
      (LogProducerBatch){.first_sequence = batch->first_sequence,
                         .record_count = (guint32)log_batch_offset_count(batch),
                         .base_offset = batch->base_offset,
                         .append_timestamp_ms = batch->append_timestamp_ms,
                         .leader_epoch = batch->leader_epoch};
}

const LogProducer *log_producers_add(LogProducers *producers, const LogBatch *batch) {
  LogProducer *producer = get_or_add(producers, batch->producer_id);
  remember(producer, batch);
  return producer;
}

void log_producers_preview(const LogProducers *producers, const LogBatch *batch, LogProducer *ret_producer) {
  const LogProducer *known = log_producers_find(producers, batch->producer_id);
  *ret_producer = known ? *known : (LogProducer){.producer_id = batch->producer_id};
  remember(ret_producer, batch);
}

void log_producers_restore(LogProducers *producers, const LogProducer *producer) {
  INVARIANT(producer->batch_count >= 1 && producer->batch_count <= LOG_PRODUCER_BATCHES, "a producer has batches");
  *get_or_add(producers, producer->producer_id) = *producer;
}

static void note(GArray *ids, gint64 id) {
  if (ids)
    g_array_append_val(ids, id);
}

/* Everything remembered is gone: what comes next is the oldest of it. */
static void keep_place(LogProducer *producer, gint64 offset) {
  LogProducerBatch place = producer->batches[0];
  place.append_timestamp_ms = last_batch(producer)->append_timestamp_ms; /* it was there until now */
  place.base_offset = offset;
  place.record_count = 0;
  producer->batches[0] = place;
  producer->batch_count = 1;
}

void log_producers_truncate(LogProducers *producers, gint64 offset, GArray *ret_changed) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, producers->by_id);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    LogProducer *producer = value;
    if (last_batch(producer)->base_offset < offset)
      continue;
    note(ret_changed, producer->producer_id);
    if (producer->batches[0].base_offset >= offset) {
      keep_place(producer, offset);
      continue;
    }
    while (last_batch(producer)->base_offset >= offset)
      producer->batch_count--;
  }
}

void log_producers_expire(LogProducers *producers, gint64 before_ms, GArray *ret_gone) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, producers->by_id);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const LogProducer *producer = value;
    if (last_batch(producer)->append_timestamp_ms >= before_ms || producer->producer_id == LOG_PRODUCER_COORDINATOR)
      continue;
    note(ret_gone, producer->producer_id);
    g_hash_table_iter_remove(&iter);
  }
}

/* ---- Stored form ---- */

void log_producer_key_encode(guint64 log_id, gint64 producer_id, guint8 ret_key[LOG_PRODUCER_KEY_BYTES]) {
  INVARIANT(log_id >= 1 && log_id <= LOG_ID_MAX && producer_id > 0, "logs and producers have ids");
  log_put_u64(log_put_u64(ret_key, log_id), (guint64)producer_id);
}

Failure *log_producer_key_decode(const guint8 *data, gsize len, guint64 *ret_log_id, gint64 *ret_producer_id) {
  guint64 log_id = len == LOG_PRODUCER_KEY_BYTES ? log_get_u64(data) : 0;
  gint64 producer_id = len == LOG_PRODUCER_KEY_BYTES ? (gint64)log_get_u64(data + 8) : 0;
  if (log_id < 1 || log_id > LOG_ID_MAX || producer_id < 1)
    return failure_new(FAILURE(CORRUPT_LOG), "a key of %" G_GSIZE_FORMAT " bytes is not a log's producer", len);
  *ret_log_id = log_id;
  *ret_producer_id = producer_id;
  return NULL;
}

static guint32 producer_crc(guint64 log_id, gint64 producer_id, const guint8 *data, gsize len) {
  guint8 key[LOG_PRODUCER_KEY_BYTES];
  log_put_u64(log_put_u64(key, log_id), (guint64)producer_id);
  guint32 crc = log_crc32c(key, sizeof key);
  crc = log_crc32c_extend(crc, data, PRODUCER_CRC_AT);
  return log_crc32c_extend(crc, data + PRODUCER_CRC_AT + 4, len - PRODUCER_CRC_AT - 4);
}

gsize log_producer_encode(const LogProducer *producer, guint64 log_id, guint8 ret_value[LOG_PRODUCER_VALUE_BYTES_MAX]) {
  guint8 *at = ret_value;
  *at++ = PRODUCER_MAGIC;
  *at++ = PRODUCER_FORMAT;
  at = log_put_u16(at, (guint16)producer->batch_count);
  at = log_put_u32(at, 0);
  at = log_put_u32(at, producer->epoch);
  at = log_put_u32(at, 0);
  for (guint i = 0; i < producer->batch_count; i++) {
    const LogProducerBatch *batch = &producer->batches[i];
    at = log_put_u32(at, batch->first_sequence);
    at = log_put_u32(at, batch->record_count);
    at = log_put_u64(at, (guint64)batch->base_offset);
    at = log_put_u64(at, (guint64)batch->append_timestamp_ms);
    at = log_put_u32(at, (guint32)batch->leader_epoch);
    at = log_put_u32(at, 0);
  }
  gsize len = (gsize)(at - ret_value);
  log_put_u32(ret_value + PRODUCER_CRC_AT, producer_crc(log_id, producer->producer_id, ret_value, len));
  return len;
}

static Failure *damaged(guint64 log_id, gint64 producer_id, const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG),
                     "the record of producer %" G_GINT64_FORMAT " in log %" G_GUINT64_FORMAT " is damaged: %s",
                     producer_id, log_id, what);
}

Failure *log_producer_decode(const guint8 *data, gsize len, guint64 log_id, gint64 producer_id,
                             LogProducer *ret_producer) {
  if (len < 2 || data[0] != PRODUCER_MAGIC)
    return damaged(log_id, producer_id, "it does not begin like one");
  if (data[1] > PRODUCER_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the record of producer %" G_GINT64_FORMAT " in log %" G_GUINT64_FORMAT
                       " has format %d; this version reads up to %d: start the version that wrote it",
                       producer_id, log_id, data[1], PRODUCER_FORMAT);
  guint count = len >= PRODUCER_HEAD_BYTES ? log_get_u16(data + 2) : 0;
  if (data[1] != PRODUCER_FORMAT || count < 1 || count > LOG_PRODUCER_BATCHES ||
      len != PRODUCER_HEAD_BYTES + count * PRODUCER_BATCH_BYTES)
    return damaged(log_id, producer_id, "it is not as long as it says");
  if (log_get_u32(data + PRODUCER_CRC_AT) != producer_crc(log_id, producer_id, data, len))
    return damaged(log_id, producer_id, "its checksum does not match, or it belongs to another");
  LogProducer producer = {.producer_id = producer_id, .epoch = log_get_u32(data + 8), .batch_count = count};
  for (guint i = 0; i < count; i++) {
    const guint8 *at = data + PRODUCER_HEAD_BYTES + (gsize)i * PRODUCER_BATCH_BYTES;
    producer.batches[i] = (LogProducerBatch){.first_sequence = log_get_u32(at),
                                             .record_count = log_get_u32(at + 4),
                                             .base_offset = (gint64)log_get_u64(at + 8),
                                             .append_timestamp_ms = (gint64)log_get_u64(at + 16),
                                             .leader_epoch = (gint32)log_get_u32(at + 24)};
  }
  *ret_producer = producer;
  return NULL;
}
