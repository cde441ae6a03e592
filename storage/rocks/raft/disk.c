/* See disk.h. No state. */
#include "storage/rocks/raft/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "storage/rocks/raft/raft_log.h"

void raft_disk_die(const char *path, const char *error) {
  fprintf(stderr,
          "The controller's log in %s could not be written or read: %s. What is on the disk is unknown now, so this "
          "process "
          "ends; it will read its log anew when it is started again. Check the disk first.\n",
          path, error);
  _exit(RAFT_LOG_EXIT_STATUS); /* no destructors: they would write */
}

void raft_disk_write(int fd, gint64 offset, gconstpointer data, gsize size, const char *path) {
  for (const char *at = data; size > 0;) {
    ssize_t n = pwrite(fd, at, size, offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      raft_disk_die(path, n < 0 ? g_strerror(errno) : "nothing was written");
    at += n;
    offset += n;
    size -= (gsize)n;
  }
}

void raft_disk_sync(int fd, const char *path) {
  if (fdatasync(fd) != 0)
    raft_disk_die(path, g_strerror(errno));
}

void raft_disk_sync_folder(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0)
    raft_disk_die(path, g_strerror(errno));
  close(fd);
}
