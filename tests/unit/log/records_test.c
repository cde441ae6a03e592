/* Builder and reader: against golden bytes, against protobuf-c's own code, and against bytes that lie. */
#include "storage/log/records.h"

#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

#define BASE_MS G_GINT64_CONSTANT(1700000000123)
#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE

/* See batch_test.c. */
#define GOLDEN_PAYLOAD "0a150a026b31120276311a060a01681201781a030a016e 0a0320b817 0a060a0012002001"

static LogField text(const char *s) {
  return log_field(s, strlen(s));
}

static void add_golden(LogRecordsBuilder *builder) {
  const LogHeader headers[] = {{"h", 1, text("x")}, {"n", 1, LOG_FIELD_NONE}};
  EXPECT_EQ_STR("", REASON_OF(log_records_builder_add(builder, text("k1"), text("v1"), headers, 2, BASE_MS)));
  EXPECT_EQ_STR("",
                REASON_OF(log_records_builder_add(builder, LOG_FIELD_NONE, LOG_FIELD_NONE, NULL, 0, BASE_MS + 1500)));
  EXPECT_EQ_STR(
      "", REASON_OF(log_records_builder_add(builder, log_field(NULL, 0), log_field("", 0), NULL, 0, BASE_MS - 1)));
}

static void expect_field(const char *want, LogField got) {
  EXPECT_EQ_INT(want != NULL, got.present);
  if (want != NULL && got.present)
    EXPECT_EQ_BYTES(want, strlen(want), got.data, got.len);
}

/* ---- builder ---- */

TEST(records_builder, golden_bytes) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  add_golden(builder);
  EXPECT_EQ_INT(36, log_records_builder_bytes(builder));
  EXPECT_EQ_INT(3, log_records_builder_count(builder));

  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_records_builder_finish(builder, NONE, &batch)));
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN_PAYLOAD);
  gsize len;
  const guint8 *data = g_bytes_get_data(batch.records, &len);
  EXPECT_EQ_BYTES(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden), data, len);
  EXPECT_EQ_INT(0xc1d47138, batch.crc32c);
  EXPECT_EQ_INT(3, batch.record_count);
  EXPECT_EQ_INT(36, batch.uncompressed_bytes);
  EXPECT_EQ_INT(BASE_MS, batch.base_timestamp_ms);
  EXPECT_EQ_INT(BASE_MS + 1500, batch.max_timestamp_ms);
  EXPECT_EQ_INT(LOG_OFFSET_NONE, batch.base_offset);
  EXPECT_EQ_STR("", REASON_OF(log_batch_check(&batch, 36)));
  EXPECT_EQ_INT(0, log_records_builder_count(builder));
}

TEST(records_builder, protobuf_c_reads_what_it_writes) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  add_golden(builder);
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_records_builder_finish(builder, NONE, &batch)));
  gsize len;
  const guint8 *data = g_bytes_get_data(batch.records, &len);
  Milena__V1__RecordBatch *parsed = milena__v1__record_batch__unpack(NULL, len, data);
  ASSERT_TRUE(parsed != NULL);
  EXPECT_EQ_INT(3, parsed->n_records);
  Milena__V1__BatchRecord *first = parsed->records[0], *second = parsed->records[1], *third = parsed->records[2];
  EXPECT_EQ_BYTES("k1", 2, first->key.data, first->key.len);
  EXPECT_EQ_BYTES("v1", 2, first->value.data, first->value.len);
  EXPECT_EQ_INT(2, first->n_headers);
  EXPECT_EQ_STR("h", first->headers[0]->key);
  EXPECT_EQ_BYTES("x", 1, first->headers[0]->value.data, first->headers[0]->value.len);
  EXPECT_EQ_STR("n", first->headers[1]->key);
  EXPECT_EQ_INT(0, first->headers[1]->value_kind_case);
  EXPECT_EQ_INT(0, second->key_presence_case);
  EXPECT_EQ_INT(0, second->value_presence_case);
  EXPECT_EQ_INT(1500, second->timestamp_delta_ms);
  EXPECT_EQ_INT(1, third->key_presence_case);
  EXPECT_EQ_INT(2, third->value_presence_case);
  EXPECT_EQ_INT(0, third->value.len);
  EXPECT_EQ_INT(-1, third->timestamp_delta_ms);
  milena__v1__record_batch__free_unpacked(parsed, NULL);
}

TEST(records_builder, refusals_leave_it_unchanged) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  add_golden(builder);
  const LogHeader unnamed = {"", 0, LOG_FIELD_NONE}, not_text = {"a\xff", 2, LOG_FIELD_NONE};
  const LogHeader with_nul = {"a\0b", 3, LOG_FIELD_NONE};
  const LogField none = LOG_FIELD_NONE;
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add(builder, none, none, &unnamed, 1, BASE_MS)));
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add(builder, none, none, &not_text, 1, BASE_MS)));
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add(builder, none, none, &with_nul, 1, BASE_MS)));
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add(builder, none, none, NULL, 0, G_MININT64)));
  EXPECT_EQ_STR("INVALID_FIELD",
                REASON_OF(log_records_builder_add(builder, none, none, NULL, 0, LOG_TIMESTAMP_MS_MAX + 1)));
  /* Never read: the length alone is refused. */
  EXPECT_EQ_STR("RECORD_TOO_LARGE",
                REASON_OF(log_records_builder_add(builder, none, log_field("", G_MAXSIZE), NULL, 0, BASE_MS)));
  EXPECT_EQ_STR("RECORD_TOO_LARGE",
                REASON_OF(log_records_builder_add(builder, none, log_field("", 64u << 20), NULL, 0, BASE_MS)));
  EXPECT_EQ_INT(36, log_records_builder_bytes(builder));
  EXPECT_EQ_INT(3, log_records_builder_count(builder));
}

TEST(records_builder, estimate_is_an_upper_bound) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  g_autofree guint8 *data = g_malloc0(70000);
  const gsize lens[] = {0, 1, 127, 128, 16383, 16384, 70000};
  EXPECT_EQ_STR(
      "", REASON_OF(log_records_builder_add(builder, LOG_FIELD_NONE, LOG_FIELD_NONE, NULL, 0, LOG_TIMESTAMP_MS_MIN)));
  for (guint i = 0; i < G_N_ELEMENTS(lens); i++) {
    const LogHeader header = {"name", 4, log_field(data, lens[i])};
    gsize before = log_records_builder_bytes(builder);
    gsize bound = log_records_bytes(LOG_FIELD_NONE, log_field(data, lens[i]), &header, 1);
    EXPECT_EQ_STR("", REASON_OF(log_records_builder_add(builder, LOG_FIELD_NONE, log_field(data, lens[i]), &header, 1,
                                                        LOG_TIMESTAMP_MS_MAX)));
    gsize took = log_records_builder_bytes(builder) - before;
    EXPECT_TRUE(took <= bound && bound <= took + 16);
  }
}

TEST(records_builder, is_used_again_and_reset) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < 3; i++) {
    add_golden(builder);
    log_records_builder_reset(builder);
    add_golden(builder);
    g_auto(LogBatch) batch = LOG_BATCH_INIT;
    const Milena__V1__Compression codecs[] = {NONE, MILENA__V1__COMPRESSION__COMPRESSION_ZSTD,
                                              MILENA__V1__COMPRESSION__COMPRESSION_LZ4};
    ASSERT_EQ_STR("", REASON_OF(log_records_builder_finish(builder, codecs[i], &batch)));
    EXPECT_EQ_INT(36, batch.uncompressed_bytes);
    EXPECT_EQ_STR("", REASON_OF(log_batch_check(&batch, 1000)));
    EXPECT_EQ_STR("", REASON_OF(log_records_check(&batch)));
  }
}

TEST(records_builder, unknown_compression_keeps_the_records) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  add_golden(builder);
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_records_builder_finish(builder, (Milena__V1__Compression)9, &batch)));
  EXPECT_EQ_INT(3, log_records_builder_count(builder));
  EXPECT_NULL(batch.records);
}

/* ---- from messages ---- */

TEST(records_builder, takes_plain_records) {
  Milena__V1__Header header_text = MILENA__V1__HEADER__INIT, header_bare = MILENA__V1__HEADER__INIT;
  header_text.key = (char *)"h";
  header_text.value_kind_case = MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT;
  header_text.value_text = (char *)"x";
  header_bare.key = (char *)"n";
  Milena__V1__Header *headers[20] = {&header_text};
  for (guint i = 1; i < G_N_ELEMENTS(headers); i++)
    headers[i] = &header_bare;
  Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  timestamp.seconds = -1;
  timestamp.nanos = 999999999;
  Milena__V1__Record record = MILENA__V1__RECORD__INIT;
  record.key_kind_case = MILENA__V1__RECORD__KEY_KIND_KEY_TEXT;
  record.key_text = (char *)"k";
  record.value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE;
  record.value = (ProtobufCBinaryData){3, (guint8 *)"a\0b"};
  record.headers = headers;
  record.n_headers = G_N_ELEMENTS(headers);
  record.timestamp = &timestamp;
  Milena__V1__Record bare = MILENA__V1__RECORD__INIT;

  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  EXPECT_EQ_STR("", REASON_OF(log_records_builder_add_proto(builder, &record, BASE_MS)));
  EXPECT_EQ_STR("", REASON_OF(log_records_builder_add_proto(builder, &bare, BASE_MS)));
  timestamp.nanos = -1;
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add_proto(builder, &record, BASE_MS)));
  timestamp.nanos = 0;
  timestamp.seconds = G_MAXINT64;
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_records_builder_add_proto(builder, &record, BASE_MS)));

  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_records_builder_finish(builder, NONE, &batch)));
  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  LogRecord got;
  Failure *failure = NULL;
  ASSERT_TRUE(log_records_reader_next(reader, &got, &failure));
  expect_field("k", got.key);
  EXPECT_EQ_BYTES("a\0b", 3, got.value.data, got.value.len);
  EXPECT_EQ_INT(20, got.header_count);
  EXPECT_EQ_INT(-1, got.timestamp_ms);
  ASSERT_TRUE(log_records_reader_next(reader, &got, &failure));
  expect_field(NULL, got.key);
  expect_field(NULL, got.value);
  EXPECT_EQ_INT(BASE_MS, got.timestamp_ms);
  EXPECT_FALSE(log_records_reader_next(reader, &got, &failure));
  EXPECT_NULL(failure);
}

/* ---- reader ---- */

static LogBatch batch_of(GBytes *payload, guint32 record_count) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = record_count;
  batch.base_timestamp_ms = BASE_MS;
  batch.max_timestamp_ms = BASE_MS + 1500;
  batch.uncompressed_bytes = (guint32)g_bytes_get_size(payload);
  batch.base_offset = 4096;
  batch.records = payload;
  log_batch_seal(&batch);
  return batch;
}

TEST(records_reader, reads_golden_bytes) {
  g_auto(LogBatch) batch = batch_of(hex_bytes(GOLDEN_PAYLOAD), 3);
  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  EXPECT_TRUE(log_records_reader_bytes(reader) == batch.records);
  LogRecord record;
  Failure *failure = NULL;
  ASSERT_TRUE(log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(4096, record.offset);
  EXPECT_EQ_INT(BASE_MS, record.timestamp_ms);
  expect_field("k1", record.key);
  expect_field("v1", record.value);
  ASSERT_EQ_INT(2, record.header_count);
  LogHeaderIter iter;
  LogHeader header;
  log_header_iter_init(&iter, &record);
  ASSERT_TRUE(log_header_iter_next(&iter, &header));
  EXPECT_EQ_BYTES("h", 1, header.name, header.name_len);
  expect_field("x", header.value);
  ASSERT_TRUE(log_header_iter_next(&iter, &header));
  EXPECT_EQ_BYTES("n", 1, header.name, header.name_len);
  expect_field(NULL, header.value);
  EXPECT_FALSE(log_header_iter_next(&iter, &header));

  ASSERT_TRUE(log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(4097, record.offset);
  EXPECT_EQ_INT(BASE_MS + 1500, record.timestamp_ms);
  expect_field(NULL, record.key);
  expect_field(NULL, record.value);
  ASSERT_TRUE(log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(4098, record.offset);
  EXPECT_EQ_INT(BASE_MS - 1, record.timestamp_ms);
  expect_field("", record.key);
  expect_field("", record.value);
  EXPECT_FALSE(log_records_reader_next(reader, &record, &failure));
  EXPECT_FALSE(log_records_reader_next(reader, &record, &failure));
  EXPECT_NULL(failure);
}

static const struct {
  const char *name;
  gint64 offset, first; /* -1: the end */
} SKIP_ROWS[] = {
    {"before_the_batch", 0, 4096}, {"to_first", 4096, 4096},          {"to_second", 4097, 4097},
    {"to_last", 4098, 4098},       {"to_behind_the_batch", 4099, -1}, {"far", G_MAXINT64, -1},
};
TEST_ROWS(records_reader_skips, SKIP_ROWS) {
  g_auto(LogBatch) batch = batch_of(hex_bytes(GOLDEN_PAYLOAD), 3);
  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  log_records_reader_skip_to(reader, SKIP_ROWS[row].offset);
  LogRecord record = {.offset = -1};
  Failure *failure = NULL;
  EXPECT_EQ_INT(SKIP_ROWS[row].first >= 0, log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(SKIP_ROWS[row].first, record.offset);
  EXPECT_NULL(failure);
}

static const struct {
  const char *name, *hex;
  guint32 count;
} SOUND_ROWS[] = {
    {"unknown_fields_everywhere", "1001 0a0f 2a0161 3801 0a0161 1a05 0a0168 2805", 1},
    {"unknown_fixed_fields", "0a0e 4d00000000 510000000000000000", 1},
    {"last_of_a_field_counts", "0a06 0a0161 0a0162", 1},
    {"text_value_of_a_header", "0a08 1a06 0a0168 1a0178", 1},
    {"header_without_name", "0a02 1a00", 1},
    {"empty_records", "0a00 0a00 0a00", 3},
    {"length_longer_than_it_need_be", "0a8000", 1},
};
TEST_ROWS(records_check_accepts, SOUND_ROWS) {
  g_auto(LogBatch) batch = batch_of(hex_bytes(SOUND_ROWS[row].hex), SOUND_ROWS[row].count);
  EXPECT_EQ_STR("", REASON_OF(log_records_check(&batch)));
}

static const struct {
  const char *name, *hex;
  guint32 count;
} BAD_ROWS[] = {
    {"nothing", "", 1},
    {"fewer_than_said", "0a00 0a00", 3},
    {"more_than_said", "0a00 0a00 0a00", 2},
    {"tag_alone", "0a", 1},
    {"length_beyond_the_end", "0a05 0a0161", 1},
    {"length_over_64_bits", "0affffffffffffffffff7f", 1},
    {"length_of_2_to_63", "0a80808080808080808001", 1},
    {"varint_without_end", "0a808080808080808080808080", 1},
    {"field_zero", "0a00 0200", 1},
    {"records_as_a_number", "0801", 1},
    {"group", "0a00 1b1c", 1},
    {"wire_type_6", "0a00 16", 1},
    {"key_as_a_number", "0a02 0801", 1},
    {"value_as_a_number", "0a02 1001", 1},
    {"header_as_a_number", "0a02 1801", 1},
    {"timestamp_as_bytes", "0a02 2200", 1},
    {"key_beyond_its_record", "0a03 0a0561 6161616161", 1},
    {"header_name_as_a_number", "0a04 1a02 0801", 1},
    {"header_value_as_a_number", "0a04 1a02 1001", 1},
    {"header_name_beyond_its_header", "0a05 1a03 0a0561", 1},
    {"header_name_not_utf8", "0a05 1a03 0a01ff", 1},
    {"header_name_with_nul", "0a05 1a03 0a0100", 1},
    {"later_than_max_timestamp", "0a03 20ba17", 1},
    {"fixed_field_cut_short", "0a03 4d0000", 1},
};
TEST_ROWS(records_check_refuses, BAD_ROWS) {
  g_auto(LogBatch) batch = batch_of(hex_bytes(BAD_ROWS[row].hex), BAD_ROWS[row].count);
  EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_records_check(&batch)));
}

TEST(records_reader, a_failure_comes_once) {
  g_auto(LogBatch) batch = batch_of(hex_bytes("0a00 0a05"), 2);
  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  LogRecord record;
  Failure *failure = NULL;
  EXPECT_TRUE(log_records_reader_next(reader, &record, &failure));
  log_records_reader_skip_to(reader, G_MAXINT64);
  EXPECT_FALSE(log_records_reader_next(reader, &record, &failure));
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), "record 1 of 2 in the batch at offset 4096");
  g_clear_pointer(&failure, failure_free);
  EXPECT_FALSE(log_records_reader_next(reader, &record, &failure));
  EXPECT_NULL(failure);
}

TEST(records_reader, timestamps_beyond_time_are_cut) {
  /* Deltas of the largest and the smallest number: sums would run over. */
  g_auto(LogBatch) batch = batch_of(hex_bytes("0a0b 20feffffffffffffffff01 0a0b 20ffffffffffffffffff01"), 2);
  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  LogRecord record;
  Failure *failure = NULL;
  ASSERT_TRUE(log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(LOG_TIMESTAMP_MS_MAX, record.timestamp_ms);
  ASSERT_TRUE(log_records_reader_next(reader, &record, &failure));
  EXPECT_EQ_INT(LOG_TIMESTAMP_MS_MIN, record.timestamp_ms);
}

TEST(records_reader, sizes_must_be_as_the_header_says) {
  g_auto(LogBatch) batch = batch_of(hex_bytes(GOLDEN_PAYLOAD), 3);
  batch.uncompressed_bytes = 35;
  EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_records_check(&batch)));
  batch.compression = MILENA__V1__COMPRESSION__COMPRESSION_ZSTD;
  EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_records_check(&batch)));
  batch.compression = 4;
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_records_check(&batch)));
}

/* ---- both ---- */

/* Many records of random shape, through each codec, read back as they were, also by protobuf-c. */
static const struct {
  const char *name;
  Milena__V1__Compression compression;
} CODEC_ROWS[] = {
    {"none", NONE},
    {"zstd", MILENA__V1__COMPRESSION__COMPRESSION_ZSTD},
    {"lz4", MILENA__V1__COMPRESSION__COMPRESSION_LZ4},
};
TEST_ROWS(records_random, CODEC_ROWS) {
  enum { COUNT = 2000, DATA = 300 };
  g_autoptr(GRand) rand = g_rand_new_with_seed(7);
  guint8 data[DATA];
  for (guint i = 0; i < DATA; i++)
    data[i] = (guint8)g_rand_int(rand);
  LogField keys[COUNT], values[COUNT];
  gint64 times[COUNT];
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < COUNT; i++) {
    keys[i] = g_rand_boolean(rand) ? log_field(data, (gsize)g_rand_int_range(rand, 0, 200)) : LOG_FIELD_NONE;
    values[i] = g_rand_boolean(rand) ? log_field(data + 50, (gsize)g_rand_int_range(rand, 0, 200)) : LOG_FIELD_NONE;
    times[i] = BASE_MS + g_rand_int_range(rand, -100000, 100000);
    ASSERT_EQ_STR("", REASON_OF(log_records_builder_add(builder, keys[i], values[i], NULL, 0, times[i])));
  }
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_records_builder_finish(builder, CODEC_ROWS[row].compression, &batch)));
  ASSERT_EQ_STR("", REASON_OF(log_batch_check(&batch, 10 << 20)));
  ASSERT_EQ_STR("", REASON_OF(log_records_check(&batch)));

  g_autoptr(LogRecordsReader) reader = NULL;
  ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
  LogRecord record;
  Failure *failure = NULL;
  guint i = 0;
  for (; log_records_reader_next(reader, &record, &failure); i++) {
    EXPECT_EQ_INT(i, record.offset);
    EXPECT_EQ_INT(times[i], record.timestamp_ms);
    EXPECT_EQ_INT(keys[i].present, record.key.present);
    EXPECT_EQ_INT(values[i].present, record.value.present);
    EXPECT_EQ_BYTES(keys[i].data, keys[i].len, record.key.data, record.key.len);
    EXPECT_EQ_BYTES(values[i].data, values[i].len, record.value.data, record.value.len);
  }
  EXPECT_NULL(failure);
  EXPECT_EQ_INT(COUNT, i);
}

/* Bytes changed at random: whatever comes of it, it stays within the buffer (the sanitizers watch), and what is given
 * can be used whole. */
TEST(records_reader, hostile_bytes) {
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN_PAYLOAD);
  g_autoptr(GRand) rand = g_rand_new_with_seed(11);
  guint sound = 0, refused = 0;
  for (guint round = 0; round < 20000; round++) {
    gsize len = (gsize)g_rand_int_range(rand, 0, (gint32)g_bytes_get_size(golden) + 1);
    guint8 *data = g_memdup2(g_bytes_get_data(golden, NULL), len);
    for (guint changes = g_rand_int(rand) % 6; changes > 0 && len > 0; changes--)
      data[g_rand_int(rand) % len] = (guint8)g_rand_int(rand);
    g_auto(LogBatch) batch = batch_of(g_bytes_new_take(data, len), g_rand_int(rand) % 5);
    g_autoptr(LogRecordsReader) reader = NULL;
    ASSERT_EQ_STR("", REASON_OF(log_records_reader_new(&batch, &reader)));
    LogRecord record;
    Failure *failure = NULL;
    while (log_records_reader_next(reader, &record, &failure)) {
      LogHeaderIter iter;
      LogHeader header;
      guint headers = 0;
      log_header_iter_init(&iter, &record);
      for (; log_header_iter_next(&iter, &header); headers++)
        EXPECT_TRUE(g_utf8_validate_len(header.name, header.name_len, NULL));
      EXPECT_EQ_INT(record.header_count, headers);
    }
    *(failure == NULL ? &sound : &refused) += 1;
    failure_free(failure);
  }
  EXPECT_TRUE(sound > 0 && refused > 0);
}
