/* See snapshot_file.h and raft_log.h.
 *
 * States of a RaftSnapshotFile: growing ──sync──► durable ──keep──► named by the log. Freed before that, it is removed;
 * what a crash leaves is removed by the next start.
 *
 * Its owner passes it from thread to thread. Failure modes: a refused write or sync ends the process; a file that can't
 * be read, or whose bytes are not those of its description, is a Failure. */
#include "storage/rocks/raft/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "services/base/invariant.h"
#include "storage/log/crc32c.h"
#include "storage/rocks/raft/disk.h"
#include "storage/rocks/raft/raft_db.h"

#define PREFIX "snapshot-"
#define PIECE_BYTES ((gsize)256 * 1024)

struct RaftSnapshotFile {
  char *folder, *path;
  guint64 number, size_bytes;
  guint32 crc32c;
  int fd;
  gboolean synced, kept;
};

static char *path_of(const char *folder, guint64 number) {
  return g_strdup_printf("%s/" PREFIX "%" G_GUINT64_FORMAT, folder, number);
}

/* ---- Writing ---- */

RaftSnapshotFile *raft_snapshot_file_begin(const char *folder, guint64 number) {
  RaftSnapshotFile *file = g_new0(RaftSnapshotFile, 1);
  file->folder = g_strdup(folder);
  file->path = path_of(folder, number);
  file->number = number;
  file->fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file->fd < 0)
    raft_disk_die(file->path, g_strerror(errno));
  return file;
}

void raft_snapshot_file_append(RaftSnapshotFile *file, gconstpointer data, gsize size) {
  INVARIANT(!file->synced, "a snapshot's file does not grow once it is whole");
  raft_disk_write(file->fd, (gint64)file->size_bytes, data, size, file->path);
  file->crc32c = log_crc32c_extend(file->crc32c, data, size);
  file->size_bytes += size;
}

void raft_snapshot_file_sync(RaftSnapshotFile *file) {
  if (file->synced)
    return;
  raft_disk_sync(file->fd, file->path);
  raft_disk_sync_folder(file->folder);
  file->synced = TRUE;
}

guint64 raft_snapshot_file_size_bytes(const RaftSnapshotFile *file) {
  return file->size_bytes;
}

guint64 raft_snapshot_file_number(const RaftSnapshotFile *file) {
  return file->number;
}

guint32 raft_snapshot_file_crc32c(const RaftSnapshotFile *file) {
  return file->crc32c;
}

void raft_snapshot_file_keep(RaftSnapshotFile *file) {
  INVARIANT(file->synced, "a snapshot is durable before the log names it");
  file->kept = TRUE;
}

void raft_snapshot_file_free(RaftSnapshotFile *file) {
  if (!file)
    return;
  close(file->fd);
  if (!file->kept)
    unlink(file->path); /* in vain: the next start does it */
  g_free(file->folder);
  g_free(file->path);
  g_free(file);
}

/* ---- Reading ---- */

/* Size and checksum of what lies there, read and not mapped: an error of the disk is a Failure then, no signal. */
static Failure *read_through(const char *folder, const char *path, guint64 *ret_size_bytes, guint32 *ret_crc32c) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return raft_db_damaged(folder, "its snapshot %s can't be opened: %s", path, g_strerror(errno));
  g_autofree guint8 *piece = g_malloc(PIECE_BYTES);
  guint64 size_bytes = 0;
  guint32 crc32c = 0;
  ssize_t n;
  while ((n = read(fd, piece, PIECE_BYTES)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0) {
      crc32c = log_crc32c_extend(crc32c, piece, (gsize)n);
      size_bytes += (guint64)n;
    }
  int error = n < 0 ? errno : 0;
  close(fd);
  if (error)
    return raft_db_damaged(folder, "its snapshot %s can't be read: %s", path, g_strerror(error));
  *ret_size_bytes = size_bytes;
  *ret_crc32c = crc32c;
  return NULL;
}

Failure *raft_snapshot_file_map(const char *folder, guint64 number, const RaftSnapshotMeta *meta, GBytes **ret_bytes) {
  g_autofree char *path = path_of(folder, number);
  guint64 size_bytes = 0;
  guint32 crc32c = 0;
  Failure *failure = read_through(folder, path, &size_bytes, &crc32c);
  if (failure)
    return failure;
  if (size_bytes != meta->size_bytes)
    return raft_db_damaged(folder,
                           "its snapshot %s has %" G_GUINT64_FORMAT " bytes, and %" G_GUINT64_FORMAT " were written",
                           path, size_bytes, meta->size_bytes);
  if (crc32c != meta->crc32c)
    return raft_db_damaged(folder, "the checksum of its snapshot %s does not match", path);
  g_autoptr(GError) error = NULL;
  g_autoptr(GMappedFile) mapped = g_mapped_file_new(path, FALSE, &error);
  if (!mapped)
    return raft_db_damaged(folder, "its snapshot %s can't be mapped: %s", path, error->message);
  *ret_bytes = g_mapped_file_get_bytes(mapped);
  return NULL;
}

void raft_snapshot_file_remove(const char *folder, guint64 number) {
  g_autofree char *path = path_of(folder, number);
  if (number)
    unlink(path);
}

void raft_snapshot_file_sweep(const char *folder, guint64 in_force) {
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    guint64 number;
    if (!g_str_has_prefix(name, PREFIX) ||
        !g_ascii_string_to_unsigned(name + strlen(PREFIX), 10, 1, G_MAXUINT64, &number, NULL) || number == in_force)
      continue;
    g_autofree char *path = g_build_filename(folder, name, NULL);
    unlink(path);
  }
}
