/* Compression of batches: zstd and lz4, one frame each, with bounded output. Pure. */
#pragma once

#include <glib.h>

#include "milena/v1/record.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

/* Working memory of a compressor, kept from batch to batch. One owner thread. */
typedef struct LogCodec LogCodec;

LogCodec *log_codec_new(void);
void log_codec_free(LogCodec *codec); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogCodec, log_codec_free)

/* Name for people and settings: "none", "zstd", "lz4". NULL for a value that this version does not know. Static. */
const char *log_codec_name(guint32 compression);
/* The other way. Returns FALSE for an unknown name; @ret_compression is untouched then. */
gboolean log_codec_from_name(const char *name, Milena__V1__Compression *ret_compression);

/* Compress @data.
 *
 * @ret_bytes: owned by the caller; untouched on failure
 *
 * Returns NULL, UNSUPPORTED for an unknown compression, or INTERNAL with what the library said. */
Failure *log_codec_compress(LogCodec *codec, guint32 compression, const guint8 *data, gsize len, GBytes **ret_bytes);
/* Decompress exactly one frame that must give exactly @uncompressed_bytes. Any thread.
 *
 * @compression: COMPRESSION_ZSTD or COMPRESSION_LZ4
 * @uncompressed_bytes: at most LOG_BATCH_UNCOMPRESSED_BYTES_MAX: as much is allocated, never more
 *
 * Returns NULL, CORRUPT_BATCH, or UNSUPPORTED for an unknown compression. */
Failure *log_codec_decompress(guint32 compression, const guint8 *data, gsize len, gsize uncompressed_bytes,
                              GBytes **ret_bytes);
/* Look at a frame's outside alone, without decompressing: one frame, whole, nothing behind it, and as large inside as
 * @uncompressed_bytes where it says how large. What log_codec_decompress takes passes. Any thread.
 *
 * Returns NULL, CORRUPT_BATCH, or UNSUPPORTED for an unknown compression. */
Failure *log_codec_check_frame(guint32 compression, const guint8 *data, gsize len, gsize uncompressed_bytes);

G_END_DECLS
