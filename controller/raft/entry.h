/* Entries of the Raft log, the configuration, and the formats in which they and their companions lie on disk and travel
 * (raft.proto). Pure. */
#pragma once

#include <glib.h>

#include "milena/internal/v1/raft.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

/* The newest version of every format of raft.proto that this code reads. Format 2 brought directories, addresses and
 * learners: it is written where a configuration is, and 1 elsewhere. */
#define RAFT_FORMAT 2

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

/* ---- Who takes part ---- */

/* One incarnation of a controller: 16 random bytes, made with its data folder. A controller that lost its disk has the
 * same id and another directory, so it is somebody else. All zero: unknown, as in a log of format 1. */
typedef struct {
  guint8 bytes[16];
} RaftDirectory;

gboolean raft_directory_equal(const RaftDirectory *a, const RaftDirectory *b);
gboolean raft_directory_is_unknown(const RaftDirectory *directory);

/* A name of 253 bytes and a port fit. */
#define RAFT_ADDRESS_BYTES_MAX 263

typedef struct {
  guint64 id; /* from 1 */
  RaftDirectory directory;
  char address[RAFT_ADDRESS_BYTES_MAX + 1]; /* where its peers reach it; the host's business. "": unknown */
  gboolean learner;                         /* it gets the log, and neither votes nor counts */
} RaftMember;

#define RAFT_MEMBERS_MAX 9
/* Members have different ids, and at least one of them votes. An empty one (member_count 0) is that of a controller
 * that knows nothing yet. */
typedef struct {
  RaftMember members[RAFT_MEMBERS_MAX];
  guint member_count;
} RaftConfiguration;

/* Borrowed, or NULL. */
const RaftMember *raft_configuration_find(const RaftConfiguration *configuration, guint64 id);
/* The member with this id and directory: borrowed, or NULL. The only voter of a configuration of format 1, whose
 * directory is unknown, answers to any. */
const RaftMember *raft_configuration_find_exact(const RaftConfiguration *configuration, guint64 id,
                                                const RaftDirectory *directory);
gboolean raft_configuration_votes(const RaftConfiguration *configuration, guint64 id);
guint raft_configuration_voter_count(const RaftConfiguration *configuration);
/* Can a cluster begin with this one? At least one voter; ids and directories known, and none twice. Returns NULL,
 * INVALID_FIELD or DUPLICATE_ID. */
Failure *raft_configuration_check(const RaftConfiguration *configuration);
/* The first entry of a new cluster, for the voter @id, which begins it: written to its disk alone, with the hard state
 * {.term = raft_bootstrap_term(configuration)} and commit 0, so that the first election commits it. What else it writes
 * with it has the entry's term.
 *
 * The term is the voter's place among the voters by id, and the hard state's is their number: should two begin the same
 * cluster, their first entries differ in term, so one takes the place of the other, and no leader's term is either's.
 * Source: README.md, "The first start". Owned by the caller. */
RaftEntry *raft_entry_new_bootstrap(const RaftConfiguration *configuration, guint64 id);
guint64 raft_bootstrap_term(const RaftConfiguration *configuration);

/* ---- Companions of the log ---- */

/* What must be on disk before any answer. */
typedef struct {
  guint64 term;
  guint64 vote;                 /* 0: none in this term */
  RaftDirectory vote_directory; /* which incarnation of it; unknown in what format 1 wrote */
  guint64 commit;
} RaftHardState;

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
