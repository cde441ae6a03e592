/* The watch of the disk: see disk.h.
 *
 * Owner: the loop, which alone looks; what it saw is in atomics, each of them true of one look, and good enough when
 * they are of two. Failure modes: a file system that can't be asked keeps its last level, and that is logged once. */
#include "services/broker/disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

#include "services/base/slog.h"

/* Free space counts what fits between two looks: at 1 GB/s these are 250 MB, where the lines of "auto" are 128 MiB and
 * more apart on disks that are that fast. */
#define LOOK_MS 250

struct Disk {
  /* Constant. */
  gint32 broker_id;
  char *folder;
  DiskWatermark watermark;
  void (*changed)(DiskLevel level, gpointer data);
  gpointer data;

  /* The loop's. */
  GSource *timer;
  gboolean told_blind;

  /* Written by the loop, read by any thread. */
  _Atomic gint level;
  _Atomic gint64 free_bytes, total_bytes, low_bytes;
};

static void tell(const Disk *disk, DiskLevel before, DiskLevel level) {
  static const char *const WORDS[] = {
      [DISK_FINE] = "the disk has room again: writes are taken",
      [DISK_LOW] = "the disk is nearly full: what clients write is refused, reads are served",
      [DISK_SHORT] = "the disk is nearly full: nothing but Milena's own topics is written",
      [DISK_FULL] = "the disk is full: nothing is written",
  };
  gint64 free_bytes = atomic_load(&disk->free_bytes);
  gint64 low_bytes = atomic_load(&disk->low_bytes);
  if (level > before)
    slog_error(WORDS[level], "folder", disk->folder, "free_bytes", SLOG_INT(free_bytes), "low_watermark_bytes",
               SLOG_INT(low_bytes), NULL);
  else
    slog_info(WORDS[level], "folder", disk->folder, "free_bytes", SLOG_INT(free_bytes), "low_watermark_bytes",
              SLOG_INT(low_bytes), NULL);
}

static void note_blind(Disk *disk, int error) {
  if (!disk->told_blind)
    slog_error("the file system of the data folder does not tell its free space: a full disk will not be noticed in "
               "time",
               "folder", disk->folder, "error", g_strerror(error), NULL);
  disk->told_blind = TRUE;
}

static void look(Disk *disk) {
  struct statvfs found;
  if (statvfs(disk->folder, &found) != 0) {
    note_blind(disk, errno);
    return;
  }
  disk->told_blind = FALSE;
  gint64 unit = (gint64)found.f_frsize;
  gint64 free_bytes = (gint64)found.f_bavail * unit, total_bytes = (gint64)found.f_blocks * unit;
  gint64 low_bytes = disk_watermark_bytes(&disk->watermark, total_bytes);
  DiskLevel before = (DiskLevel)atomic_load(&disk->level);
  DiskLevel level = disk_level_next(before, low_bytes, free_bytes);
  atomic_store(&disk->free_bytes, free_bytes);
  atomic_store(&disk->total_bytes, total_bytes);
  atomic_store(&disk->low_bytes, low_bytes);
  atomic_store(&disk->level, (gint)level);
  if (level == before)
    return;
  tell(disk, before, level);
  if (disk->changed)
    disk->changed(level, disk->data);
}

gint64 disk_total_bytes(const char *folder) {
  g_autofree char *parent = g_path_get_dirname(folder);
  struct statvfs found;
  if (statvfs(folder, &found) != 0 && statvfs(parent, &found) != 0)
    return 0;
  return (gint64)found.f_blocks * (gint64)found.f_frsize;
}

static gboolean on_look(gpointer data) {
  look(data);
  return G_SOURCE_CONTINUE;
}

Disk *disk_new(Loop *loop, const DiskOptions *options) {
  Disk *disk = g_new0(Disk, 1);
  disk->broker_id = options->broker_id;
  disk->folder = g_strdup(options->folder);
  disk->watermark = options->watermark;
  disk->changed = options->changed;
  disk->data = options->data;
  look(disk);
  disk->timer = loop_add_timeout(loop, LOOK_MS, on_look, disk);
  return disk;
}

void disk_stop(Disk *disk) {
  if (!disk || !disk->timer)
    return;
  g_source_destroy(disk->timer);
  g_clear_pointer(&disk->timer, g_source_unref);
}

void disk_free(Disk *disk) {
  if (!disk)
    return;
  disk_stop(disk);
  g_free(disk->folder);
  g_free(disk);
}

gboolean disk_has_room(const Disk *disk, DiskPurpose purpose) {
  static const DiskLevel ENDS[] = {
      [DISK_FOR_CLIENTS] = DISK_LOW, [DISK_FOR_COPIES] = DISK_SHORT, [DISK_FOR_INTERNAL] = DISK_FULL};
  return !disk || (DiskLevel)atomic_load_explicit(&disk->level, memory_order_relaxed) < ENDS[purpose];
}

DiskFigures disk_figures(const Disk *disk) {
  if (!disk)
    return (DiskFigures){0};
  return (DiskFigures){.level = (DiskLevel)atomic_load(&disk->level),
                       .free_bytes = atomic_load(&disk->free_bytes),
                       .total_bytes = atomic_load(&disk->total_bytes),
                       .low_bytes = atomic_load(&disk->low_bytes)};
}

Failure *disk_refusal(const Disk *disk) {
  DiskFigures figures = disk_figures(disk);
  gint64 back_bytes = disk_level_end(MAX(figures.level, DISK_LOW), figures.low_bytes);
  g_autofree char *free_text = g_format_size_full((guint64)figures.free_bytes, G_FORMAT_SIZE_IEC_UNITS);
  g_autofree char *low_text = g_format_size_full((guint64)figures.low_bytes, G_FORMAT_SIZE_IEC_UNITS);
  g_autofree char *back_text = g_format_size_full((guint64)back_bytes, G_FORMAT_SIZE_IEC_UNITS);
  Failure *failure = failure_new(
      FAILURE(DISK_LOW),
      "broker %d's disk is nearly full: %s are free at %s, and its low watermark is %s; nothing was written. Delete "
      "topics or records, shorten their retention, or enlarge the disk: writes come back by themselves at %s",
      disk->broker_id, free_text, disk->folder, low_text, back_text);
  failure_add(failure, "broker_id", "%d", disk->broker_id);
  failure_add(failure, "free_bytes", "%" G_GINT64_FORMAT, figures.free_bytes);
  failure_add(failure, "low_watermark_bytes", "%" G_GINT64_FORMAT, figures.low_bytes);
  return failure_add(failure, "resume_bytes", "%" G_GINT64_FORMAT, back_bytes);
}
