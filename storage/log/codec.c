/* zstd and lz4 frames.
 *
 * A LogCodec keeps the zstd compression context, which is large and costs more to make than a small batch does to
 * compress; lz4's is small. Decompression knows the exact size of what must come out, allocates that much and no more,
 * and takes a frame that ends early, late, or is followed by anything, as corrupt. Owned by one thread. */
#include "storage/log/codec.h"

#include <lz4frame.h>
#include <string.h>
#include <zstd.h>

#include "services/base/invariant.h"
#include "storage/log/batch.h"

struct LogCodec {
  ZSTD_CCtx *zstd; /* made at first use */
};

static const char *const CODEC_NAMES[] = {
    [MILENA__V1__COMPRESSION__COMPRESSION_UNSPECIFIED] = "none",
    [MILENA__V1__COMPRESSION__COMPRESSION_NONE] = "none",
    [MILENA__V1__COMPRESSION__COMPRESSION_ZSTD] = "zstd",
    [MILENA__V1__COMPRESSION__COMPRESSION_LZ4] = "lz4",
};

LogCodec *log_codec_new(void) {
  return g_new0(LogCodec, 1);
}

void log_codec_free(LogCodec *codec) {
  if (codec == NULL)
    return;
  ZSTD_freeCCtx(codec->zstd);
  g_free(codec);
}

const char *log_codec_name(guint32 compression) {
  return compression < G_N_ELEMENTS(CODEC_NAMES) ? CODEC_NAMES[compression] : NULL;
}

gboolean log_codec_from_name(const char *name, Milena__V1__Compression *ret_compression) {
  for (guint i = MILENA__V1__COMPRESSION__COMPRESSION_NONE; i < G_N_ELEMENTS(CODEC_NAMES); i++) {
    if (g_str_equal(name, CODEC_NAMES[i])) {
      *ret_compression = (Milena__V1__Compression)i;
      return TRUE;
    }
  }
  return FALSE;
}

static Failure *unknown(guint32 compression) {
  return failure_new(FAILURE(UNSUPPORTED), "compression %u is not known to this version: use none, zstd or lz4",
                     compression);
}

/* Worst-case room is much larger than what a good codec gives: return the rest before the bytes are kept for long. */
static GBytes *shrink(guint8 *out, gsize len) {
  return g_bytes_new_take(g_realloc(out, len), len);
}

static Failure *zstd_compress(LogCodec *codec, const guint8 *data, gsize len, GBytes **ret_bytes) {
  if (codec->zstd == NULL)
    codec->zstd = ZSTD_createCCtx();
  gsize room = ZSTD_compressBound(len);
  guint8 *out = g_malloc(room);
  gsize used = ZSTD_compressCCtx(codec->zstd, out, room, data, len, ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(used)) {
    g_free(out);
    return failure_new(FAILURE(INTERNAL), "zstd could not compress a batch: %s", ZSTD_getErrorName(used));
  }
  *ret_bytes = shrink(out, used);
  return NULL;
}

static Failure *lz4_compress(const guint8 *data, gsize len, GBytes **ret_bytes) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.contentSize = len;
  gsize room = LZ4F_compressFrameBound(len, &preferences);
  guint8 *out = g_malloc(room);
  gsize used = LZ4F_compressFrame(out, room, data, len, &preferences);
  if (LZ4F_isError(used)) {
    g_free(out);
    return failure_new(FAILURE(INTERNAL), "lz4 could not compress a batch: %s", LZ4F_getErrorName(used));
  }
  *ret_bytes = shrink(out, used);
  return NULL;
}

Failure *log_codec_compress(LogCodec *codec, guint32 compression, const guint8 *data, gsize len, GBytes **ret_bytes) {
  switch (compression) {
  case MILENA__V1__COMPRESSION__COMPRESSION_UNSPECIFIED:
  case MILENA__V1__COMPRESSION__COMPRESSION_NONE:
    *ret_bytes = g_bytes_new(data, len);
    return NULL;
  case MILENA__V1__COMPRESSION__COMPRESSION_ZSTD:
    return zstd_compress(codec, data, len, ret_bytes);
  case MILENA__V1__COMPRESSION__COMPRESSION_LZ4:
    return lz4_compress(data, len, ret_bytes);
  default:
    return unknown(compression);
  }
}

/* Both decompressors fill @out with exactly @room bytes from exactly @len, or say what is wrong. */

static const char *zstd_decompress(const guint8 *data, gsize len, guint8 *out, gsize room) {
  gsize frame = ZSTD_findFrameCompressedSize(data, len);
  if (ZSTD_isError(frame))
    return ZSTD_getErrorName(frame);
  if (frame != len)
    return "something follows its zstd frame";
  gsize used = ZSTD_decompress(out, room, data, len);
  if (ZSTD_isError(used))
    return ZSTD_getErrorName(used);
  return used == room ? NULL : "it is smaller than its header says";
}

static const char *lz4_decompress_with(LZ4F_dctx *context, const guint8 *data, gsize len, guint8 *out, gsize room) {
  const LZ4F_decompressOptions_t options = {.stableDst = 1};
  gsize in = 0, done = 0;
  for (;;) {
    gsize in_now = len - in, out_now = room - done;
    gsize hint = LZ4F_decompress(context, out + done, &out_now, data + in, &in_now, &options);
    if (LZ4F_isError(hint))
      return LZ4F_getErrorName(hint);
    in += in_now;
    done += out_now;
    if (hint == 0)
      break;
    if (in_now == 0 && out_now == 0)
      return in == len ? "its lz4 frame is cut short" : "it is larger than its header says";
  }
  if (in != len)
    return "something follows its lz4 frame";
  return done == room ? NULL : "it is smaller than its header says";
}

static const char *lz4_decompress(const guint8 *data, gsize len, guint8 *out, gsize room) {
  LZ4F_dctx *context = NULL;
  gsize error = LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
  if (LZ4F_isError(error))
    return LZ4F_getErrorName(error);
  const char *wrong = lz4_decompress_with(context, data, len, out, room);
  LZ4F_freeDecompressionContext(context);
  return wrong;
}

Failure *log_codec_decompress(guint32 compression, const guint8 *data, gsize len, gsize uncompressed_bytes,
                              GBytes **ret_bytes) {
  gboolean zstd = compression == MILENA__V1__COMPRESSION__COMPRESSION_ZSTD;
  if (!zstd && compression != MILENA__V1__COMPRESSION__COMPRESSION_LZ4)
    return unknown(compression);
  if (uncompressed_bytes > LOG_BATCH_UNCOMPRESSED_BYTES_MAX)
    return failure_new(FAILURE(CORRUPT_BATCH),
                       "the batch says that it has %" G_GSIZE_FORMAT " bytes; at most %u can be", uncompressed_bytes,
                       LOG_BATCH_UNCOMPRESSED_BYTES_MAX);
  /* One byte at least: the decompressors want a pointer even for nothing. */
  guint8 *out = g_malloc(MAX(uncompressed_bytes, 1));
  if (data == NULL)
    data = out; /* no bytes: no arithmetic on NULL */
  const char *wrong =
      zstd ? zstd_decompress(data, len, out, uncompressed_bytes) : lz4_decompress(data, len, out, uncompressed_bytes);
  if (wrong != NULL) {
    g_free(out);
    return failure_new(FAILURE(CORRUPT_BATCH),
                       "the batch can't be decompressed with %s to %" G_GSIZE_FORMAT " bytes: %s",
                       log_codec_name(compression), uncompressed_bytes, wrong);
  }
  *ret_bytes = g_bytes_new_take(out, uncompressed_bytes);
  return NULL;
}

/* ---- the outside of a frame ---- */

static const char *zstd_check(const guint8 *data, gsize len, gsize uncompressed_bytes) {
  gsize frame = ZSTD_findFrameCompressedSize(data, len);
  if (ZSTD_isError(frame))
    return ZSTD_getErrorName(frame);
  if (frame != len)
    return "something follows its zstd frame";
  unsigned long long content = ZSTD_getFrameContentSize(data, len);
  if (content == ZSTD_CONTENTSIZE_UNKNOWN || content == uncompressed_bytes)
    return NULL;
  return "its zstd frame says another size";
}

static guint32 get_le32(const guint8 *at) {
  guint32 number;
  memcpy(&number, at, sizeof number);
  return GUINT32_FROM_LE(number);
}

/* Blocks, each behind its length, up to the end mark (a length of 0) and the content's checksum. */
static const char *lz4_check_blocks(const LZ4F_frameInfo_t *info, const guint8 *data, gsize len) {
  const gsize checksum = info->blockChecksumFlag == LZ4F_blockChecksumEnabled ? 4 : 0;
  const gsize trailer = info->contentChecksumFlag == LZ4F_contentChecksumEnabled ? 4 : 0;
  for (gsize at = 0; len - at >= 4;) {
    gsize block = get_le32(data + at) & G_MAXINT32; /* the top bit: this block is not compressed */
    at += 4;
    if (get_le32(data + at - 4) == 0)
      return len - at == trailer ? NULL : "its lz4 frame does not end where its bytes do";
    if (block + checksum > len - at)
      break;
    at += block + checksum;
  }
  return "its lz4 frame is cut short";
}

static const char *lz4_check(const guint8 *data, gsize len, gsize uncompressed_bytes) {
  LZ4F_dctx *context = NULL;
  gsize error = LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
  if (LZ4F_isError(error))
    return LZ4F_getErrorName(error);
  LZ4F_frameInfo_t info = LZ4F_INIT_FRAMEINFO;
  gsize header = len;
  error = LZ4F_getFrameInfo(context, &info, data, &header);
  LZ4F_freeDecompressionContext(context);
  if (LZ4F_isError(error))
    return LZ4F_getErrorName(error);
  if (info.frameType != LZ4F_frame)
    return "it is not an lz4 frame";
  if (info.contentSize != 0 && info.contentSize != uncompressed_bytes)
    return "its lz4 frame says another size";
  return lz4_check_blocks(&info, data + header, len - header);
}

Failure *log_codec_check_frame(guint32 compression, const guint8 *data, gsize len, gsize uncompressed_bytes) {
  gboolean zstd = compression == MILENA__V1__COMPRESSION__COMPRESSION_ZSTD;
  if (!zstd && compression != MILENA__V1__COMPRESSION__COMPRESSION_LZ4)
    return unknown(compression);
  const char *wrong = "it has no bytes";
  if (len > 0)
    wrong = zstd ? zstd_check(data, len, uncompressed_bytes) : lz4_check(data, len, uncompressed_bytes);
  if (wrong == NULL)
    return NULL;
  return failure_new(FAILURE(CORRUPT_BATCH),
                     "the batch's records are not %" G_GSIZE_FORMAT " bytes compressed with %s: %s", uncompressed_bytes,
                     log_codec_name(compression), wrong);
}
