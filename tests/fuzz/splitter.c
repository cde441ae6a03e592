/* Records cut from a stream at a separator: however it is fed, the same records come out.
 *
 * Input: length of the separator (1 to 4), the separator, bytes a feed, bound of a record, the stream. */
#include "tests/fuzz/fuzz.h"

#include "client/cli/splitter.h"

/* All records, each behind its length. */
static GByteArray *cut(GBytes *separator, gsize record_max, const guint8 *data, gsize size, gsize feed_bytes) {
  g_autoptr(Splitter) splitter = splitter_new(separator, record_max);
  GByteArray *all = g_byte_array_new();
  gboolean ended = FALSE;
  for (;;) {
    const guint8 *record = NULL;
    gsize len = 0;
    switch (splitter_next(splitter, &record, &len)) {
    case SPLITTER_RECORD:
      FUZZ_HOLDS(len <= record_max);
      g_byte_array_append(all, (const guint8 *)&len, sizeof len);
      if (len > 0)
        g_byte_array_append(all, record, (guint)len);
      break;
    case SPLITTER_TOO_LARGE:
      len = G_MAXSIZE;
      g_byte_array_append(all, (const guint8 *)&len, sizeof len);
      break;
    case SPLITTER_MORE:
      FUZZ_HOLDS(!ended);
      if (size > 0) {
        gsize part = MIN(feed_bytes, size);
        splitter_feed(splitter, data, part);
        data += part;
        size -= part;
      } else {
        splitter_end(splitter);
        ended = TRUE;
      }
      break;
    case SPLITTER_END:
      FUZZ_HOLDS(ended);
      return all;
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  guint8 separator_bytes[4];
  gsize separator_len = 1 + fuzz_u8(&input) % sizeof separator_bytes;
  for (gsize i = 0; i < separator_len; i++)
    separator_bytes[i] = fuzz_u8(&input);
  gsize feed_bytes = 1 + (gsize)fuzz_u8(&input), record_max = 1 + (gsize)fuzz_u8(&input);
  g_autoptr(GBytes) separator = g_bytes_new(separator_bytes, separator_len);
  g_autoptr(GByteArray) once = cut(separator, record_max, input.at, fuzz_left(&input), G_MAXSIZE);
  g_autoptr(GByteArray) fed = cut(separator, record_max, input.at, fuzz_left(&input), feed_bytes);
  FUZZ_HOLDS(once->len == fed->len && (once->len == 0 || memcmp(once->data, fed->data, once->len) == 0));
  return 0;
}
