/* See disk_care.h.
 *
 * Owner: the main loop. Failure modes: where there is no reserve, a broker whose disk is full to the last byte can't be
 * started before somebody makes room. */
#include "services/broker/disk_care.h"

#include "services/process/reserve.h"

/* What opening a store on a full disk may write: the memtables that the write-ahead log holds. */
#define RESERVE_BYTES (G_GINT64_CONSTANT(64) << 20)
#define RESERVE_SHARE 8 /* of a small disk */
#define WAL_SHARE 16
#define WAL_LEAST (G_GINT64_CONSTANT(16) << 20)
/* While it is low, segments are closed at this age; the store bounds how many that makes (log_roll_now). */
#define LOW_SEGMENT_AGE_MS 1000
#define LOW_TIDY_MS 5000

struct DiskCare {
  Loop *loop;
  Broker *broker;
  char *folder;
  void (*low)(gboolean is_low, gpointer data);
  gpointer data;
  GSource *tidy; /* while the disk is low; else NULL */
};

static gint64 reserve_bytes(const char *folder) {
  return MIN(RESERVE_BYTES, disk_total_bytes(folder) / RESERVE_SHARE);
}

void disk_care_prepare(const char *folder) {
  reserve_release(folder, reserve_bytes(folder));
}

gint64 disk_care_wal_bytes(const char *folder, gint64 wal_bytes) {
  gint64 disk_bytes = disk_total_bytes(folder);
  return disk_bytes > 0 ? MIN(wal_bytes, MAX(disk_bytes / WAL_SHARE, WAL_LEAST)) : wal_bytes;
}

/* ---- while it is low ---- */

static gboolean on_tidy(gpointer data) {
  DiskCare *care = data;
  log_store_tidy(care->broker->store, (LogRoll){.age_ms = LOW_SEGMENT_AGE_MS, .bytes = G_MAXINT64});
  return G_SOURCE_CONTINUE;
}

static void stop_tidying(DiskCare *care) {
  if (!care->tidy)
    return;
  g_source_destroy(care->tidy);
  g_clear_pointer(&care->tidy, g_source_unref);
}

static void follow_level(DiskCare *care, DiskLevel level) {
  if (level == DISK_FINE) {
    stop_tidying(care);
    reserve_keep(care->folder, reserve_bytes(care->folder));
  } else if (!care->tidy) {
    care->tidy = loop_add_timeout(care->loop, LOW_TIDY_MS, on_tidy, care);
    on_tidy(care);
  }
}

static void on_changed(DiskLevel level, gpointer data) {
  DiskCare *care = data;
  follow_level(care, level);
  care->low(level != DISK_FINE, care->data);
}

/* ---- life ---- */

DiskCare *disk_care_new(Loop *loop, Broker *broker, const char *folder, const DiskWatermark *watermark,
                        void (*low)(gboolean is_low, gpointer data), gpointer data) {
  DiskCare *care = g_new0(DiskCare, 1);
  *care = (DiskCare){.loop = loop, .broker = broker, .folder = g_strdup(folder), .low = low, .data = data};
  const DiskOptions options = {
      .broker_id = broker->id, .folder = folder, .watermark = *watermark, .changed = on_changed, .data = care};
  broker->disk = disk_new(loop, &options);
  if (disk_figures(broker->disk).level == DISK_FINE)
    follow_level(care, DISK_FINE);
  return care;
}

void disk_care_stop(DiskCare *care) {
  if (!care)
    return;
  stop_tidying(care);
  disk_stop(care->broker->disk);
}

void disk_care_free(DiskCare *care) {
  if (!care)
    return;
  disk_care_stop(care);
  g_clear_pointer(&care->broker->disk, disk_free);
  g_free(care->folder);
  g_free(care);
}
