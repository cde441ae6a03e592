/* The records inside a batch: a builder that writes the wire format of milena.v1.RecordBatch straight into one buffer,
 * and a reader that walks it in place. Neither allocates for a record. Pure; one owner thread each. */
#pragma once

#include <glib.h>

#include "storage/log/batch.h"
#include "storage/log/codec.h"

G_BEGIN_DECLS

/* Bytes that may be missing altogether: a record without a value is a tombstone, one with an empty value is not. */
typedef struct {
  const guint8 *data; /* borrowed; may be NULL when len is 0 */
  gsize len;
  gboolean present;
} LogField;

#define LOG_FIELD_NONE ((LogField){NULL, 0, FALSE})
static inline LogField log_field(gconstpointer data, gsize len) {
  return (LogField){(const guint8 *)data, len, TRUE};
}

typedef struct {
  const char *name; /* valid UTF-8, borrowed, not terminated by NUL in what a reader gives */
  gsize name_len;
  LogField value;
} LogHeader;

/* ---- building ---- */

typedef struct LogRecordsBuilder LogRecordsBuilder;

LogRecordsBuilder *log_records_builder_new(void);
void log_records_builder_free(LogRecordsBuilder *builder); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRecordsBuilder, log_records_builder_free)

/* Add a record behind the others. Everything is copied.
 *
 * @headers: @header_count of them; names must be valid UTF-8 and not empty
 * @timestamp_ms: milliseconds since 1970, within LOG_TIMESTAMP_MS_MIN and _MAX
 *
 * Returns NULL, INVALID_FIELD, or RECORD_TOO_LARGE when the batch would pass LOG_BATCH_UNCOMPRESSED_BYTES_MAX; the
 * builder is unchanged on failure. */
Failure *log_records_builder_add(LogRecordsBuilder *builder, LogField key, LogField value, const LogHeader *headers,
                                 gsize header_count, gint64 timestamp_ms);
/* The same from a message of a plain Produce.
 *
 * @default_timestamp_ms: for a record without one: the broker's clock */
Failure *log_records_builder_add_proto(LogRecordsBuilder *builder, const Milena__V1__Record *record,
                                       gint64 default_timestamp_ms);
/* How many bytes a record may add at most: to close a batch before it passes a bound. */
gsize log_records_bytes(LogField key, LogField value, const LogHeader *headers, gsize header_count);
/* So far: serialised, before compression. */
gsize log_records_builder_bytes(const LogRecordsBuilder *builder);
guint32 log_records_builder_count(const LogRecordsBuilder *builder);
/* Forget what was added. */
void log_records_builder_reset(LogRecordsBuilder *builder);
/* Make a sealed batch of what was added (at least one record), and start anew.
 *
 * @compression: COMPRESSION_NONE, _ZSTD or _LZ4
 * @ret_batch: overwritten; the caller clears it. Without producer id and expected offset: who sets them, or any other
 *             field, calls log_batch_seal again. Untouched on failure.
 *
 * Returns NULL, UNSUPPORTED or INTERNAL from the codec; the builder keeps its records then. */
Failure *log_records_builder_finish(LogRecordsBuilder *builder, Milena__V1__Compression compression,
                                    LogBatch *ret_batch);
/* The same, not sealed: for who sets more fields, and then calls log_batch_seal, which reads all of it. */
Failure *log_records_builder_finish_unsealed(LogRecordsBuilder *builder, Milena__V1__Compression compression,
                                             LogBatch *ret_batch);

/* ---- reading ---- */

typedef struct {
  gint64 offset;       /* the batch's base offset plus its index; the index alone when the batch has no stamp */
  gint64 timestamp_ms; /* within LOG_TIMESTAMP_MS_MIN and _MAX: beyond is cut to them */
  LogField key;        /* borrowed from the reader, like all below */
  LogField value;
  guint header_count;
  /* Private: the record's bytes, for the headers. */
  const guint8 *body;
  gsize body_len;
} LogRecord;

typedef struct LogRecordsReader LogRecordsReader;

/* Read a batch's records: decompresses them.
 *
 * @batch: borrowed; its bytes are referenced
 * @ret_reader: owned by the caller; untouched on failure
 *
 * Returns NULL, CORRUPT_BATCH, or UNSUPPORTED for an unknown compression. Does not check the batch's CRC. */
Failure *log_records_reader_new(const LogBatch *batch, LogRecordsReader **ret_reader);
void log_records_reader_free(LogRecordsReader *reader); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRecordsReader, log_records_reader_free)

/* The next record.
 *
 * @ret_record: valid until the reader is freed
 * @ret_failure: CORRUPT_BATCH when the bytes are not a RecordBatch, or not of as many records as the header says;
 *               owned by the caller. Set at most once: from then on the reader is at its end.
 *
 * Returns TRUE with a record; FALSE at the end or with *@ret_failure set. */
gboolean log_records_reader_next(LogRecordsReader *reader, LogRecord *ret_record, Failure **ret_failure);
/* Pass over records whose offset is lower, looking at their lengths alone. Errors show at the next _next. */
void log_records_reader_skip_to(LogRecordsReader *reader, gint64 offset);
/* The decompressed bytes that the records point into; borrowed: reference it to keep records longer. */
GBytes *log_records_reader_bytes(LogRecordsReader *reader);

/* Headers of a record, in order. They were checked with the record. */
typedef struct {
  const guint8 *at, *end; /* private */
} LogHeaderIter;
void log_header_iter_init(LogHeaderIter *iter, const LogRecord *record);
gboolean log_header_iter_next(LogHeaderIter *iter, LogHeader *ret_header);

/* Add a record that was read, as it is, behind the others of a batch with gaps.
 *
 * @offset_delta: its offset less the base offset that the batch will have; rises from record to record
 *
 * Returns NULL, or RECORD_TOO_LARGE. */
Failure *log_records_builder_add_read(LogRecordsBuilder *builder, const LogRecord *record, guint32 offset_delta);

/* What a broker can tell of a batch's records without decoding or decompressing them: that there are as many as the
 * header says, or, when they are compressed, that they are one whole frame. What log_records_check takes passes.
 *
 * Returns NULL, CORRUPT_BATCH or UNSUPPORTED. */
Failure *log_records_check_outside(const LogBatch *batch);
/* Decode everything: as many records as the header says, each well-formed, none later than max_timestamp_ms, the size
 * as stated. Returns NULL, CORRUPT_BATCH or UNSUPPORTED. */
Failure *log_records_check(const LogBatch *batch);

G_END_DECLS
