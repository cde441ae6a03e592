/* Compression: round trips, and frames that lie. */
#include "storage/log/codec.h"

#include "storage/log/batch.h"
#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

#define ZSTD MILENA__V1__COMPRESSION__COMPRESSION_ZSTD
#define LZ4 MILENA__V1__COMPRESSION__COMPRESSION_LZ4

/* Somewhat compressible, the same on every run. */
static GBytes *sample(gsize len) {
  guint8 *data = g_malloc(MAX(len, 1));
  guint32 state = 12345;
  for (gsize i = 0; i < len; i++) {
    state = state * 1103515245u + 12345u;
    data[i] = (guint8)("abcdefgh"[state >> 29]);
  }
  return g_bytes_new_take(data, len);
}

static GBytes *compressed(guint32 compression, GBytes *bytes) {
  g_autoptr(LogCodec) codec = log_codec_new();
  gsize len;
  const guint8 *data = g_bytes_get_data(bytes, &len);
  GBytes *out = NULL;
  EXPECT_EQ_STR("", REASON_OF(log_codec_compress(codec, compression, data, len, &out)));
  return out;
}

static Failure *decompress(guint32 compression, GBytes *bytes, gsize uncompressed_bytes, GBytes **ret_bytes) {
  gsize len;
  const guint8 *data = g_bytes_get_data(bytes, &len);
  return log_codec_decompress(compression, data, len, uncompressed_bytes, ret_bytes);
}

static const struct {
  const char *name;
  guint32 compression;
  gsize bytes;
} TRIP_ROWS[] = {
    {"zstd_nothing", ZSTD, 0}, {"zstd_one", ZSTD, 1}, {"zstd_1000", ZSTD, 1000}, {"zstd_5M", ZSTD, 5000000},
    {"lz4_nothing", LZ4, 0},   {"lz4_one", LZ4, 1},   {"lz4_1000", LZ4, 1000},   {"lz4_5M", LZ4, 5000000},
};
TEST_ROWS(codec_round_trip, TRIP_ROWS) {
  g_autoptr(GBytes) bytes = sample(TRIP_ROWS[row].bytes);
  g_autoptr(GBytes) packed = compressed(TRIP_ROWS[row].compression, bytes);
  ASSERT_TRUE(packed != NULL);
  g_autoptr(GBytes) got = NULL;
  ASSERT_EQ_STR("", REASON_OF(decompress(TRIP_ROWS[row].compression, packed, TRIP_ROWS[row].bytes, &got)));
  EXPECT_TRUE(g_bytes_equal(bytes, got));
  if (TRIP_ROWS[row].bytes >= 1000)
    EXPECT_TRUE(g_bytes_get_size(packed) < TRIP_ROWS[row].bytes);
}

static const struct {
  const char *name;
  guint32 compression;
} FRAME_ROWS[] = {{"zstd", ZSTD}, {"lz4", LZ4}};

TEST_ROWS(codec_size_must_be_exact, FRAME_ROWS) {
  g_autoptr(GBytes) bytes = sample(100000);
  g_autoptr(GBytes) packed = compressed(FRAME_ROWS[row].compression, bytes);
  const gsize wrong[] = {0, 1, 99999, 100001, LOG_BATCH_UNCOMPRESSED_BYTES_MAX, LOG_BATCH_UNCOMPRESSED_BYTES_MAX + 1};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    GBytes *got = NULL;
    EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(decompress(FRAME_ROWS[row].compression, packed, wrong[i], &got)));
    EXPECT_NULL(got);
  }
}

TEST_ROWS(codec_frame_cut_short, FRAME_ROWS) {
  g_autoptr(GBytes) bytes = sample(300);
  g_autoptr(GBytes) packed = compressed(FRAME_ROWS[row].compression, bytes);
  for (gsize len = 0; len < g_bytes_get_size(packed); len++) {
    g_autoptr(GBytes) cut = g_bytes_new(g_bytes_get_data(packed, NULL), len);
    GBytes *got = NULL;
    EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(decompress(FRAME_ROWS[row].compression, cut, 300, &got)));
  }
}

TEST_ROWS(codec_nothing_may_follow_the_frame, FRAME_ROWS) {
  g_autoptr(GBytes) bytes = sample(300);
  g_autoptr(GBytes) packed = compressed(FRAME_ROWS[row].compression, bytes);
  const gsize len = g_bytes_get_size(packed);
  /* One more byte; then a whole second frame, which the libraries would be glad to take. */
  g_autoptr(GByteArray) twice = g_byte_array_new();
  g_byte_array_append(twice, g_bytes_get_data(packed, NULL), (guint)len);
  g_byte_array_append(twice, g_bytes_get_data(packed, NULL), (guint)len);
  const guint32 compression = FRAME_ROWS[row].compression;
  const gsize lens[] = {len + 1, 2 * len};
  for (guint i = 0; i < G_N_ELEMENTS(lens); i++) {
    GBytes *got = NULL;
    EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_codec_decompress(compression, twice->data, lens[i], 300, &got)));
    EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(log_codec_decompress(compression, twice->data, lens[i], 600, &got)));
  }
}

/* Whatever a flipped byte does, it stays within bounds: an error, or as many bytes as asked for. */
TEST_ROWS(codec_hostile_frames, FRAME_ROWS) {
  g_autoptr(GBytes) bytes = sample(2000);
  g_autoptr(GBytes) packed = compressed(FRAME_ROWS[row].compression, bytes);
  gsize len;
  const guint8 *sound = g_bytes_get_data(packed, &len);
  g_autofree guint8 *data = g_memdup2(sound, len);
  for (gsize i = 0; i < len; i++) {
    for (guint value = 1; value < 256; value += 42) {
      data[i] = (guint8)(sound[i] ^ value);
      g_autoptr(GBytes) got = NULL;
      Failure *failure = log_codec_decompress(FRAME_ROWS[row].compression, data, len, 2000, &got);
      if (failure == NULL)
        EXPECT_EQ_INT(2000, g_bytes_get_size(got));
      else
        EXPECT_EQ_STR("CORRUPT_BATCH", REASON_OF(failure));
    }
    data[i] = sound[i];
  }
}

TEST(codec, names) {
  EXPECT_EQ_STR("none", log_codec_name(0));
  EXPECT_EQ_STR("none", log_codec_name(1));
  EXPECT_EQ_STR("zstd", log_codec_name(2));
  EXPECT_EQ_STR("lz4", log_codec_name(3));
  EXPECT_NULL(log_codec_name(4));
  EXPECT_NULL(log_codec_name(G_MAXUINT32));
  Milena__V1__Compression compression = MILENA__V1__COMPRESSION__COMPRESSION_UNSPECIFIED;
  EXPECT_FALSE(log_codec_from_name("gzip", &compression));
  EXPECT_EQ_INT(0, compression);
  EXPECT_TRUE(log_codec_from_name("none", &compression));
  EXPECT_EQ_INT(1, compression);
  EXPECT_TRUE(log_codec_from_name("lz4", &compression));
  EXPECT_EQ_INT(3, compression);
}

TEST(codec, unknown_compression_is_refused_by_name) {
  g_autoptr(LogCodec) codec = log_codec_new();
  GBytes *out = NULL;
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_codec_compress(codec, 9, (const guint8 *)"abc", 3, &out)));
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_codec_decompress(9, (const guint8 *)"abc", 3, 3, &out)));
  EXPECT_EQ_STR("UNSUPPORTED", REASON_OF(log_codec_decompress(1, (const guint8 *)"abc", 3, 3, &out)));
  EXPECT_NULL(out);
}
