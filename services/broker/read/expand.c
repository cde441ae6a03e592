/* Batches to records: see expand.h.
 *
 * State: `at` is the index of the batch in progress, `reader` its open reader (RECORDS and TEXT), `pending` a record
 * that was read but did not fit any more, `next_offset` what was given so far. `damage` is kept once met: it is told
 * after what came before it, and again each time after.
 *
 * Invariants: next_offset never falls; a record is given once; the reader belongs to batch `at`.
 * Failure modes: batches come from disk and from other brokers: whatever is wrong with them is a Failure. */
#include "services/broker/read/expand.h"

#include <string.h>

#include "services/base/invariant.h"
#include "services/base/times.h"
#include "storage/log/records.h"

/* What a record, header or batch is counted with beside its bytes: about its tags, lengths, offset and timestamp when
 * serialised; headers more, as empty ones would cost far more memory here than on the wire. */
#define RECORD_OVERHEAD_BYTES 24
#define HEADER_OVERHEAD_BYTES 32
#define BATCH_OVERHEAD_BYTES 80

struct Expander {
  char *topic;
  gint32 partition;
  Milena__V1__Format format;
  GArray *batches;
  guint at;
  gint64 next_offset, stop;
  gsize bytes;
  LogRecordsReader *reader;
  LogRecord pending;
  gboolean has_pending;
  Failure *damage;
  GPtrArray *found; /* records or batches of the piece in the making */
};

Expander *expander_new(const char *topic, gint32 partition, GArray *batches, gint64 start, gint64 stop,
                       Milena__V1__Format format) {
  Expander *expander = g_new0(Expander, 1);
  expander->topic = g_strdup(topic);
  expander->partition = partition;
  expander->format = format;
  expander->batches = batches;
  expander->next_offset = start;
  expander->stop = stop;
  expander->found = g_ptr_array_new();
  expander->bytes = log_batch_array_payload_bytes(batches);
  return expander;
}

void expander_free(Expander *expander) {
  if (expander == NULL)
    return;
  log_records_reader_free(expander->reader);
  failure_free(expander->damage);
  g_array_unref(expander->batches);
  g_ptr_array_unref(expander->found);
  g_free(expander->topic);
  g_free(expander);
}

gint64 expander_next_offset(const Expander *expander) {
  return expander->next_offset;
}
gsize expander_bytes(const Expander *expander) {
  return expander->bytes;
}
gboolean expander_holds_memory(const Expander *expander) {
  return expander->reader != NULL &&
         log_batch_codec(LOG_BATCH_AT(expander->batches, expander->at)) != MILENA__V1__COMPRESSION__COMPRESSION_NONE;
}
void expander_set_stop(Expander *expander, gint64 stop) {
  expander->stop = MIN(expander->stop, stop);
}

gboolean expander_is_done(const Expander *expander) {
  if (expander->next_offset >= expander->stop)
    return TRUE;
  if (expander->has_pending || expander->damage != NULL)
    return FALSE;
  for (guint i = expander->at; i < expander->batches->len; i++)
    if (log_batch_next_offset(LOG_BATCH_AT(expander->batches, i)) > expander->next_offset)
      return FALSE;
  return TRUE;
}

/* Pass over batches that end before what is wanted. Returns the one to go on with, or NULL. */
static const LogBatch *batch_current(Expander *expander) {
  while (expander->at < expander->batches->len) {
    const LogBatch *batch = LOG_BATCH_AT(expander->batches, expander->at);
    if (log_batch_next_offset(batch) > expander->next_offset) {
      if (batch->base_offset < expander->stop)
        return batch;
      expander->next_offset = expander->stop; /* a gap up to the stop */
      return NULL;
    }
    expander->at++;
  }
  return NULL;
}

/* Keep why the current batch can't be read, in the words of someone who reads a log. */
static void damage_set(Expander *expander, const LogBatch *batch, Failure *cause) {
  Failure *failure =
      failure_reason(cause) == FAILURE(CORRUPT_BATCH)
          ? failure_new(FAILURE(CORRUPT_LOG),
                        "the batch at offset %" G_GINT64_FORMAT " of %s/%d can't be read: %s; read on "
                        "from offset %" G_GINT64_FORMAT ", or take it in format BATCHES",
                        batch->base_offset, expander->topic, expander->partition, failure_message(cause),
                        log_batch_next_offset(batch))
          : failure_prefix(failure_copy(cause), "while reading the batch at offset %" G_GINT64_FORMAT " of %s/%d",
                           batch->base_offset, expander->topic, expander->partition);
  failure_free(cause);
  failure_add(failure, "topic", "%s", expander->topic);
  failure_add(failure, "partition", "%d", expander->partition);
  failure_add(failure, "offset", "%" G_GINT64_FORMAT, batch->base_offset);
  failure_add(failure, "next_offset", "%" G_GINT64_FORMAT, log_batch_next_offset(batch));
  expander->damage = failure;
  g_clear_pointer(&expander->reader, log_records_reader_free);
}

Google__Protobuf__Timestamp *expand_timestamp_new(ReadMemory *memory, gint64 timestamp_ms) {
  Google__Protobuf__Timestamp *timestamp = read_memory_alloc(memory, sizeof *timestamp);
  times_timestamp_set(timestamp, timestamp_ms);
  return timestamp;
}

/* A text may be given as text: valid UTF-8, and no NUL, at which protobuf-c would cut it. */
static gboolean is_text(LogField field) {
  return field.len == 0 || g_utf8_validate_len((const char *)field.data, field.len, NULL);
}

static ProtobufCBinaryData bytes_of(LogField field) {
  return (ProtobufCBinaryData){.len = field.len, .data = (guint8 *)field.data};
}

static void key_fill(const Expander *expander, ReadMemory *memory, LogField key, Milena__V1__ConsumedRecord *record) {
  if (!key.present)
    return;
  if (expander->format == MILENA__V1__FORMAT__FORMAT_TEXT && is_text(key)) {
    record->key_kind_case = MILENA__V1__CONSUMED_RECORD__KEY_KIND_KEY_TEXT;
    record->key_text = read_memory_text(memory, key.data, key.len);
  } else {
    record->key_kind_case = MILENA__V1__CONSUMED_RECORD__KEY_KIND_KEY;
    record->key = bytes_of(key);
  }
}

static void value_fill(const Expander *expander, ReadMemory *memory, LogField value,
                       Milena__V1__ConsumedRecord *record) {
  if (!value.present)
    return;
  if (expander->format == MILENA__V1__FORMAT__FORMAT_TEXT && is_text(value)) {
    record->value_kind_case = MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE_TEXT;
    record->value_text = read_memory_text(memory, value.data, value.len);
  } else {
    record->value_kind_case = MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE;
    record->value = bytes_of(value);
  }
}

static Milena__V1__Header *header_new(const Expander *expander, ReadMemory *memory, const LogHeader *from) {
  Milena__V1__Header *header = read_memory_alloc(memory, sizeof *header);
  milena__v1__header__init(header);
  header->key = read_memory_text(memory, from->name, from->name_len);
  if (!from->value.present)
    return header;
  if (expander->format == MILENA__V1__FORMAT__FORMAT_TEXT && is_text(from->value)) {
    header->value_kind_case = MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT;
    header->value_text = read_memory_text(memory, from->value.data, from->value.len);
  } else {
    header->value_kind_case = MILENA__V1__HEADER__VALUE_KIND_VALUE;
    header->value = bytes_of(from->value);
  }
  return header;
}

static void headers_fill(const Expander *expander, ReadMemory *memory, const LogRecord *from,
                         Milena__V1__ConsumedRecord *record) {
  if (from->header_count == 0)
    return;
  record->headers = read_memory_alloc(memory, from->header_count * sizeof *record->headers);
  LogHeaderIter iter;
  log_header_iter_init(&iter, from);
  for (LogHeader header; record->n_headers < from->header_count && log_header_iter_next(&iter, &header);)
    record->headers[record->n_headers++] = header_new(expander, memory, &header);
}

static Milena__V1__ConsumedRecord *record_new(const Expander *expander, ReadMemory *memory, gint32 leader_epoch,
                                              const LogRecord *from) {
  Milena__V1__ConsumedRecord *record = read_memory_alloc(memory, sizeof *record);
  milena__v1__consumed_record__init(record);
  record->offset = from->offset;
  record->leader_epoch = leader_epoch;
  record->timestamp = expand_timestamp_new(memory, from->timestamp_ms);
  key_fill(expander, memory, from->key, record);
  value_fill(expander, memory, from->value, record);
  headers_fill(expander, memory, from, record);
  return record;
}

static gsize record_bytes(const LogRecord *record) {
  gsize bytes = RECORD_OVERHEAD_BYTES + record->key.len + record->value.len;
  LogHeaderIter iter;
  if (record->header_count > 0) {
    log_header_iter_init(&iter, record);
    for (LogHeader header; log_header_iter_next(&iter, &header);)
      bytes += HEADER_OVERHEAD_BYTES + header.name_len + header.value.len;
  }
  return bytes;
}

/* May one more thing of @bytes be given? */
static gboolean has_room(const ExpandLimits *limits, const Expanded *piece, gsize bytes) {
  if (piece->counted_records >= limits->records)
    return FALSE;
  if (piece->counted_records == 0 && limits->at_least_one)
    return TRUE;
  return piece->counted_bytes + bytes <= limits->bytes;
}

/* Open the current batch. Returns FALSE when it is damaged, or has to wait for another answer's room or memory. */
static gboolean reader_open(Expander *expander, ReadMemory *memory, const ExpandLimits *limits, const LogBatch *batch,
                            const Expanded *piece) {
  if (!has_room(limits, piece, RECORD_OVERHEAD_BYTES))
    return FALSE;
  gboolean must_open = piece->counted_records == 0 && limits->at_least_one;
  gsize opened_bytes =
      log_batch_codec(batch) == MILENA__V1__COMPRESSION__COMPRESSION_NONE ? 0 : batch->uncompressed_bytes;
  if (!must_open && read_memory_bytes(memory) + opened_bytes > EXPAND_HELD_BYTES_MAX)
    return FALSE;
  Failure *failure = log_records_reader_new(batch, &expander->reader);
  if (failure != NULL) {
    damage_set(expander, batch, failure);
    return FALSE;
  }
  log_records_reader_skip_to(expander->reader, expander->next_offset);
  return TRUE;
}

/* Put the next record of the current batch into `pending`. Returns FALSE at the batch's end, or when it is damaged. */
static gboolean record_read(Expander *expander, const LogBatch *batch) {
  Failure *failure = NULL;
  while (!expander->has_pending) {
    if (!log_records_reader_next(expander->reader, &expander->pending, &failure)) {
      if (failure != NULL) {
        damage_set(expander, batch, failure);
        return FALSE;
      }
      g_clear_pointer(&expander->reader, log_records_reader_free);
      expander->next_offset = MAX(expander->next_offset, MIN(log_batch_next_offset(batch), expander->stop));
      return FALSE;
    }
    if (expander->pending.offset < expander->next_offset)
      continue;
    if (expander->pending.header_count > EXPAND_HEADERS_MAX) {
      damage_set(expander, batch,
                 failure_new(FAILURE(LIMIT_EXCEEDED),
                             "the record at offset %" G_GINT64_FORMAT
                             " has %u headers, more than %u, and is only given in format BATCHES",
                             expander->pending.offset, expander->pending.header_count, EXPAND_HEADERS_MAX));
      return FALSE;
    }
    expander->has_pending = TRUE;
  }
  return TRUE;
}

/* Give records of the current batch. Returns FALSE when the piece is complete: full, at the stop, or at damage. */
static gboolean records_take(Expander *expander, ReadMemory *memory, const ExpandLimits *limits, const LogBatch *batch,
                             Expanded *piece) {
  if (expander->reader == NULL && !reader_open(expander, memory, limits, batch, piece))
    return FALSE;
  while (record_read(expander, batch)) {
    if (expander->pending.offset >= expander->stop) {
      expander->next_offset = expander->stop;
      return FALSE;
    }
    gsize bytes = record_bytes(&expander->pending);
    if (!has_room(limits, piece, bytes) || expander->found->len >= EXPAND_RECORDS_MAX)
      return FALSE;
    read_memory_hold(memory, log_records_reader_bytes(expander->reader));
    g_ptr_array_add(expander->found, record_new(expander, memory, batch->leader_epoch, &expander->pending));
    piece->counted_records++;
    piece->counted_bytes += bytes;
    expander->next_offset = expander->pending.offset + 1;
    expander->has_pending = FALSE;
  }
  return expander->damage == NULL;
}

/* Give the current batch as it is. Returns FALSE when the piece is complete. */
static gboolean batch_take(Expander *expander, ReadMemory *memory, const ExpandLimits *limits, const LogBatch *batch,
                           Expanded *piece) {
  gsize bytes = BATCH_OVERHEAD_BYTES + log_batch_payload_bytes(batch);
  if (!has_room(limits, piece, bytes))
    return FALSE;
  LogBatchProto *proto = read_memory_alloc(memory, sizeof *proto);
  log_batch_to_proto(batch, proto);
  read_memory_hold(memory, batch->records);
  g_ptr_array_add(expander->found, &proto->batch);
  gint64 next_offset = log_batch_next_offset(batch);
  if (batch->format == LOG_BATCH_FORMAT_GAPS) /* which of its records come first is not looked at */
    piece->counted_records += MAX(batch->record_count, 1);
  else
    piece->counted_records += (guint64)(next_offset - MAX(batch->base_offset, expander->next_offset));
  piece->counted_bytes += bytes;
  expander->next_offset = next_offset;
  return TRUE;
}

static gpointer found_copy(Expander *expander, ReadMemory *memory) {
  gsize bytes = expander->found->len * sizeof(gpointer);
  gpointer copy = read_memory_alloc(memory, bytes);
  memcpy(copy, expander->found->pdata, bytes);
  return copy;
}

Failure *expander_next(Expander *expander, ReadMemory *memory, const ExpandLimits *limits, Expanded *ret_piece) {
  Expanded piece = {0};
  gboolean whole = expander->format == MILENA__V1__FORMAT__FORMAT_BATCHES;
  g_ptr_array_set_size(expander->found, 0);
  while (expander->damage == NULL && expander->next_offset < expander->stop) {
    const LogBatch *batch = batch_current(expander);
    if (batch == NULL)
      break;
    gboolean more = whole ? batch_take(expander, memory, limits, batch, &piece)
                          : records_take(expander, memory, limits, batch, &piece);
    if (!more)
      break;
  }
  if (expander->found->len > 0 && whole) {
    piece.batch_count = expander->found->len;
    piece.batches = found_copy(expander, memory);
  } else if (expander->found->len > 0) {
    piece.record_count = expander->found->len;
    piece.records = found_copy(expander, memory);
  }
  *ret_piece = piece;
  return piece.counted_records == 0 ? failure_copy(expander->damage) : NULL;
}
