#include "services/process/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "services/base/slog.h"

#define NAME "RESERVE"
#define ROOM_FACTOR 3

/* -1: it can't be told. */
static gint64 free_bytes(const char *folder) {
  struct statvfs found;
  return statvfs(folder, &found) == 0 ? (gint64)found.f_bavail * (gint64)found.f_frsize : -1;
}

void reserve_release(const char *folder, gint64 bytes) {
  g_autofree char *path = g_build_filename(folder, NAME, NULL);
  gint64 before = free_bytes(folder);
  if (before < 0 || before >= bytes || unlink(path) != 0)
    return;
  slog_warning("the disk is full: the reserve is given up, to open what is there", "folder", folder, "free_bytes",
               SLOG_INT(before), "reserve_bytes", SLOG_INT(bytes), NULL);
}

void reserve_keep(const char *folder, gint64 bytes) {
  g_autofree char *path = g_build_filename(folder, NAME, NULL);
  if (bytes <= 0 || free_bytes(folder) < ROOM_FACTOR * bytes)
    return;
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
  if (fd < 0)
    return; /* it is there */
  int code = fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno;
  close(fd);
  if (code == 0)
    return;
  unlink(path);
  slog_info("no reserve for a full disk can be kept", "folder", folder, "error", g_strerror(code), NULL);
}
