/* What the store notes of a log's compacted part, in the catalog. Pure.
 *
 *   'C' log id u64 → format u8 (1), clean to i64, clean ms i64, tombstones u64, records u64, batches i64, bytes i64,
 *                    compacted ms i64, bytes before u64, bytes after u64, runs u32, segment u32, CRC-32C of key and
 *                    value u32
 *
 * All big endian. It is written in the WriteBatch that changes the part, so that the two can't disagree. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define COMPACT_NOTE_KIND 'C'
#define COMPACT_NOTE_KEY_BYTES 9
#define COMPACT_NOTE_VALUE_BYTES 85
/* Of a part that was cut since it was counted. */
#define COMPACT_NOTE_UNKNOWN (-1)

/* All 0 for a log that was never compacted. */
typedef struct {
  gint64 clean_to;    /* what lies below had no two records of one key ... */
  gint64 clean_ms;    /* ... at this time, wall clock: tombstones there go delete.retention later */
  guint64 tombstones; /* in the part, when a run ended last */
  guint64 records;
  gint64 batches, bytes;             /* that are in the part: stored bytes; or COMPACT_NOTE_UNKNOWN */
  gint64 compacted_ms;               /* when a run ended last; 0: none has */
  guint64 bytes_before, bytes_after; /* what that run read and what it left of it */
  guint32 runs;                      /* that ended */
  guint32 segment;                   /* the active one when the part was changed last; the store's own */
} CompactNote;

void compact_note_key(guint64 log_id, guint8 ret_key[COMPACT_NOTE_KEY_BYTES]);
void compact_note_encode(const CompactNote *note, guint64 log_id, guint8 ret_value[COMPACT_NOTE_VALUE_BYTES]);
/* Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format; outputs are untouched on failure. */
Failure *compact_note_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                             guint64 *ret_log_id, CompactNote *ret_note);

G_END_DECLS
