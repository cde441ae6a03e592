/* How full a disk is, and what may still be written to it. Pure: figures in, a level out; disk.h looks at the disk.
 *
 *                     free bytes
 *   FINE    everything                           ── low: the watermark
 *   LOW     what clients write is refused        ── short: half of it
 *   SHORT   followers take no more either        ── full: an eighth
 *   FULL    Milena's own topics are refused too
 *
 * What is below a line is kept for what must go on: records under way when the line was crossed, memtables on their way
 * to disk, copies of what other leaders still take, commits of groups, and deletions. A level is left upwards a quarter
 * above its line, so that a disk that is written to and swept does not flap. */
#pragma once

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef enum { DISK_FINE, DISK_LOW, DISK_SHORT, DISK_FULL } DiskLevel;

/* The low-watermark as it was set: bytes, or a share of the file system. */
typedef struct {
  gint64 bytes;    /* -1: not given */
  guint percent;   /* 0: not given */
  gboolean chosen; /* neither: by the size of the file system */
} DiskWatermark;

/* "2GiB", "5%", "auto", or "0" for none. Returns NULL, or INVALID_FIELD with a sentence. @ret_watermark: untouched on
 * failure */
Failure *disk_watermark_parse(const char *text, DiskWatermark *ret_watermark);
/* Of a file system of this size, in bytes; 0: none. "auto" is 5 %, from 256 MiB to 2 GiB, but never more than a
 * quarter.
 */
gint64 disk_watermark_bytes(const DiskWatermark *watermark, gint64 total_bytes);

/* The free space below which a level begins; low_bytes for FINE. */
gint64 disk_level_line(DiskLevel level, gint64 low_bytes);
/* The free space from which on it is left again. */
gint64 disk_level_end(DiskLevel level, gint64 low_bytes);
/* The level that follows @level. @low_bytes: the watermark; 0: always DISK_FINE */
DiskLevel disk_level_next(DiskLevel level, gint64 low_bytes, gint64 free_bytes);
const char *disk_level_name(DiskLevel level); /* "fine", "low", ...; static */

G_END_DECLS
