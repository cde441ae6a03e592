/* Opening a controller's folder; see raft_log.h.
 *
 *   empty ──CONTROLLER written──► being made ──RocksDB made, identity in it──► CONTROLLER says made ──► in use
 *   format 1 (RocksDB alone) ──CONTROLLER written──► format 1 still ──one WriteBatch──► in use
 *
 * Invariants:
 *  1. Nothing is changed before the lock on the folder is held.
 *  2. The directory id is durable before anything else is in the folder, and never changes.
 *  3. RocksDB's files are made anew only while CONTROLLER says that they never were.
 *
 * Owning thread: whoever opens. Failure modes: what is not a whole folder of this controller is a Failure. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "services/base/invariant.h"
#include "storage/rocks/raft/raft_log_internal.h"

/* ---- Folder and lock ---- */

static gboolean has_note(const char *path) {
  g_autofree char *note = g_build_filename(path, RAFT_NOTE_FILE, NULL);
  return g_file_test(note, G_FILE_TEST_EXISTS);
}

gboolean raft_log_store_exists(const char *path) {
  return has_note(path) || raft_db_exists(path);
}

/* The folder's own lock: RocksDB's is taken too late to make CONTROLLER under it. */
static Failure *take_lock(RaftLogStore *store) {
  store->folder_fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->folder_fd < 0)
    return failure_new(FAILURE(INVALID_FIELD), "The folder %s can't be opened: %s.", store->path, g_strerror(errno));
  if (flock(store->folder_fd, LOCK_EX | LOCK_NB) == 0)
    return NULL;
  return failure_new(FAILURE(DUPLICATE_ID),
                     "Another process uses the folder %s. Stop it first, or give this controller a folder of its own.",
                     store->path);
}

/* A folder without CONTROLLER and RocksDB holds nothing: files here and there are the rest of something. */
static Failure *check_empty(const RaftLogStore *store) {
  static const char *const OURS[] = {RAFT_NOTE_FILE ".tmp", "lost+found", NULL};
  g_autoptr(GDir) dir = g_dir_open(store->path, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir)))
    if (!g_strv_contains(OURS, name))
      return failure_new(FAILURE(INVALID_FIELD),
                         "The folder %s holds other files (%s) and no controller's log: if it was a controller's, it "
                         "is damaged. Name an empty folder.",
                         store->path, name);
  return NULL;
}

/* ---- Making ---- */

RaftDirectory raft_log_random_directory(void) {
  RaftDirectory directory;
  int result = getentropy(directory.bytes, sizeof directory.bytes);
  INVARIANT(result == 0, "the system has random bytes");
  return directory;
}

void raft_log_put_identity(rocksdb_writebatch_t *batch, const RaftLogIdentity *identity) {
  guint32 format = GUINT32_TO_BE(RAFT_LOG_FORMAT);
  guint64 node = GUINT64_TO_BE(identity->node_id);
  rocksdb_writebatch_put(batch, RAFT_KEY_FORMAT, strlen(RAFT_KEY_FORMAT), (const char *)&format, sizeof format);
  rocksdb_writebatch_put(batch, RAFT_KEY_NODE, strlen(RAFT_KEY_NODE), (const char *)&node, sizeof node);
  g_autoptr(GBytes) directory = g_bytes_new(identity->directory.bytes, sizeof identity->directory.bytes);
  raft_db_put_checked(batch, RAFT_KEY_DIRECTORY, directory);
  if (!*identity->cluster_id)
    return;
  g_autoptr(GBytes) cluster = g_bytes_new(identity->cluster_id, strlen(identity->cluster_id));
  raft_db_put_checked(batch, RAFT_KEY_CLUSTER, cluster);
}

/* RocksDB was opened for the first time, or its making was interrupted: say in it whose it is. */
static Failure *finish_making(RaftLogStore *store) {
  RaftNote note = *raft_note_file_get(store->note);
  g_autoptr(GBytes) state = NULL;
  Failure *failure = raft_db_get(store->db, RAFT_KEY_STATE, &state);
  if (failure)
    return failure;
  if (state || note.term != 0)
    return raft_db_damaged(store->path, "its file " RAFT_NOTE_FILE " is older than its log");
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  raft_log_put_identity(batch, &note.identity);
  raft_db_commit(store->db, batch);
  note.made = TRUE;
  raft_note_file_put(store->note, &note);
  return NULL;
}

/* ---- Opening ---- */

/* Without CONTROLLER: an empty folder, one of format 1, or a damaged one. */
static Failure *open_without_note(RaftLogStore *store, guint64 node_id) {
  guint32 format = 0;
  Failure *failure = NULL;
  if (!raft_db_exists(store->path)) {
    failure = check_empty(store);
    if (failure)
      return failure;
    RaftNote note = {.sequence = 1, .identity = {.node_id = node_id, .directory = raft_log_random_directory()}};
    store->note = raft_note_file_create(store->path, &note);
    failure = raft_db_open(store->path, TRUE, &store->db);
    return failure ? failure : finish_making(store);
  }
  failure = raft_db_open(store->path, FALSE, &store->db);
  if (!failure)
    failure = raft_log_read_format(store, &format);
  if (failure)
    return failure;
  if (format == 1)
    return raft_log_upgrade(store, node_id);
  if (format == 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "The folder %s holds a RocksDB that is not a controller's. Give the controller a folder of its "
                       "own.",
                       store->path);
  return format > RAFT_LOG_FORMAT ? raft_log_newer_format(store->path, format)
                                  : raft_db_damaged(store->path, "its file " RAFT_NOTE_FILE " is missing");
}

static Failure *open_with_note(RaftLogStore *store, guint64 node_id) {
  const RaftNote *note = raft_note_file_get(store->note);
  guint32 format = 0;
  if (note->identity.node_id != node_id)
    return raft_log_wrong_node(store->path, note->identity.node_id, node_id);
  if (note->made && !raft_db_exists(store->path))
    return raft_db_damaged(store->path, "RocksDB's file CURRENT is missing");
  Failure *failure = raft_db_open(store->path, !note->made, &store->db);
  if (failure)
    return failure;
  if (!note->made)
    return finish_making(store);
  failure = raft_log_read_format(store, &format);
  if (failure)
    return failure;
  if (format == 1)
    return raft_log_upgrade(store, node_id);
  if (format == 0)
    return raft_db_damaged(store->path, "its RocksDB does not say that it is a controller's");
  return format > RAFT_LOG_FORMAT ? raft_log_newer_format(store->path, format) : NULL;
}

static Failure *open_parts(RaftLogStore *store, guint64 node_id) {
  Failure *failure = take_lock(store);
  if (!failure)
    failure = raft_note_file_open(store->path, &store->note);
  if (failure)
    return failure;
  return store->note ? open_with_note(store, node_id) : open_without_note(store, node_id);
}

/* Read it all once, and sweep away what a crash left. */
static Failure *verify(RaftLogStore *store) {
  RaftStart start;
  Failure *failure = raft_log_read(store, NULL, &start);
  if (failure)
    return failure;
  store->next_number = store->snapshot_number + 1;
  raft_snapshot_file_sweep(store->path, store->snapshot_number);
  return NULL;
}

Failure *raft_log_store_open(const char *path, gboolean create, guint64 node_id, RaftLogStore **ret_store) {
  if (!create && !raft_log_store_exists(path))
    return failure_new(FAILURE(INVALID_FIELD), "The folder %s holds no controller's log.", path);
  if (create && g_mkdir_with_parents(path, 0700) != 0)
    return failure_new(FAILURE(INVALID_FIELD), "The folder %s can't be made: %s.", path, g_strerror(errno));
  g_autoptr(RaftLogStore) store = g_new0(RaftLogStore, 1);
  store->path = g_strdup(path);
  store->folder_fd = -1;
  store->chains = g_array_new(FALSE, FALSE, sizeof(guint64));
  Failure *failure = open_parts(store, node_id);
  if (!failure)
    failure = verify(store);
  if (!failure)
    *ret_store = g_steal_pointer(&store);
  return failure;
}

void raft_log_store_close(RaftLogStore *store) {
  if (!store)
    return;
  raft_db_close(store->db);
  raft_note_file_close(store->note);
  g_clear_pointer(&store->snapshot_bytes, g_bytes_unref);
  g_array_unref(store->chains);
  if (store->folder_fd >= 0)
    close(store->folder_fd);
  g_free(store->path);
  g_free(store);
}

/* ---- Identity and content ---- */

const RaftLogIdentity *raft_log_store_identity(const RaftLogStore *store) {
  return &raft_note_file_get(store->note)->identity;
}

Failure *raft_log_store_set_cluster(RaftLogStore *store, const char *cluster_id) {
  RaftNote note = *raft_note_file_get(store->note);
  if (!g_uuid_string_is_valid(cluster_id))
    return failure_new(FAILURE(INVALID_FIELD), "'%s' is not a cluster's id: that is a UUID.", cluster_id);
  if (g_ascii_strcasecmp(note.identity.cluster_id, cluster_id) == 0)
    return NULL;
  if (*note.identity.cluster_id)
    return failure_new(FAILURE(CLUSTER_MISMATCH),
                       "The folder %s belongs to the cluster %s, and not to %s. Point the controller at its own "
                       "folder.",
                       store->path, note.identity.cluster_id, cluster_id);
  g_strlcpy(note.identity.cluster_id, cluster_id, sizeof note.identity.cluster_id);
  raft_note_file_put(store->note, &note); /* first: what is missing in RocksDB alone is harmless */
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  raft_log_put_identity(batch, &note.identity);
  raft_db_commit(store->db, batch);
  return NULL;
}

Failure *raft_log_store_load(RaftLogStore *store, RaftStart *ret_start, GBytes **ret_snapshot) {
  g_autoptr(GPtrArray) entries = raft_entries_new();
  RaftStart start;
  Failure *failure = raft_log_read(store, entries, &start);
  if (failure)
    return failure;
  g_steal_pointer(&entries); /* start has it */
  *ret_start = start;
  *ret_snapshot = raft_log_store_snapshot(store);
  return NULL;
}

void raft_log_start_clear(RaftStart *start) {
  g_clear_pointer(&start->entries, g_ptr_array_unref);
}
