/* A controller's folder: identity, term and vote, Raft log and snapshot. README.md of this folder explains the layout,
 * and what is found when a byte of it is damaged.
 *
 * A folder has an identity of its own from the moment it is made: the controller's id and a random directory id, so
 * that a controller that lost its disk is told from the one before. It knows its cluster as soon as it was told.
 *
 * Whatever a function here has written is durable when it returns. A write or sync that the disk refuses ends the
 * process (exit status RAFT_LOG_EXIT_STATUS, one clear line on standard error): what was written is unknown from then
 * on (REPLICATION.md, rule 18), so writes have no failure. One thread at a time, but for the bytes of a snapshot, which
 * any thread may hold and read. */
#pragma once

#include "controller/raft/raft.h"

G_BEGIN_DECLS

typedef struct RaftLogStore RaftLogStore;

/* Exit status after a write or sync that failed: EX_IOERR. */
#define RAFT_LOG_EXIT_STATUS 74
/* Version of the folder's layout. */
#define RAFT_LOG_FORMAT 2

/* ---- Opening ---- */

#define RAFT_LOG_CLUSTER_ID_CHARS_MAX 36

/* Whose folder it is. */
typedef struct {
  guint64 node_id;
  RaftDirectory directory;                            /* random, given when the folder was made */
  char cluster_id[RAFT_LOG_CLUSTER_ID_CHARS_MAX + 1]; /* "" until raft_log_store_set_cluster */
} RaftLogIdentity;

/* Is this a controller's folder? FALSE for a missing or an empty one. */
gboolean raft_log_store_exists(const char *path);

/* Open the folder, take its lock and verify it: all of it is read. The one that is made is durable before this returns,
 * and waits without a cluster to be bootstrapped or added. One of an older format is brought to this one.
 *
 * @create: make folder and log; else a missing one is refused
 * @node_id: of the controller that the log belongs to
 * @ret_store: owned by the caller; untouched on failure
 *
 * Returns NULL; INVALID_FIELD for a folder that is missing, unusable or not a controller's; UNSUPPORTED for a newer
 * format; DUPLICATE_ID when another process has it open, or when it is another controller's; CORRUPT_LOG when anything
 * in it is damaged or missing. */
Failure *raft_log_store_open(const char *path, gboolean create, guint64 node_id, RaftLogStore **ret_store);
void raft_log_store_close(RaftLogStore *store); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftLogStore, raft_log_store_close)

/* Borrowed, valid until the store is closed. */
const RaftLogIdentity *raft_log_store_identity(const RaftLogStore *store);
/* The folder belongs to this cluster from now on; nothing happens when it does already.
 *
 * @cluster_id: a UUID as text, not empty
 *
 * Returns NULL, INVALID_FIELD for no UUID, or CLUSTER_MISMATCH for the folder of another cluster. */
Failure *raft_log_store_set_cluster(RaftLogStore *store, const char *cluster_id);

/* ---- The log ---- */

/* Read everything back; it was verified when the folder was opened, and is once more. Before any write.
 *
 * @ret_start: entries are owned by the caller: raft_log_start_clear
 * @ret_snapshot: as raft_log_store_snapshot; owned by the caller */
Failure *raft_log_store_load(RaftLogStore *store, RaftStart *ret_start, GBytes **ret_snapshot);
void raft_log_start_clear(RaftStart *start);

/* Persist one write: durable on return. A term or a vote that changed is durable in a file of its own before the rest
 * is written. @entries: the first replaces everything from its index on; may be empty. */
void raft_log_store_write(RaftLogStore *store, const RaftHardState *state, const GPtrArray *entries);

/* ---- Snapshots ---- */

/* The bytes of the snapshot in force, or NULL when there is none; owned by the caller. They lie in the file and are
 * mapped, not copied, and stay the same when another snapshot takes its place. */
GBytes *raft_log_store_snapshot(const RaftLogStore *store);

/* A snapshot that is being written or received: a file of its own, which means nothing until it is put or installed,
 * and goes when it is not. */
typedef struct RaftSnapshotFile RaftSnapshotFile;
RaftSnapshotFile *raft_snapshot_file_new(RaftLogStore *store);
/* Add bytes at its end; not durable yet. Any thread, one at a time. @data: borrowed */
void raft_snapshot_file_append(RaftSnapshotFile *file, gconstpointer data, gsize size);
/* Make it durable, so that to put or install it is quick: those do it otherwise. Nothing is added after this. Any
 * thread. */
void raft_snapshot_file_sync(RaftSnapshotFile *file);
void raft_snapshot_file_free(RaftSnapshotFile *file); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftSnapshotFile, raft_snapshot_file_free)

/* A snapshot of this controller's own takes the place of the one before, and the entries that it holds go: one step.
 *
 * @meta: index lies in the log; size and checksum are filled in by this function
 * @file: taken */
void raft_log_store_put_snapshot_file(RaftLogStore *store, const RaftSnapshotMeta *meta, RaftSnapshotFile *file);
/* A leader's snapshot takes the place of snapshot and log, with the hard state and the entries that follow it: one
 * step. raft_log_store_write for a ready with an install.
 *
 * @entries: from the one after the snapshot's on; may be empty
 *
 * Returns NULL, or CORRUPT_LOG when the bytes are cut short or are not those that were described; nothing changed then.
 */
Failure *raft_log_store_install(RaftLogStore *store, const RaftHardState *state, const RaftInstall *install,
                                const GPtrArray *entries);

G_END_DECLS
