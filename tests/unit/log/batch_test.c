/* LogBatch: checks, protobuf, stored form. */
#include "storage/log/batch.h"

#include "storage/log/records.h"
#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

#define LOG_ID G_GUINT64_CONSTANT(0x0102030405060708)
#define BASE_MS G_GINT64_CONSTANT(1700000000123)

/* Made by an independent program from the tables in record.proto and batch.h: ("k1" → "v1", headers h = "x" and n
 * without value), (no key → no value, 1500 ms later), ("" → "", 1 ms before the first). */
#define GOLDEN_PAYLOAD "0a150a026b31120276311a060a01681201781a030a016e 0a0320b817 0a060a0012002001"
#define GOLDEN_CRC 0xc1d47138u
#define GOLDEN_HEADER                                                                                                  \
  "b7010100 00600001 00000000 00000003 0000018bcfe5687b 0000018bcfe56e57 0000000000000000 00000000 00000000 "          \
  "ffffffffffffffff 00000024 00000024 c1d47138 00000007 0000000000001000 0000018bcfe56fd0 00000000 b8310487"

static LogBatch golden_batch(void) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.compression = MILENA__V1__COMPRESSION__COMPRESSION_NONE;
  batch.record_count = 3;
  batch.base_timestamp_ms = BASE_MS;
  batch.max_timestamp_ms = BASE_MS + 1500;
  batch.uncompressed_bytes = 36;
  batch.crc32c = GOLDEN_CRC;
  batch.base_offset = 4096;
  batch.leader_epoch = 7;
  batch.append_timestamp_ms = 1700000002000;
  batch.records = hex_bytes(GOLDEN_PAYLOAD);
  return batch;
}

static GBytes *golden_value(void) {
  return hex_bytes(GOLDEN_HEADER GOLDEN_PAYLOAD);
}

static const LogKey GOLDEN_KEY = {LOG_KEY_BATCH, LOG_ID, 4096};

static void expect_same(const LogBatch *want, const LogBatch *got) {
  EXPECT_EQ_INT(want->format, got->format);
  EXPECT_EQ_INT(want->compression, got->compression);
  EXPECT_EQ_INT(want->attributes, got->attributes);
  EXPECT_EQ_INT(want->record_count, got->record_count);
  EXPECT_EQ_INT(want->base_timestamp_ms, got->base_timestamp_ms);
  EXPECT_EQ_INT(want->max_timestamp_ms, got->max_timestamp_ms);
  EXPECT_EQ_INT(want->producer_id, got->producer_id);
  EXPECT_EQ_INT(want->producer_epoch, got->producer_epoch);
  EXPECT_EQ_INT(want->first_sequence, got->first_sequence);
  EXPECT_EQ_INT(want->expected_offset, got->expected_offset);
  EXPECT_EQ_INT(want->uncompressed_bytes, got->uncompressed_bytes);
  EXPECT_EQ_INT(want->crc32c, got->crc32c);
  EXPECT_EQ_INT(want->base_offset, got->base_offset);
  EXPECT_EQ_INT(want->leader_epoch, got->leader_epoch);
  EXPECT_EQ_INT(want->append_timestamp_ms, got->append_timestamp_ms);
  EXPECT_TRUE(g_bytes_equal(want->records, got->records));
}

/* ---- CRC ---- */

TEST(batch, crc_of_golden_batch) {
  g_auto(LogBatch) batch = golden_batch();
  EXPECT_EQ_INT(GOLDEN_CRC, log_batch_crc(&batch));
  ASSERT_NULL(log_batch_verify(&batch));
}

TEST(batch, crc_covers_each_field_in_stated_order) {
  g_auto(LogBatch) batch = {
      .format = 1,
      .compression = 2,
      .attributes = 3,
      .record_count = 4,
      .base_timestamp_ms = 5,
      .max_timestamp_ms = 6,
      .producer_id = 7,
      .producer_epoch = 8,
      .first_sequence = 9,
      .expected_offset = 10,
      .uncompressed_bytes = 11,
      .records = g_bytes_new_static("abc", 3),
  };
  EXPECT_EQ_INT(0x2e0ae39d, log_batch_crc(&batch));
}

TEST(batch, every_flipped_bit_of_the_records_is_found) {
  g_auto(LogBatch) batch = golden_batch();
  gsize len;
  guint8 *data = g_bytes_unref_to_data(g_steal_pointer(&batch.records), &len);
  batch.records = g_bytes_new_take(data, len);
  for (guint bit = 0; bit < 8 * len; bit++) {
    data[bit / 8] ^= (guint8)(1 << bit % 8);
    EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_batch_verify(&batch)));
    EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_batch_check(&batch, 1000)));
    data[bit / 8] ^= (guint8)(1 << bit % 8);
  }
}

/* ---- check ---- */

TEST(batch, check_accepts_a_sound_batch) {
  g_auto(LogBatch) batch = golden_batch();
  EXPECT_EQ_STR("", REASON_OF(log_batch_check(&batch, 36)));
  batch.compression = MILENA__V1__COMPRESSION__COMPRESSION_UNSPECIFIED;
  batch.expected_offset = 0;
  log_batch_seal(&batch);
  EXPECT_EQ_STR("", REASON_OF(log_batch_check(&batch, 36)));
}

static void set_format_zero(LogBatch *b) {
  b->format = 0;
}
static void set_format_newer(LogBatch *b) {
  b->format = 2;
}
static void set_compression_unknown(LogBatch *b) {
  b->compression = 4;
}
static void set_compression_negative(LogBatch *b) {
  b->compression = (guint32)-1;
}
static void set_attributes(LogBatch *b) {
  b->attributes = 1;
}
static void set_producer_negative(LogBatch *b) {
  b->producer_id = -1;
}
static void set_producer_epoch(LogBatch *b) {
  b->producer_epoch = 1;
}
static void set_sequence(LogBatch *b) {
  b->first_sequence = 1;
}
static void set_count_zero(LogBatch *b) {
  b->record_count = 0;
}
static void set_count_many(LogBatch *b) {
  b->record_count = 19;
}
static void set_count_most(LogBatch *b) {
  b->record_count = G_MAXUINT32;
}
static void set_expected_negative(LogBatch *b) {
  b->expected_offset = -2;
}
static void set_base_time_low(LogBatch *b) {
  b->base_timestamp_ms = G_MININT64;
}
static void set_max_time_high(LogBatch *b) {
  b->max_timestamp_ms = LOG_TIMESTAMP_MS_MAX + 1;
}
static void set_uncompressed_over(LogBatch *b) {
  b->uncompressed_bytes = (64u << 20) + 1;
}
static void set_uncompressed_other(LogBatch *b) {
  b->uncompressed_bytes = 37;
}
static void set_empty(LogBatch *b) {
  g_bytes_unref(b->records);
  b->records = NULL;
}
static void set_larger(LogBatch *b) {
  g_bytes_unref(b->records);
  b->records = g_bytes_new_take(g_malloc0(101), 101);
}

static const struct {
  const char *name;
  void (*change)(LogBatch *batch);
  const char *reason, *says;
} CHECK_ROWS[] = {
    {"no_format", set_format_zero, "INVALID_FIELD", "format"},
    {"newer_format", set_format_newer, "UNSUPPORTED", "format 2"},
    {"unknown_compression", set_compression_unknown, "UNSUPPORTED", "compression 4"},
    {"negative_compression", set_compression_negative, "UNSUPPORTED", "compression"},
    {"attributes", set_attributes, "UNSUPPORTED", "transactions"},
    {"negative_producer_id", set_producer_negative, "INVALID_FIELD", "producer_id"},
    {"epoch_without_producer", set_producer_epoch, "INVALID_FIELD", "producer_epoch"},
    {"sequence_without_producer", set_sequence, "INVALID_FIELD", "first_sequence"},
    {"no_records", set_count_zero, "INVALID_FIELD", "record_count"},
    {"more_records_than_bytes_hold", set_count_many, "CORRUPT_BATCH", "19 records"},
    {"most_records", set_count_most, "CORRUPT_BATCH", "records"},
    {"negative_expected_offset", set_expected_negative, "INVALID_FIELD", "expected_offset"},
    {"time_before_year_1", set_base_time_low, "INVALID_FIELD", "base_timestamp_ms"},
    {"time_after_year_9999", set_max_time_high, "INVALID_FIELD", "max_timestamp_ms"},
    {"uncompressed_over_bound", set_uncompressed_over, "RECORD_TOO_LARGE", "67108864"},
    {"uncompressed_is_not_the_size", set_uncompressed_other, "CORRUPT_BATCH", "37"},
    {"no_bytes", set_empty, "CORRUPT_BATCH", "no bytes"},
    {"over_max_bytes", set_larger, "RECORD_TOO_LARGE", "max.message.bytes"},
};
TEST_ROWS(batch_check_refuses, CHECK_ROWS) {
  g_auto(LogBatch) batch = golden_batch();
  CHECK_ROWS[row].change(&batch);
  log_batch_seal(&batch);
  g_autoptr(Failure) failure = log_batch_check(&batch, 100);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_STR(CHECK_ROWS[row].reason, failure_reason_name(failure_reason(failure)));
  EXPECT_CONTAINS(failure_message(failure), CHECK_ROWS[row].says);
}

/* ---- protobuf ---- */

TEST(batch, through_protobuf_and_back) {
  g_auto(LogBatch) batch = golden_batch();
  batch.expected_offset = 4096;
  log_batch_seal(&batch);
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);

  gsize len = milena__v1__encoded_batch__get_packed_size(&proto.batch);
  g_autofree guint8 *wire = g_malloc(len);
  milena__v1__encoded_batch__pack(&proto.batch, wire);
  Milena__V1__EncodedBatch *parsed = milena__v1__encoded_batch__unpack(NULL, len, wire);
  ASSERT_TRUE(parsed != NULL);
  g_auto(LogBatch) got = LOG_BATCH_INIT;
  EXPECT_EQ_STR("", REASON_OF(log_batch_from_proto(parsed, NULL, &got)));
  milena__v1__encoded_batch__free_unpacked(parsed, NULL);
  expect_same(&batch, &got);
  EXPECT_EQ_STR("", REASON_OF(log_batch_check(&got, 1000)));
}

TEST(batch, unstamped_has_no_stamp_on_the_wire) {
  g_auto(LogBatch) batch = golden_batch();
  batch.base_offset = LOG_OFFSET_NONE;
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);
  EXPECT_NULL(proto.batch.stamp);
  EXPECT_EQ_INT(0, proto.header.expected_offset_presence_case);
  g_auto(LogBatch) got = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_batch_from_proto(&proto.batch, batch.records, &got)));
  EXPECT_TRUE(got.records == batch.records); /* shared, not copied */
  EXPECT_EQ_INT(LOG_OFFSET_NONE, got.base_offset);
  EXPECT_EQ_INT(LOG_OFFSET_NONE, got.expected_offset);
}

TEST(batch, without_header_is_refused) {
  Milena__V1__EncodedBatch proto = MILENA__V1__ENCODED_BATCH__INIT;
  g_auto(LogBatch) got = LOG_BATCH_INIT;
  EXPECT_EQ_STR("INVALID_FIELD", REASON_OF(log_batch_from_proto(&proto, NULL, &got)));
  EXPECT_NULL(got.records);
}

/* ---- stored form ---- */

TEST(batch, stored_golden_bytes) {
  g_auto(LogBatch) batch = golden_batch();
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN_HEADER);
  guint8 header[LOG_STORED_HEADER_BYTES];
  log_batch_stored_header(&batch, LOG_ID, header);
  EXPECT_EQ_BYTES(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden), header, sizeof header);
  EXPECT_EQ_INT(96 + 36, log_batch_stored_bytes(&batch));
}

TEST(batch, stored_golden_bytes_are_read) {
  g_autoptr(GBytes) value = golden_value();
  g_auto(LogBatch) want = golden_batch(), got = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_batch_parse_stored(value, &GOLDEN_KEY, &got)));
  expect_same(&want, &got);
  EXPECT_TRUE(g_bytes_get_data(got.records, NULL) == (const guint8 *)g_bytes_get_data(value, NULL) + 96);
  EXPECT_EQ_STR("", REASON_OF(log_batch_verify(&got)));
  EXPECT_EQ_INT(4099, log_batch_next_offset(&got));
}

TEST(batch, stored_every_field_survives) {
  g_auto(LogBatch) batch = {
      .format = 1,
      .compression = 3,
      .attributes = 0xfedcba98,
      .record_count = 4,
      .base_timestamp_ms = -5,
      .max_timestamp_ms = 6,
      .producer_id = G_MAXINT64,
      .producer_epoch = 8,
      .first_sequence = G_MAXUINT32,
      .expected_offset = 10,
      .uncompressed_bytes = 11,
      .crc32c = 12,
      .base_offset = G_MAXINT64 - 4,
      .leader_epoch = G_MAXINT32,
      .append_timestamp_ms = 13,
      .records = g_bytes_new_static("aaa", 3),
  };
  guint8 bytes[LOG_STORED_HEADER_BYTES + 3] = {0};
  log_batch_stored_header(&batch, LOG_ID_MAX, bytes);
  memset(bytes + LOG_STORED_HEADER_BYTES, 'a', 3);
  g_autoptr(GBytes) value = g_bytes_new_static(bytes, sizeof bytes);
  LogKey key = {LOG_KEY_BATCH, LOG_ID_MAX, G_MAXINT64 - 4};
  g_auto(LogBatch) got = LOG_BATCH_INIT;
  ASSERT_EQ_STR("", REASON_OF(log_batch_parse_stored(value, &key, &got)));
  expect_same(&batch, &got);
}

TEST(batch, stored_every_flipped_bit_is_found) {
  g_autoptr(GBytes) golden = golden_value();
  gsize len;
  guint8 *data = g_bytes_unref_to_data(g_steal_pointer(&golden), &len);
  g_autoptr(GBytes) value = g_bytes_new_take(data, len);
  for (guint bit = 0; bit < 8 * len; bit++) {
    data[bit / 8] ^= (guint8)(1 << bit % 8);
    g_auto(LogBatch) got = LOG_BATCH_INIT;
    Failure *failure = log_batch_parse_stored(value, &GOLDEN_KEY, &got);
    if (failure == NULL)
      failure = log_batch_verify(&got);
    /* Format 1 with another bit set is a newer one, without its bit it is 0. */
    EXPECT_EQ_STR(bit / 8 == 1 && bit != 8 ? "UNSUPPORTED" : "CORRUPT_LOG", REASON_OF(failure));
    data[bit / 8] ^= (guint8)(1 << bit % 8);
  }
}

TEST(batch, stored_cut_short_or_longer_is_damage) {
  g_autoptr(GBytes) value = hex_bytes(GOLDEN_HEADER GOLDEN_PAYLOAD "00");
  for (gsize len = 0; len <= g_bytes_get_size(value); len++) {
    if (len == 96 + 36)
      continue;
    /* A copy of its own, so that the sanitizer sees a read beyond. */
    g_autoptr(GBytes) cut = g_bytes_new(g_bytes_get_data(value, NULL), len);
    g_auto(LogBatch) got = LOG_BATCH_INIT;
    EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_batch_parse_stored(cut, &GOLDEN_KEY, &got)));
  }
}

static const struct {
  const char *name;
  LogKey key;
} KEY_ROWS[] = {
    {"of_another_log", {LOG_KEY_BATCH, LOG_ID + 1, 4096}},
    {"of_another_offset", {LOG_KEY_BATCH, LOG_ID, 4097}},
    {"of_the_time_index", {LOG_KEY_TIME, LOG_ID, 4096}},
};
TEST_ROWS(batch_stored_under_key, KEY_ROWS) {
  g_autoptr(GBytes) value = golden_value();
  g_auto(LogBatch) got = LOG_BATCH_INIT;
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_batch_parse_stored(value, &KEY_ROWS[row].key, &got)));
  EXPECT_NULL(got.records);
}

/* ---- values ---- */

TEST(batch, shared_copies_outlive_the_first) {
  GArray *array = log_batch_array_new();
  {
    g_auto(LogBatch) batch = golden_batch();
    LogBatch copy;
    log_batch_share(&batch, &copy);
    g_array_append_val(array, copy);
  }
  EXPECT_EQ_INT(36, log_batch_payload_bytes(LOG_BATCH_AT(array, 0)));
  EXPECT_EQ_STR("", REASON_OF(log_batch_verify(LOG_BATCH_AT(array, 0))));
  g_array_unref(array);
  log_batch_clear(NULL);
}
