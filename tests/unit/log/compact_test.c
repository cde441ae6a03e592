#include "storage/log/compact.h"

#include <string.h>

#include "storage/log/producers.h"
#include "storage/log/records.h"
#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

/* ---- logs to work on ---- */

typedef struct {
  gint64 offset, timestamp_ms;
  int key;   /* -1: none */
  int value; /* -1: a tombstone */
} Row;

static LogField number_field(int n, char room[32]) {
  if (n < 0)
    return LOG_FIELD_NONE;
  g_snprintf(room, 32, "%d", n);
  return log_field(room, strlen(room));
}

static int field_number(LogField field) {
  g_autofree char *text = g_strndup((const char *)field.data, field.len);
  return field.present ? (int)g_ascii_strtoll(text, NULL, 10) : -1;
}

static LogBatch batch_of(const Row *rows, guint count, Milena__V1__Compression compression, gint32 epoch) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < count; i++) {
    char key[32], value[32];
    LogHeader header = {.name = "h", .name_len = 1, .value = log_field("x", 1)};
    failure_free(log_records_builder_add(builder, number_field(rows[i].key, key), number_field(rows[i].value, value),
                                         &header, i % 2, rows[i].timestamp_ms));
  }
  LogBatch batch = LOG_BATCH_INIT;
  failure_free(log_records_builder_finish(builder, compression, &batch));
  batch.base_offset = rows[0].offset;
  batch.leader_epoch = epoch;
  batch.append_timestamp_ms = 1000 + rows[0].offset;
  return batch;
}

static GArray *rows_new(void) {
  return g_array_new(FALSE, FALSE, sizeof(Row));
}

/* All records of @batches. */
static GArray *rows_of(const GArray *batches) {
  GArray *rows = rows_new();
  gint64 end = 0;
  for (guint i = 0; i < batches->len; i++) {
    const LogBatch *batch = LOG_BATCH_AT(batches, i);
    EXPECT_EQ_STR("", REASON_OF(log_batch_verify(batch)));
    EXPECT_EQ_STR("", REASON_OF(log_records_check(batch)));
    EXPECT_TRUE(batch->base_offset >= end);
    end = log_batch_next_offset(batch);
    g_autoptr(LogRecordsReader) reader = NULL;
    Failure *failure = log_records_reader_new(batch, &reader);
    LogRecord record;
    while (!failure && log_records_reader_next(reader, &record, &failure)) {
      EXPECT_TRUE(record.offset >= batch->base_offset && record.offset < end);
      Row row = {record.offset, record.timestamp_ms, field_number(record.key), field_number(record.value)};
      g_array_append_val(rows, row);
    }
    EXPECT_EQ_STR("", REASON_OF(failure));
  }
  return rows;
}

static void expect_rows(const GArray *want, const GArray *got) {
  EXPECT_EQ_INT(want->len, got->len);
  for (guint i = 0; i < MIN(want->len, got->len); i++) {
    const Row *a = &g_array_index(want, Row, i), *b = &g_array_index(got, Row, i);
    EXPECT_EQ_INT(a->offset, b->offset);
    EXPECT_EQ_INT(a->timestamp_ms, b->timestamp_ms);
    EXPECT_EQ_INT(a->key, b->key);
    EXPECT_EQ_INT(a->value, b->value);
    if (shim_test_has_failed())
      return;
  }
}

/* Batches of random records of @keys keys; gaps between some. */
static GArray *random_batches(GRand *random, guint count, int keys, GArray *rows) {
  GArray *batches = log_batch_array_new();
  gint64 offset = 0;
  gint32 epoch = 1;
  for (guint i = 0; i < count; i++) {
    Row made[20];
    guint records = (guint)g_rand_int_range(random, 1, 20);
    epoch += g_rand_int_range(random, 0, 10) == 0;
    for (guint j = 0; j < records; j++) {
      made[j] = (Row){offset++, g_rand_int_range(random, 0, 1 << 30), g_rand_int_range(random, -1, keys),
                      g_rand_int_range(random, -1, 6)};
      g_array_append_val(rows, made[j]);
    }
    LogBatch batch = batch_of(made, records, (Milena__V1__Compression)g_rand_int_range(random, 1, 4), epoch);
    g_array_append_val(batches, batch);
    offset += g_rand_int_range(random, 0, 4) ? 0 : g_rand_int_range(random, 1, 100);
  }
  return batches;
}

/* ---- the map ---- */

TEST(key_map, keeps_the_last_offset_and_grows) {
  g_autoptr(LogKeyMap) map = log_key_map_new(64 << 20);
  for (gint64 base = 0; base < 60000; base += 100) {
    Row rows[100];
    for (int i = 0; i < 100; i++)
      rows[i] = (Row){base + i, 5, (int)((base + i) % 20000), 1};
    g_auto(LogBatch) batch = batch_of(rows, 100, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 1);
    ASSERT_TRUE(log_key_map_add(map, &batch));
  }
  EXPECT_EQ_INT(20000, log_key_map_count(map));
  gint64 offset = -1;
  ASSERT_TRUE(log_key_map_find(map, "7", 1, &offset));
  EXPECT_EQ_INT(40007, offset);
  EXPECT_FALSE(log_key_map_find(map, "20000", 5, &offset));
}

TEST(key_map, says_when_it_is_full_but_takes_any_one_batch) {
  g_autoptr(LogKeyMap) map = log_key_map_new(1);
  Row rows[2000];
  for (int i = 0; i < 2000; i++)
    rows[i] = (Row){i, 5, i, 1};
  g_auto(LogBatch) batch = batch_of(rows, 2000, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 1);
  EXPECT_TRUE(log_key_map_add(map, &batch));
  EXPECT_FALSE(log_key_map_add(map, &batch));
  log_key_map_clear(map);
  EXPECT_TRUE(log_key_map_add(map, &batch));
}

/* ---- what survives ---- */

static gboolean row_survives(const GArray *rows, guint at, gint64 start, gint64 tombstones_before) {
  const Row *row = &g_array_index(rows, Row, at);
  if (row->offset < start)
    return FALSE;
  if (row->key < 0)
    return TRUE;
  if (row->value < 0 && row->offset < tombstones_before)
    return FALSE;
  for (guint i = at + 1; i < rows->len; i++)
    if (g_array_index(rows, Row, i).key == row->key)
      return FALSE;
  return TRUE;
}

TEST(compact, leaves_what_the_model_says) {
  for (guint32 seed = 1; seed <= 60; seed++) {
    GRand *random = g_rand_new_with_seed(seed);
    g_autoptr(GArray) rows = rows_new();
    g_autoptr(GArray) batches = random_batches(random, 60, (int)(1 + seed * 5), rows);
    gint64 end = log_batch_next_offset(LOG_BATCH_AT(batches, batches->len - 1));
    gint64 start = seed % 3 ? 0 : g_rand_int_range(random, 0, (int)end),
           tombstones = g_rand_int_range(random, 0, (int)end);
    g_rand_free(random);

    g_autoptr(LogKeyMap) map = log_key_map_new(1 << 20);
    for (guint i = 0; i < batches->len; i++)
      ASSERT_TRUE(log_key_map_add(map, LOG_BATCH_AT(batches, i)));
    g_autoptr(GArray) want = rows_new();
    guint want_tombstones = 0;
    for (guint i = 0; i < rows->len; i++)
      if (row_survives(rows, i, start, tombstones)) {
        const Row *row = &g_array_index(rows, Row, i);
        g_array_append_vals(want, row, 1);
        want_tombstones += row->key >= 0 && row->value < 0;
      }
    g_autoptr(GArray) out = log_batch_array_new();
    LogCompactRules rules = {.map = map, .start_offset = start, .tombstones_before = tombstones};
    LogCompactCounts before, after;
    ASSERT_EQ_STR("", REASON_OF(log_compact(&rules, batches, out, &before, &after)));
    g_autoptr(GArray) got = rows_of(out);
    expect_rows(want, got);
    EXPECT_EQ_INT(rows->len, before.records);
    EXPECT_EQ_INT(want->len, after.records);
    EXPECT_EQ_INT(want_tombstones, after.tombstones);
    EXPECT_EQ_INT(out->len, after.batches);
    EXPECT_TRUE(after.batches < before.batches);
    /* What was cleaned is clean: once more changes nothing. */
    g_autoptr(GArray) again = log_batch_array_new();
    ASSERT_EQ_STR("", REASON_OF(log_compact(&rules, out, again, &before, &after)));
    g_autoptr(GArray) got_again = rows_of(again);
    expect_rows(want, got_again);
    if (shim_test_has_failed()) {
      shim_fail(__FILE__, __LINE__, "with seed %u", seed);
      return;
    }
  }
}

TEST(compact, keeps_leader_epochs) {
  Row rows[] = {{0, 5, 1, 1}, {1, 5, 2, 1}, {2, 5, 3, 1}};
  g_autoptr(GArray) batches = log_batch_array_new(), out = log_batch_array_new();
  for (int i = 0; i < 3; i++) {
    LogBatch batch = batch_of(&rows[i], 1, MILENA__V1__COMPRESSION__COMPRESSION_NONE, i < 1 ? 4 : 5);
    g_array_append_val(batches, batch);
  }
  g_autoptr(LogKeyMap) map = log_key_map_new(1 << 20);
  LogCompactRules rules = {.map = map};
  LogCompactCounts before, after;
  ASSERT_EQ_STR("", REASON_OF(log_compact(&rules, batches, out, &before, &after)));
  ASSERT_EQ_INT(2, out->len);
  EXPECT_EQ_INT(4, LOG_BATCH_AT(out, 0)->leader_epoch);
  EXPECT_EQ_INT(LOG_BATCH_FORMAT, LOG_BATCH_AT(out, 0)->format); /* alone, and all of it: as it came */
  EXPECT_EQ_INT(5, LOG_BATCH_AT(out, 1)->leader_epoch);
  EXPECT_EQ_INT(LOG_BATCH_FORMAT_GAPS, LOG_BATCH_AT(out, 1)->format);
  EXPECT_EQ_INT(1002, LOG_BATCH_AT(out, 1)->append_timestamp_ms);
}

TEST(compact, remembered_batches_keep_place_and_sequence_without_records) {
  Row old[] = {{10, 5, 1, 1}, {11, 5, 1, 2}}, newer[] = {{12, 6, 1, 3}};
  g_autoptr(GArray) batches = log_batch_array_new(), out = log_batch_array_new();
  LogBatch first = batch_of(old, 2, MILENA__V1__COMPRESSION__COMPRESSION_ZSTD, 3);
  first.producer_id = 77;
  first.producer_epoch = 2;
  first.first_sequence = 40;
  log_batch_seal(&first);
  LogBatch second = batch_of(newer, 1, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 3);
  g_array_append_val(batches, first);
  g_array_append_val(batches, second);
  g_autoptr(GArray) remembered = g_array_new(FALSE, FALSE, sizeof(gint64));
  gint64 offset = 10;
  g_array_append_val(remembered, offset);
  g_autoptr(LogKeyMap) map = log_key_map_new(1 << 20);
  log_key_map_add(map, &second);
  LogCompactRules rules = {.map = map, .remembered = remembered};
  LogCompactCounts before, after;
  ASSERT_EQ_STR("", REASON_OF(log_compact(&rules, batches, out, &before, &after)));
  ASSERT_EQ_INT(2, out->len);
  const LogBatch *left = LOG_BATCH_AT(out, 0);
  EXPECT_EQ_STR("", REASON_OF(log_batch_verify(left)));
  EXPECT_EQ_INT(0, left->record_count);
  EXPECT_EQ_INT(10, left->base_offset);
  EXPECT_EQ_INT(12, log_batch_next_offset(left));

  g_autoptr(LogProducers) producers = log_producers_new();
  log_producers_add(producers, left);
  LogProducerBatch told;
  LogBatch retry = *LOG_BATCH_AT(batches, 0);
  EXPECT_EQ_INT(LOG_PRODUCER_DUPLICATE, log_producers_check(producers, &retry, &told, NULL));
  EXPECT_EQ_INT(10, told.base_offset);
}

TEST(compact, what_nobody_can_decode_stays) {
  Row rows[] = {{0, 5, 1, 1}};
  LogBatch batch = batch_of(rows, 1, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 1);
  g_bytes_unref(batch.records);
  batch.records = g_bytes_new_static("\xff\xff\xff\xff", 4);
  batch.uncompressed_bytes = 4;
  log_batch_seal(&batch);
  g_autoptr(GArray) batches = log_batch_array_new(), out = log_batch_array_new();
  g_array_append_val(batches, batch);
  g_autoptr(LogKeyMap) map = log_key_map_new(1 << 20);
  EXPECT_TRUE(log_key_map_add(map, &batch));
  LogCompactRules rules = {.map = map, .start_offset = 1};
  LogCompactCounts before, after;
  ASSERT_EQ_STR("", REASON_OF(log_compact(&rules, batches, out, &before, &after)));
  EXPECT_EQ_INT(1, out->len);
}

/* ---- the format of what is left ---- */

static LogBatch batch_with_gaps(void) {
  Row rows[] = {{100, 5, 1, 1}, {101, 5, 2, 2}, {102, 5, 3, 3}, {103, 9, 4, 4}};
  g_autoptr(GArray) batches = log_batch_array_new(), out = log_batch_array_new();
  LogBatch batch = batch_of(rows, 4, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 6), later = LOG_BATCH_INIT;
  g_array_append_val(batches, batch);
  Row last = {200, 5, 2, 9};
  later = batch_of(&last, 1, MILENA__V1__COMPRESSION__COMPRESSION_NONE, 6);
  g_autoptr(LogKeyMap) map = log_key_map_new(1 << 20);
  log_key_map_add(map, &later);
  log_batch_clear(&later);
  LogCompactRules rules = {.map = map};
  LogCompactCounts before, after;
  failure_free(log_compact(&rules, batches, out, &before, &after));
  LogBatch left;
  log_batch_share(LOG_BATCH_AT(out, 0), &left);
  return left;
}

TEST(gaps, are_stored_in_a_format_of_their_own) {
  g_auto(LogBatch) batch = batch_with_gaps();
  guint8 header[LOG_STORED_HEADER_BYTES];
  log_batch_stored_header(&batch, 9, header);
  EXPECT_EQ_INT(2, header[1]);
  EXPECT_EQ_BYTES("\0\0\0\4", 4, header + 88, 4);
  LogKey key = {LOG_KEY_BATCH, 9, 100};
  LogBatch back;
  ASSERT_EQ_STR("", REASON_OF(log_batch_parse_stored_header(header, sizeof header, &key, &back, NULL)));
  EXPECT_EQ_INT(4, back.offset_count);
  EXPECT_EQ_INT(3, back.record_count);
  EXPECT_EQ_INT(104, log_batch_next_offset(&back));
  for (guint bit = 0; bit < 8 * sizeof header; bit++) {
    header[bit / 8] ^= (guint8)(1 << bit % 8);
    EXPECT_FALSE(g_str_equal("", REASON_OF(log_batch_parse_stored_header(header, sizeof header, &key, &back, NULL))));
    header[bit / 8] ^= (guint8)(1 << bit % 8);
  }
}

TEST(gaps, travel_and_are_covered_by_the_checksum) {
  g_auto(LogBatch) batch = batch_with_gaps();
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);
  g_auto(LogBatch) back = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_batch_from_proto(&proto.batch, NULL, &back)));
  EXPECT_EQ_STR("", REASON_OF(log_batch_verify(&back)));
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_batch_check(&back, 1 << 20)));
  back.offset_count++;
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_batch_verify(&back)));
  back.format = 3;
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_batch_verify(&back)));
}

TEST(gaps, readers_skip_to_an_offset) {
  g_auto(LogBatch) batch = batch_with_gaps();
  for (gint64 from = 99; from <= 105; from++) {
    g_autoptr(LogRecordsReader) reader = NULL;
    ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
    log_records_reader_skip_to(reader, from);
    LogRecord record = {.offset = -1};
    Failure *failure = NULL;
    gboolean found = log_records_reader_next(reader, &record, &failure);
    EXPECT_EQ_STR("", REASON_OF(failure));
    EXPECT_EQ_INT(from <= 103, found);
    if (found)
      EXPECT_EQ_INT(from <= 100 ? 100 : MAX(from, 102), record.offset);
  }
}

TEST(gaps, parts_and_placeholders) {
  g_auto(LogBatch) batch = batch_with_gaps();
  g_autoptr(GArray) parts = log_batch_array_new();
  LogBatch part;
  ASSERT_EQ_STR("", REASON_OF(log_compact_part(&batch, 101, 103, &part)));
  g_array_append_val(parts, part);
  log_compact_gap(103, 500, 6, 7, &part);
  g_array_append_val(parts, part);
  EXPECT_EQ_INT(101, LOG_BATCH_AT(parts, 0)->base_offset);
  EXPECT_EQ_INT(103, log_batch_next_offset(LOG_BATCH_AT(parts, 0)));
  EXPECT_EQ_INT(500, log_batch_next_offset(LOG_BATCH_AT(parts, 1)));
  g_autoptr(GArray) rows = rows_of(parts);
  ASSERT_EQ_INT(1, rows->len);
  EXPECT_EQ_INT(102, g_array_index(rows, Row, 0).offset);
  EXPECT_EQ_INT(3, g_array_index(rows, Row, 0).value);
}
