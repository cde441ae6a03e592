/* Compaction by key, the pure part: which records survive, and what is left of their batches.
 *
 * In a compacted log the last record of each key counts. A cleaner reads the part of a log that was not cleaned yet,
 * notes each key's last offset (LogKeyMap), and rewrites what is before that part and the part itself: a record goes
 * when the map knows a later one of its key. Records without key stay: nothing ever takes their place. Offsets, order
 * and timestamps of what stays are as they were; small batches become one, with gaps between the records
 * (LOG_BATCH_FORMAT_GAPS).
 *
 *   dirty part ──log_key_map_add──► map ──┬──► log_compact of what was cleaned before ──► batches in its place
 *                                         └──► log_compact of the dirty part ──► batches behind it
 *
 * Batches that a producer is remembered by keep their place, producer and sequence, even when no record is left: who
 * builds a replica of the log from them knows the producers' retries as this one does.
 *
 * Pure; one owner thread each. */
#pragma once

#include <glib.h>

#include "storage/log/batch.h"

G_BEGIN_DECLS

/* ---- the last offset of each key ---- */

typedef struct LogKeyMap LogKeyMap;

/* @bytes_max: bound of its memory, which is taken as it fills. One batch fits into an empty one whatever its size. */
LogKeyMap *log_key_map_new(gsize bytes_max);
void log_key_map_free(LogKeyMap *map); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogKeyMap, log_key_map_free)
void log_key_map_clear(LogKeyMap *map);

/* Note the keys of a batch, which must be stamped; batches come in the order of the log. One that can't be decoded is
 * passed over: what it holds has no keys that anybody could read.
 *
 * Returns FALSE, with nothing noted, when it does not fit. */
gboolean log_key_map_add(LogKeyMap *map, const LogBatch *batch);
/* Returns FALSE when the key was not noted. */
gboolean log_key_map_find(const LogKeyMap *map, gconstpointer key, gsize len, gint64 *ret_offset);
guint log_key_map_count(const LogKeyMap *map);

/* ---- what survives ---- */

typedef struct {
  const LogKeyMap *map;     /* a record before its key's offset there goes */
  gint64 start_offset;      /* records before go: the log's start */
  gint64 tombstones_before; /* records without value before go: nothing that they delete is left before them */
  const GArray *remembered; /* base offsets, gint64, ascending, of the batches that producers are remembered by */
} LogCompactRules;

typedef struct {
  guint64 batches, records, bytes; /* bytes: as stored */
  guint64 tombstones;
} LogCompactCounts;

/* What is left of @batches.
 *
 * @batches: stamped, in order
 * @out: of log_batch_array_new: what is left is appended; lies within the offsets of @batches
 * @ret_before, @ret_after: overwritten: what came in, what came out
 *
 * Returns NULL, or what a codec could not do; then @out holds anything. A batch that can't be decoded stays as it is.
 */
Failure *log_compact(const LogCompactRules *rules, const GArray *batches, GArray *out, LogCompactCounts *ret_before,
                     LogCompactCounts *ret_after);

/* ---- cutting ---- */

/* The part of a batch with gaps that covers the offsets from @from to before @to, which it has some of.
 *
 * @ret_batch: overwritten, owned by the caller; without a producer
 *
 * Returns NULL, CORRUPT_BATCH or what a codec could not do; @ret_batch is untouched then. */
Failure *log_compact_part(const LogBatch *batch, gint64 from, gint64 to, LogBatch *ret_batch);
/* A batch without records that covers the offsets up to @to from @from, or from as far back as one batch goes. */
void log_compact_gap(gint64 from, gint64 to, gint32 leader_epoch, gint64 append_timestamp_ms, LogBatch *ret_batch);

G_END_DECLS
