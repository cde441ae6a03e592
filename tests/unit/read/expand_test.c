/* Batches to records, and what hostile batches do to it. */
#include "services/broker/read/expand.h"

#include <string.h>

#include "tests/shim/shim.h"
#include "tests/unit/read/batches.h"

#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE
#define ZSTD MILENA__V1__COMPRESSION__COMPRESSION_ZSTD
#define LZ4 MILENA__V1__COMPRESSION__COMPRESSION_LZ4
#define RECORDS MILENA__V1__FORMAT__FORMAT_RECORDS
#define TEXT MILENA__V1__FORMAT__FORMAT_TEXT
#define BATCHES MILENA__V1__FORMAT__FORMAT_BATCHES

static const ExpandLimits WIDE = {.bytes = 1 << 20, .records = G_MAXUINT64, .at_least_one = TRUE};

/* ---- trimming: three batches of offsets 10-14, 15-19, 30-34 (a gap before the last) ---- */

static const struct {
  const char *name;
  Milena__V1__Format format;
  Milena__V1__Compression compression;
  gint64 start, stop;
  ExpandLimits limits;
  const char *offsets; /* of all records, or batches, of the first piece */
  gint64 next_offset;
  gboolean done;
} TRIM_ROWS[] = {
    {"all",
     RECORDS,
     NONE,
     10,
     EXPAND_STOP_NONE,
     {1 << 20, 99, TRUE},
     "10 11 12 13 14 15 16 17 18 19 30 31 32 33 34",
     35,
     TRUE},
    {"from_the_middle",
     RECORDS,
     ZSTD,
     13,
     EXPAND_STOP_NONE,
     {1 << 20, 99, TRUE},
     "13 14 15 16 17 18 19 30 31 32 33 34",
     35,
     TRUE},
    {"from_the_gap", TEXT, LZ4, 20, EXPAND_STOP_NONE, {1 << 20, 99, TRUE}, "30 31 32 33 34", 35, TRUE},
    {"stop_in_a_batch", RECORDS, ZSTD, 10, 17, {1 << 20, 99, TRUE}, "10 11 12 13 14 15 16", 17, TRUE},
    {"stop_in_the_gap", RECORDS, NONE, 18, 25, {1 << 20, 99, TRUE}, "18 19", 25, TRUE},
    {"stop_before_start", RECORDS, NONE, 18, 12, {1 << 20, 99, TRUE}, "", 18, TRUE},
    {"behind_all", RECORDS, NONE, 50, EXPAND_STOP_NONE, {1 << 20, 99, TRUE}, "", 50, TRUE},
    {"limit_in_a_batch", RECORDS, LZ4, 12, EXPAND_STOP_NONE, {1 << 20, 4, TRUE}, "12 13 14 15", 16, FALSE},
    {"no_records_wanted", RECORDS, NONE, 12, EXPAND_STOP_NONE, {1 << 20, 0, TRUE}, "", 12, FALSE},
    {"one_byte_gives_one", RECORDS, NONE, 12, EXPAND_STOP_NONE, {1, 99, TRUE}, "12", 13, FALSE},
    {"one_byte_gives_none", RECORDS, NONE, 12, EXPAND_STOP_NONE, {1, 99, FALSE}, "", 12, FALSE},
    {"two_fit", RECORDS, NONE, 12, EXPAND_STOP_NONE, {65, 99, FALSE}, "12 13", 14, FALSE},
    {"batches_all", BATCHES, ZSTD, 10, EXPAND_STOP_NONE, {1 << 20, 99, TRUE}, "10 15 30", 35, TRUE},
    {"batches_from_the_middle", BATCHES, ZSTD, 17, EXPAND_STOP_NONE, {1 << 20, 99, TRUE}, "15 30", 35, TRUE},
    {"batches_stop", BATCHES, NONE, 10, 17, {1 << 20, 99, TRUE}, "10 15", 20, TRUE},
    {"batches_stop_at_a_batch", BATCHES, NONE, 10, 15, {1 << 20, 99, TRUE}, "10", 15, TRUE},
    {"batches_limit_passed", BATCHES, NONE, 10, EXPAND_STOP_NONE, {1 << 20, 7, TRUE}, "10 15", 20, FALSE},
    {"batches_one_byte", BATCHES, NONE, 10, EXPAND_STOP_NONE, {1, 99, TRUE}, "10", 15, FALSE},
};

static char *offsets_of(const Expanded *piece) {
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < piece->record_count; i++)
    g_string_append_printf(text, " %" G_GINT64_FORMAT, piece->records[i]->offset);
  for (gsize i = 0; i < piece->batch_count; i++)
    g_string_append_printf(text, " %" G_GINT64_FORMAT, piece->batches[i]->stamp->base_offset);
  if (text->len > 0)
    g_string_erase(text, 0, 1);
  return g_string_free(text, FALSE);
}

TEST_ROWS(expand, TRIM_ROWS) {
  GArray *batches = log_batch_array_new();
  batches_add(batches, 10, 5, TRIM_ROWS[row].compression);
  batches_add(batches, 15, 5, TRIM_ROWS[row].compression);
  batches_add(batches, 30, 5, TRIM_ROWS[row].compression);
  g_autoptr(Expander) expander =
      expander_new("t", 0, batches, TRIM_ROWS[row].start, TRIM_ROWS[row].stop, TRIM_ROWS[row].format);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  EXPECT_NULL(expander_next(expander, memory, &TRIM_ROWS[row].limits, &piece));
  g_autofree char *offsets = offsets_of(&piece);
  EXPECT_EQ_STR(TRIM_ROWS[row].offsets, offsets);
  EXPECT_EQ_INT(TRIM_ROWS[row].next_offset, expander_next_offset(expander));
  EXPECT_EQ_INT(TRIM_ROWS[row].done, expander_is_done(expander));
}

TEST(expand, piece_by_piece_gives_all_once) {
  GArray *batches = log_batch_array_new();
  batches_add(batches, 0, 100, ZSTD);
  batches_add(batches, 100, 100, LZ4);
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 3, EXPAND_STOP_NONE, RECORDS);
  gint64 want = 3;
  while (!expander_is_done(expander)) {
    g_autoptr(ReadMemory) memory = read_memory_new();
    ExpandLimits limits = {.bytes = 300, .records = 7, .at_least_one = TRUE};
    Expanded piece;
    ASSERT_NULL(expander_next(expander, memory, &limits, &piece));
    ASSERT_TRUE(piece.record_count > 0 && piece.record_count <= 7);
    for (gsize i = 0; i < piece.record_count; i++)
      EXPECT_EQ_INT(want++, piece.records[i]->offset);
  }
  EXPECT_EQ_INT(200, want);
}

/* ---- what a record looks like ---- */

TEST(expand, text_where_it_is_text) {
  GArray *batches = log_batch_array_new();
  LogHeader headers[] = {{"a", 1, log_field("\xc3\xa4", 2)}, {"b", 1, log_field("\xff", 1)}, {"c", 1, LOG_FIELD_NONE}};
  batches_add_record(batches, 0, log_field("key", 3), log_field("\xfe\xff", 2), headers, 3, -1);
  batches_add_record(batches, 1, LOG_FIELD_NONE, LOG_FIELD_NONE, NULL, 0, 1500);
  batches_add_record(batches, 2, log_field("", 0), log_field("a\0b", 3), NULL, 0, 0);
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 0, EXPAND_STOP_NONE, TEXT);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  ASSERT_NULL(expander_next(expander, memory, &WIDE, &piece));
  ASSERT_EQ_INT(3, piece.record_count);
  Milena__V1__ConsumedRecord *record = piece.records[0];
  ASSERT_EQ_INT(MILENA__V1__CONSUMED_RECORD__KEY_KIND_KEY_TEXT, record->key_kind_case);
  EXPECT_EQ_STR("key", record->key_text);
  ASSERT_EQ_INT(MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE, record->value_kind_case);
  EXPECT_EQ_BYTES("\xfe\xff", 2, record->value.data, record->value.len);
  EXPECT_EQ_INT(-1, record->timestamp->seconds); /* one millisecond before 1970 */
  EXPECT_EQ_INT(999000000, record->timestamp->nanos);
  EXPECT_EQ_INT(7, record->leader_epoch);
  ASSERT_EQ_INT(3, record->n_headers);
  ASSERT_EQ_INT(MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT, record->headers[0]->value_kind_case);
  EXPECT_EQ_STR("\xc3\xa4", record->headers[0]->value_text);
  EXPECT_EQ_INT(MILENA__V1__HEADER__VALUE_KIND_VALUE, record->headers[1]->value_kind_case);
  EXPECT_EQ_INT(MILENA__V1__HEADER__VALUE_KIND__NOT_SET, record->headers[2]->value_kind_case);
  EXPECT_EQ_STR("c", record->headers[2]->key);
  record = piece.records[1]; /* neither key nor value: a tombstone */
  EXPECT_EQ_INT(MILENA__V1__CONSUMED_RECORD__KEY_KIND__NOT_SET, record->key_kind_case);
  EXPECT_EQ_INT(MILENA__V1__CONSUMED_RECORD__VALUE_KIND__NOT_SET, record->value_kind_case);
  EXPECT_EQ_INT(1, record->timestamp->seconds);
  EXPECT_EQ_INT(500000000, record->timestamp->nanos);
  record = piece.records[2]; /* an empty key is a key; a NUL would cut a text */
  EXPECT_EQ_INT(MILENA__V1__CONSUMED_RECORD__KEY_KIND_KEY_TEXT, record->key_kind_case);
  EXPECT_EQ_STR("", record->key_text);
  EXPECT_EQ_INT(MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE, record->value_kind_case);
}

TEST(expand, batches_share_their_bytes) {
  GArray *batches = log_batch_array_new();
  batches_add_sized(batches, 0, 4, 4096, NONE);
  GBytes *bytes = LOG_BATCH_AT(batches, 0)->records;
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 0, EXPAND_STOP_NONE, BATCHES);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  ASSERT_NULL(expander_next(expander, memory, &WIDE, &piece));
  gsize owner_count;
  GBytes *const *owners = read_memory_owners(memory, &owner_count);
  ASSERT_EQ_INT(1, owner_count);
  EXPECT_TRUE(owners[0] == bytes);
  EXPECT_TRUE(piece.batches[0]->records.data == g_bytes_get_data(bytes, NULL));
}

TEST(expand, many_small_records_end_at_the_bound) {
  GArray *batches = log_batch_array_new();
  batches_add(batches, 0, EXPAND_RECORDS_MAX + 10, ZSTD);
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 0, EXPAND_STOP_NONE, RECORDS);
  g_autoptr(ReadMemory) memory = read_memory_new();
  ExpandLimits limits = {.bytes = 64u << 20, .records = G_MAXUINT64, .at_least_one = TRUE};
  Expanded piece;
  ASSERT_NULL(expander_next(expander, memory, &limits, &piece));
  EXPECT_EQ_INT(EXPAND_RECORDS_MAX, piece.record_count);
  ASSERT_NULL(expander_next(expander, memory, &limits, &piece));
  EXPECT_EQ_INT(10, piece.record_count);
}

/* ---- hostile batches: after one good batch of offsets 0-4, one of 5-9 that is not what it says ---- */

static const struct {
  const char *name;
  guint32 compression, uncompressed_bytes;
  const char *data;
  gsize len;
  FailureReason reason;
  const char *says;
  int readable; /* of its five records */
} HOSTILE_ROWS[] = {
    {"empty", NONE, 0, "", 0, FAILURE(CORRUPT_LOG), "offset 5 of t/3", 0},
    {"garbage", NONE, 4, "\xff\xff\xff\xff", 4, FAILURE(CORRUPT_LOG), "format BATCHES", 0},
    {"wrong_size", NONE, 9, "\x0a\x00", 2, FAILURE(CORRUPT_LOG), "its header says 9", 0},
    {"fewer_records", NONE, 4, "\x0a\x00\x0a\x00", 4, FAILURE(CORRUPT_LOG), "ends before", 2},
    {"more_records", NONE, 12, "\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00", 12, FAILURE(CORRUPT_LOG),
     "more records", 5},
    {"length_beyond", NONE, 3, "\x0a\x7f\x00", 3, FAILURE(CORRUPT_LOG), "read on from offset 10", 0},
    {"bad_record", NONE, 4, "\x0a\x02\x0a\x7f", 4, FAILURE(CORRUPT_LOG), "BatchRecord", 0},
    {"header_not_utf8", NONE, 7, "\x0a\x05\x1a\x03\x0a\x01\xff", 7, FAILURE(CORRUPT_LOG), "UTF-8", 0},
    {"header_with_nul", NONE, 7, "\x0a\x05\x1a\x03\x0a\x01\x00", 7, FAILURE(CORRUPT_LOG), "UTF-8", 0},
    {"not_zstd", ZSTD, 100, "not a frame", 11, FAILURE(CORRUPT_LOG), "t/3", 0},
    {"not_lz4", LZ4, 100, "not a frame", 11, FAILURE(CORRUPT_LOG), "t/3", 0},
    {"bomb_claims_64_mib", ZSTD, 64u << 20, "\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00", 9, FAILURE(CORRUPT_LOG), "t/3", 0},
    {"unknown_codec", 77, 2, "\x0a\x00", 2, FAILURE(UNSUPPORTED), "t/3", 0},
};

TEST_ROWS(expand, HOSTILE_ROWS) {
  GArray *batches = log_batch_array_new();
  batches_add(batches, 0, 5, NONE);
  batches_add_raw(batches, 5, 5, HOSTILE_ROWS[row].compression, HOSTILE_ROWS[row].uncompressed_bytes,
                  HOSTILE_ROWS[row].data, HOSTILE_ROWS[row].len);
  g_autoptr(Expander) expander = expander_new("t", 3, batches, 0, EXPAND_STOP_NONE, TEXT);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  ASSERT_NULL(expander_next(expander, memory, &WIDE, &piece)); /* what is whole comes first */
  EXPECT_EQ_INT(5 + HOSTILE_ROWS[row].readable, piece.record_count);
  for (int again = 0; again < 2; again++) {
    g_autoptr(Failure) failure = expander_next(expander, memory, &WIDE, &piece);
    ASSERT_TRUE(failure != NULL);
    EXPECT_EQ_INT(HOSTILE_ROWS[row].reason, failure_reason(failure));
    EXPECT_CONTAINS(failure_message(failure), HOSTILE_ROWS[row].says);
    EXPECT_EQ_STR("t", failure_get(failure, "topic"));
    EXPECT_EQ_STR("3", failure_get(failure, "partition"));
    EXPECT_EQ_STR("5", failure_get(failure, "offset"));
    EXPECT_EQ_STR("10", failure_get(failure, "next_offset"));
    EXPECT_EQ_INT(0, piece.record_count);
  }
  EXPECT_FALSE(expander_is_done(expander) && HOSTILE_ROWS[row].readable < 5);
}

TEST(expand, hostile_bytes_pass_as_batches) {
  GArray *batches = log_batch_array_new();
  batches_add_raw(batches, 0, 5, NONE, 4, "\xff\xff\xff\xff", 4);
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 0, EXPAND_STOP_NONE, BATCHES);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  EXPECT_NULL(expander_next(expander, memory, &WIDE, &piece));
  EXPECT_EQ_INT(1, piece.batch_count);
}

TEST(expand, a_record_of_a_hundred_thousand_headers_is_refused) {
  GByteArray *data = g_byte_array_new();
  g_byte_array_append(data, (const guint8 *)"\x0a\xc0\x9a\x0c", 4); /* one record of 200,000 bytes */
  for (int i = 0; i < 100000; i++)
    g_byte_array_append(data, (const guint8 *)"\x1a\x00", 2);
  GArray *batches = log_batch_array_new();
  batches_add_raw(batches, 0, 1, NONE, data->len, data->data, data->len);
  g_byte_array_unref(data);
  g_autoptr(Expander) expander = expander_new("t", 0, batches, 0, EXPAND_STOP_NONE, RECORDS);
  g_autoptr(ReadMemory) memory = read_memory_new();
  Expanded piece;
  g_autoptr(Failure) failure = expander_next(expander, memory, &WIDE, &piece);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_INT(FAILURE(LIMIT_EXCEEDED), failure_reason(failure));
  EXPECT_TRUE(read_memory_bytes(memory) < 1 << 20);
}
