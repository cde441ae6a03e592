/* Files of snapshots in a controller's folder: snapshot-N holds the bytes of one, and means nothing until the log's
 * RocksDB names it. */
#pragma once

#include "storage/rocks/raft/raft_log.h"

G_BEGIN_DECLS

/* A file for a new snapshot. @number: of no other in the folder. Ends the process when the disk refuses. */
RaftSnapshotFile *raft_snapshot_file_begin(const char *folder, guint64 number);
guint64 raft_snapshot_file_number(const RaftSnapshotFile *file);
guint64 raft_snapshot_file_size_bytes(const RaftSnapshotFile *file);
guint32 raft_snapshot_file_crc32c(const RaftSnapshotFile *file);
/* It is named by the log now: it stays when it is freed. */
void raft_snapshot_file_keep(RaftSnapshotFile *file);

/* Map the file and check it. @meta: what size and checksum it must have
 *
 * Returns NULL or CORRUPT_LOG. @ret_bytes: owned by the caller */
Failure *raft_snapshot_file_map(const char *folder, guint64 number, const RaftSnapshotMeta *meta, GBytes **ret_bytes);
/* Remove one; 0: none. In vain: the next start does it. */
void raft_snapshot_file_remove(const char *folder, guint64 number);
/* Remove all but the one in force; 0: there is none. */
void raft_snapshot_file_sweep(const char *folder, guint64 in_force);

G_END_DECLS
