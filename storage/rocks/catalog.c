#include "storage/rocks/catalog.h"

#include <string.h>

#include "storage/log/crc32c.h"

#define FORMAT 1

static guint8 *put_u32(guint8 *at, guint32 n) {
  guint32 big = GUINT32_TO_BE(n);
  memcpy(at, &big, sizeof big);
  return at + sizeof big;
}

static guint8 *put_u64(guint8 *at, guint64 n) {
  guint64 big = GUINT64_TO_BE(n);
  memcpy(at, &big, sizeof big);
  return at + sizeof big;
}

static guint32 get_u32(const guint8 *at) {
  guint32 big;
  memcpy(&big, at, sizeof big);
  return GUINT32_FROM_BE(big);
}

static guint64 get_u64(const guint8 *at) {
  guint64 big;
  memcpy(&big, at, sizeof big);
  return GUINT64_FROM_BE(big);
}

/* Sizes of a kind's key and value; FALSE for an unknown kind. */
static gboolean sizes(guint8 kind, gsize *ret_key, gsize *ret_value) {
  gboolean span = kind == CATALOG_SPAN;
  *ret_key = kind == CATALOG_BULK ? 1 : kind == CATALOG_SEGMENT ? 5 : span ? 13 : 9;
  *ret_value = span ? 21 : 13;
  return span || kind == CATALOG_SEGMENT || kind == CATALOG_DROPPED || kind == CATALOG_BULK;
}

static gboolean has_segment(CatalogKind kind) {
  return kind == CATALOG_SEGMENT || kind == CATALOG_SPAN;
}

static gboolean has_log(CatalogKind kind) {
  return kind == CATALOG_SPAN || kind == CATALOG_DROPPED;
}

static guint32 checksum(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  return log_crc32c_extend(log_crc32c(key, key_len), value, value_len - sizeof(guint32));
}

void catalog_encode(const CatalogEntry *entry, CatalogBytes *ret_bytes) {
  sizes((guint8)entry->kind, &ret_bytes->key_len, &ret_bytes->value_len);
  guint8 *key = ret_bytes->key, *value = ret_bytes->value;
  *key++ = (guint8)entry->kind;
  if (has_segment(entry->kind))
    key = put_u32(key, entry->segment);
  if (has_log(entry->kind))
    put_u64(key, entry->log_id);
  *value++ = FORMAT;
  if (entry->kind == CATALOG_SPAN)
    value = put_u64(put_u64(value, (guint64)entry->first_offset), (guint64)entry->max_timestamp_before);
  else
    value = put_u64(value, entry->kind == CATALOG_BULK ? entry->group : (guint64)entry->time_ms);
  put_u32(value, checksum(ret_bytes->key, ret_bytes->key_len, ret_bytes->value, ret_bytes->value_len));
}

Failure *catalog_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                        CatalogEntry *ret_entry) {
  gsize want_key, want_value;
  if (key_len == 0 || !sizes(key[0], &want_key, &want_value) || key_len != want_key || value_len == 0)
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds an entry of an unknown kind");
  if (value[0] > FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the catalog holds an entry of format %u, this program knows %u: run the "
                       "newer version that wrote it",
                       value[0], FORMAT);
  if (value[0] != FORMAT || value_len != want_value ||
      get_u32(value + value_len - 4) != checksum(key, key_len, value, value_len))
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds a damaged entry of kind %c", key[0]);
  CatalogEntry entry = {.kind = (CatalogKind)key[0]};
  if (has_segment(entry.kind))
    entry.segment = get_u32(key + 1);
  if (has_log(entry.kind))
    entry.log_id = get_u64(key + key_len - 8);
  if (entry.kind == CATALOG_SPAN) {
    entry.first_offset = (gint64)get_u64(value + 1);
    entry.max_timestamp_before = (gint64)get_u64(value + 9);
  } else if (entry.kind == CATALOG_BULK) {
    entry.group = get_u64(value + 1);
  } else {
    entry.time_ms = (gint64)get_u64(value + 1);
  }
  *ret_entry = entry;
  return NULL;
}
