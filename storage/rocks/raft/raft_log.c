/* The controller's folder in use: writing; see raft_log.h. Opening is raft_log_open.c's, reading raft_log_read.c's.
 *
 * Layout: README.md of this folder.
 *
 * Invariants:
 *  1. Entries lie in [first, next) without gaps, and first = snapshot's index + 1 once there is one.
 *  2. Hard state and entries of one write, a snapshot's name and the removal of its entries: all or nothing, by one
 * synced WriteBatch.
 *  3. A term or vote that changed is durable in CONTROLLER before the WriteBatch that says so: the log is never ahead.
 *  4. The end of the log that CONTROLLER notes was durable when it was noted, and is taken back, durably, before a
 * WriteBatch that replaces it.
 *  5. A snapshot's file is durable before RocksDB names it, and is removed once it is not named any more.
 *
 * Owning thread: whoever holds the store, one at a time. Failure modes: an error of write or sync ends the process. */
#include <string.h>

#include "services/base/invariant.h"
#include "storage/log/crc32c.h"
#include "storage/rocks/raft/chain.h"
#include "storage/rocks/raft/disk.h"
#include "storage/rocks/raft/raft_log_internal.h"

/* ---- Keys and values ---- */

void raft_log_entry_key(guint64 index, char ret_key[RAFT_ENTRY_KEY_BYTES]) {
  guint64 big = GUINT64_TO_BE(index);
  ret_key[0] = RAFT_ENTRY_PREFIX;
  memcpy(ret_key + 1, &big, sizeof big);
}

guint64 raft_log_chain_of(guint64 chain, guint64 index, gconstpointer bytes, gsize size) {
  char key[RAFT_ENTRY_KEY_BYTES];
  raft_log_entry_key(index, key);
  return raft_chain_next(raft_chain_next(chain, key, sizeof key), bytes, size);
}

guint64 raft_log_anchor_of(const RaftSnapshotMeta *meta) {
  g_autoptr(GBytes) bytes = raft_snapshot_meta_encode(meta);
  return raft_chain_next(RAFT_CHAIN_BEGIN, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

guint64 raft_log_chain_at(const RaftLogStore *store, guint64 index) {
  INVARIANT(index + 1 >= store->first && index < store->next, "the chain is known from the snapshot to the end");
  return index < store->first ? store->anchor : g_array_index(store->chains, guint64, index - store->first);
}

guint64 raft_log_put_entry(rocksdb_writebatch_t *batch, guint64 chain, const RaftEntry *entry) {
  char key[RAFT_ENTRY_KEY_BYTES];
  raft_log_entry_key(entry->index, key);
  g_autoptr(GBytes) bytes = raft_entry_encode(entry);
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  guint64 own = raft_log_chain_of(chain, entry->index, data, size), big = GUINT64_TO_BE(own);
  const char *keys[] = {key}, *values[] = {data, (const char *)&big};
  const gsize key_lens[] = {sizeof key}, value_lens[] = {size, sizeof big};
  rocksdb_writebatch_putv(batch, 1, keys, key_lens, 2, values, value_lens);
  return own;
}

/* Those in [from, to). */
static void delete_entries(rocksdb_writebatch_t *batch, guint64 from, guint64 to) {
  for (guint64 index = from; index < to; index++) {
    char key[RAFT_ENTRY_KEY_BYTES];
    raft_log_entry_key(index, key);
    rocksdb_writebatch_delete(batch, key, sizeof key);
  }
}

static void put_state(RaftLogStore *store, rocksdb_writebatch_t *batch, const RaftHardState *state) {
  g_autoptr(GBytes) bytes = raft_hard_state_encode(state);
  raft_db_put_checked(batch, RAFT_KEY_STATE, bytes);
  store->written_state = *state;
}

void raft_log_put_snapshot_name(rocksdb_writebatch_t *batch, const RaftSnapshotMeta *meta, guint64 number,
                                guint64 anchor) {
  g_autoptr(GBytes) bytes = raft_snapshot_meta_encode(meta);
  guint64 head[] = {GUINT64_TO_BE(number), GUINT64_TO_BE(anchor)};
  GByteArray *value = g_byte_array_new();
  g_byte_array_append(value, (const guint8 *)head, sizeof head);
  g_byte_array_append(value, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
  g_autoptr(GBytes) whole = g_byte_array_free_to_bytes(value);
  raft_db_put_checked(batch, RAFT_KEY_SNAPSHOT, whole);
}

/* ---- Entries ---- */

/* What must be durable before the batch of @state that replaces the entries from @from on: term and vote when they
 * changed, and a noted end of the log that will be gone. */
static void note_before(RaftLogStore *store, const RaftHardState *state, guint64 from) {
  RaftNote note = *raft_note_file_get(store->note);
  gboolean voted = note.term != state->term || note.vote != state->vote ||
                   !raft_directory_equal(&note.vote_directory, &state->vote_directory);
  gboolean cut = note.end_index >= from;
  INVARIANT(state->term >= note.term, "a term never falls");
  if (!voted && !cut)
    return;
  note.term = state->term;
  note.vote = state->vote;
  note.vote_directory = state->vote_directory;
  if (cut) {
    note.end_index = from - 1;
    note.end_chain = raft_log_chain_at(store, from - 1);
  }
  raft_note_file_put(store->note, &note);
}

/* Append entries to those in [first, next). */
static void put_entries(RaftLogStore *store, rocksdb_writebatch_t *batch, const GPtrArray *entries) {
  guint64 chain = raft_log_chain_at(store, store->next - 1);
  for (guint i = 0; i < entries->len; i++) {
    const RaftEntry *entry = entries->pdata[i];
    INVARIANT(entry->index == store->next, "entries are written without gaps");
    chain = raft_log_put_entry(batch, chain, entry);
    g_array_append_val(store->chains, chain);
    store->next++;
  }
}

void raft_log_store_write(RaftLogStore *store, const RaftHardState *state, const GPtrArray *entries) {
  const RaftEntry *head = entries->len ? entries->pdata[0] : NULL;
  guint64 from = head ? head->index : store->next, next = store->next;
  INVARIANT(from >= store->first && from <= next, "entries are written without gaps");
  note_before(store, state, from);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  put_state(store, batch, state);
  g_array_set_size(store->chains, (guint)(from - store->first));
  store->next = from;
  put_entries(store, batch, entries);
  delete_entries(batch, store->next, next); /* what the new entries replace, and lies behind them */
  raft_db_commit(store->db, batch);
  if (head)
    raft_note_file_hint(store->note, store->next - 1, raft_log_chain_at(store, store->next - 1));
}

/* ---- Snapshots ---- */

GBytes *raft_log_store_snapshot(const RaftLogStore *store) {
  return store->snapshot_bytes ? g_bytes_ref(store->snapshot_bytes) : NULL;
}

RaftSnapshotFile *raft_snapshot_file_new(RaftLogStore *store) {
  return raft_snapshot_file_begin(store->path, store->next_number++);
}

/* The end of the log is durable: so says a note that is synced. */
static void note_after(RaftLogStore *store) {
  RaftNote note = *raft_note_file_get(store->note);
  note.end_index = store->next - 1;
  note.end_chain = raft_log_chain_at(store, note.end_index);
  raft_note_file_put(store->note, &note);
}

/* The new snapshot is in force; the old file goes. */
static void take_over(RaftLogStore *store, const RaftSnapshotMeta *meta, RaftSnapshotFile *file) {
  guint64 before = store->snapshot_number;
  raft_snapshot_file_keep(file);
  store->snapshot = *meta;
  store->snapshot_number = raft_snapshot_file_number(file);
  raft_snapshot_file_free(file);
  g_clear_pointer(&store->snapshot_bytes, g_bytes_unref);
  g_autoptr(Failure) failure =
      raft_snapshot_file_map(store->path, store->snapshot_number, meta, &store->snapshot_bytes);
  if (failure)
    raft_disk_die(store->path, failure_message(failure));
  raft_snapshot_file_remove(store->path, before);
}

void raft_log_store_put_snapshot_file(RaftLogStore *store, const RaftSnapshotMeta *meta, RaftSnapshotFile *file) {
  INVARIANT(meta->index >= store->first && meta->index < store->next, "a snapshot holds entries of the log");
  RaftSnapshotMeta described = *meta;
  described.size_bytes = raft_snapshot_file_size_bytes(file);
  described.crc32c = raft_snapshot_file_crc32c(file);
  raft_snapshot_file_sync(file);
  guint64 anchor = raft_log_chain_at(store, meta->index);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  raft_log_put_snapshot_name(batch, &described, raft_snapshot_file_number(file), anchor);
  delete_entries(batch, store->first, meta->index + 1);
  raft_db_commit(store->db, batch);
  g_array_remove_range(store->chains, 0, (guint)(meta->index + 1 - store->first));
  store->first = meta->index + 1;
  store->anchor = anchor;
  take_over(store, &described, file);
  note_after(store);
}

/* Are these the bytes that the leader described? */
static Failure *check_received(const RaftInstall *install) {
  const RaftSnapshotMeta *meta = &install->meta;
  gsize size;
  const void *data = g_bytes_get_data(install->bytes, &size);
  if (size != meta->size_bytes)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "The snapshot at entry %" G_GUINT64_FORMAT " that was received is cut short: it has "
                       "%" G_GSIZE_FORMAT " bytes of %" G_GUINT64_FORMAT ". It was thrown away.",
                       meta->index, size, meta->size_bytes);
  if (log_crc32c(data, size) != meta->crc32c)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "The checksum of the snapshot at entry %" G_GUINT64_FORMAT " that was received does not match. "
                       "It was thrown away.",
                       meta->index);
  return NULL;
}

static RaftSnapshotFile *write_received(RaftLogStore *store, const RaftInstall *install) {
  RaftSnapshotFile *file = raft_snapshot_file_new(store);
  raft_snapshot_file_append(file, g_bytes_get_data(install->bytes, NULL), g_bytes_get_size(install->bytes));
  raft_snapshot_file_sync(file);
  return file;
}

Failure *raft_log_store_install(RaftLogStore *store, const RaftHardState *state, const RaftInstall *install,
                                const GPtrArray *entries) {
  const RaftSnapshotMeta *meta = &install->meta;
  INVARIANT(meta->index > store->snapshot.index, "a snapshot that is installed goes beyond the one in force");
  Failure *failure = check_received(install);
  if (failure)
    return failure;
  RaftSnapshotFile *file = write_received(store, install);
  note_before(store, state, store->first);
  guint64 anchor = raft_log_anchor_of(meta);
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  put_state(store, batch, state);
  raft_log_put_snapshot_name(batch, meta, raft_snapshot_file_number(file), anchor);
  delete_entries(batch, store->first, store->next);
  g_array_set_size(store->chains, 0);
  store->first = store->next = meta->index + 1;
  store->anchor = anchor;
  put_entries(store, batch, entries);
  raft_db_commit(store->db, batch);
  take_over(store, meta, file);
  note_after(store);
  return NULL;
}
