/* What a partition's leader remembers of each producer, so that a batch is written once however often it is sent: the
 * producer's epoch, and its last five batches with their offsets.
 *
 * A producer counts its records in a partition from 0 for each epoch (sequences, modulo 2^32). A batch is the next one,
 * or one of the five remembered (a retry: answered with its first offset), or refused by name. The table follows from
 * the batches in the log and nothing else, so that every replica builds the same one.
 *
 * Stored form, one record a producer, written in the same RocksDB batch as the log batch that changed it. Key: log id
 * and producer id, 8 bytes each, big endian. Value, big endian:
 *
 *    0 u8  magic 0xA7           1 u8  format 1             2 u16 number of batches, 1 to 5
 *    4 u32 CRC-32C of the key and of all but these four bytes
 *    8 u32 epoch               12 u32 zero
 *   16 each batch, oldest first: u32 first sequence, u32 record count, i64 base offset, i64 append timestamp, i32
 * leader epoch, u32 zero
 *
 * Pure; one owner thread. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"
#include "storage/log/batch.h"

G_BEGIN_DECLS

#define LOG_PRODUCER_BATCHES 5
/* Who writes Milena's own topics, by turns: the epoch is that of its lease. Given to nobody else, and never forgotten.
 */
#define LOG_PRODUCER_COORDINATOR G_MAXINT64
#define LOG_PRODUCER_KEY_BYTES 16
#define LOG_PRODUCER_VALUE_BYTES_MAX (16 + LOG_PRODUCER_BATCHES * 32)

/* One batch that is remembered. One of 0 records stands for what was cut off with the log's end: the producer goes on
 * with its first_sequence. */
typedef struct {
  guint32 first_sequence, record_count;
  gint64 base_offset;
  gint64 append_timestamp_ms;
  gint32 leader_epoch;
} LogProducerBatch;

/* One producer. */
typedef struct {
  gint64 producer_id;
  guint32 epoch;
  guint batch_count;                              /* 1 to LOG_PRODUCER_BATCHES */
  LogProducerBatch batches[LOG_PRODUCER_BATCHES]; /* oldest first */
} LogProducer;

typedef enum {
  LOG_PRODUCER_NEXT,      /* append it */
  LOG_PRODUCER_DUPLICATE, /* it was appended before */
  LOG_PRODUCER_GAP,       /* it is not the next: something before it is missing */
  LOG_PRODUCER_TOO_OLD,   /* it was appended so long ago that its offset is not remembered */
  LOG_PRODUCER_FENCED,    /* a newer epoch of the producer has written */
  LOG_PRODUCER_UNKNOWN,   /* the producer is not known (any more), and this is not its first batch */
} LogProducerVerdict;

typedef struct LogProducers LogProducers;

LogProducers *log_producers_new(void);
void log_producers_free(LogProducers *producers); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogProducers, log_producers_free)

guint log_producers_count(const LogProducers *producers);

/* What to do with a batch that has a producer id.
 *
 * @ret_before: for DUPLICATE, the batch as it was remembered; may be NULL
 * @ret_expected: for GAP and TOO_OLD, the next sequence; for FENCED, the epoch; may be NULL */
LogProducerVerdict log_producers_check(const LogProducers *producers, const LogBatch *batch,
                                       LogProducerBatch *ret_before, guint32 *ret_expected);
/* The refusal of a batch by any verdict but NEXT and DUPLICATE. */
Failure *log_producers_refusal(LogProducerVerdict verdict, const LogBatch *batch, guint32 expected);
/* Remember a stamped batch: one that was checked as NEXT, or that comes from the log. Returns the producer; borrowed
 * until the next change. */
const LogProducer *log_producers_add(LogProducers *producers, const LogBatch *batch);
/* The producer as log_producers_add would leave it: what is to be stored with the batch before it counts. */
void log_producers_preview(const LogProducers *producers, const LogBatch *batch, LogProducer *ret_producer);
/* Put a producer there as it was read from disk, or previewed; one of the same id is replaced. */
void log_producers_restore(LogProducers *producers, const LogProducer *producer);
/* Forget what was written at or after @offset: the log was cut there. A producer of whom nothing is left keeps its
 * epoch and the sequence that it goes on with: batches from before the five may still be in the log, so it is not a new
 * one.
 *
 * @ret_changed: gets the ids (gint64) of all producers that changed; may be NULL */
void log_producers_truncate(LogProducers *producers, gint64 offset, GArray *ret_changed);
/* Forget producers whose last batch was appended before @before_ms, but LOG_PRODUCER_COORDINATOR. @ret_gone: gets their
 * ids (gint64); may be NULL. */
void log_producers_expire(LogProducers *producers, gint64 before_ms, GArray *ret_gone);
/* Base offsets (gint64, ascending) of all batches that are remembered; owned by the caller. */
GArray *log_producers_batches(const LogProducers *producers);
/* Borrowed; NULL when it is not known. */
const LogProducer *log_producers_find(const LogProducers *producers, gint64 producer_id);

void log_producer_key_encode(guint64 log_id, gint64 producer_id, guint8 ret_key[LOG_PRODUCER_KEY_BYTES]);
/* Returns NULL or CORRUPT_LOG. */
Failure *log_producer_key_decode(const guint8 *data, gsize len, guint64 *ret_log_id, gint64 *ret_producer_id);
/* Returns the number of bytes. */
gsize log_producer_encode(const LogProducer *producer, guint64 log_id, guint8 ret_value[LOG_PRODUCER_VALUE_BYTES_MAX]);
/* Returns NULL, CORRUPT_LOG for damage, or UNSUPPORTED for a newer format. */
Failure *log_producer_decode(const guint8 *data, gsize len, guint64 log_id, gint64 producer_id,
                             LogProducer *ret_producer);

G_END_DECLS
