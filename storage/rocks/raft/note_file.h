/* The file CONTROLLER of a controller's folder: identity, term and vote, and how far the log was durable, apart from
 * RocksDB, whose recovery may lose what it had synced when a byte of its write-ahead log is damaged. One thread. */
#pragma once

#include "storage/rocks/raft/note.h"

G_BEGIN_DECLS

#define RAFT_NOTE_FILE "CONTROLLER"

typedef struct RaftNoteFile RaftNoteFile;

/* Open the folder's file. *@ret_file: owned by the caller, or NULL when there is none.
 *
 * Returns NULL, CORRUPT_LOG, UNSUPPORTED, or INVALID_FIELD for one that can't be opened. */
Failure *raft_note_file_open(const char *folder, RaftNoteFile **ret_file);
/* Make it, in place of one that may be there. Durable on return; ends the process when the disk refuses. */
RaftNoteFile *raft_note_file_create(const char *folder, const RaftNote *note);
/* Syncs the hints. NULL is fine. */
void raft_note_file_close(RaftNoteFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftNoteFile, raft_note_file_close)

/* The latest; borrowed. */
const RaftNote *raft_note_file_get(const RaftNoteFile *file);
/* Replace it; the sequence is given here. Durable on return. @note: may be the one of raft_note_file_get */
void raft_note_file_put(RaftNoteFile *file, const RaftNote *note);
/* The log is durable up to here. Not synced at once, for it only helps to find damage: a process that is killed loses
 * nothing of it, and a machine that ends the last RAFT_NOTE_HINT_SECONDS. */
#define RAFT_NOTE_HINT_SECONDS 5
void raft_note_file_hint(RaftNoteFile *file, guint64 end_index, guint64 end_chain);

G_END_DECLS
