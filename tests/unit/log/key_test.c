/* Keys, time index entries, CRC-32C, partitioner: fixed bytes and published vectors. */
#include "storage/log/key.h"

#include "storage/log/crc32c.h"
#include "storage/log/partitioner.h"
#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

#define LOG_ID G_GUINT64_CONSTANT(0x0102030405060708)

TEST(crc32c, published_vectors) {
  EXPECT_EQ_INT(0xE3069283, log_crc32c("123456789", 9));
  EXPECT_EQ_INT(0, log_crc32c("", 0));
  /* RFC 3720, B.4 */
  guint8 bytes[32];
  memset(bytes, 0, sizeof bytes);
  EXPECT_EQ_INT(0x8A9136AA, log_crc32c(bytes, sizeof bytes));
  memset(bytes, 0xff, sizeof bytes);
  EXPECT_EQ_INT(0x62A8AB43, log_crc32c(bytes, sizeof bytes));
  for (guint i = 0; i < sizeof bytes; i++)
    bytes[i] = (guint8)i;
  EXPECT_EQ_INT(0x46DD794E, log_crc32c(bytes, sizeof bytes));
}

TEST(crc32c, in_pieces_as_in_one) {
  EXPECT_EQ_INT(0xE3069283, log_crc32c_extend(log_crc32c("1234", 4), "56789", 5));
  EXPECT_EQ_INT(0xE3069283, log_crc32c_extend(log_crc32c("123456789", 9), "", 0));
}

TEST(key, golden_bytes) {
  g_autoptr(GBytes) batch = hex_bytes("0102030405060708 0000000000001000");
  g_autoptr(GBytes) time = hex_bytes("8102030405060708 0000000000001000");
  guint8 key[LOG_KEY_BYTES];
  log_key_encode(LOG_KEY_BATCH, LOG_ID, 4096, key);
  EXPECT_EQ_BYTES(g_bytes_get_data(batch, NULL), LOG_KEY_BYTES, key, sizeof key);
  log_key_encode(LOG_KEY_TIME, LOG_ID, 4096, key);
  EXPECT_EQ_BYTES(g_bytes_get_data(time, NULL), LOG_KEY_BYTES, key, sizeof key);

  LogKey got;
  ASSERT_EQ_STR("", REASON_OF(log_key_decode(key, sizeof key, &got)));
  EXPECT_EQ_INT(LOG_KEY_TIME, got.kind);
  EXPECT_EQ_INT(LOG_ID, got.log_id);
  EXPECT_EQ_INT(4096, got.base_offset);
}

static const struct {
  const char *name, *hex;
} BAD_KEYS[] = {
    {"empty", ""},
    {"short", "0102030405060708 00000000000010"},
    {"long", "0102030405060708 0000000000001000 00"},
    {"log_zero", "0000000000000000 0000000000001000"},
    {"time_of_log_zero", "8000000000000000 0000000000001000"},
    {"log_beyond_last", "7fffffffffffffff 0000000000001000"},
    {"negative_offset", "0102030405060708 8000000000000000"},
};
TEST_ROWS(key_refuses, BAD_KEYS) {
  g_autoptr(GBytes) bytes = hex_bytes(BAD_KEYS[row].hex);
  gsize len;
  const guint8 *data = g_bytes_get_data(bytes, &len);
  LogKey key = {.log_id = 77};
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_key_decode(data, len, &key)));
  EXPECT_EQ_INT(77, key.log_id);
}

TEST(key, ranges_hold_their_log_alone) {
  const LogKeyKind kinds[] = {LOG_KEY_BATCH, LOG_KEY_TIME};
  const guint64 ids[] = {1, 255, 256, LOG_ID_MAX - 1, LOG_ID_MAX};
  for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
    for (guint i = 0; i < G_N_ELEMENTS(ids); i++) {
      guint8 start[LOG_KEY_BYTES], end[LOG_KEY_BYTES], first[LOG_KEY_BYTES], last[LOG_KEY_BYTES];
      log_key_range(kinds[k], ids[i], start, end);
      log_key_encode(kinds[k], ids[i], 0, first);
      log_key_encode(kinds[k], ids[i], G_MAXINT64, last);
      EXPECT_TRUE(memcmp(start, first, LOG_KEY_BYTES) <= 0);
      EXPECT_TRUE(memcmp(last, end, LOG_KEY_BYTES) < 0);
      if (ids[i] < LOG_ID_MAX) {
        log_key_encode(kinds[k], ids[i] + 1, 0, first);
        EXPECT_TRUE(memcmp(end, first, LOG_KEY_BYTES) <= 0);
      }
    }
  }
}

TEST(time_value, golden_bytes) {
  g_autoptr(GBytes) golden = hex_bytes("01000000 8a39a75b 0000018bcfe5687b");
  guint8 value[LOG_TIME_VALUE_BYTES];
  log_time_value_encode(LOG_ID, 4096, 1700000000123, value);
  EXPECT_EQ_BYTES(g_bytes_get_data(golden, NULL), LOG_TIME_VALUE_BYTES, value, sizeof value);

  LogKey key = {LOG_KEY_TIME, LOG_ID, 4096};
  gint64 max_timestamp_ms = 0;
  ASSERT_EQ_STR("", REASON_OF(log_time_value_decode(value, sizeof value, &key, &max_timestamp_ms)));
  EXPECT_EQ_INT(1700000000123, max_timestamp_ms);
}

TEST(time_value, every_flipped_bit_is_found) {
  guint8 value[LOG_TIME_VALUE_BYTES];
  log_time_value_encode(LOG_ID, 4096, 1700000000123, value);
  LogKey key = {LOG_KEY_TIME, LOG_ID, 4096};
  gint64 max_timestamp_ms = -5;
  for (guint bit = 0; bit < 8 * LOG_TIME_VALUE_BYTES; bit++) {
    value[bit / 8] ^= (guint8)(1 << bit % 8);
    /* In the format byte most flips look like a newer format. */
    const char *reason = REASON_OF(log_time_value_decode(value, sizeof value, &key, &max_timestamp_ms));
    EXPECT_EQ_STR(bit / 8 == 0 && bit != 0 ? "UNSUPPORTED" : "CORRUPT_LOG", reason);
    value[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  EXPECT_EQ_INT(-5, max_timestamp_ms);
}

TEST(time_value, of_another_entry_is_damage) {
  guint8 value[LOG_TIME_VALUE_BYTES];
  log_time_value_encode(LOG_ID, 4096, 1700000000123, value);
  gint64 max_timestamp_ms;
  LogKey other_log = {LOG_KEY_TIME, LOG_ID + 1, 4096}, other_offset = {LOG_KEY_TIME, LOG_ID, 4097};
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_time_value_decode(value, sizeof value, &other_log, &max_timestamp_ms)));
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_time_value_decode(value, sizeof value, &other_offset, &max_timestamp_ms)));
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_time_value_decode(value, 15, &other_log, &max_timestamp_ms)));
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_time_value_decode(value, 0, &other_log, &max_timestamp_ms)));
}

/* Kafka's own test vectors (UtilsTest.testMurmur2). */
static const struct {
  const char *name, *key;
  gint32 hash;
} MURMUR_ROWS[] = {
    {"21", "21", -973932308},
    {"foobar", "foobar", -790332482},
    {"a_little_bit_long", "a-little-bit-long-string", -985981536},
    {"a_little_bit_longer", "a-little-bit-longer-string", -1486304829},
    {"random", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", "abc", 479470107},
};
TEST_ROWS(partitioner_murmur2, MURMUR_ROWS) {
  const char *key = MURMUR_ROWS[row].key;
  EXPECT_EQ_INT(MURMUR_ROWS[row].hash, log_partitioner_murmur2(key, strlen(key)));
}

TEST(partitioner, drops_the_sign_bit_as_kafka_does) {
  /* toPositive(-973932308) = 1173551340; an absolute value would give 973932308. */
  EXPECT_EQ_INT(1173551340 % 6, log_partitioner_for_key("21", 2, 6));
  EXPECT_EQ_INT(1173551340 % 1000, log_partitioner_for_key("21", 2, 1000));
  EXPECT_EQ_INT(479470107 % 7, log_partitioner_for_key("abc", 3, 7));
  EXPECT_EQ_INT(0, log_partitioner_for_key("abc", 3, 1));
  EXPECT_EQ_INT(275646681, log_partitioner_murmur2("", 0));
  EXPECT_EQ_INT(275646681 % 12, log_partitioner_for_key(NULL, 0, 12));
}
