/* An LD_PRELOAD library that notes, for every file below a folder, how much of it was synced; lose.c then takes away,
 * after the process was killed, what a power cut would have taken. kill -9 alone proves no fsync: the kernel keeps what
 * was written.
 *
 * Environment:
 *   LOSE_FOLDER   files below it are watched
 *   LOSE_JOURNAL  where the notes go, one line of text each, by O_APPEND writes: they survive kill -9
 *   LOSE_FAIL_SYNC_AFTER  from the n-th fsync or fdatasync of a watched file on, fail with EIO
 *   LOSE_LIE      syncs say that they were done and are not: what a test must find out, to show that it can
 *
 * Model, and where it is kinder than a power cut:
 *   - Files grow at their end, as RocksDB's do: a file keeps the first N bytes, N its size when its last sync began.
 *     What pwrite puts over older bytes is undone when no sync came after it.
 *   - A new file's name is lost until its folder was synced. Renames and removals count as durable at once, and so do
 *     the names that were made before in the folder, since file systems keep that order: RocksDB makes a MANIFEST,
 *     syncs it, renames CURRENT to name it, and only then syncs the folder.
 *   - Files are known by inode, so renames need no notes but that one.
 *
 * Journal: "O inode size" opened for writing as it is, "C inode folder" created in folder, "S inode size" synced up to
 * size, "D folder" folder synced, "R inode" renamed (its name is durable), "W inode offset hex" overwritten: the bytes
 * that were there. Notes of durable things are written after
 * they happened (killed between: lost, which is strict, for nobody was told), "R" and "W" before. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *g_folder;
static int g_journal = -1;
static long g_fail_after = -1;
static int g_lies;
static atomic_long g_syncs;

typedef int (*OpenFunc)(const char *, int, ...);
typedef int (*OpenAtFunc)(int, const char *, int, ...);
typedef int (*SyncFunc)(int);
typedef ssize_t (*PwriteFunc)(int, const void *, size_t, off_t);
typedef int (*RenameFunc)(const char *, const char *);
typedef int (*RenameAtFunc)(int, const char *, int, const char *);

static OpenFunc real_open;
static OpenAtFunc real_openat;
static SyncFunc real_fsync, real_fdatasync;
static PwriteFunc real_pwrite;
static RenameFunc real_rename;
static RenameAtFunc real_renameat;

__attribute__((constructor)) static void lose_init(void) {
  *(void **)&real_open = dlsym(RTLD_NEXT, "open");
  *(void **)&real_openat = dlsym(RTLD_NEXT, "openat");
  *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
  *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
  *(void **)&real_rename = dlsym(RTLD_NEXT, "rename");
  *(void **)&real_renameat = dlsym(RTLD_NEXT, "renameat");
  const char *journal = getenv("LOSE_JOURNAL"), *fail = getenv("LOSE_FAIL_SYNC_AFTER");
  if (fail)
    g_fail_after = atol(fail);
  g_lies = getenv("LOSE_LIE") != NULL;
  if (journal)
    g_journal = real_open(journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  g_folder = getenv("LOSE_FOLDER"); /* last: nothing is watched before */
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...) {
  char line[2200];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (g_journal >= 0 && write(g_journal, line, (size_t)len) != len)
    abort();
}

static int watched_path(const char *path) {
  return path && strncmp(path, g_folder, strlen(g_folder)) == 0;
}

/* The path behind a descriptor is below the folder. */
static int watched_fd(int fd) {
  char link[64], path[4096];
  if (!g_folder)
    return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0)
    return 0;
  path[len] = '\0';
  return watched_path(path);
}

/* Note a file that was opened for writing. */
static void note_open(int fd, int existed, const char *path_text) {
  struct stat file, folder;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
    return;
  if (existed) {
    note("O %lu %ld\n", (unsigned long)file.st_ino, (long)file.st_size);
    return;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s", path_text);
  char *slash = strrchr(path, '/');
  if (slash)
    *slash = '\0';
  if (slash && stat(path, &folder) == 0)
    note("C %lu %lu\n", (unsigned long)file.st_ino, (unsigned long)folder.st_ino);
}

static int lose_open(int dir, const char *path, int flags, mode_t mode) {
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  char full[4096];
  snprintf(full, sizeof full, "%s", path);
  if (g_folder && dir != AT_FDCWD && path[0] != '/') {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t len = readlink(link, full, sizeof full - 1);
    len = len < 0 ? 0 : len;
    snprintf(full + len, sizeof full - (size_t)len, "/%s", path);
  }
  int watched = writes && g_folder && watched_path(full);
  struct stat before;
  int existed = watched && stat(full, &before) == 0 && !(flags & O_TRUNC);
  int fd = real_openat(dir, path, flags, mode);
  if (fd >= 0 && watched)
    note_open(fd, existed, full);
  return fd;
}

static mode_t mode_of(int flags, va_list args) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define PUBLIC __attribute__((visibility("default")))

PUBLIC int open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = mode_of(flags, args);
  va_end(args);
  return lose_open(AT_FDCWD, path, flags, mode);
}

PUBLIC int open64(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = mode_of(flags, args);
  va_end(args);
  return lose_open(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

PUBLIC int openat(int dir, const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = mode_of(flags, args);
  va_end(args);
  return lose_open(dir, path, flags, mode);
}

PUBLIC int openat64(int dir, const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = mode_of(flags, args);
  va_end(args);
  return lose_open(dir, path, flags | O_LARGEFILE, mode);
}

static int lose_sync(int fd, SyncFunc sync) {
  struct stat info;
  if (!watched_fd(fd) || fstat(fd, &info) != 0)
    return sync(fd);
  if (g_fail_after >= 0 && atomic_fetch_add(&g_syncs, 1) >= g_fail_after) {
    errno = EIO;
    return -1;
  }
  if (g_lies)
    return 0;
  int result = sync(fd);
  if (result == 0 && S_ISDIR(info.st_mode))
    note("D %lu\n", (unsigned long)info.st_ino);
  else if (result == 0)
    note("S %lu %ld\n", (unsigned long)info.st_ino, (long)info.st_size);
  return result;
}

PUBLIC int fsync(int fd) {
  return lose_sync(fd, real_fsync);
}

PUBLIC int fdatasync(int fd) {
  return lose_sync(fd, real_fdatasync);
}

#define OVERWRITE_BYTES_MAX 1024

/* Bytes that are there already are about to be written over. */
static void note_overwrite(int fd, size_t size, off_t offset) {
  struct stat info;
  unsigned char before[OVERWRITE_BYTES_MAX];
  char hex[2 * OVERWRITE_BYTES_MAX + 1] = "";
  if (!watched_fd(fd) || fstat(fd, &info) != 0 || offset >= info.st_size)
    return;
  size_t there = (size_t)(info.st_size - offset) < size ? (size_t)(info.st_size - offset) : size;
  if (there > sizeof before || pread(fd, before, there, offset) != (ssize_t)there)
    abort(); /* no file is written like that */
  for (size_t i = 0; i < there; i++)
    snprintf(hex + 2 * i, 3, "%02x", before[i]);
  note("W %lu %ld %s\n", (unsigned long)info.st_ino, (long)offset, hex);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  note_overwrite(fd, size, offset);
  return real_pwrite(fd, data, size, offset);
}

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  return pwrite(fd, data, size, offset);
}

static void note_rename(int dir, const char *from) {
  struct stat info;
  if (g_folder && fstatat(dir, from, &info, 0) == 0)
    note("R %lu\n", (unsigned long)info.st_ino);
}

PUBLIC int rename(const char *from, const char *to) {
  note_rename(AT_FDCWD, from);
  return real_rename(from, to);
}

PUBLIC int renameat(int from_dir, const char *from, int to_dir, const char *to) {
  note_rename(from_dir, from);
  return real_renameat(from_dir, from, to_dir, to);
}
