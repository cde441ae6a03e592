/* Entries of the Raft log, and the formats in which they and their companions lie on disk and travel (raft.proto).
 * Pure. */
#pragma once

#include <glib.h>

#include "milena/internal/v1/raft.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

/* Version of every format of raft.proto that this code writes and reads. */
#define RAFT_FORMAT 1

typedef Milena__Internal__V1__RaftEntryKind RaftEntryKind;
#define RAFT_ENTRY_KIND(name) MILENA__INTERNAL__V1__RAFT_ENTRY_KIND__RAFT_ENTRY_KIND_##name

/* One entry. Immutable and reference-counted: the log, the disk's thread and messages share it. */
typedef struct {
  gint refs;
  guint64 index, term;
  RaftEntryKind kind;
  GBytes *data;
} RaftEntry;

/* @data: taken; NULL for none */
RaftEntry *raft_entry_new(guint64 index, guint64 term, RaftEntryKind kind, GBytes *data);
RaftEntry *raft_entry_ref(RaftEntry *entry); /* any thread */
void raft_entry_unref(RaftEntry *entry);     /* any thread; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftEntry, raft_entry_unref)
/* A GPtrArray of RaftEntry *, which drops them. */
GPtrArray *raft_entries_new(void);

/* What must be on disk before any answer. */
typedef struct {
  guint64 term;
  guint64 vote; /* 0: none in this term */
  guint64 commit;
} RaftHardState;

/* Who votes: ids from 1. */
#define RAFT_VOTERS_MAX 9
typedef struct {
  guint64 voters[RAFT_VOTERS_MAX];
  guint voter_count;
} RaftConfiguration;

gboolean raft_configuration_votes(const RaftConfiguration *configuration, guint64 id);

/* What a snapshot stands for; index 0: there is none. */
typedef struct {
  guint64 index, term;
  RaftConfiguration configuration;
  guint64 size_bytes;
  guint32 crc32c; /* of the snapshot's bytes */
} RaftSnapshotMeta;

/* Formats. Decoding returns NULL, CORRUPT_LOG for bytes that make no sense, UNSUPPORTED for a newer format; ret_* is
 * untouched on failure. */
GBytes *raft_entry_encode(const RaftEntry *entry);
Failure *raft_entry_decode(const void *data, gsize size, RaftEntry **ret_entry);
GBytes *raft_hard_state_encode(const RaftHardState *state);
Failure *raft_hard_state_decode(const void *data, gsize size, RaftHardState *ret_state);
GBytes *raft_configuration_encode(const RaftConfiguration *configuration);
Failure *raft_configuration_decode(const void *data, gsize size, RaftConfiguration *ret_configuration);
GBytes *raft_snapshot_meta_encode(const RaftSnapshotMeta *meta);
Failure *raft_snapshot_meta_decode(const void *data, gsize size, RaftSnapshotMeta *ret_meta);

G_END_DECLS
