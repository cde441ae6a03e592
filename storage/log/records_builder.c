/* Builds a batch: each record is measured, then written once, in place, behind the others.
 *
 * Invariants: `buffer` is always a whole serialised RecordBatch of `count` records, at most
 * LOG_BATCH_UNCOMPRESSED_BYTES_MAX long; a record that is refused leaves nothing behind. Owned by one thread. Fails
 * only for what the caller's caller sent: a name that is no name, a record that is too large. */
#include <string.h>

#include "services/base/invariant.h"
#include "services/base/times.h"
#include "storage/log/records.h"
#include "storage/log/wire.h"

/* Field numbers of RecordBatch, BatchRecord and Header in record.proto. */
#define TAG_RECORD WIRE_TAG(1, WIRE_BYTES)
#define TAG_KEY WIRE_TAG(1, WIRE_BYTES)
#define TAG_VALUE WIRE_TAG(2, WIRE_BYTES)
#define TAG_HEADER WIRE_TAG(3, WIRE_BYTES)
#define TAG_DELTA WIRE_TAG(4, WIRE_VARINT)
#define TAG_OFFSET WIRE_TAG(5, WIRE_VARINT)
#define TAG_HEADER_NAME WIRE_TAG(1, WIRE_BYTES)
#define TAG_HEADER_VALUE WIRE_TAG(2, WIRE_BYTES)
/* Headers of a message that fit beside it on the stack. */
#define HEADERS_ON_STACK 16

struct LogRecordsBuilder {
  GByteArray *buffer;
  gsize last_bytes; /* of the batch before, when the buffer went away with it: the next one will be like it */
  guint32 count;
  gint64 base_timestamp_ms; /* the first record's */
  gint64 max_timestamp_ms;
  LogCodec *codec;
};

LogRecordsBuilder *log_records_builder_new(void) {
  LogRecordsBuilder *builder = g_new0(LogRecordsBuilder, 1);
  builder->buffer = g_byte_array_new();
  builder->codec = log_codec_new();
  return builder;
}

void log_records_builder_free(LogRecordsBuilder *builder) {
  if (builder == NULL)
    return;
  g_byte_array_unref(builder->buffer);
  log_codec_free(builder->codec);
  g_free(builder);
}

gsize log_records_builder_bytes(const LogRecordsBuilder *builder) {
  return builder->buffer->len;
}

guint32 log_records_builder_count(const LogRecordsBuilder *builder) {
  return builder->count;
}

void log_records_builder_reset(LogRecordsBuilder *builder) {
  g_byte_array_set_size(builder->buffer, 0);
  builder->count = 0;
}

/* ---- measuring ---- */

static gsize bytes_field_size(gsize len) {
  return 1 + wire_varint_bytes(len) + len;
}

static gsize optional_size(LogField field) {
  return field.present ? bytes_field_size(field.len) : 0;
}

static gsize header_body_size(const LogHeader *header) {
  return bytes_field_size(header->name_len) + optional_size(header->value);
}

static gsize record_body_size(LogField key, LogField value, const LogHeader *headers, gsize header_count) {
  gsize size = optional_size(key) + optional_size(value);
  for (gsize i = 0; i < header_count; i++)
    size += bytes_field_size(header_body_size(&headers[i]));
  return size;
}

gsize log_records_bytes(LogField key, LogField value, const LogHeader *headers, gsize header_count) {
  return bytes_field_size(record_body_size(key, value, headers, header_count) + 1 + WIRE_VARINT_BYTES_MAX);
}

/* ---- writing ---- */

static guint8 *put_bytes_field(guint8 *at, guint8 tag, gconstpointer data, gsize len) {
  *at++ = tag;
  at = wire_put_varint(at, len);
  if (len > 0)
    memcpy(at, data, len);
  return at + len;
}

static guint8 *put_optional(guint8 *at, guint8 tag, LogField field) {
  return field.present ? put_bytes_field(at, tag, field.data, field.len) : at;
}

static guint8 *put_header(guint8 *at, const LogHeader *header) {
  *at++ = TAG_HEADER;
  at = wire_put_varint(at, header_body_size(header));
  at = put_bytes_field(at, TAG_HEADER_NAME, header->name, header->name_len);
  return put_optional(at, TAG_HEADER_VALUE, header->value);
}

static Failure *bad_field(const char *path, const char *description) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "a record's %s %s", path, description), path,
                               description);
}

static Failure *too_large(gsize bytes) {
  return failure_new(FAILURE(RECORD_TOO_LARGE),
                     "the record makes a batch of %" G_GSIZE_FORMAT " bytes; at most %u are allowed", bytes,
                     LOG_BATCH_UNCOMPRESSED_BYTES_MAX);
}

static Failure *check_record(LogField key, LogField value, const LogHeader *headers, gsize header_count,
                             gint64 timestamp_ms) {
  if (timestamp_ms < LOG_TIMESTAMP_MS_MIN || timestamp_ms > LOG_TIMESTAMP_MS_MAX)
    return bad_field("timestamp", "lies outside of the years 1 to 9999");
  /* Each alone, so that no sum can run over. */
  if (MAX(key.len, value.len) > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
    return too_large(MAX(key.len, value.len));
  for (gsize i = 0; i < header_count; i++) {
    gsize most = MAX(headers[i].name_len, headers[i].value.len);
    if (most > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
      return too_large(most);
    if (headers[i].name_len == 0)
      return bad_field("headers.key", "is empty: every header has a name");
    if (!g_utf8_validate_len(headers[i].name, headers[i].name_len, NULL))
      return bad_field("headers.key", "is not valid UTF-8 without NUL");
  }
  return NULL;
}

/* @offset_delta: 0 is not written, so it serves both formats */
static Failure *add_record(LogRecordsBuilder *builder, LogField key, LogField value, const LogHeader *headers,
                           gsize header_count, gint64 timestamp_ms, guint32 offset_delta) {
  guint64 delta = builder->count > 0 ? wire_zigzag(timestamp_ms - builder->base_timestamp_ms) : 0;
  gsize body = record_body_size(key, value, headers, header_count);
  if (delta != 0)
    body += 1 + wire_varint_bytes(delta);
  if (offset_delta != 0)
    body += 1 + wire_varint_bytes(offset_delta);
  gsize before = builder->buffer->len, after = before + bytes_field_size(body);
  if (after > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
    return too_large(after);

  if (builder->last_bytes > after) /* make the room at once: grown by doubling, all would be copied once more */
    g_byte_array_set_size(builder->buffer, (guint)builder->last_bytes);
  builder->last_bytes = 0;
  g_byte_array_set_size(builder->buffer, (guint)after);
  guint8 *at = builder->buffer->data + before;
  *at++ = TAG_RECORD;
  at = wire_put_varint(at, body);
  at = put_optional(at, TAG_KEY, key);
  at = put_optional(at, TAG_VALUE, value);
  for (gsize i = 0; i < header_count; i++)
    at = put_header(at, &headers[i]);
  if (delta != 0) {
    *at++ = TAG_DELTA;
    at = wire_put_varint(at, delta);
  }
  if (offset_delta != 0) {
    *at++ = TAG_OFFSET;
    at = wire_put_varint(at, offset_delta);
  }
  INVARIANT(at == builder->buffer->data + after, "a record takes the room that was measured for it");

  if (builder->count == 0)
    builder->base_timestamp_ms = builder->max_timestamp_ms = timestamp_ms;
  builder->max_timestamp_ms = MAX(builder->max_timestamp_ms, timestamp_ms);
  builder->count++;
  return NULL;
}

Failure *log_records_builder_add(LogRecordsBuilder *builder, LogField key, LogField value, const LogHeader *headers,
                                 gsize header_count, gint64 timestamp_ms) {
  Failure *failure = check_record(key, value, headers, header_count, timestamp_ms);
  return failure != NULL ? failure : add_record(builder, key, value, headers, header_count, timestamp_ms, 0);
}

Failure *log_records_builder_add_read(LogRecordsBuilder *builder, const LogRecord *record, guint32 offset_delta) {
  LogHeader on_stack[HEADERS_ON_STACK];
  g_autofree LogHeader *on_heap =
      record->header_count > HEADERS_ON_STACK ? g_new(LogHeader, record->header_count) : NULL;
  LogHeader *headers = on_heap != NULL ? on_heap : on_stack;
  LogHeaderIter iter;
  log_header_iter_init(&iter, record);
  gsize count = 0;
  while (count < record->header_count && log_header_iter_next(&iter, &headers[count]))
    count++;
  return add_record(builder, record->key, record->value, headers, count, record->timestamp_ms, offset_delta);
}

/* ---- from a message ---- */

static LogField text_field(const char *text) {
  return log_field(text, strlen(text));
}

static LogField proto_key(const Milena__V1__Record *record) {
  switch (record->key_kind_case) {
  case MILENA__V1__RECORD__KEY_KIND_KEY:
    return log_field(record->key.data, record->key.len);
  case MILENA__V1__RECORD__KEY_KIND_KEY_TEXT:
    return text_field(record->key_text);
  default:
    return LOG_FIELD_NONE;
  }
}

static LogField proto_value(const Milena__V1__Record *record) {
  switch (record->value_kind_case) {
  case MILENA__V1__RECORD__VALUE_KIND_VALUE:
    return log_field(record->value.data, record->value.len);
  case MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT:
    return text_field(record->value_text);
  default:
    return LOG_FIELD_NONE;
  }
}

static LogHeader proto_header(const Milena__V1__Header *proto) {
  LogHeader header = {.name = proto->key, .name_len = strlen(proto->key), .value = LOG_FIELD_NONE};
  if (proto->value_kind_case == MILENA__V1__HEADER__VALUE_KIND_VALUE)
    header.value = log_field(proto->value.data, proto->value.len);
  else if (proto->value_kind_case == MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT)
    header.value = text_field(proto->value_text);
  return header;
}

static Failure *proto_timestamp(const Milena__V1__Record *record, gint64 default_ms, gint64 *ret_ms) {
  *ret_ms = default_ms;
  const Google__Protobuf__Timestamp *timestamp = record->timestamp;
  if (timestamp == NULL)
    return NULL;
  if (timestamp->seconds < LOG_TIMESTAMP_MS_MIN / 1000 || timestamp->seconds > LOG_TIMESTAMP_MS_MAX / 1000)
    return bad_field("timestamp", "lies outside of the years 1 to 9999");
  if (timestamp->nanos < 0 || timestamp->nanos > 999999999)
    return bad_field("timestamp.nanos", "must be 0 to 999999999");
  *ret_ms = times_timestamp_ms(timestamp, default_ms);
  return NULL;
}

Failure *log_records_builder_add_proto(LogRecordsBuilder *builder, const Milena__V1__Record *record,
                                       gint64 default_timestamp_ms) {
  gint64 timestamp_ms;
  Failure *failure = proto_timestamp(record, default_timestamp_ms, &timestamp_ms);
  if (failure != NULL)
    return failure;
  LogHeader on_stack[HEADERS_ON_STACK];
  g_autofree LogHeader *on_heap = record->n_headers > HEADERS_ON_STACK ? g_new(LogHeader, record->n_headers) : NULL;
  LogHeader *headers = on_heap != NULL ? on_heap : on_stack;
  for (gsize i = 0; i < record->n_headers; i++)
    headers[i] = proto_header(record->headers[i]);
  return log_records_builder_add(builder, proto_key(record), proto_value(record), headers, record->n_headers,
                                 timestamp_ms);
}

/* ---- finishing ---- */

/* The buffer as it is, without the room that it kept for growth: it may stay in a cache for long. */
static GBytes *take_buffer(LogRecordsBuilder *builder) {
  gsize len;
  guint8 *data = g_byte_array_steal(builder->buffer, &len);
  builder->last_bytes = len;
  return g_bytes_new_take(g_realloc(data, len), len);
}

Failure *log_records_builder_finish_unsealed(LogRecordsBuilder *builder, Milena__V1__Compression compression,
                                             LogBatch *ret_batch) {
  INVARIANT(builder->count > 0, "a batch holds at least one record");
  LogBatch batch = LOG_BATCH_INIT;
  batch.compression = (guint32)compression;
  batch.record_count = builder->count;
  batch.base_timestamp_ms = builder->base_timestamp_ms;
  batch.max_timestamp_ms = builder->max_timestamp_ms;
  batch.uncompressed_bytes = builder->buffer->len;
  if (log_batch_codec(&batch) == MILENA__V1__COMPRESSION__COMPRESSION_NONE) {
    batch.records = take_buffer(builder);
  } else {
    Failure *failure = log_codec_compress(builder->codec, batch.compression, builder->buffer->data,
                                          builder->buffer->len, &batch.records);
    if (failure != NULL)
      return failure;
  }
  log_records_builder_reset(builder);
  *ret_batch = batch;
  return NULL;
}

Failure *log_records_builder_finish(LogRecordsBuilder *builder, Milena__V1__Compression compression,
                                    LogBatch *ret_batch) {
  Failure *failure = log_records_builder_finish_unsealed(builder, compression, ret_batch);
  if (failure == NULL)
    log_batch_seal(ret_batch);
  return failure;
}
