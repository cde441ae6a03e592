#include "storage/rocks/catalog.h"

#include <string.h>

#include "storage/log/crc32c.h"

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

/* What is written of a kind: its format, and the sizes of key and value. */
typedef struct {
  guint8 kind, format;
  gsize key_len, value_len;
} KindForm;

static const KindForm FORMS[] = {
    {CATALOG_SEGMENT, 1, 5, 13}, {CATALOG_SEGMENT, 2, 5, 21}, {CATALOG_SPAN, 1, 13, 21}, {CATALOG_SPAN, 2, 13, 29},
    {CATALOG_DROPPED, 1, 9, 13}, {CATALOG_GONE, 1, 5, 13},    {CATALOG_BULK, 1, 1, 13},
};

/* Of @kind with @format; format 0: the latest. NULL: there is none. */
static const KindForm *find_form(guint8 kind, guint8 format) {
  const KindForm *found = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(FORMS); i++)
    if (FORMS[i].kind == kind && (format == 0 || FORMS[i].format == format))
      found = &FORMS[i];
  return found;
}

static gboolean has_segment(CatalogKind kind) {
  return kind == CATALOG_SEGMENT || kind == CATALOG_SPAN || kind == CATALOG_GONE;
}

static gboolean has_log(CatalogKind kind) {
  return kind == CATALOG_SPAN || kind == CATALOG_DROPPED;
}

static guint32 checksum(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len) {
  return log_crc32c_extend(log_crc32c(key, key_len), value, value_len - sizeof(guint32));
}

void catalog_span_range(guint32 segment, guint8 ret_start[CATALOG_KEY_BYTES_MAX],
                        guint8 ret_end[CATALOG_KEY_BYTES_MAX]) {
  ret_start[0] = ret_end[0] = CATALOG_SPAN;
  put_u64(put_u32(ret_start + 1, segment), 0);
  put_u64(put_u32(ret_end + 1, segment), G_MAXUINT64); /* no log has that id */
}

void catalog_encode(const CatalogEntry *entry, CatalogBytes *ret_bytes) {
  const KindForm *form = find_form((guint8)entry->kind, 0);
  ret_bytes->key_len = form->key_len;
  ret_bytes->value_len = form->value_len;
  guint8 *key = ret_bytes->key, *value = ret_bytes->value;
  *key++ = (guint8)entry->kind;
  if (has_segment(entry->kind))
    key = put_u32(key, entry->segment);
  if (has_log(entry->kind))
    put_u64(key, entry->log_id);
  *value++ = form->format;
  if (entry->kind == CATALOG_SPAN)
    value = put_u64(put_u64(value, (guint64)entry->first_offset), (guint64)entry->max_timestamp_before);
  else
    value = put_u64(value, entry->kind == CATALOG_BULK ? entry->group : (guint64)entry->time_ms);
  if (entry->kind == CATALOG_SPAN || entry->kind == CATALOG_SEGMENT)
    value = put_u64(value, (guint64)entry->bytes);
  put_u32(value, checksum(ret_bytes->key, ret_bytes->key_len, ret_bytes->value, ret_bytes->value_len));
}

/* The numbers in a value that was checked. */
static void read_value(const guint8 *value, CatalogEntry *entry) {
  const guint8 *at = value + 1;
  entry->bytes = CATALOG_BYTES_UNKNOWN;
  if (entry->kind == CATALOG_SPAN) {
    entry->first_offset = (gint64)get_u64(at);
    entry->max_timestamp_before = (gint64)get_u64(at + 8);
    at += 8;
  } else if (entry->kind == CATALOG_BULK) {
    entry->group = get_u64(at);
  } else {
    entry->time_ms = (gint64)get_u64(at);
  }
  if (value[0] == 2)
    entry->bytes = (gint64)get_u64(at + 8);
}

Failure *catalog_decode(const guint8 *key, gsize key_len, const guint8 *value, gsize value_len,
                        CatalogEntry *ret_entry) {
  const KindForm *latest = key_len ? find_form(key[0], 0) : NULL;
  if (!latest || key_len != latest->key_len || value_len == 0)
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds an entry of an unknown kind");
  if (value[0] > latest->format)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the catalog holds an entry of format %u, this program knows %u: run the "
                       "newer version that wrote it",
                       value[0], latest->format);
  const KindForm *form = value[0] ? find_form(key[0], value[0]) : NULL;
  if (!form || value_len != form->value_len ||
      get_u32(value + value_len - 4) != checksum(key, key_len, value, value_len))
    return failure_new(FAILURE(CORRUPT_LOG), "the catalog holds a damaged entry of kind %c", key[0]);
  CatalogEntry entry = {.kind = (CatalogKind)key[0]};
  if (has_segment(entry.kind))
    entry.segment = get_u32(key + 1);
  if (has_log(entry.kind))
    entry.log_id = get_u64(key + key_len - 8);
  read_value(value, &entry);
  *ret_entry = entry;
  return NULL;
}
