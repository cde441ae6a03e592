#include "storage/rocks/compact_note.h"

#include "services/base/invariant.h"
#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"

#define FORMAT 1

void compact_note_key(guint64 log_id, guint8 ret_key[COMPACT_NOTE_KEY_BYTES]) {
  ret_key[0] = COMPACT_NOTE_KIND;
  log_put_u64(ret_key + 1, log_id);
}

static guint32 checksum(const guint8 *key, const guint8 *value) {
  return log_crc32c_extend(log_crc32c(key, COMPACT_NOTE_KEY_BYTES), value, COMPACT_NOTE_VALUE_BYTES - 4);
}

void compact_note_encode(const CompactNote *note, guint64 log_id, guint8 ret_value[COMPACT_NOTE_VALUE_BYTES]) {
  guint8 key[COMPACT_NOTE_KEY_BYTES], *at = ret_value;
  compact_note_key(log_id, key);
  *at++ = FORMAT;
  at = log_put_u64(at, (guint64)note->clean_to);
  at = log_put_u64(at, (guint64)note->clean_ms);
  at = log_put_u64(at, note->tombstones);
  at = log_put_u64(at, note->records);
  at = log_put_u64(at, (guint64)note->batches);
  at = log_put_u64(at, (guint64)note->bytes);
  at = log_put_u64(at, (guint64)note->compacted_ms);
  at = log_put_u64(at, note->bytes_before);
  at = log_put_u64(at, note->bytes_after);
  at = log_put_u32(at, note->runs);
  at = log_put_u32(at, note->segment);
  INVARIANT(at == ret_value + COMPACT_NOTE_VALUE_BYTES - 4, "the note is laid out as compact_note.h says");
  log_put_u32(at, checksum(key, ret_value));
}

Failure *compact_note_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                             guint64 *ret_log_id, CompactNote *ret_note) {
  if (key_len != COMPACT_NOTE_KEY_BYTES || key[0] != COMPACT_NOTE_KIND || value_len == 0)
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds a damaged note of a compacted log");
  if (value[0] > FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the catalog holds a compacted log's note of format %u, this program knows %u: run the newer "
                       "version that wrote it",
                       value[0], FORMAT);
  if (value[0] != FORMAT || value_len != COMPACT_NOTE_VALUE_BYTES ||
      log_get_u32(value + COMPACT_NOTE_VALUE_BYTES - 4) != checksum(key, value))
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds a damaged note of a compacted log");
  *ret_log_id = log_get_u64(key + 1);
  const guint8 *at = value + 1;
  *ret_note = (CompactNote){.clean_to = (gint64)log_get_u64(at),
                            .clean_ms = (gint64)log_get_u64(at + 8),
                            .tombstones = log_get_u64(at + 16),
                            .records = log_get_u64(at + 24),
                            .batches = (gint64)log_get_u64(at + 32),
                            .bytes = (gint64)log_get_u64(at + 40),
                            .compacted_ms = (gint64)log_get_u64(at + 48),
                            .bytes_before = log_get_u64(at + 56),
                            .bytes_after = log_get_u64(at + 64),
                            .runs = log_get_u32(at + 72),
                            .segment = log_get_u32(at + 76)};
  return NULL;
}
