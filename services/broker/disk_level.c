#include "services/broker/disk_level.h"

#include <string.h>

#include "services/base/settings.h"

#define AUTO_PERCENT 5
#define AUTO_LEAST (G_GINT64_CONSTANT(256) << 20)
#define AUTO_MOST (G_GINT64_CONSTANT(2) << 30)
#define AUTO_SHARE_MOST 4 /* a quarter */
#define PERCENT_MOST 90

/* ---- the watermark ---- */

static gboolean parse_percent(const char *text, guint *ret_percent) {
  gsize length = strlen(text);
  if (length < 2 || text[length - 1] != '%')
    return FALSE;
  g_autofree char *digits = g_strndup(text, length - 1);
  guint64 percent;
  if (!g_ascii_string_to_unsigned(digits, 10, 1, PERCENT_MOST, &percent, NULL))
    return FALSE;
  *ret_percent = (guint)percent;
  return TRUE;
}

Failure *disk_watermark_parse(const char *text, DiskWatermark *ret_watermark) {
  DiskWatermark watermark = {.bytes = -1, .chosen = strcmp(text, "auto") == 0};
  if (!watermark.chosen && !parse_percent(text, &watermark.percent) &&
      (!settings_parse_bytes(text, &watermark.bytes) || watermark.bytes < 0))
    return failure_new(FAILURE(INVALID_FIELD),
                       "the disk's low watermark is '%s', but must be a size such as 2GiB, a share such as 5%% (up to "
                       "%d%%), auto, or 0 for none",
                       text, PERCENT_MOST);
  *ret_watermark = watermark;
  return NULL;
}

gint64 disk_watermark_bytes(const DiskWatermark *watermark, gint64 total_bytes) {
  if (watermark->chosen)
    return MIN(CLAMP(total_bytes / 100 * AUTO_PERCENT, AUTO_LEAST, AUTO_MOST), total_bytes / AUTO_SHARE_MOST);
  return watermark->percent ? total_bytes / 100 * watermark->percent : watermark->bytes;
}

/* ---- levels ---- */

/* The watermark divided by this. */
static const gint64 PARTS[] = {[DISK_FINE] = 1, [DISK_LOW] = 1, [DISK_SHORT] = 2, [DISK_FULL] = 8};
static const char *const NAMES[] = {
    [DISK_FINE] = "fine", [DISK_LOW] = "low", [DISK_SHORT] = "short", [DISK_FULL] = "full"};

gint64 disk_level_line(DiskLevel level, gint64 low_bytes) {
  return low_bytes / PARTS[level];
}

gint64 disk_level_end(DiskLevel level, gint64 low_bytes) {
  gint64 line = disk_level_line(level, low_bytes);
  return line + line / 4;
}

DiskLevel disk_level_next(DiskLevel level, gint64 low_bytes, gint64 free_bytes) {
  if (low_bytes <= 0)
    return DISK_FINE;
  while (level < DISK_FULL && free_bytes < disk_level_line(level + 1, low_bytes))
    level++;
  while (level > DISK_FINE && free_bytes >= disk_level_end(level, low_bytes))
    level--;
  return level;
}

const char *disk_level_name(DiskLevel level) {
  return NAMES[level];
}
