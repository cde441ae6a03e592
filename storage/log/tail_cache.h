/* The latest batches of all logs of one owner, bounded in bytes, oldest out first: followers and consumers that keep up
 * are served the memory that came from the network. Pure; one owner thread. */
#pragma once

#include <glib.h>

#include "storage/log/batch.h"

G_BEGIN_DECLS

typedef struct LogTailCache LogTailCache;

/* @bytes_max: bound of records and bookkeeping together; 0 keeps nothing. A batch that is a slice of a larger message
 * keeps the whole message alive, which is not counted. */
LogTailCache *log_tail_cache_new(gsize bytes_max);
void log_tail_cache_free(LogTailCache *cache); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogTailCache, log_tail_cache_free)

/* Keep @batch, which must be stamped; shares its bytes. Batches of a log come in order: one that does not continue what
 * is cached of its log replaces it. The oldest batches of any log make room; a batch that is too large is not kept. */
void log_tail_cache_add(LogTailCache *cache, guint64 log_id, const LogBatch *batch);

/* Batches from the one that holds @from_offset.
 *
 * @end_offset: only batches wholly below: the high watermark for consumers, G_MAXINT64 for followers
 * @bytes_max: of records; the first batch is given whatever its size
 * @array: of log_batch_array_new: shared copies are appended
 *
 * Returns how many were appended: 0 when @from_offset is not cached, or not below @end_offset: read the disk. */
guint log_tail_cache_lookup(LogTailCache *cache, guint64 log_id, gint64 from_offset, gint64 end_offset, gsize bytes_max,
                            GArray *array);
/* The offsets that are cached of a log: [*ret_first, *ret_end). Returns FALSE when none. */
gboolean log_tail_cache_range(const LogTailCache *cache, guint64 log_id, gint64 *ret_first, gint64 *ret_end);

/* The log now ends at @end_offset: batches that reach beyond are dropped. */
void log_tail_cache_truncate(LogTailCache *cache, guint64 log_id, gint64 end_offset);
/* Drop the batches that end at or before @offset: they were compacted. */
void log_tail_cache_drop_before(LogTailCache *cache, guint64 log_id, gint64 offset);
/* Drop all of a log. */
void log_tail_cache_drop(LogTailCache *cache, guint64 log_id);

/* Bytes counted now. */
gsize log_tail_cache_bytes(const LogTailCache *cache);
guint log_tail_cache_batch_count(const LogTailCache *cache);

G_END_DECLS
