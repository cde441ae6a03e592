/* A controller's disk: what it would find there after a crash. Built on the kernel's SimDisk. */
#pragma once

#include "controller/raft/raft.h"
#include "tests/sim/kernel.h"

G_BEGIN_DECLS

typedef struct Store Store;

/* What lies on the disk. */
typedef struct {
  RaftHardState hard_state;
  RaftSnapshotMeta snapshot;
  GBytes *snapshot_bytes; /* NULL: none */
  GPtrArray *entries;     /* of RaftEntry */
} Stored;

Store *store_new(Sim *sim, gint64 write_max_us, gint64 sync_max_us);
void store_free(gpointer store); /* NULL is fine */
/* The log that a cluster begins with, durable at once: @first is taken. */
void store_format(Store *store, RaftEntry *first);
/* Persist a ready's write, all or nothing: @done with the write's id once it is durable. */
void store_write(Store *store, const RaftReady *ready, void (*done)(guint64 write_id, gpointer data), gpointer data);
/* Persist an own snapshot, with the same guarantee. @meta: with size and checksum */
void store_put_snapshot(Store *store, const RaftSnapshotMeta *meta, GBytes *bytes,
                        void (*done)(const RaftSnapshotMeta *meta, gpointer data), gpointer data);
/* The process or the machine ends: no done comes any more. */
void store_crash(Store *store, SimCrash crash);
/* What is durable; borrowed. */
const Stored *store_durable(const Store *store);
/* (index, term) is durable, in the log or in the snapshot. */
gboolean store_holds(const Store *store, guint64 index, guint64 term);
guint64 store_last_index(const Store *store);

G_END_DECLS
