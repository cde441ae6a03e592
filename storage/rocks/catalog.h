/* What the store notes about itself in RocksDB's column family `default`: segments, which log begins where in them,
 * dropped logs, dropped segments, the last bulk group. Formats alone: pure. All integers big endian; each value ends
 * with a CRC-32C of key and value.
 *
 *   segment:      'S' segment u32             → format u8 (2), created ms i64, bytes i64, crc u32
 *   span:         'F' segment u32, log id u64 → format u8 (2), first offset i64, max timestamp before i64,
 *                                               bytes before i64, crc u32
 *   dropped log:  'D' log id u64              → format u8 (1), dropped ms i64, crc u32
 *   gone segment: 'G' segment u32             → format u8 (1), dropped ms i64, crc u32
 *   bulk group:   'B'                         → format u8 (1), number u64, crc u32
 *
 * Segments and spans of format 1 lack their bytes. Spans sort by segment: dropping a segment drops one range of keys.
 * Dropped logs are noted by older versions alone: now a log's spans go when it does. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

#define CATALOG_KEY_BYTES_MAX 13
#define CATALOG_VALUE_BYTES_MAX 29

typedef enum {
  CATALOG_SEGMENT = 'S',
  CATALOG_SPAN = 'F',
  CATALOG_DROPPED = 'D',
  CATALOG_GONE = 'G', /* nothing is needed of the segment any more: its column family is dropped, or about to be */
  CATALOG_BULK = 'B'
} CatalogKind;

typedef struct {
  CatalogKind kind;
  guint32 segment;             /* SEGMENT, SPAN, GONE */
  guint64 log_id;              /* SPAN, DROPPED */
  gint64 first_offset;         /* SPAN: base of the first batch of the log in the segment */
  gint64 max_timestamp_before; /* SPAN: latest timestamp in older segments, or LOG_TIMESTAMP_NONE */
  gint64 time_ms;              /* SEGMENT: made; DROPPED, GONE: dropped */
  gint64 bytes;  /* SEGMENT: of all batches that were written to it, once it is closed; SPAN: that the log had appended
                  * before it (LogHot.appended_bytes). CATALOG_BYTES_UNKNOWN: of format 1, or not closed */
  guint64 group; /* BULK: the last group whose hot records were written, behind its batches */
} CatalogEntry;

#define CATALOG_BYTES_UNKNOWN (-1)

typedef struct {
  guint8 key[CATALOG_KEY_BYTES_MAX], value[CATALOG_VALUE_BYTES_MAX];
  gsize key_len, value_len;
} CatalogBytes;

/* The keys of all spans of a segment: [start, end). */
void catalog_span_range(guint32 segment, guint8 ret_start[CATALOG_KEY_BYTES_MAX],
                        guint8 ret_end[CATALOG_KEY_BYTES_MAX]);

void catalog_encode(const CatalogEntry *entry, CatalogBytes *ret_bytes);
/* Returns NULL, CORRUPT_LOG, or UNSUPPORTED for a newer format; @ret_entry is untouched on failure. */
Failure *catalog_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                        CatalogEntry *ret_entry);

G_END_DECLS
