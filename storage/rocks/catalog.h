/* What the store notes about itself in RocksDB's column family `default`: segments, which log begins where in them, and
 * dropped logs, the last bulk group. Formats alone: pure. All integers big endian; each value ends with a CRC-32C of
 * key and value.
 *
 *   segment:      'S' segment u32             → format u8 (1), created ms i64, crc u32
 *   span:         'F' segment u32, log id u64 → format u8 (1), first offset i64, max timestamp before i64, crc u32
 *   dropped log:  'D' log id u64              → format u8 (1), dropped ms i64, crc u32
 *   bulk group:   'B'                         → format u8 (1), number u64, crc u32
 *
 * Spans sort by segment: dropping a segment drops one range of keys. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define CATALOG_KEY_BYTES_MAX 13
#define CATALOG_VALUE_BYTES_MAX 21

typedef enum { CATALOG_SEGMENT = 'S', CATALOG_SPAN = 'F', CATALOG_DROPPED = 'D', CATALOG_BULK = 'B' } CatalogKind;

typedef struct {
  CatalogKind kind;
  guint32 segment;             /* SEGMENT, SPAN */
  guint64 log_id;              /* SPAN, DROPPED */
  gint64 first_offset;         /* SPAN: base of the first batch of the log in the segment */
  gint64 max_timestamp_before; /* SPAN: latest timestamp in older segments, or LOG_TIMESTAMP_NONE */
  gint64 time_ms;              /* SEGMENT: made; DROPPED: dropped */
  guint64 group;               /* BULK: the last group whose hot records were written, behind its batches */
} CatalogEntry;

typedef struct {
  guint8 key[CATALOG_KEY_BYTES_MAX], value[CATALOG_VALUE_BYTES_MAX];
  gsize key_len, value_len;
} CatalogBytes;

void catalog_encode(const CatalogEntry *entry, CatalogBytes *ret_bytes);
/* Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format; @ret_entry is untouched on failure. */
Failure *catalog_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                        CatalogEntry *ret_entry);

G_END_DECLS
