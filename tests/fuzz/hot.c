/* The hot record of a log, as it came and with its checksum mended.
 *
 * Input: the value. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/crc32c.h"
#include "storage/log/hot.h"

#define LOG_ID 7
#define CRC_AT 8
#define CRC_END 12

static void decode(const guint8 *data, gsize size) {
  g_auto(LogHot) hot = {0};
  if (!fuzz_accepted(log_hot_decode(data, size, LOG_ID, &hot)))
    return;
  FUZZ_HOLDS(hot.log_start_offset <= hot.high_watermark && hot.high_watermark <= hot.log_end_offset);
  g_autoptr(GByteArray) written = g_byte_array_new();
  log_hot_encode(&hot, LOG_ID, written);
  FUZZ_HOLDS(written->len >= size); /* an older format grows */
  /* Not the same bytes: those that are reserved may be anything. */
  g_auto(LogHot) same = {0};
  FUZZ_HOLDS(fuzz_accepted(log_hot_decode(written->data, written->len, LOG_ID, &same)));
  g_autoptr(GByteArray) again = g_byte_array_new();
  log_hot_encode(&same, LOG_ID, again);
  FUZZ_HOLDS(again->len == written->len && memcmp(written->data, again->data, written->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  decode(data, size);
  if (size < CRC_END)
    return 0;
  g_autofree guint8 *mended = g_memdup2(data, size);
  guint64 id = GUINT64_TO_BE(LOG_ID);
  guint32 length = GUINT32_TO_BE((guint32)(size - CRC_END));
  memcpy(mended + 4, &length, sizeof length);
  guint32 crc = log_crc32c_extend(log_crc32c(&id, sizeof id), mended, CRC_AT);
  crc = GUINT32_TO_BE(log_crc32c_extend(crc, mended + CRC_END, size - CRC_END));
  memcpy(mended + CRC_AT, &crc, sizeof crc);
  decode(mended, size);
  return 0;
}
