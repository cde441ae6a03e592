/* Which records survive: see compact.h.
 *
 * Survivors of neighbouring batches collect in a builder, `pending`, until something ends it: a batch of another leader
 * epoch or codec, one that has to keep its place, one that is as large as it may become, or the end. A batch of which
 * all is left, and which would stay alone, is given as it came.
 *
 * Invariants: what is given lies in order, within the offsets of what came, and holds each survivor once; a batch that
 * is remembered is alone and keeps its offsets. Failure modes: a codec that can't compress. One owner thread. */
#include "storage/log/compact.h"

#include "services/base/invariant.h"
#include "storage/log/records.h"

/* Pending records of so many bytes are a batch; a whole one of so many stays as it is. */
#define BATCH_BYTES (128u << 10)
#define LARGE_BYTES (16u << 10)

typedef struct {
  const LogCompactRules *rules;
  GArray *out;
  LogRecordsBuilder *builder;
  LogBatch first;     /* the first batch that has records pending; base_offset is the first of them */
  LogBatch only;      /* shared: while all that is pending is all of it, else empty */
  gint64 next_offset; /* behind the last record pending */
  gint64 append_ms;   /* of the last batch pending */
  LogCompactCounts *after;
} Compactor;

/* @batch: taken */
static void give(Compactor *compactor, LogBatch *batch) {
  compactor->after->batches++;
  compactor->after->records += batch->record_count;
  compactor->after->bytes += log_batch_stored_bytes(batch);
  g_array_append_vals(compactor->out, batch, 1);
}

static void give_shared(Compactor *compactor, const LogBatch *batch) {
  LogBatch shared;
  log_batch_share(batch, &shared);
  give(compactor, &shared);
}

/* Make a batch with gaps out of what the builder has, in place of @like. */
static Failure *build(LogRecordsBuilder *builder, const LogBatch *like, gint64 base_offset, gint64 next_offset,
                      LogBatch *ret_batch) {
  LogBatch batch = LOG_BATCH_INIT;
  if (log_records_builder_count(builder) > 0) {
    Failure *failure = log_records_builder_finish_unsealed(builder, log_batch_codec(like), &batch);
    if (failure)
      return failure;
  } else {
    batch.compression = MILENA__V1__COMPRESSION__COMPRESSION_NONE;
    batch.base_timestamp_ms = batch.max_timestamp_ms = LOG_TIMESTAMP_MS_MIN; /* nothing to be found by time */
    batch.records = g_bytes_new(NULL, 0);
  }
  batch.format = LOG_BATCH_FORMAT_GAPS;
  batch.offset_count = (guint32)(next_offset - base_offset);
  batch.base_offset = base_offset;
  batch.leader_epoch = like->leader_epoch;
  batch.append_timestamp_ms = like->append_timestamp_ms;
  *ret_batch = batch;
  return NULL;
}

static Failure *flush(Compactor *compactor) {
  if (log_records_builder_count(compactor->builder) == 0)
    return NULL;
  if (compactor->only.records) {
    give(compactor, &compactor->only);
    compactor->only = (LogBatch)LOG_BATCH_INIT;
    log_records_builder_reset(compactor->builder);
    return NULL;
  }
  LogBatch batch;
  Failure *failure =
      build(compactor->builder, &compactor->first, compactor->first.base_offset, compactor->next_offset, &batch);
  if (failure)
    return failure;
  batch.append_timestamp_ms = compactor->append_ms;
  log_batch_seal(&batch);
  give(compactor, &batch);
  return NULL;
}

static gboolean survives(const LogCompactRules *rules, const LogRecord *record) {
  gint64 last;
  if (record->offset < rules->start_offset)
    return FALSE;
  if (!record->key.present)
    return TRUE;
  if (!record->value.present && record->offset < rules->tombstones_before)
    return FALSE;
  return !log_key_map_find(rules->map, record->key.data, record->key.len, &last) || last <= record->offset;
}

/* What of a batch's records stays: how many, how many of them without a value. Returns a failure for what can't be
 * decoded. */
static Failure *look(const LogCompactRules *rules, const LogBatch *batch, GArray *stays, guint *ret_tombstones) {
  g_autoptr(LogRecordsReader) reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  *ret_tombstones = 0;
  while (!failure && log_records_reader_next(reader, &record, &failure)) {
    gboolean stay = survives(rules, &record);
    *ret_tombstones += stay && record.key.present && !record.value.present;
    if (stay)
      g_array_append_val(stays, record.offset);
  }
  return failure;
}

/* Put the records of the offsets @stays into the builder, with deltas from @base_offset. */
static Failure *add_records(LogRecordsBuilder *builder, const LogBatch *batch, const GArray *stays,
                            gint64 base_offset) {
  g_autoptr(LogRecordsReader) reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  guint at = 0;
  while (!failure && at < stays->len && log_records_reader_next(reader, &record, &failure)) {
    if (record.offset != g_array_index(stays, gint64, at))
      continue;
    at++;
    failure = log_records_builder_add_read(builder, &record, (guint32)(record.offset - base_offset));
  }
  return failure;
}

static gboolean is_remembered(const LogCompactRules *rules, const LogBatch *batch) {
  guint ignored;
  if (batch->producer_id == 0 || !rules->remembered)
    return FALSE;
  gint64 wanted = batch->base_offset;
  guint low = 0, high = rules->remembered->len;
  while (low < high) {
    ignored = low + (high - low) / 2;
    gint64 found = g_array_index(rules->remembered, gint64, ignored);
    if (found == wanted)
      return TRUE;
    if (found < wanted)
      low = ignored + 1;
    else
      high = ignored;
  }
  return FALSE;
}

/* A remembered batch that lost records: its place, producer and sequence stay. */
static Failure *give_remembered(Compactor *compactor, const LogBatch *batch, const GArray *stays) {
  LogBatch left;
  Failure *failure = add_records(compactor->builder, batch, stays, batch->base_offset);
  if (!failure)
    failure = build(compactor->builder, batch, batch->base_offset, log_batch_next_offset(batch), &left);
  if (failure)
    return failure;
  left.producer_id = batch->producer_id;
  left.producer_epoch = batch->producer_epoch;
  left.first_sequence = batch->first_sequence;
  log_batch_seal(&left);
  give(compactor, &left);
  return NULL;
}

/* Whether @batch's survivors can't join what is pending. */
static gboolean parts(const Compactor *compactor, const LogBatch *batch, gint64 last_offset) {
  const LogBatch *first = &compactor->first;
  return log_records_builder_count(compactor->builder) > 0 &&
         (first->leader_epoch != batch->leader_epoch || log_batch_codec(first) != log_batch_codec(batch) ||
          log_records_builder_bytes(compactor->builder) + batch->uncompressed_bytes > BATCH_BYTES ||
          last_offset - first->base_offset >= G_MAXUINT32);
}

/* @whole: all of the batch survives */
static Failure *add_pending(Compactor *compactor, const LogBatch *batch, const GArray *stays, gboolean whole) {
  gint64 last_offset = g_array_index(stays, gint64, stays->len - 1);
  Failure *failure = parts(compactor, batch, last_offset) ? flush(compactor) : NULL;
  if (failure)
    return failure;
  gboolean begins = log_records_builder_count(compactor->builder) == 0;
  log_batch_clear(&compactor->only);
  if (begins) {
    compactor->first = *batch;
    compactor->first.records = NULL; /* only its numbers count */
    compactor->first.base_offset = g_array_index(stays, gint64, 0);
  }
  if (begins && whole)
    log_batch_share(batch, &compactor->only);
  compactor->next_offset = last_offset + 1;
  compactor->append_ms = batch->append_timestamp_ms;
  return add_records(compactor->builder, batch, stays, compactor->first.base_offset);
}

static Failure *add_batch(Compactor *compactor, const LogBatch *batch) {
  g_autoptr(GArray) stays = g_array_new(FALSE, FALSE, sizeof(gint64));
  guint tombstones;
  g_autoptr(Failure) unreadable = look(compactor->rules, batch, stays, &tombstones);
  gboolean remembered = is_remembered(compactor->rules, batch);
  gboolean whole = unreadable || stays->len == batch->record_count;
  gboolean in_place = remembered || (whole && (unreadable || log_batch_payload_bytes(batch) >= LARGE_BYTES));
  compactor->after->tombstones += unreadable ? 0 : tombstones;
  if (!in_place)
    return stays->len ? add_pending(compactor, batch, stays, whole) : NULL;
  Failure *failure = flush(compactor);
  if (failure)
    return failure;
  if (!whole)
    return give_remembered(compactor, batch, stays);
  give_shared(compactor, batch);
  return NULL;
}

Failure *log_compact(const LogCompactRules *rules, const GArray *batches, GArray *out, LogCompactCounts *ret_before,
                     LogCompactCounts *ret_after) {
  *ret_before = *ret_after = (LogCompactCounts){0};
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  Compactor compactor = {.rules = rules,
                         .out = out,
                         .builder = builder,
                         .first = LOG_BATCH_INIT,
                         .only = LOG_BATCH_INIT,
                         .after = ret_after};
  Failure *failure = NULL;
  for (guint i = 0; i < batches->len && !failure; i++) {
    const LogBatch *batch = LOG_BATCH_AT(batches, i);
    ret_before->batches++;
    ret_before->records += batch->record_count;
    ret_before->bytes += log_batch_stored_bytes(batch);
    failure = add_batch(&compactor, batch);
  }
  if (!failure)
    failure = flush(&compactor);
  log_batch_clear(&compactor.only);
  return failure;
}

/* ---- cutting ---- */

Failure *log_compact_part(const LogBatch *batch, gint64 from, gint64 to, LogBatch *ret_batch) {
  from = MAX(from, batch->base_offset);
  to = MIN(to, log_batch_next_offset(batch));
  INVARIANT(from < to, "a part of a batch covers some of its offsets");
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  g_autoptr(LogRecordsReader) reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  while (!failure && log_records_reader_next(reader, &record, &failure))
    if (record.offset >= from && record.offset < to)
      failure = log_records_builder_add_read(builder, &record, (guint32)(record.offset - from));
  LogBatch part;
  if (!failure)
    failure = build(builder, batch, from, to, &part);
  if (failure)
    return failure;
  log_batch_seal(&part);
  *ret_batch = part;
  return NULL;
}

void log_compact_gap(gint64 from, gint64 to, gint32 leader_epoch, gint64 append_timestamp_ms, LogBatch *ret_batch) {
  INVARIANT(from < to, "a gap covers some offsets");
  LogBatch gap = LOG_BATCH_INIT;
  gap.format = LOG_BATCH_FORMAT_GAPS;
  gap.compression = MILENA__V1__COMPRESSION__COMPRESSION_NONE;
  gap.base_timestamp_ms = gap.max_timestamp_ms = LOG_TIMESTAMP_MS_MIN;
  gap.base_offset = MAX(from, to - (gint64)G_MAXUINT32);
  gap.offset_count = (guint32)(to - gap.base_offset);
  gap.leader_epoch = leader_epoch;
  gap.append_timestamp_ms = append_timestamp_ms;
  gap.records = g_bytes_new(NULL, 0);
  log_batch_seal(&gap);
  *ret_batch = gap;
}
