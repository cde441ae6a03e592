/* Golden bytes of the catalog's entries, and what is refused. */
#include "storage/rocks/catalog.h"

#include <string.h>

#include "tests/shim/shim.h"

static const struct {
  const char *name;
  CatalogEntry entry;
  const char *key, *value;
} ROWS[] = {
    {"segment",
     {.kind = CATALOG_SEGMENT, .segment = 258, .time_ms = 1700000000000, .bytes = 5000000000},
     "5300000102",
     "020000018bcfe56800000000012a05f2000187c5b2"},
    {"span",
     {.kind = CATALOG_SPAN,
      .segment = 1,
      .log_id = 0x0102030405060708,
      .first_offset = 77,
      .max_timestamp_before = -1,
      .bytes = 4096},
     "46000000010102030405060708",
     "02000000000000004dffffffffffffffff00000000000010002ce7c978"},
    {"gone", {.kind = CATALOG_GONE, .segment = 3, .time_ms = 5}, "4700000003", "0100000000000000050b05403d"},
    {"dropped",
     {.kind = CATALOG_DROPPED, .log_id = 9, .time_ms = 5},
     "440000000000000009",
     "0100000000000000056cb686a4"},
    {"bulk", {.kind = CATALOG_BULK, .group = 12}, "42", "01000000000000000cf4efddda"},
};

static char *hex(const guint8 *bytes, gsize len) {
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < len; i++)
    g_string_append_printf(text, "%02x", bytes[i]);
  return g_string_free(text, FALSE);
}

TEST_ROWS(catalog, ROWS) {
  CatalogBytes bytes;
  catalog_encode(&ROWS[row].entry, &bytes);
  g_autofree char *key = hex(bytes.key, bytes.key_len), *value = hex(bytes.value, bytes.value_len);
  EXPECT_EQ_STR(ROWS[row].key, key);
  EXPECT_EQ_STR(ROWS[row].value, value);
  CatalogEntry back;
  EXPECT_NULL(catalog_decode(bytes.key, bytes.key_len, bytes.value, bytes.value_len, &back));
  EXPECT_EQ_INT(ROWS[row].entry.kind, back.kind);
  EXPECT_EQ_INT(ROWS[row].entry.segment, back.segment);
  EXPECT_EQ_INT(ROWS[row].entry.log_id, back.log_id);
  EXPECT_EQ_INT(ROWS[row].entry.first_offset, back.first_offset);
  EXPECT_EQ_INT(ROWS[row].entry.max_timestamp_before, back.max_timestamp_before);
  EXPECT_EQ_INT(ROWS[row].entry.time_ms, back.time_ms);
  EXPECT_EQ_INT(ROWS[row].entry.group, back.group);
  if (ROWS[row].entry.bytes)
    EXPECT_EQ_INT(ROWS[row].entry.bytes, back.bytes);
}

/* Of format 1, which older versions wrote. */
static const struct {
  const char *name, *key, *value;
  gint64 time_ms, first_offset, max_timestamp_before;
} OLD_ROWS[] = {
    {"segment", "5300000102", "010000018bcfe56800f49f9679", 1700000000000, 0, 0},
    {"span", "46000000010102030405060708", "01000000000000004dffffffffffffffff78a098f2", 0, 77, -1},
};

static gsize bytes_of(const char *text, guint8 *bytes) {
  gsize len = strlen(text) / 2;
  for (gsize i = 0; i < len; i++)
    bytes[i] = (guint8)(g_ascii_xdigit_value(text[2 * i]) << 4 | g_ascii_xdigit_value(text[2 * i + 1]));
  return len;
}

TEST_ROWS(catalog_old, OLD_ROWS) {
  guint8 key[32], value[32];
  gsize key_len = bytes_of(OLD_ROWS[row].key, key), value_len = bytes_of(OLD_ROWS[row].value, value);
  CatalogEntry entry = {.bytes = 7};
  ASSERT_NULL(catalog_decode(key, key_len, value, value_len, &entry));
  EXPECT_EQ_INT(OLD_ROWS[row].time_ms, entry.time_ms);
  EXPECT_EQ_INT(OLD_ROWS[row].first_offset, entry.first_offset);
  EXPECT_EQ_INT(OLD_ROWS[row].max_timestamp_before, entry.max_timestamp_before);
  EXPECT_EQ_INT(CATALOG_BYTES_UNKNOWN, entry.bytes);
}

TEST(catalog, spans_of_a_segment_are_one_range) {
  guint8 start[CATALOG_KEY_BYTES_MAX], end[CATALOG_KEY_BYTES_MAX];
  catalog_span_range(7, start, end);
  for (guint32 segment = 6; segment <= 8; segment++) {
    CatalogBytes bytes;
    catalog_encode(&(CatalogEntry){.kind = CATALOG_SPAN, .segment = segment, .log_id = G_GUINT64_CONSTANT(1) << 62},
                   &bytes);
    gboolean inside = memcmp(bytes.key, start, sizeof start) >= 0 && memcmp(bytes.key, end, sizeof end) < 0;
    EXPECT_EQ_INT(segment == 7, inside);
  }
}

TEST(catalog, every_flipped_bit_is_found) {
  for (guint row = 0; row < G_N_ELEMENTS(ROWS); row++) {
    CatalogBytes bytes;
    catalog_encode(&ROWS[row].entry, &bytes);
    for (gsize bit = 0; bit < (bytes.key_len + bytes.value_len) * 8; bit++) {
      CatalogBytes flipped = bytes;
      guint8 *byte = bit / 8 < bytes.key_len ? &flipped.key[bit / 8] : &flipped.value[bit / 8 - bytes.key_len];
      *byte ^= (guint8)(1 << bit % 8);
      CatalogEntry entry;
      g_autoptr(Failure) failure =
          catalog_decode(flipped.key, flipped.key_len, flipped.value, flipped.value_len, &entry);
      EXPECT_TRUE(failure != NULL);
    }
  }
}

TEST(catalog, newer_format_and_wrong_lengths_are_refused) {
  CatalogBytes bytes;
  catalog_encode(&ROWS[0].entry, &bytes);
  CatalogEntry entry;
  for (gsize len = 0; len < bytes.value_len; len++) {
    g_autoptr(Failure) failure = catalog_decode(bytes.key, bytes.key_len, bytes.value, len, &entry);
    EXPECT_EQ_STR("CORRUPT_LOG", failure_reason_name(failure_reason(failure)));
  }
  bytes.value[0] = 3;
  g_autoptr(Failure) newer = catalog_decode(bytes.key, bytes.key_len, bytes.value, bytes.value_len, &entry);
  EXPECT_EQ_STR("UNSUPPORTED", failure_reason_name(failure_reason(newer)));
}
