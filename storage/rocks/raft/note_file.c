/* The file CONTROLLER; see note_file.h.
 *
 *   slot 0, slot 1   notes, written in turns, each synced
 *   slot 2, slot 3   hints: notes like those, written in turns, not synced; only their end of the log counts
 *
 * A slot has 4 KiB, so that no disk tears two at once, and begins with a note; the rest of it is zeros that nobody
 * reads.
 *
 * Invariants:
 *  1. Sequences rise with each note and hint, whichever slot it is written to.
 *  2. A note is written over the older of the two, so the one in force is whole whatever becomes of the write; the same
 * for hints.
 *  3. A hint tells of what was synced before it was written. It counts as long as no later note takes it back.
 *
 * A slot that does not check is one whose write was torn by the end of the machine, or it was damaged later. The note
 * before it is taken then; whether that one is too old is told by the log, which is never ahead of the note in force.
 * One owning thread. A write that the disk refuses ends the process. */
#include "storage/rocks/raft/note_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/rocks/raft/disk.h"

#define SLOT_BYTES 4096
#define SLOTS 4
#define FIRST_HINT 2
#define FILE_BYTES ((gint64)SLOT_BYTES * SLOTS)

struct RaftNoteFile {
  char *folder, *path;
  int fd;
  RaftNote note;            /* the latest, with the latest end of the log */
  guint note_slot;          /* that holds the latest note */
  guint hint_slot;          /* that was written last */
  gint64 hints_unsynced_us; /* since when; 0: there are none */
};

/* ---- Writing ---- */

static void write_slot(RaftNoteFile *file, guint slot) {
  guint8 bytes[RAFT_NOTE_BYTES];
  raft_note_encode(&file->note, bytes);
  raft_disk_write(file->fd, (gint64)slot * SLOT_BYTES, bytes, sizeof bytes, file->path);
}

static void sync_file(RaftNoteFile *file) {
  raft_disk_sync(file->fd, file->path);
  file->hints_unsynced_us = 0;
}

void raft_note_file_put(RaftNoteFile *file, const RaftNote *note) {
  guint64 sequence = file->note.sequence + 1;
  file->note = *note;
  file->note.sequence = sequence;
  file->note_slot = 1 - file->note_slot;
  write_slot(file, file->note_slot);
  sync_file(file);
}

void raft_note_file_hint(RaftNoteFile *file, guint64 end_index, guint64 end_chain) {
  file->note.sequence++;
  file->note.end_index = end_index;
  file->note.end_chain = end_chain;
  file->hint_slot = file->hint_slot == FIRST_HINT ? FIRST_HINT + 1 : FIRST_HINT;
  write_slot(file, file->hint_slot);
  gint64 now_us = g_get_monotonic_time();
  if (!file->hints_unsynced_us)
    file->hints_unsynced_us = now_us;
  else if (now_us - file->hints_unsynced_us >= (gint64)RAFT_NOTE_HINT_SECONDS * G_USEC_PER_SEC)
    sync_file(file);
}

/* ---- Opening ---- */

static RaftNoteFile *file_new(const char *folder) {
  RaftNoteFile *file = g_new0(RaftNoteFile, 1);
  file->folder = g_strdup(folder);
  file->path = g_build_filename(folder, RAFT_NOTE_FILE, NULL);
  file->fd = -1;
  file->hint_slot = FIRST_HINT;
  return file;
}

static Failure *damaged(const RaftNoteFile *file, const char *what) {
  return failure_new(FAILURE(CORRUPT_LOG), "The file %s is damaged: %s.", file->path, what);
}

/* The slots that hold a note, into @notes; @ret_valid: which do. */
static Failure *read_slots(const RaftNoteFile *file, RaftNote notes[SLOTS], gboolean ret_valid[SLOTS]) {
  guint8 bytes[RAFT_NOTE_BYTES_MAX];
  for (guint slot = 0; slot < SLOTS; slot++) {
    if (pread(file->fd, bytes, sizeof bytes, (off_t)slot * SLOT_BYTES) != sizeof bytes)
      return damaged(file, "it can't be read to its end");
    Failure *failure = raft_note_decode(bytes, sizeof bytes, &notes[slot]);
    ret_valid[slot] = failure == NULL;
    if (failure && failure_reason(failure) == FAILURE(UNSUPPORTED))
      return failure;
    failure_free(failure);
  }
  return NULL;
}

/* Take the latest note, and the end of the log from a hint that is later. */
static Failure *choose(RaftNoteFile *file, const RaftNote notes[SLOTS], const gboolean valid[SLOTS]) {
  if (!valid[0] && !valid[1])
    return damaged(file, "neither of its two notes on term and vote checks");
  file->note_slot = valid[1] && (!valid[0] || notes[1].sequence > notes[0].sequence) ? 1 : 0;
  file->note = notes[file->note_slot];
  for (guint slot = FIRST_HINT; slot < SLOTS; slot++) {
    if (!valid[slot] || notes[slot].sequence <= file->note.sequence)
      continue;
    file->hint_slot = slot;
    file->note.sequence = notes[slot].sequence;
    file->note.end_index = notes[slot].end_index;
    file->note.end_chain = notes[slot].end_chain;
  }
  return NULL;
}

static Failure *read_file(RaftNoteFile *file) {
  RaftNote notes[SLOTS] = {0};
  gboolean valid[SLOTS] = {FALSE};
  struct stat info;
  if (fstat(file->fd, &info) != 0 || info.st_size != FILE_BYTES)
    return damaged(file, "it does not have its size");
  Failure *failure = read_slots(file, notes, valid);
  return failure ? failure : choose(file, notes, valid);
}

Failure *raft_note_file_open(const char *folder, RaftNoteFile **ret_file) {
  g_autoptr(RaftNoteFile) file = file_new(folder);
  file->fd = open(file->path, O_RDWR | O_CLOEXEC);
  if (file->fd < 0 && errno == ENOENT) {
    *ret_file = NULL;
    return NULL;
  }
  if (file->fd < 0)
    return failure_new(FAILURE(INVALID_FIELD), "The file %s can't be opened: %s.", file->path, g_strerror(errno));
  Failure *failure = read_file(file);
  if (!failure)
    *ret_file = g_steal_pointer(&file);
  return failure;
}

RaftNoteFile *raft_note_file_create(const char *folder, const RaftNote *note) {
  RaftNoteFile *file = file_new(folder);
  g_autofree char *temporary = g_strconcat(file->path, ".tmp", NULL);
  file->fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file->fd < 0)
    raft_disk_die(temporary, g_strerror(errno));
  static const guint8 ZEROS[FILE_BYTES];
  raft_disk_write(file->fd, 0, ZEROS, sizeof ZEROS, temporary);
  file->note = *note;
  write_slot(file, file->note_slot);
  if (fsync(file->fd) != 0 || rename(temporary, file->path) != 0)
    raft_disk_die(file->path, g_strerror(errno));
  raft_disk_sync_folder(folder);
  return file;
}

void raft_note_file_close(RaftNoteFile *file) {
  if (!file)
    return;
  if (file->hints_unsynced_us)
    sync_file(file);
  if (file->fd >= 0)
    close(file->fd);
  g_free(file->folder);
  g_free(file->path);
  g_free(file);
}

const RaftNote *raft_note_file_get(const RaftNoteFile *file) {
  return &file->note;
}
