/* Frames of zstd and lz4: hostile ones, and any bytes there and back.
 *
 * Input: compression, uncompressed size (4 bytes), the frame. */
#include "tests/fuzz/fuzz.h"

#include "storage/log/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  guint32 compression = fuzz_u8(&input) % 5;
  gsize uncompressed = fuzz_number(&input, 4) % (1 << 20);
  g_autoptr(GBytes) out = NULL;
  if (fuzz_accepted(log_codec_decompress(compression, input.at, fuzz_left(&input), uncompressed, &out)))
    FUZZ_HOLDS(g_bytes_get_size(out) == uncompressed);
  g_autoptr(LogCodec) codec = log_codec_new();
  g_autoptr(GBytes) packed = NULL, back = NULL;
  if (!fuzz_accepted(log_codec_compress(codec, compression, input.at, fuzz_left(&input), &packed)))
    return 0;
  Failure *failure = log_codec_decompress(compression, g_bytes_get_data(packed, NULL), g_bytes_get_size(packed),
                                          fuzz_left(&input), &back);
  if (compression != MILENA__V1__COMPRESSION__COMPRESSION_ZSTD &&
      compression != MILENA__V1__COMPRESSION__COMPRESSION_LZ4) {
    fuzz_accepted(failure);
    return 0;
  }
  FUZZ_HOLDS(fuzz_accepted(failure));
  FUZZ_HOLDS(g_bytes_get_size(back) == fuzz_left(&input));
  FUZZ_HOLDS(fuzz_left(&input) == 0 || memcmp(g_bytes_get_data(back, NULL), input.at, fuzz_left(&input)) == 0);
  return 0;
}
