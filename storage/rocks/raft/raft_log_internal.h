/* What the files of raft_log share: the store, its keys, reading it, bringing an older format to this one. */
#pragma once

#include "storage/rocks/raft/chain.h"
#include "storage/rocks/raft/note_file.h"
#include "storage/rocks/raft/raft_db.h"
#include "storage/rocks/raft/raft_log.h"
#include "storage/rocks/raft/snapshot_file.h"

G_BEGIN_DECLS

#define RAFT_KEY_FORMAT "format"
#define RAFT_KEY_NODE "node"
#define RAFT_KEY_DIRECTORY "directory"
#define RAFT_KEY_CLUSTER "cluster"
#define RAFT_KEY_STATE "state"
#define RAFT_KEY_SNAPSHOT "snapshot"
#define RAFT_KEY_SNAPSHOT_DATA "snapshot-data" /* of format 1 */
#define RAFT_ENTRY_PREFIX 'e'
#define RAFT_ENTRY_KEY_BYTES 9

struct RaftLogStore {
  char *path;
  int folder_fd; /* its lock is ours */
  RaftNoteFile *note;
  RaftDb *db;
  guint64 first, next;         /* entries in [first, next) */
  GArray *chains;              /* guint64: value in the chain of each of them */
  guint64 anchor;              /* value in the chain of what lies in front of first */
  guint64 snapshot_number;     /* of the snapshot's file in force; 0: there is none */
  guint64 next_number;         /* for the next file */
  RaftSnapshotMeta snapshot;   /* in force */
  GBytes *snapshot_bytes;      /* mapped, or NULL */
  RaftHardState written_state; /* in RocksDB */
};

/* ---- raft_log.c ---- */

void raft_log_entry_key(guint64 index, char ret_key[RAFT_ENTRY_KEY_BYTES]);
/* An entry's value in the chain, over key and bytes. @chain: of what is in front of it */
guint64 raft_log_chain_of(guint64 chain, guint64 index, gconstpointer bytes, gsize size);
/* Put an entry, followed by its value in the chain, which is returned. @chain: of what is in front of it */
guint64 raft_log_put_entry(rocksdb_writebatch_t *batch, guint64 chain, const RaftEntry *entry);
/* Name a snapshot's file. @anchor: value in the chain of its last entry */
void raft_log_put_snapshot_name(rocksdb_writebatch_t *batch, const RaftSnapshotMeta *meta, guint64 number,
                                guint64 anchor);
/* What stands for a snapshot's last entry when that one is not known. */
guint64 raft_log_anchor_of(const RaftSnapshotMeta *meta);
/* Value in the chain of an entry of [first - 1, next). */
guint64 raft_log_chain_at(const RaftLogStore *store, guint64 index);

/* ---- raft_log_open.c ---- */

void raft_log_put_identity(rocksdb_writebatch_t *batch, const RaftLogIdentity *identity);
RaftDirectory raft_log_random_directory(void);

/* ---- raft_log_read.c ---- */

/* Read and verify everything, and learn first, next, chains, snapshot and state from it.
 *
 * @entries: taken up here, or NULL */
Failure *raft_log_read(RaftLogStore *store, GPtrArray *entries, RaftStart *ret_start);
/* The format that RocksDB names. *@ret_format: 0 when it names none. */
Failure *raft_log_read_format(const RaftLogStore *store, guint32 *ret_format);
/* UNSUPPORTED. */
Failure *raft_log_newer_format(const char *path, guint32 format);
/* DUPLICATE_ID: the folder is another controller's. */
Failure *raft_log_wrong_node(const char *path, guint64 found, guint64 wanted);
/* The folder's id as RocksDB has it against the one that is asked for. */
Failure *raft_log_check_node(const RaftLogStore *store, guint64 node_id);

/* ---- raft_log_upgrade.c ---- */

/* Bring a folder of format 1 to this one, in one durable step; interrupted, it is one of format 1 still. Makes the
 * file CONTROLLER where it is missing. */
Failure *raft_log_upgrade(RaftLogStore *store, guint64 node_id);

G_END_DECLS
