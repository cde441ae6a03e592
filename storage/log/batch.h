/* A record batch as it travels and as it is stored: a small checked header beside bytes that nobody decodes on the way.
 *
 * The client builds header and bytes; the leader checks them (log_batch_check) and adds the stamp; storage writes a
 * fixed header of its own before the same bytes (log_batch_stored_header) and checks it on the way back
 * (log_batch_parse_stored, log_batch_verify). The bytes are one GBytes from the network to disk and to consumers.
 *
 * Stored value, big endian (docs/decisions/0005-batch-format.md):
 *
 *    0 u8  magic 0xB7           1 u8  format 1 or 2        2 u8  compression        3 u8  flags 0
 *    4 u16 header length 96     6 u16 BatchHeader.format   8 u32 attributes        12 u32 record count
 *   16 i64 base timestamp      24 i64 max timestamp       32 i64 producer id       40 u32 producer epoch
 *   44 u32 first sequence      48 i64 expected offset     56 u32 uncompressed bytes 60 u32 payload length
 *   64 u32 the client's CRC    68 i32 leader epoch        72 i64 base offset       80 i64 append timestamp
 *   88 u32 offset count        92 u32 CRC-32C of log id (u64) and bytes 0 to 91
 *   96 payload: EncodedBatch.records
 *
 * Format 1 is a batch as it was produced: its offsets are one for each record, and offset count is 0. Format 2 is what
 * compaction leaves: it covers as many offsets as it says, and its records, perhaps none, say which are theirs
 * (docs/decisions/0017-compaction.md).
 *
 * Pure. A LogBatch belongs to its owner's thread; the GBytes in it may be shared with any. */
#pragma once

#include <glib.h>

#include "milena/v1/record.pb-c.h"
#include "services/base/failure.h"
#include "storage/log/key.h"

G_BEGIN_DECLS

/* BatchHeader.format of what is produced. */
#define LOG_BATCH_FORMAT 1
/* BatchHeader.format of a batch that was compacted: with gaps. */
#define LOG_BATCH_FORMAT_GAPS 2
/* Of a batch without a stamp, without an expected offset. */
#define LOG_OFFSET_NONE (-1)
/* Bound of BatchHeader.uncompressed_bytes. */
#define LOG_BATCH_UNCOMPRESSED_BYTES_MAX (64u << 20)
/* Bytes that storage writes before a batch's records. */
#define LOG_STORED_HEADER_BYTES 96
/* Timestamps outside of google.protobuf.Timestamp's years 1 to 9999 can't be told to anybody. */
#define LOG_TIMESTAMP_MS_MIN G_GINT64_CONSTANT(-62135596800000)
#define LOG_TIMESTAMP_MS_MAX G_GINT64_CONSTANT(253402300799999)

/* A plain value: initialise with LOG_BATCH_INIT, end with log_batch_clear. Fields as in milena.v1.BatchHeader and
 * BatchStamp. */
typedef struct LogBatch {
  guint32 format;
  guint32 compression; /* Milena__V1__Compression as the client gave it: 0 and 1 both mean none */
  guint32 attributes;
  guint32 record_count;
  gint64 base_timestamp_ms;
  gint64 max_timestamp_ms;
  gint64 producer_id;
  guint32 producer_epoch;
  guint32 first_sequence;
  gint64 expected_offset; /* LOG_OFFSET_NONE when absent */
  guint32 uncompressed_bytes;
  guint32 crc32c;
  guint32 offset_count; /* LOG_BATCH_FORMAT_GAPS: offsets that it covers; else 0 */
  /* The leader's stamp. */
  gint64 base_offset; /* LOG_OFFSET_NONE when not stamped */
  gint32 leader_epoch;
  gint64 append_timestamp_ms;
  /* The serialised, perhaps compressed RecordBatch; a reference of this struct's own. */
  GBytes *records;
} LogBatch;

#define LOG_BATCH_INIT                                                                                                 \
  { .format = LOG_BATCH_FORMAT, .expected_offset = LOG_OFFSET_NONE, .base_offset = LOG_OFFSET_NONE }

/* Drop the reference and make it as new. NULL is fine. */
void log_batch_clear(LogBatch *batch);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LogBatch, log_batch_clear)
/* Make @copy a copy of @batch that shares its bytes; what @copy held is overwritten, not cleared. */
void log_batch_share(const LogBatch *batch, LogBatch *copy);
/* A GArray of LogBatch that clears its elements when freed; owned by the caller. */
GArray *log_batch_array_new(void);
#define LOG_BATCH_AT(array, i) (&g_array_index((array), LogBatch, (i)))
/* Bytes of the records of all. NULL is none. */
gsize log_batch_array_payload_bytes(const GArray *batches);

/* Bytes of the records. */
gsize log_batch_payload_bytes(const LogBatch *batch);
/* Bytes as stored: header and records. */
gsize log_batch_stored_bytes(const LogBatch *batch);
/* How many offsets it covers: one for each record, or as many as a compacted one says. */
gint64 log_batch_offset_count(const LogBatch *batch);
/* Offset behind the last one that it covers. The batch must be stamped. */
gint64 log_batch_next_offset(const LogBatch *batch);
/* The compression without the two spellings of none. */
Milena__V1__Compression log_batch_codec(const LogBatch *batch);

/* ---- protobuf ---- */

/* From the wire.
 *
 * @proto: borrowed; its header must be there
 * @records: the bytes of proto->records as a GBytes (rpc_message_share), referenced; NULL: they are copied
 * @ret_batch: overwritten; untouched on failure. Takes the stamp if there is one.
 *
 * Returns NULL, or INVALID_FIELD. Says nothing about the values: see log_batch_check. */
Failure *log_batch_from_proto(const Milena__V1__EncodedBatch *proto, GBytes *records, LogBatch *ret_batch);

/* Room for a batch as a message; no allocation. */
typedef struct {
  Milena__V1__EncodedBatch batch;
  Milena__V1__BatchHeader header;
  Milena__V1__BatchStamp stamp;
} LogBatchProto;
/* Fill @ret_proto, whose `batch` then points into itself and into batch->records: it must stay put, and lives no longer
 * than @batch. The stamp is set when the batch has one. */
void log_batch_to_proto(const LogBatch *batch, LogBatchProto *ret_proto);

/* ---- checks ---- */

/* CRC-32C of header fields and records, in the order that record.proto states. */
guint32 log_batch_crc(const LogBatch *batch);
/* Set batch->crc32c: for who builds a batch. */
void log_batch_seal(LogBatch *batch);
/* Everything that a broker checks before an append: fields, sizes, CRC.
 *
 * @max_bytes: bound of the records as they came, of the topic or broker
 *
 * Returns NULL, or INVALID_FIELD, RECORD_TOO_LARGE, UNSUPPORTED (what a later version brings) or CORRUPT_BATCH. */
Failure *log_batch_check(const LogBatch *batch, gsize max_bytes);
/* The CRC of a batch that was read from disk or came from another broker, and that what it says of its offsets makes
 * sense. Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format. */
Failure *log_batch_verify(const LogBatch *batch);

/* ---- stored form ---- */

/* The bytes that storage writes before the records. The batch must be stamped. */
void log_batch_stored_header(const LogBatch *batch, guint64 log_id, guint8 ret_header[LOG_STORED_HEADER_BYTES]);
/* Read a stored header alone: for scans. ret_batch->records is NULL.
 *
 * @data, @len: the value, or at least its first LOG_STORED_HEADER_BYTES
 * @key: where it was found: must agree with the header
 * @ret_batch: overwritten; untouched on failure
 * @ret_payload_bytes: how many bytes of records follow; may be NULL
 *
 * Returns NULL, CORRUPT_LOG for any damage, or UNSUPPORTED for a newer format. */
Failure *log_batch_parse_stored_header(const guint8 *data, gsize len, const LogKey *key, LogBatch *ret_batch,
                                       guint32 *ret_payload_bytes);
/* Read a stored value. The batch's records share @value's memory. The payload's CRC is not checked: log_batch_verify.
 *
 * Returns NULL, CORRUPT_LOG or UNSUPPORTED; @ret_batch is untouched on failure. */
Failure *log_batch_parse_stored(GBytes *value, const LogKey *key, LogBatch *ret_batch);

G_END_DECLS
