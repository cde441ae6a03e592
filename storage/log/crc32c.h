/* CRC-32C (Castagnoli), as in iSCSI and RFC 3720: the checksum of everything stored and sent. Pure; any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Checksum of @data. log_crc32c("123456789") is 0xE3069283. */
guint32 log_crc32c(gconstpointer data, gsize len);
/* Go on: @crc is the checksum of what came before, 0 for nothing. */
guint32 log_crc32c_extend(guint32 crc, gconstpointer data, gsize len);

G_END_DECLS
