/* libisal computes with the register as it is; the standard's checksum inverts it before and after. libisal takes its
 * length as an int, so long buffers go in pieces. */
#include "storage/log/crc32c.h"

#include <isa-l/crc.h>

/* A multiple of the vector width, well below G_MAXINT. */
#define PIECE_BYTES ((gsize)1 << 30)

guint32 log_crc32c(gconstpointer data, gsize len) {
  return log_crc32c_extend(0, data, len);
}

guint32 log_crc32c_extend(guint32 crc, gconstpointer data, gsize len) {
  guchar *at = (guchar *)data; /* libisal's signature lacks a const; it only reads */
  crc = ~crc;
  while (len > 0) {
    gsize piece = MIN(len, PIECE_BYTES);
    crc = crc32_iscsi(at, (int)piece, crc);
    at += piece;
    len -= piece;
  }
  return ~crc;
}
