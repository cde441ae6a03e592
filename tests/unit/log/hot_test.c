/* The hot record of a log. */
#include "storage/log/hot.h"

#include "storage/log/bytes.h"
#include "storage/log/crc32c.h"
#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

#define LOG_ID G_GUINT64_CONSTANT(0x0102030405060708)

/* Made by an independent program from the table in hot.h. */
#define GOLDEN                                                                                                         \
  "a9020000 00000061 5b7f0378 000000000000000a 0000000000001003 0000000000001000 0000018bcfe56fd0 0000018bcfe56e57 "   \
  "000000012a05f200 0000000000000800 "                                                                                 \
  "01 00000003 00000000 0000000000000000 00000003 0000000000000064 00000007 0000000000001000"
/* Of format 1. */
#define GOLDEN_1                                                                                                       \
  "a9010000 00000051 4574b17a 000000000000000a 0000000000001003 0000000000001000 0000018bcfe56fd0 0000018bcfe56e57 "   \
  "01 00000003 00000000 0000000000000000 00000003 0000000000000064 00000007 0000000000001000"

static void golden_hot(LogHot *hot) {
  log_hot_init(hot);
  hot->log_start_offset = 10;
  hot->log_end_offset = 4099;
  hot->high_watermark = 4096;
  hot->last_append_timestamp_ms = 1700000002000;
  hot->max_timestamp_ms = 1700000001623;
  hot->appended_bytes = 5000000000;
  hot->compacted_to_offset = 2048;
  log_epochs_append(hot->epochs, 0, 0);
  log_epochs_append(hot->epochs, 3, 100);
  log_epochs_append(hot->epochs, 7, 4096);
}

TEST(hot, golden_bytes) {
  g_auto(LogHot) hot;
  golden_hot(&hot);
  g_autoptr(GByteArray) out = g_byte_array_new();
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN);
  for (guint i = 0; i < 2; i++) { /* the second time over what is there */
    log_hot_encode(&hot, LOG_ID, out);
    EXPECT_EQ_BYTES(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden), out->data, out->len);
  }

  g_auto(LogHot) got = {0};
  ASSERT_EQ_STR("", REASON_OF(log_hot_decode(out->data, out->len, LOG_ID, &got)));
  EXPECT_EQ_INT(10, got.log_start_offset);
  EXPECT_EQ_INT(4099, got.log_end_offset);
  EXPECT_EQ_INT(4096, got.high_watermark);
  EXPECT_EQ_INT(1700000002000, got.last_append_timestamp_ms);
  EXPECT_EQ_INT(1700000001623, got.max_timestamp_ms);
  EXPECT_EQ_INT(5000000000, got.appended_bytes);
  EXPECT_EQ_INT(2048, got.compacted_to_offset);
  EXPECT_EQ_INT(3, log_epochs_count(got.epochs));
}

TEST(hot, format_1_is_read) {
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN_1);
  g_auto(LogHot) got = {.appended_bytes = 1, .compacted_to_offset = 1};
  ASSERT_EQ_STR("", REASON_OF(log_hot_decode(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden), LOG_ID, &got)));
  EXPECT_EQ_INT(10, got.log_start_offset);
  EXPECT_EQ_INT(1700000001623, got.max_timestamp_ms);
  EXPECT_EQ_INT(0, got.appended_bytes);
  EXPECT_EQ_INT(0, got.compacted_to_offset);
  EXPECT_EQ_INT(3, log_epochs_count(got.epochs));
}

TEST(hot, what_is_needed_of_the_segments) {
  g_auto(LogHot) hot;
  golden_hot(&hot);
  g_autoptr(GByteArray) out = g_byte_array_new();
  EXPECT_EQ_INT(2048, log_hot_needed_from(&hot)); /* compacted, and not deleted */
  hot.log_start_offset = 3000;
  EXPECT_EQ_INT(3000, log_hot_needed_from(&hot));
  log_hot_encode(&hot, LOG_ID, out);
  gint64 bytes = 0;
  EXPECT_EQ_INT(3000, log_hot_peek_needed_from(out->data, out->len, &bytes));
  EXPECT_EQ_INT(5000000000, bytes);
}

TEST(hot, cut) {
  g_auto(LogHot) hot;
  golden_hot(&hot);
  log_hot_cut(&hot, 1000);
  EXPECT_EQ_INT(1000, hot.log_end_offset);
  EXPECT_EQ_INT(1000, hot.high_watermark);
  EXPECT_EQ_INT(10, hot.log_start_offset);
  EXPECT_EQ_INT(1000, hot.compacted_to_offset);
  EXPECT_EQ_INT(3, log_epochs_latest(hot.epochs));
  log_hot_cut(&hot, 5);
  EXPECT_EQ_INT(5, hot.log_start_offset);
}

TEST(hot, of_an_empty_log) {
  g_auto(LogHot) hot;
  log_hot_init(&hot);
  g_autoptr(GByteArray) out = g_byte_array_new();
  log_hot_encode(&hot, 1, out);
  g_auto(LogHot) got = {0};
  ASSERT_EQ_STR("", REASON_OF(log_hot_decode(out->data, out->len, 1, &got)));
  EXPECT_EQ_INT(LOG_TIMESTAMP_NONE, got.max_timestamp_ms);
  EXPECT_EQ_INT(0, log_epochs_count(got.epochs));
}

TEST(hot, every_flipped_bit_is_found) {
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN);
  gsize len;
  g_autofree guint8 *data = g_bytes_unref_to_data(g_steal_pointer(&golden), &len);
  LogHot got = {.log_end_offset = 99};
  for (guint bit = 0; bit < 8 * len; bit++) {
    data[bit / 8] ^= (guint8)(1 << bit % 8);
    const char *want = bit / 8 == 1 && bit != 9 ? "UNSUPPORTED" : "CORRUPT_LOG";
    EXPECT_EQ_STR(want, REASON_OF(log_hot_decode(data, len, LOG_ID, &got)));
    data[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  EXPECT_EQ_INT(99, got.log_end_offset);
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_hot_decode(data, len, LOG_ID + 1, &got)));
}

TEST(hot, cut_short_or_longer_is_damage) {
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN "00");
  for (gsize len = 0; len <= g_bytes_get_size(golden); len++) {
    if (len == g_bytes_get_size(golden) - 1)
      continue;
    g_autofree guint8 *cut = g_memdup2(g_bytes_get_data(golden, NULL), len);
    LogHot got;
    EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_hot_decode(cut, len, LOG_ID, &got)));
  }
}

/* Values that can't be, under checksums that match. */
static const struct {
  const char *name;
  gsize at;
  gint64 value;
  const char *says;
} FORGED_ROWS[] = {
    {"start_negative", 12, -1, "not in order"},
    {"start_behind_watermark", 12, 4097, "not in order"},
    {"watermark_behind_end", 28, 5000, "not in order"},
    {"end_before_watermark", 20, 4095, "not in order"},
    {"compacted_behind_end", 60, 4100, "not in order"},
    {"epochs_fewer_than_bytes", 68, 0x0100000002000000, "follows"},
    {"epochs_more_than_bytes", 68, 0x0100000004000000, "do not fit"},
};
TEST_ROWS(hot_forged, FORGED_ROWS) {
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN);
  gsize len;
  g_autofree guint8 *data = g_bytes_unref_to_data(g_steal_pointer(&golden), &len);
  log_put_u64(data + FORGED_ROWS[row].at, (guint64)FORGED_ROWS[row].value);
  guint8 id[8];
  log_put_u64(id, LOG_ID);
  guint32 crc = log_crc32c_extend(log_crc32c(id, sizeof id), data, 8);
  log_put_u32(data + 8, log_crc32c_extend(crc, data + 12, len - 12));
  LogHot got;
  g_autoptr(Failure) failure = log_hot_decode(data, len, LOG_ID, &got);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_STR("CORRUPT_LOG", failure_reason_name(failure_reason(failure)));
  EXPECT_CONTAINS(failure_message(failure), FORGED_ROWS[row].says);
}

TEST(hot, keys) {
  guint8 key[LOG_HOT_KEY_BYTES];
  log_hot_key_encode(LOG_ID, key);
  EXPECT_EQ_BYTES("\x01\x02\x03\x04\x05\x06\x07\x08", 8, key, sizeof key);
  guint64 log_id = 0;
  EXPECT_EQ_STR("", REASON_OF(log_hot_key_decode(key, sizeof key, &log_id)));
  EXPECT_EQ_INT(LOG_ID, log_id);
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_hot_key_decode(key, 7, &log_id)));
  memset(key, 0, sizeof key);
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_hot_key_decode(key, 8, &log_id)));
  memset(key, 0xff, sizeof key);
  EXPECT_EQ_STR("CORRUPT_LOG", REASON_OF(log_hot_key_decode(key, 8, &log_id)));
}
