#include "tests/cluster/small_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILLER "filler"

char *small_disk_enter(void) {
  if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
    return NULL;
  return g_strdup_printf("a mount namespace can't be had (%s): small file systems need root", g_strerror(errno));
}

static gboolean mount_of(const char *path, guint64 bytes, unsigned long flags) {
  g_autofree char *data = g_strdup_printf("size=%" G_GUINT64_FORMAT ",mode=0755", bytes);
  return mount("tmpfs", path, "tmpfs", flags, data) == 0;
}

gboolean small_disk_mount(const char *path, guint64 bytes) {
  return g_mkdir_with_parents(path, 0755) == 0 && mount_of(path, bytes, 0);
}

gboolean small_disk_resize(const char *path, guint64 bytes) {
  return mount_of(path, bytes, MS_REMOUNT);
}

guint64 small_disk_free_bytes(const char *path) {
  struct statvfs found;
  return statvfs(path, &found) == 0 ? (guint64)found.f_bavail * found.f_frsize : 0;
}

gboolean small_disk_fill(const char *path, guint64 free_bytes) {
  g_autofree char *file = g_build_filename(path, FILLER, NULL);
  guint64 now_free = small_disk_free_bytes(path);
  int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  gboolean done = fd >= 0 && now_free > free_bytes && posix_fallocate(fd, 0, (off_t)(now_free - free_bytes)) == 0;
  if (fd >= 0)
    close(fd);
  return done;
}

gboolean small_disk_sweep(const char *path) {
  g_autofree char *file = g_build_filename(path, FILLER, NULL);
  return unlink(file) == 0;
}

void small_disk_unmount(const char *path) {
  (void)umount2(path, MNT_DETACH);
}
