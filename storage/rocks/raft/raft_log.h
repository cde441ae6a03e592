/* A controller's folder: Raft log, hard state and snapshot in one RocksDB. README.md of this folder explains the
 * layout.
 *
 * Everything that a Raft write holds goes into one synced WriteBatch. A write or sync that the disk refuses ends the
 * process (exit status RAFT_LOG_EXIT_STATUS, one clear line on standard error): what was written is unknown from then
 * on (REPLICATION.md, rule 18), so writes have no failure. One thread at a time. */
#pragma once

#include "controller/raft/raft.h"

G_BEGIN_DECLS

typedef struct RaftLogStore RaftLogStore;

/* Exit status after a write or sync that failed: EX_IOERR. */
#define RAFT_LOG_EXIT_STATUS 74
/* Version of the folder's layout. */
#define RAFT_LOG_FORMAT 1

/* Is there a controller's log in this folder? */
gboolean raft_log_store_exists(const char *path);

/* Open the folder and take its lock. The one that is made is durable before this returns.
 *
 * @create: make folder and log; else a missing one is refused
 * @node_id: of the controller that the log belongs to
 * @ret_store: owned by the caller; untouched on failure
 *
 * Returns NULL; INVALID_FIELD for a folder that is missing, unusable or not a controller's; UNSUPPORTED for a newer
 * format; DUPLICATE_ID when another process has it open, or when it is another controller's; CORRUPT_LOG. */
Failure *raft_log_store_open(const char *path, gboolean create, guint64 node_id, RaftLogStore **ret_store);
void raft_log_store_close(RaftLogStore *store); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftLogStore, raft_log_store_close)

/* Nothing was ever written to it: it waits for a bootstrap. */
Failure *raft_log_store_is_empty(RaftLogStore *store, gboolean *ret_empty);
/* Read everything back, each value checked against its CRC-32C.
 *
 * @ret_start: entries are owned by the caller: raft_log_start_clear
 * @ret_snapshot: the snapshot's bytes, or NULL when there is none; owned by the caller */
Failure *raft_log_store_load(RaftLogStore *store, RaftStart *ret_start, GBytes **ret_snapshot);
void raft_log_start_clear(RaftStart *start);

/* Persist one write: durable on return. @entries: the first replaces everything from its index on; may be empty. */
void raft_log_store_write(RaftLogStore *store, const RaftHardState *state, const GPtrArray *entries);
/* Persist a snapshot in place of the one before, and drop the entries up to its index: durable on return.
 * @meta: size and checksum are filled in by this function */
void raft_log_store_put_snapshot(RaftLogStore *store, const RaftSnapshotMeta *meta, GBytes *snapshot);

G_END_DECLS
