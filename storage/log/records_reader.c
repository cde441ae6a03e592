/* Reads a batch's records in place.
 *
 * The bytes came from some client and nobody has looked inside yet, so they may be anything. Invariants: `at` never
 * passes `end`; a record is given only when all of it, headers included, is well-formed, so that going through its
 * headers can't fail; never more records than the batch's header says, since later offsets belong to other batches.
 * Owned by one thread. */
#include "storage/log/records.h"
#include "storage/log/wire.h"

/* Field numbers of RecordBatch, BatchRecord and Header in record.proto. */
enum { BATCH_RECORDS = 1 };
enum { RECORD_KEY = 1, RECORD_VALUE = 2, RECORD_HEADERS = 3, RECORD_DELTA = 4, RECORD_OFFSET = 5 };
enum { HEADER_KEY = 1, HEADER_VALUE = 2, HEADER_VALUE_TEXT = 3 };

struct LogRecordsReader {
  GBytes *bytes; /* decompressed */
  const guint8 *at, *end;
  guint32 index, count;     /* of the next record; in the batch's header */
  gint64 base_offset;       /* 0 when the batch has no stamp */
  gint64 base_timestamp_ms; /* as the client gave it: anything */
  gint64 offset_end;        /* behind the last offset that the batch covers */
  gint64 next_offset;       /* the lowest that the next record may have */
  gboolean has_gaps;        /* records say their offsets */
  gboolean failed;
};

static Failure *decompressed(const LogBatch *batch, GBytes **ret_bytes) {
  gsize len = log_batch_payload_bytes(batch);
  const guint8 *data = batch->records != NULL ? g_bytes_get_data(batch->records, NULL) : NULL;
  if (log_batch_codec(batch) != MILENA__V1__COMPRESSION__COMPRESSION_NONE)
    return log_codec_decompress(batch->compression, data, len, batch->uncompressed_bytes, ret_bytes);
  if (len != batch->uncompressed_bytes)
    return failure_new(FAILURE(CORRUPT_BATCH),
                       "the batch is not compressed and has %" G_GSIZE_FORMAT
                       " bytes of records, but its header says %u",
                       len, batch->uncompressed_bytes);
  *ret_bytes = batch->records != NULL ? g_bytes_ref(batch->records) : g_bytes_new(NULL, 0);
  return NULL;
}

Failure *log_records_reader_new(const LogBatch *batch, LogRecordsReader **ret_reader) {
  GBytes *bytes = NULL;
  Failure *failure = decompressed(batch, &bytes);
  if (failure != NULL)
    return failure;
  LogRecordsReader *reader = g_new0(LogRecordsReader, 1);
  gsize len;
  reader->bytes = bytes;
  reader->at = g_bytes_get_data(bytes, &len);
  if (reader->at == NULL)
    reader->at = (const guint8 *)""; /* of an empty batch: no arithmetic on NULL */
  reader->end = reader->at + len;
  reader->count = batch->record_count;
  reader->base_offset = MAX(batch->base_offset, 0);
  reader->base_timestamp_ms = batch->base_timestamp_ms;
  reader->has_gaps = batch->format == LOG_BATCH_FORMAT_GAPS;
  reader->next_offset = reader->base_offset;
  reader->offset_end = reader->base_offset + log_batch_offset_count(batch);
  *ret_reader = reader;
  return NULL;
}

void log_records_reader_free(LogRecordsReader *reader) {
  if (reader == NULL)
    return;
  g_bytes_unref(reader->bytes);
  g_free(reader);
}

GBytes *log_records_reader_bytes(LogRecordsReader *reader) {
  return reader->bytes;
}

/* ---- one record ---- */

static gboolean parse_header(const guint8 *at, const guint8 *end, LogHeader *ret_header) {
  LogHeader header = {.name = "", .name_len = 0, .value = LOG_FIELD_NONE};
  while (at < end) {
    guint64 field;
    guint type;
    at = wire_get_tag(at, end, &field, &type);
    if (at == NULL)
      return FALSE;
    if (field < HEADER_KEY || field > HEADER_VALUE_TEXT) {
      at = wire_skip(at, end, type);
    } else {
      const guint8 *data;
      gsize len;
      at = type == WIRE_BYTES ? wire_get_bytes(at, end, &data, &len) : NULL;
      if (at == NULL)
        return FALSE;
      if (field != HEADER_KEY) {
        header.value = log_field(data, len);
      } else {
        header.name = (const char *)data;
        header.name_len = len;
      }
    }
    if (at == NULL)
      return FALSE;
  }
  *ret_header = header;
  return TRUE;
}

static gboolean header_is_sound(const guint8 *data, gsize len) {
  LogHeader header;
  return parse_header(data, data + len, &header) && g_utf8_validate_len(header.name, header.name_len, NULL);
}

/* A field of the record that is not its timestamp. Returns the place behind it, or NULL. */
static const guint8 *parse_bytes_field(const guint8 *at, const guint8 *end, guint64 field, guint type,
                                       LogRecord *record) {
  const guint8 *data;
  gsize len;
  at = type == WIRE_BYTES ? wire_get_bytes(at, end, &data, &len) : NULL;
  if (at == NULL)
    return NULL;
  if (field == RECORD_KEY) {
    record->key = log_field(data, len);
  } else if (field == RECORD_VALUE) {
    record->value = log_field(data, len);
  } else {
    if (!header_is_sound(data, len))
      return NULL;
    record->header_count++;
  }
  return at;
}

static gboolean parse_record(const guint8 *at, const guint8 *end, LogRecord *record, gint64 *ret_delta,
                             guint64 *ret_offset_delta) {
  guint64 delta = 0;
  *ret_offset_delta = 0;
  while (at < end) {
    guint64 field;
    guint type;
    at = wire_get_tag(at, end, &field, &type);
    if (at == NULL)
      return FALSE;
    if (field >= RECORD_KEY && field <= RECORD_HEADERS)
      at = parse_bytes_field(at, end, field, type, record);
    else if (field == RECORD_DELTA)
      at = type == WIRE_VARINT ? wire_get_varint(at, end, &delta) : NULL;
    else if (field == RECORD_OFFSET && type == WIRE_VARINT)
      at = wire_get_varint(at, end, ret_offset_delta);
    else
      at = wire_skip(at, end, type);
    if (at == NULL)
      return FALSE;
  }
  *ret_delta = wire_unzigzag(delta);
  return TRUE;
}

static gint64 timestamp_of(gint64 base_ms, gint64 delta_ms) {
  gint64 sum;
  if (__builtin_add_overflow(base_ms, delta_ms, &sum))
    sum = delta_ms > 0 ? G_MAXINT64 : G_MININT64;
  return CLAMP(sum, LOG_TIMESTAMP_MS_MIN, LOG_TIMESTAMP_MS_MAX);
}

/* ---- all records ---- */

typedef enum { STEP_RECORD, STEP_END, STEP_BAD } Step;

/* To the next record's bytes; reader->at moves behind them. */
static Step step(LogRecordsReader *reader, const guint8 **ret_body, gsize *ret_len) {
  const guint8 *at = reader->at;
  while (at < reader->end) {
    guint64 field;
    guint type;
    at = wire_get_tag(at, reader->end, &field, &type);
    if (at == NULL)
      return STEP_BAD;
    if (field == BATCH_RECORDS) {
      at = type == WIRE_BYTES ? wire_get_bytes(at, reader->end, ret_body, ret_len) : NULL;
      if (at == NULL)
        return STEP_BAD;
      reader->at = at;
      return STEP_RECORD;
    }
    at = wire_skip(at, reader->end, type);
    if (at == NULL)
      return STEP_BAD;
  }
  reader->at = at;
  return STEP_END;
}

/* The bytes are not what the header says: from here on there is nothing. */
static gboolean fail(LogRecordsReader *reader, Failure **ret_failure, const char *what) {
  reader->failed = TRUE;
  *ret_failure = failure_new(FAILURE(CORRUPT_BATCH),
                             "record %u of %u in the batch at offset %" G_GINT64_FORMAT " can't be read: %s",
                             reader->index, reader->count, reader->base_offset, what);
  return FALSE;
}

gboolean log_records_reader_next(LogRecordsReader *reader, LogRecord *ret_record, Failure **ret_failure) {
  if (reader->failed)
    return FALSE;
  const guint8 *body = NULL;
  gsize len = 0;
  switch (step(reader, &body, &len)) {
  case STEP_BAD:
    return fail(reader, ret_failure, "the bytes are not a serialised RecordBatch");
  case STEP_END:
    return reader->index < reader->count && fail(reader, ret_failure, "the batch ends before it");
  case STEP_RECORD:
    break;
  }
  if (reader->index >= reader->count)
    return fail(reader, ret_failure, "the batch holds more records than its header says");
  LogRecord record = {.offset = reader->next_offset, .body = body, .body_len = len};
  gint64 delta;
  guint64 offset_delta;
  if (!parse_record(body, body + len, &record, &delta, &offset_delta))
    return fail(reader, ret_failure, "its bytes are not a serialised BatchRecord with headers named in UTF-8");
  if (reader->has_gaps) {
    if (offset_delta >= (guint64)(reader->offset_end - reader->base_offset) ||
        reader->base_offset + (gint64)offset_delta < reader->next_offset)
      return fail(reader, ret_failure, "its offset is not behind the one before it, within the batch");
    record.offset = reader->base_offset + (gint64)offset_delta;
  }
  reader->next_offset = record.offset + 1;
  record.timestamp_ms = timestamp_of(reader->base_timestamp_ms, delta);
  reader->index++;
  *ret_record = record;
  return TRUE;
}

/* The records say their offsets: each is parsed. */
static void skip_gaps_to(LogRecordsReader *reader, gint64 offset) {
  for (;;) {
    LogRecordsReader before = *reader;
    LogRecord ignored;
    Failure *failure = NULL;
    if (log_records_reader_next(reader, &ignored, &failure) && ignored.offset < offset)
      continue;
    *reader = before; /* what can't be read is left where it is, for _next to find and name */
    failure_free(failure);
    return;
  }
}

void log_records_reader_skip_to(LogRecordsReader *reader, gint64 offset) {
  if (reader->has_gaps) {
    skip_gaps_to(reader, offset);
    return;
  }
  while (!reader->failed && reader->index < reader->count && reader->next_offset < offset) {
    const guint8 *body;
    gsize len;
    /* What is not a record is left where it is, for _next to find and name. */
    if (step(reader, &body, &len) != STEP_RECORD)
      return;
    reader->index++;
    reader->next_offset++;
  }
}

/* ---- headers ---- */

void log_header_iter_init(LogHeaderIter *iter, const LogRecord *record) {
  iter->at = record->body;
  iter->end = record->body + record->body_len;
}

gboolean log_header_iter_next(LogHeaderIter *iter, LogHeader *ret_header) {
  while (iter->at != NULL && iter->at < iter->end) {
    guint64 field;
    guint type;
    const guint8 *data;
    gsize len;
    const guint8 *at = wire_get_tag(iter->at, iter->end, &field, &type);
    if (at == NULL)
      return FALSE;
    if (field != RECORD_HEADERS) {
      iter->at = wire_skip(at, iter->end, type);
      continue;
    }
    iter->at = wire_get_bytes(at, iter->end, &data, &len);
    return iter->at != NULL && parse_header(data, data + len, ret_header);
  }
  return FALSE;
}

Failure *log_records_check(const LogBatch *batch) {
  LogRecordsReader *reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  if (failure != NULL)
    return failure;
  LogRecord record;
  while (failure == NULL && log_records_reader_next(reader, &record, &failure)) {
    if (record.timestamp_ms > batch->max_timestamp_ms)
      failure = failure_new(FAILURE(CORRUPT_BATCH),
                            "record %u is of %" G_GINT64_FORMAT
                            " ms, later than the batch's max_timestamp_ms %" G_GINT64_FORMAT,
                            reader->index - 1, record.timestamp_ms, batch->max_timestamp_ms);
  }
  log_records_reader_free(reader);
  return failure;
}

Failure *log_records_check_outside(const LogBatch *batch) {
  if (log_batch_codec(batch) != MILENA__V1__COMPRESSION__COMPRESSION_NONE) {
    gsize len = log_batch_payload_bytes(batch);
    const guint8 *data = len > 0 ? g_bytes_get_data(batch->records, NULL) : NULL;
    return log_codec_check_frame(batch->compression, data, len, batch->uncompressed_bytes);
  }
  LogRecordsReader *reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  if (failure != NULL)
    return failure;
  const guint8 *body;
  gsize len;
  guint64 count = 0;
  Step last;
  while ((last = step(reader, &body, &len)) == STEP_RECORD)
    count++;
  log_records_reader_free(reader);
  if (last == STEP_BAD)
    return failure_new(FAILURE(CORRUPT_BATCH), "the batch's bytes are not a serialised RecordBatch");
  if (count != batch->record_count)
    return failure_new(FAILURE(CORRUPT_BATCH), "the batch holds %" G_GUINT64_FORMAT " records, but its header says %u",
                       count, batch->record_count);
  return NULL;
}
