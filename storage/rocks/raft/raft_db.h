/* The RocksDB of a controller's folder: opening, values with checksums, synced batches. What the keys mean is
 * raft_log.c's affair. One thread at a time. */
#pragma once

#include <rocksdb/c.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct RaftDb RaftDb;

/* Is there one? */
gboolean raft_db_exists(const char *path);
/* Returns NULL, DUPLICATE_ID when another process has it open, or CORRUPT_LOG. @create: make it where there is none */
Failure *raft_db_open(const char *path, gboolean create, RaftDb **ret_db);
void raft_db_close(RaftDb *db); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftDb, raft_db_close)

/* "The controller's folder ... is damaged: @what", and what an operator does now. CORRUPT_LOG. */
Failure *raft_db_damaged(const char *path, const char *what, ...) G_GNUC_PRINTF(2, 3);

/* Nothing was ever written to it. */
gboolean raft_db_is_new(const RaftDb *db);

/* A value as it lies there, or NULL when there is none; owned by the caller. @key: a word */
Failure *raft_db_get(const RaftDb *db, const char *key, GBytes **ret_value);
/* The same of one that raft_db_put_checked wrote: without its checksum, or CORRUPT_LOG. */
Failure *raft_db_get_checked(const RaftDb *db, const char *key, GBytes **ret_value);
/* What lies in front of the checksum, or CORRUPT_LOG. @name: for the sentence */
Failure *raft_db_check(const RaftDb *db, const char *name, const char *key, gsize key_len, const char *value,
                       gsize size, gsize *ret_size);

/* Each key and value in order, all of it, past no checksum; borrowed. Goes on until a failure, which it returns. */
typedef Failure *(*RaftDbVisit)(const char *key, gsize key_len, const char *value, gsize size, gpointer data);
Failure *raft_db_scan(const RaftDb *db, RaftDbVisit visit, gpointer data);

/* Put a value, followed by its CRC-32C over key and value, u32. @key: a word */
void raft_db_put_checked(rocksdb_writebatch_t *batch, const char *key, GBytes *value);
/* Carry out one synced write; @batch is freed. Ends the process when the disk refuses. */
void raft_db_commit(RaftDb *db, rocksdb_writebatch_t *batch);

G_END_DECLS
