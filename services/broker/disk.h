/* The disk that a broker keeps its logs on: how much is free, looked at four times a second, and what may therefore be
 * written. The levels are disk_level.h's; docs/disk.md is the page for operators.
 *
 *   main loop: statvfs ──level──► any shard's loop asks before it writes
 *
 * Nothing here frees space: retention, deletions and operators do. Writes come back by themselves. */
#pragma once

#include "services/base/failure.h"
#include "services/base/loop.h"
#include "services/broker/disk_level.h"

G_BEGIN_DECLS

typedef struct Disk Disk;

typedef struct {
  gint32 broker_id; /* for sentences */
  const char *folder;
  DiskWatermark watermark;
  /* The level has changed; on the loop. May be NULL. */
  void (*changed)(DiskLevel level, gpointer data);
  gpointer data;
} DiskOptions;

/* How large the file system is that @folder is on, or will be; 0 when it can't be told. Any thread. */
gint64 disk_total_bytes(const char *folder);

/* Looks at once, and from then on; the folder is there. @loop: does the looking */
Disk *disk_new(Loop *loop, const DiskOptions *options);
/* Look no more: the last level stays. On the loop, or after it ended. NULL is fine. */
void disk_stop(Disk *disk);
/* Nobody asks any more. NULL is fine. */
void disk_free(Disk *disk);

/* What is written. */
typedef enum {
  DISK_FOR_CLIENTS,  /* records that clients bring: a leader asks */
  DISK_FOR_COPIES,   /* the same on their way from the leader: a follower asks */
  DISK_FOR_INTERNAL, /* records of Milena's own topics, on leader and follower */
} DiskPurpose;

/* Whether it may be written now. Any thread. @disk: NULL: always */
gboolean disk_has_room(const Disk *disk, DiskPurpose purpose);
/* DISK_LOW, with a sentence: which broker and folder, how much is free, what to do. Any thread. */
Failure *disk_refusal(const Disk *disk);

typedef struct {
  DiskLevel level;
  gint64 free_bytes, total_bytes, low_bytes;
} DiskFigures;
/* As last looked at. Any thread. NULL: all 0 */
DiskFigures disk_figures(const Disk *disk);

G_END_DECLS
