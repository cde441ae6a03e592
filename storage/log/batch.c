/* LogBatch as a value: sharing, protobuf, and what a broker checks before it appends one. The stored form is in
 * batch_stored.c.
 *
 * Stateless. Everything in a LogBatch that came from the wire may be anything: checks answer with a Failure. The one
 * promise of our own is that what is asked for its offsets has been stamped. */
#include "storage/log/batch.h"

#include "services/base/invariant.h"
#include "storage/log/bytes.h"
#include "storage/log/codec.h"
#include "storage/log/crc32c.h"

/* A record takes at least its tag and a length of zero. */
#define RECORD_BYTES_MIN 2
/* The header fields that the CRC covers, as record.proto lists them: those of format 1, and with offset_count. */
#define CRC_FIELDS_BYTES 64
#define CRC_FIELDS_BYTES_MAX 68

void log_batch_clear(LogBatch *batch) {
  if (batch == NULL)
    return;
  g_clear_pointer(&batch->records, g_bytes_unref);
  *batch = (LogBatch)LOG_BATCH_INIT;
}

void log_batch_share(const LogBatch *batch, LogBatch *copy) {
  *copy = *batch;
  if (copy->records != NULL)
    g_bytes_ref(copy->records);
}

static void clear_element(gpointer element) {
  log_batch_clear(element);
}

GArray *log_batch_array_new(void) {
  GArray *array = g_array_new(FALSE, FALSE, sizeof(LogBatch));
  g_array_set_clear_func(array, clear_element);
  return array;
}

gsize log_batch_payload_bytes(const LogBatch *batch) {
  return batch->records != NULL ? g_bytes_get_size(batch->records) : 0;
}

gsize log_batch_array_payload_bytes(const GArray *batches) {
  gsize bytes = 0;
  for (guint i = 0; batches != NULL && i < batches->len; i++)
    bytes += log_batch_payload_bytes(LOG_BATCH_AT(batches, i));
  return bytes;
}

gsize log_batch_stored_bytes(const LogBatch *batch) {
  return LOG_STORED_HEADER_BYTES + log_batch_payload_bytes(batch);
}

gint64 log_batch_offset_count(const LogBatch *batch) {
  return batch->format == LOG_BATCH_FORMAT_GAPS ? batch->offset_count : batch->record_count;
}

gint64 log_batch_next_offset(const LogBatch *batch) {
  INVARIANT(batch->base_offset >= 0, "only a stamped batch has offsets");
  return batch->base_offset + log_batch_offset_count(batch);
}

Milena__V1__Compression log_batch_codec(const LogBatch *batch) {
  return batch->compression == MILENA__V1__COMPRESSION__COMPRESSION_UNSPECIFIED
             ? MILENA__V1__COMPRESSION__COMPRESSION_NONE
             : (Milena__V1__Compression)batch->compression;
}

/* ---- protobuf ---- */

Failure *log_batch_from_proto(const Milena__V1__EncodedBatch *proto, GBytes *records, LogBatch *ret_batch) {
  const Milena__V1__BatchHeader *header = proto->header;
  if (header == NULL)
    return failure_add_violation(
        failure_new(FAILURE(INVALID_FIELD), "the batch has no header: set EncodedBatch.header"), "header",
        "must be set");
  if (records != NULL)
    g_bytes_ref(records);
  else
    records = g_bytes_new(proto->records.data, proto->records.len);

  gboolean expects =
      header->expected_offset_presence_case == MILENA__V1__BATCH_HEADER__EXPECTED_OFFSET_PRESENCE_EXPECTED_OFFSET;
  LogBatch batch = {
      .format = header->format,
      .compression = (guint32)header->compression,
      .attributes = header->attributes,
      .record_count = header->record_count,
      .base_timestamp_ms = header->base_timestamp_ms,
      .max_timestamp_ms = header->max_timestamp_ms,
      .producer_id = header->producer_id,
      .producer_epoch = header->producer_epoch,
      .first_sequence = header->first_sequence,
      .expected_offset = expects ? header->expected_offset : LOG_OFFSET_NONE,
      .uncompressed_bytes = header->uncompressed_bytes,
      .crc32c = header->crc32c,
      .offset_count = header->offset_count,
      .base_offset = LOG_OFFSET_NONE,
      .records = records,
  };
  if (proto->stamp != NULL) {
    batch.base_offset = proto->stamp->base_offset;
    batch.leader_epoch = proto->stamp->leader_epoch;
    batch.append_timestamp_ms = proto->stamp->append_timestamp_ms;
  }
  *ret_batch = batch;
  return NULL;
}

void log_batch_to_proto(const LogBatch *batch, LogBatchProto *ret_proto) {
  milena__v1__encoded_batch__init(&ret_proto->batch);
  milena__v1__batch_header__init(&ret_proto->header);
  milena__v1__batch_stamp__init(&ret_proto->stamp);

  Milena__V1__BatchHeader *header = &ret_proto->header;
  header->format = batch->format;
  header->compression = (Milena__V1__Compression)batch->compression;
  header->attributes = batch->attributes;
  header->record_count = batch->record_count;
  header->base_timestamp_ms = batch->base_timestamp_ms;
  header->max_timestamp_ms = batch->max_timestamp_ms;
  header->producer_id = batch->producer_id;
  header->producer_epoch = batch->producer_epoch;
  header->first_sequence = batch->first_sequence;
  if (batch->expected_offset != LOG_OFFSET_NONE) {
    header->expected_offset_presence_case = MILENA__V1__BATCH_HEADER__EXPECTED_OFFSET_PRESENCE_EXPECTED_OFFSET;
    header->expected_offset = batch->expected_offset;
  }
  header->uncompressed_bytes = batch->uncompressed_bytes;
  header->crc32c = batch->crc32c;
  header->offset_count = batch->offset_count;
  ret_proto->batch.header = header;

  if (batch->base_offset != LOG_OFFSET_NONE) {
    ret_proto->stamp.base_offset = batch->base_offset;
    ret_proto->stamp.leader_epoch = batch->leader_epoch;
    ret_proto->stamp.append_timestamp_ms = batch->append_timestamp_ms;
    ret_proto->batch.stamp = &ret_proto->stamp;
  }
  if (batch->records != NULL) {
    gsize len;
    ret_proto->batch.records.data = (guint8 *)g_bytes_get_data(batch->records, &len);
    ret_proto->batch.records.len = len;
  }
}

/* ---- checks ---- */

guint32 log_batch_crc(const LogBatch *batch) {
  gsize len = 0;
  gconstpointer data = batch->records != NULL ? g_bytes_get_data(batch->records, &len) : NULL;
  guint8 fields[CRC_FIELDS_BYTES_MAX], *at = fields;
  at = log_put_u32(at, batch->format);
  at = log_put_u32(at, batch->compression);
  at = log_put_u32(at, batch->attributes);
  at = log_put_u32(at, batch->record_count);
  at = log_put_u64(at, (guint64)batch->base_timestamp_ms);
  at = log_put_u64(at, (guint64)batch->max_timestamp_ms);
  at = log_put_u64(at, (guint64)batch->producer_id);
  at = log_put_u32(at, batch->producer_epoch);
  at = log_put_u32(at, batch->first_sequence);
  at = log_put_u64(at, (guint64)batch->expected_offset);
  at = log_put_u32(at, batch->uncompressed_bytes);
  at = log_put_u32(at, (guint32)len);
  INVARIANT(at == fields + CRC_FIELDS_BYTES, "the CRC covers exactly the fields that record.proto lists");
  if (batch->format == LOG_BATCH_FORMAT_GAPS)
    at = log_put_u32(at, batch->offset_count);
  return log_crc32c_extend(log_crc32c(fields, (gsize)(at - fields)), data, len);
}

void log_batch_seal(LogBatch *batch) {
  batch->crc32c = log_batch_crc(batch);
}

static Failure *bad_field(const char *path, const char *description) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "the batch's %s %s", path, description), path,
                               description);
}

/* What a later version brings is named, so that nobody takes its absence for an error of his own. */
static Failure *check_supported(const LogBatch *batch) {
  if (batch->format == 0)
    return bad_field("header.format", "is missing: set it to 1");
  if (batch->format == LOG_BATCH_FORMAT_GAPS)
    return failure_new(FAILURE(UNSUPPORTED),
                       "batch format 2 is what compaction leaves in a log: producers send format %d", LOG_BATCH_FORMAT);
  if (batch->format != LOG_BATCH_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED), "batch format %u is not known to this version, which takes format %d",
                       batch->format, LOG_BATCH_FORMAT);
  if (log_codec_name(batch->compression) == NULL)
    return failure_new(FAILURE(UNSUPPORTED), "compression %u is not known to this version: use none, zstd or lz4",
                       batch->compression);
  if (batch->attributes != 0)
    return failure_new(FAILURE(UNSUPPORTED),
                       "batch attributes 0x%x are for transactions, which this version does not have: leave them 0",
                       batch->attributes);
  return NULL;
}

static Failure *check_producer(const LogBatch *batch) {
  if (batch->producer_id < 0)
    return bad_field("header.producer_id", "is negative: ids are 1 or more, 0 means none");
  if (batch->producer_id == 0 && batch->producer_epoch != 0)
    return bad_field("header.producer_epoch", "means nothing without a producer_id: ask InitProducer for one");
  if (batch->producer_id == 0 && batch->first_sequence != 0)
    return bad_field("header.first_sequence", "means nothing without a producer_id: ask InitProducer for one");
  return NULL;
}

static Failure *check_values(const LogBatch *batch) {
  if (batch->offset_count != 0)
    return bad_field("header.offset_count", "is of format 2: in format 1 it is 0");
  if (batch->record_count == 0)
    return bad_field("header.record_count", "is 0: a batch holds at least one record");
  if (batch->expected_offset < LOG_OFFSET_NONE)
    return bad_field("header.expected_offset", "is negative: offsets begin at 0");
  if (batch->base_timestamp_ms < LOG_TIMESTAMP_MS_MIN || batch->base_timestamp_ms > LOG_TIMESTAMP_MS_MAX)
    return bad_field("header.base_timestamp_ms", "lies outside of the years 1 to 9999");
  if (batch->max_timestamp_ms < LOG_TIMESTAMP_MS_MIN || batch->max_timestamp_ms > LOG_TIMESTAMP_MS_MAX)
    return bad_field("header.max_timestamp_ms", "lies outside of the years 1 to 9999");
  if (batch->uncompressed_bytes > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
    return failure_new(FAILURE(RECORD_TOO_LARGE),
                       "the batch has %u bytes before compression; at most %u are allowed: send smaller batches",
                       batch->uncompressed_bytes, LOG_BATCH_UNCOMPRESSED_BYTES_MAX);
  return NULL;
}

static Failure *check_sizes(const LogBatch *batch, gsize max_bytes) {
  gsize len = log_batch_payload_bytes(batch);
  if (len > max_bytes)
    return failure_new(FAILURE(RECORD_TOO_LARGE),
                       "the batch has %" G_GSIZE_FORMAT " bytes of records; at most %" G_GSIZE_FORMAT
                       " are allowed here: send smaller batches or raise the topic's max.message.bytes",
                       len, max_bytes);
  if (len == 0)
    return failure_new(FAILURE(CORRUPT_BATCH), "the batch has no bytes of records, but says that it holds %u",
                       batch->record_count);
  if ((guint64)batch->record_count * RECORD_BYTES_MIN > batch->uncompressed_bytes)
    return failure_new(FAILURE(CORRUPT_BATCH), "%u records can't fit into the %u bytes that the batch says it has",
                       batch->record_count, batch->uncompressed_bytes);
  if (log_batch_codec(batch) == MILENA__V1__COMPRESSION__COMPRESSION_NONE && batch->uncompressed_bytes != len)
    return failure_new(FAILURE(CORRUPT_BATCH),
                       "the batch is not compressed and has %" G_GSIZE_FORMAT
                       " bytes of records, but its header says %u",
                       len, batch->uncompressed_bytes);
  return NULL;
}

Failure *log_batch_check(const LogBatch *batch, gsize max_bytes) {
  Failure *failure = check_supported(batch);
  if (failure == NULL)
    failure = check_producer(batch);
  if (failure == NULL)
    failure = check_values(batch);
  if (failure == NULL)
    failure = check_sizes(batch, max_bytes);
  if (failure != NULL)
    return failure;
  guint32 crc = log_batch_crc(batch);
  if (crc != batch->crc32c)
    return failure_new(FAILURE(CORRUPT_BATCH),
                       "the batch's CRC-32C is 0x%08x, but its header says 0x%08x: it was damaged on the way, or built "
                       "in another order of fields than record.proto states",
                       crc, batch->crc32c);
  return NULL;
}

/* What a batch says of its offsets; NULL when it makes sense. */
static const char *odd_offsets(const LogBatch *batch) {
  if (batch->format != LOG_BATCH_FORMAT_GAPS) {
    if (batch->record_count == 0)
      return "it holds no records";
    return batch->offset_count != 0 ? "it has gaps, which its format does not have" : NULL;
  }
  if (batch->offset_count == 0)
    return "it covers no offsets";
  return batch->record_count > batch->offset_count ? "it holds more records than offsets" : NULL;
}

static Failure *damaged(const LogBatch *batch, Failure *failure) {
  failure_add(failure, "base_offset", "%" G_GINT64_FORMAT, batch->base_offset);
  return failure_add(failure, "record_count", "%u", batch->record_count);
}

Failure *log_batch_verify(const LogBatch *batch) {
  if (batch->format > LOG_BATCH_FORMAT_GAPS)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the batch at offset %" G_GINT64_FORMAT
                       " has format %u; this version reads up to %d: start the version that wrote it",
                       batch->base_offset, batch->format, LOG_BATCH_FORMAT_GAPS);
  guint32 crc = log_batch_crc(batch);
  if (crc != batch->crc32c)
    return damaged(batch, failure_new(FAILURE(CORRUPT_LOG),
                                      "the batch at offset %" G_GINT64_FORMAT
                                      " is damaged: its CRC-32C is 0x%08x instead of 0x%08x; its records can't be read "
                                      "here",
                                      batch->base_offset, crc, batch->crc32c));
  const char *odd = odd_offsets(batch);
  return odd ? damaged(batch,
                       failure_new(FAILURE(CORRUPT_LOG), "the batch at offset %" G_GINT64_FORMAT " makes no sense: %s",
                                   batch->base_offset, odd))
             : NULL;
}
