/* The folder of a store: see folder.h.
 *
 * Invariants
 *   1. A small file is replaced by writing NAME.tmp, fsync, rename, fsync of the folder: readers find the old or the
 * new one, whole, whatever happens in between.
 *   2. Nothing in the folder is touched before the lock is held. */
#include "storage/rocks/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/log/crc32c.h"

#define STORE_GROUP "store"

struct RocksFolder {
  char *path;
  int dir_fd, lock_fd;
  gboolean is_new;
  GKeyFile *store;
};

/* ---- opening ---- */

static Failure *make_folder(const char *path, gboolean create) {
  struct stat info;
  if (stat(path, &info) == 0)
    return S_ISDIR(info.st_mode)
               ? NULL
               : failure_new(FAILURE(INVALID_FIELD), "%s is not a folder: name one for the store's data", path);
  if (errno != ENOENT)
    return failure_new(FAILURE(INVALID_FIELD), "folder %s can't be used: %s", path, g_strerror(errno));
  if (!create)
    return failure_new(FAILURE(INVALID_FIELD),
                       "folder %s is missing: check the path (or the disk's mount), or ask for a new store", path);
  if (g_mkdir_with_parents(path, 0750) != 0)
    return failure_new(FAILURE(INVALID_FIELD), "folder %s can't be made: %s", path, g_strerror(errno));
  return NULL;
}

static Failure *take_lock(RocksFolder *folder) {
  folder->lock_fd = openat(folder->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (folder->lock_fd < 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "folder %s can't be written: %s; check its owner and that its file system "
                       "is not read-only",
                       folder->path, g_strerror(errno));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  char pid[24] = "";
  if (fcntl(folder->lock_fd, F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES)
      return failure_new(FAILURE(INVALID_FIELD), "folder %s can't be locked: %s", folder->path, g_strerror(errno));
    if (pread(folder->lock_fd, pid, sizeof pid - 1, 0) < 0)
      pid[0] = '\0';
    return failure_new(FAILURE(DUPLICATE_ID),
                       "folder %s is in use by another process (pid %s): stop it first, or give "
                       "this one a folder of its own",
                       folder->path, pid[0] ? g_strchomp(pid) : "unknown");
  }
  g_snprintf(pid, sizeof pid, "%d\n", (int)getpid());
  if (ftruncate(folder->lock_fd, 0) != 0 || pwrite(folder->lock_fd, pid, strlen(pid), 0) != (ssize_t)strlen(pid))
    return failure_new(FAILURE(INVALID_FIELD), "folder %s can't be written: %s", folder->path, g_strerror(errno));
  return NULL;
}

/* A folder without STORE must hold nothing but what an interrupted creation leaves. */
static Failure *check_empty(const RocksFolder *folder) {
  static const char *const OURS[] = {"LOCK", "FRONTIER", "FRONTIER.tmp", "STORE.tmp", "db", "lost+found", NULL};
  g_autoptr(GDir) dir = g_dir_open(folder->path, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir)))
    if (!g_strv_contains(OURS, name))
      return failure_new(FAILURE(INVALID_FIELD), "folder %s holds other files (%s) and no store: name an empty folder",
                         folder->path, name);
  return NULL;
}

static Failure *check_store(RocksFolder *folder, const char *role, gint format) {
  g_autofree char *found_role = g_key_file_get_string(folder->store, STORE_GROUP, "role", NULL);
  if (g_strcmp0(found_role, role) != 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "folder %s holds a store of another role (%s, not %s): each process needs "
                       "a folder of its own",
                       folder->path, found_role ? found_role : "unknown", role);
  gint found = g_key_file_get_integer(folder->store, STORE_GROUP, "format", NULL);
  if (found > format)
    return failure_new(FAILURE(UNSUPPORTED),
                       "folder %s was written in format %d, this program knows formats up to %d: "
                       "run the newer version that wrote it",
                       folder->path, found, format);
  if (found < 1)
    return failure_new(FAILURE(CORRUPT_LOG), "folder %s: STORE names no format", folder->path);
  return NULL;
}

static Failure *look(RocksFolder *folder, const char *role, gint format, gboolean create) {
  Failure *failure = rocks_folder_read(folder, "STORE", &folder->store);
  if (failure)
    return failure;
  if (folder->store)
    return check_store(folder, role, format);
  if (!create)
    return failure_new(FAILURE(INVALID_FIELD),
                       "folder %s holds no store: check the path (or the disk's mount), or ask "
                       "for a new store",
                       folder->path);
  folder->is_new = TRUE;
  folder->store = g_key_file_new();
  g_key_file_set_string(folder->store, STORE_GROUP, "role", role);
  g_key_file_set_integer(folder->store, STORE_GROUP, "format", format);
  return check_empty(folder);
}

Failure *rocks_folder_open(const char *path, const char *role, gint format, gboolean create, RocksFolder **ret_folder) {
  g_autoptr(RocksFolder) folder = g_new0(RocksFolder, 1);
  folder->path = g_strdup(path);
  folder->dir_fd = folder->lock_fd = -1;
  Failure *failure = make_folder(path, create);
  if (failure)
    return failure;
  folder->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder->dir_fd < 0)
    return failure_new(FAILURE(INVALID_FIELD), "folder %s can't be read: %s", path, g_strerror(errno));
  failure = take_lock(folder);
  if (!failure)
    failure = look(folder, role, format, create);
  if (!failure)
    *ret_folder = g_steal_pointer(&folder);
  return failure;
}

void rocks_folder_close(RocksFolder *folder) {
  if (!folder)
    return;
  g_clear_pointer(&folder->store, g_key_file_unref);
  if (folder->lock_fd >= 0)
    close(folder->lock_fd);
  if (folder->dir_fd >= 0)
    close(folder->dir_fd);
  g_free(folder->path);
  g_free(folder);
}

gboolean rocks_folder_is_new(const RocksFolder *folder) {
  return folder->is_new;
}

const char *rocks_folder_path(const RocksFolder *folder) {
  return folder->path;
}

GKeyFile *rocks_folder_store(RocksFolder *folder) {
  return folder->store;
}

Failure *rocks_folder_save(RocksFolder *folder) {
  return rocks_folder_write(folder, "STORE", folder->store);
}

/* ---- small files ---- */

#define CRC_LINE "# crc32c %08x\n"
#define CRC_LINE_BYTES 18

Failure *rocks_folder_read(RocksFolder *folder, const char *name, GKeyFile **ret_file) {
  g_autofree char *path = g_build_filename(folder->path, name, NULL);
  g_autofree char *text = NULL;
  gsize len;
  g_autoptr(GError) error = NULL;
  if (!g_file_get_contents(path, &text, &len, &error)) {
    *ret_file = NULL;
    if (g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return NULL;
    return failure_new(FAILURE(CORRUPT_LOG), "%s can't be read: %s", path, error->message);
  }
  gsize body = len >= CRC_LINE_BYTES ? len - CRC_LINE_BYTES : 0;
  g_autofree char *want = g_strdup_printf(CRC_LINE, log_crc32c(text, body));
  g_autoptr(GKeyFile) file = g_key_file_new();
  if (len < CRC_LINE_BYTES || memcmp(text + body, want, CRC_LINE_BYTES) != 0 ||
      !g_key_file_load_from_data(file, text, body, G_KEY_FILE_NONE, NULL))
    return failure_new(FAILURE(CORRUPT_LOG),
                       "%s is damaged: its checksum does not match; move the folder away and let "
                       "this node fetch its data anew",
                       path);
  *ret_file = g_steal_pointer(&file);
  return NULL;
}

static gboolean write_all(int fd, const char *data, gsize len) {
  while (len) {
    ssize_t n = write(fd, data, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return FALSE;
    data += n;
    len -= (gsize)n;
  }
  return TRUE;
}

Failure *rocks_folder_write(RocksFolder *folder, const char *name, GKeyFile *file) {
  gsize len;
  g_autofree char *body = g_key_file_to_data(file, &len, NULL);
  g_autofree char *text = g_strdup_printf("%s" CRC_LINE, body, log_crc32c(body, len));
  g_autofree char *tmp = g_strconcat(name, ".tmp", NULL);
  int fd = openat(folder->dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  gboolean done = fd >= 0 && write_all(fd, text, strlen(text)) && fsync(fd) == 0 &&
                  renameat(folder->dir_fd, tmp, folder->dir_fd, name) == 0 && fsync(folder->dir_fd) == 0;
  int code = errno;
  if (fd >= 0)
    close(fd);
  return done ? NULL
              : failure_new(FAILURE(INTERNAL), "%s/%s can't be written: %s", folder->path, name, g_strerror(code));
}

gboolean rocks_folder_can_direct_io(RocksFolder *folder) {
  int fd = openat(folder->dir_fd, "STORE.tmp", O_WRONLY | O_CREAT | O_CLOEXEC | O_DIRECT, 0640);
  if (fd < 0)
    return FALSE;
  close(fd);
  unlinkat(folder->dir_fd, "STORE.tmp", 0);
  return TRUE;
}
