/* A folder of format 1, as the release before wrote it: RocksDB alone, with a CRC-32C for each value and the snapshot's
 * bytes under a key.
 *
 *   "state" RaftHardState   "snapshot" RaftSnapshotMeta   "snapshot-data" its bytes   "e" index:u64 RaftEntry
 *
 * It is read and checked whole, the snapshot's bytes and CONTROLLER are written beside it, and one WriteBatch makes it
 * a folder of this format. Interrupted before that one, it is of format 1 still, and all of this is done again; the
 * directory id stays.
 *
 * Owning thread: whoever opens. Failure modes: what does not check is a Failure, and nothing was changed then. */
#include "storage/rocks/raft/raft_log_internal.h"

#include <string.h>

#include "storage/log/crc32c.h"

typedef struct {
  RaftLogStore *store;
  RaftHardState state;
  RaftSnapshotMeta snapshot;
  GBytes *snapshot_bytes; /* or NULL */
  GPtrArray *entries;
} OldLog;

static void old_log_clear(OldLog *old) {
  g_clear_pointer(&old->snapshot_bytes, g_bytes_unref);
  g_clear_pointer(&old->entries, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(OldLog, old_log_clear)

/* ---- Reading ---- */

static Failure *read_state(OldLog *old) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = raft_db_get_checked(old->store->db, RAFT_KEY_STATE, &value);
  if (failure || !value)
    return failure;
  return raft_hard_state_decode(g_bytes_get_data(value, NULL), g_bytes_get_size(value), &old->state);
}

static Failure *read_snapshot(OldLog *old) {
  g_autoptr(GBytes) meta = NULL;
  Failure *failure = raft_db_get_checked(old->store->db, RAFT_KEY_SNAPSHOT, &meta);
  if (!failure && meta)
    failure = raft_db_get_checked(old->store->db, RAFT_KEY_SNAPSHOT_DATA, &old->snapshot_bytes);
  if (failure || !meta)
    return failure;
  failure = raft_snapshot_meta_decode(g_bytes_get_data(meta, NULL), g_bytes_get_size(meta), &old->snapshot);
  if (failure)
    return failure;
  gsize size = 0;
  const void *bytes = old->snapshot_bytes ? g_bytes_get_data(old->snapshot_bytes, &size) : NULL;
  if (!old->snapshot_bytes || size != old->snapshot.size_bytes || log_crc32c(bytes, size) != old->snapshot.crc32c)
    return raft_db_damaged(old->store->path, "the snapshot is not what its description says");
  return NULL;
}

static Failure *read_entry(const char *key, gsize key_len, const char *value, gsize size, gpointer data) {
  OldLog *old = data;
  const RaftLogStore *store = old->store;
  gsize checked = 0;
  if (key_len != RAFT_ENTRY_KEY_BYTES || key[0] != RAFT_ENTRY_PREFIX)
    return NULL;
  Failure *failure = raft_db_check(store->db, "an entry", key, key_len, value, size, &checked);
  if (failure)
    return failure;
  RaftEntry *entry = NULL;
  failure = raft_entry_decode(value, checked, &entry);
  if (failure)
    return failure;
  g_ptr_array_add(old->entries, entry);
  char expected[RAFT_ENTRY_KEY_BYTES];
  raft_log_entry_key(old->snapshot.index + old->entries->len, expected);
  if (entry->index != old->snapshot.index + old->entries->len || memcmp(key, expected, sizeof expected) != 0)
    return raft_db_damaged(store->path, "entries of its log are missing");
  return NULL;
}

static Failure *read_old(OldLog *old) {
  Failure *failure = read_state(old);
  if (!failure)
    failure = read_snapshot(old);
  if (!failure)
    failure = raft_db_scan(old->store->db, read_entry, old);
  if (!failure && old->state.commit > old->snapshot.index + old->entries->len)
    failure = raft_db_damaged(old->store->path, "entries that were committed are missing");
  return failure;
}

/* ---- Writing ---- */

/* CONTROLLER, with term and vote. One that is there is of an upgrade that was interrupted. */
static void write_note(const OldLog *old, guint64 node_id) {
  RaftLogStore *store = old->store;
  RaftNote note = {.sequence = 1, .identity = {.node_id = node_id}, .made = TRUE};
  if (store->note)
    note = *raft_note_file_get(store->note);
  else
    note.identity.directory = raft_log_random_directory();
  if (old->state.term > note.term || (old->state.term == note.term && note.vote == 0)) {
    note.term = old->state.term;
    note.vote = old->state.vote;
    note.vote_directory = old->state.vote_directory;
  }
  if (store->note)
    raft_note_file_put(store->note, &note);
  else
    store->note = raft_note_file_create(store->path, &note);
}

/* The snapshot's bytes into a file of its own. Returns its number, or 0 without a snapshot. */
static guint64 write_snapshot(const OldLog *old) {
  raft_snapshot_file_sweep(old->store->path, 0);
  if (!old->snapshot_bytes)
    return 0;
  g_autoptr(RaftSnapshotFile) file = raft_snapshot_file_begin(old->store->path, 1);
  raft_snapshot_file_append(file, g_bytes_get_data(old->snapshot_bytes, NULL), g_bytes_get_size(old->snapshot_bytes));
  raft_snapshot_file_sync(file);
  raft_snapshot_file_keep(file);
  return raft_snapshot_file_number(file);
}

Failure *raft_log_upgrade(RaftLogStore *store, guint64 node_id) {
  Failure *failure = raft_log_check_node(store, node_id);
  if (failure)
    return failure;
  g_auto(OldLog) old = {.store = store, .entries = raft_entries_new()};
  failure = read_old(&old);
  if (failure)
    return failure;
  write_note(&old, node_id);
  guint64 number = write_snapshot(&old);
  guint64 chain = number ? raft_log_anchor_of(&old.snapshot) : RAFT_CHAIN_BEGIN;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  raft_log_put_identity(batch, raft_log_store_identity(store));
  if (number) {
    raft_log_put_snapshot_name(batch, &old.snapshot, number, chain);
    rocksdb_writebatch_delete(batch, RAFT_KEY_SNAPSHOT_DATA, strlen(RAFT_KEY_SNAPSHOT_DATA));
  }
  for (guint i = 0; i < old.entries->len; i++)
    chain = raft_log_put_entry(batch, chain, old.entries->pdata[i]);
  raft_db_commit(store->db, batch);
  return NULL;
}
