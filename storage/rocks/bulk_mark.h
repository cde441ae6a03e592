/* Marks of bulk groups (log_bulk.h), beside the batches in a segment's column family: which group it was that went on
 * writing a log, and from which offset. Format alone: pure. All integers big endian.
 *
 *   0 u64, group u64, log id u64 → format u8 (1 or 2), first offset i64, crc u32 (CRC-32C of key and the value so far),
 *                                  in format 2 zeros up to BULK_MARK_PADDED_BYTES
 *
 * No log has the id 0, so no range of a log's keys holds a mark.
 *
 * Format 2 is for one mark of each group: it makes the marks together so large that RocksDB closes their block before
 * the first batch (rocks_db.c), which readers of other offsets then need not load to know where it begins. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define BULK_MARK_KEY_BYTES 24
#define BULK_MARK_VALUE_BYTES 13
/* With the bytes of a block that belong to none of its entries, more than 1 % of a segment's blocks of 16 KiB. */
#define BULK_MARK_PADDED_BYTES 192

typedef struct {
  guint64 group; /* they are numbered from 1 on */
  guint64 log_id;
  gint64 first_offset; /* of the group's first batch of that log */
} BulkMark;

/* Returns the value's length: BULK_MARK_VALUE_BYTES, or BULK_MARK_PADDED_BYTES. */
gsize bulk_mark_encode(const BulkMark *mark, gboolean padded, guint8 ret_key[BULK_MARK_KEY_BYTES],
                       guint8 ret_value[BULK_MARK_PADDED_BYTES]);
/* Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format; @ret_mark is untouched on failure. */
Failure *bulk_mark_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len, BulkMark *ret_mark);

/* Where the marks of @group and later ones are: [start, end). */
void bulk_mark_range(guint64 group, guint8 ret_start[BULK_MARK_KEY_BYTES], guint8 ret_end[BULK_MARK_KEY_BYTES]);

G_END_DECLS
