/* What a broker does about its disk besides refusing (disk.h): it keeps a reserve to be started with when the disk is
 * full, bounds write-ahead logs on a small disk, closes time segments early while the disk is low, so that deletions
 * help now and not when the segments would have rolled, and has the cluster told.
 *
 * Thread: the main loop, or its thread before it runs. */
#pragma once

#include "services/broker/broker.h"

G_BEGIN_DECLS

typedef struct DiskCare DiskCare;

/* Before the store in @folder is opened: on a full disk the reserve is given up. */
void disk_care_prepare(const char *folder);
/* The bound of write-ahead logs: @wal_bytes, but at most a sixteenth of the disk. */
gint64 disk_care_wal_bytes(const char *folder, gint64 wal_bytes);

/* Watch the disk: sets @broker->disk. The broker's store is open.
 *
 * @low: called on the loop when the disk got low, or has room again */
DiskCare *disk_care_new(Loop *loop, Broker *broker, const char *folder, const DiskWatermark *watermark,
                        void (*low)(gboolean is_low, gpointer data), gpointer data);
/* No more is done; what the watch saw last is still there for who asks. Before the store is closed. NULL is fine. */
void disk_care_stop(DiskCare *care);
/* With @broker->disk: nobody asks any more. NULL is fine. */
void disk_care_free(DiskCare *care);

G_END_DECLS
