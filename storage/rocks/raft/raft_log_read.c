/* Reading a controller's folder; see raft_log_internal.h.
 *
 * Everything is read, and each part is held against the others:
 *  - the entries against their chain of checksums, from the snapshot's anchor on, without gaps;
 *  - the chain against the note of CONTROLLER: an entry that was durable when the note was written must be there;
 *  - term and vote of the log against the note, which is written first: it may be ahead of the log, never behind;
 *  - identity in RocksDB against identity in the note;
 *  - the snapshot's file against size and checksum of its description.
 *
 * Owning thread: the store's. Failure modes: all that does not fit is CORRUPT_LOG, with a sentence that says what. */
#include "storage/rocks/raft/raft_log_internal.h"

#include <string.h>

#define CHAIN_BYTES 8

static guint64 read_u64(const char *bytes) {
  guint64 big;
  memcpy(&big, bytes, sizeof big);
  return GUINT64_FROM_BE(big);
}

/* ---- Entries ---- */

typedef struct {
  RaftLogStore *store;
  GPtrArray *entries; /* taken up here, or NULL */
  guint64 chain, last_term;
} Reading;

static Failure *check_entry(Reading *reading, guint64 index, const char *value, gsize size, RaftEntry **ret_entry) {
  RaftLogStore *store = reading->store;
  if (index != store->next)
    return raft_db_damaged(
        store->path, "entry %" G_GUINT64_FORMAT " of its log is missing, and entry %" G_GUINT64_FORMAT " is there",
        store->next, index);
  guint64 chain = 0;
  if (size >= CHAIN_BYTES)
    chain = raft_log_chain_of(reading->chain, index, value, size - CHAIN_BYTES);
  if (size < CHAIN_BYTES || chain != read_u64(value + size - CHAIN_BYTES))
    return raft_db_damaged(store->path,
                           "the checksum of entry %" G_GUINT64_FORMAT " of its log, which is chained to those in front "
                           "of it, does not match",
                           index);
  g_autoptr(RaftEntry) entry = NULL;
  Failure *failure = raft_entry_decode(value, size - CHAIN_BYTES, &entry);
  if (failure)
    return failure;
  if (entry->index != index || entry->term < reading->last_term)
    return raft_db_damaged(store->path, "entry %" G_GUINT64_FORMAT " of its log lies at the place of another", index);
  reading->chain = chain;
  *ret_entry = g_steal_pointer(&entry);
  return NULL;
}

static Failure *read_entry(Reading *reading, const char *key, const char *value, gsize size) {
  RaftLogStore *store = reading->store;
  RaftEntry *entry = NULL;
  Failure *failure = check_entry(reading, read_u64(key + 1), value, size, &entry);
  if (failure || !entry)
    return failure;
  store->next++;
  g_array_append_val(store->chains, reading->chain);
  reading->last_term = entry->term;
  if (reading->entries)
    g_ptr_array_add(reading->entries, entry);
  else
    raft_entry_unref(entry);
  return NULL;
}

static Failure *read_key(const char *key, gsize key_len, const char *value, gsize size, gpointer data) {
  static const char *const WORDS[] = {RAFT_KEY_FORMAT,  RAFT_KEY_NODE,  RAFT_KEY_DIRECTORY,
                                      RAFT_KEY_CLUSTER, RAFT_KEY_STATE, RAFT_KEY_SNAPSHOT};
  Reading *reading = data;
  if (key_len == RAFT_ENTRY_KEY_BYTES && key[0] == RAFT_ENTRY_PREFIX)
    return read_entry(reading, key, value, size);
  for (guint i = 0; i < G_N_ELEMENTS(WORDS); i++)
    if (key_len == strlen(WORDS[i]) && memcmp(key, WORDS[i], key_len) == 0)
      return NULL;
  return raft_db_damaged(reading->store->path, "it holds a key that no Milena writes");
}

/* ---- State and snapshot ---- */

static Failure *read_state(RaftLogStore *store) {
  g_autoptr(GBytes) value = NULL;
  store->written_state = (RaftHardState){0};
  Failure *failure = raft_db_get_checked(store->db, RAFT_KEY_STATE, &value);
  if (failure || !value)
    return failure;
  gsize size;
  const void *data = g_bytes_get_data(value, &size);
  return raft_hard_state_decode(data, size, &store->written_state);
}

/* Number and anchor, then the description. */
static Failure *read_snapshot(RaftLogStore *store) {
  g_autoptr(GBytes) value = NULL;
  store->snapshot_number = 0;
  store->anchor = RAFT_CHAIN_BEGIN;
  store->snapshot = (RaftSnapshotMeta){0};
  g_clear_pointer(&store->snapshot_bytes, g_bytes_unref);
  Failure *failure = raft_db_get_checked(store->db, RAFT_KEY_SNAPSHOT, &value);
  if (failure || !value)
    return failure;
  gsize size;
  const char *data = g_bytes_get_data(value, &size);
  if (size < 16)
    return raft_db_damaged(store->path, "the description of its snapshot is cut short");
  failure = raft_snapshot_meta_decode(data + 16, size - 16, &store->snapshot);
  if (failure)
    return failure;
  store->snapshot_number = read_u64(data);
  store->anchor = read_u64(data + 8);
  return raft_snapshot_file_map(store->path, store->snapshot_number, &store->snapshot, &store->snapshot_bytes);
}

/* ---- Identity ---- */

Failure *raft_log_read_format(const RaftLogStore *store, guint32 *ret_format) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = raft_db_get(store->db, RAFT_KEY_FORMAT, &value);
  if (failure)
    return failure;
  guint32 format = 0;
  if (value && g_bytes_get_size(value) != sizeof format)
    return raft_db_damaged(store->path, "its format is no number");
  if (value)
    memcpy(&format, g_bytes_get_data(value, NULL), sizeof format);
  *ret_format = GUINT32_FROM_BE(format);
  if (value && format == 0)
    return raft_db_damaged(store->path, "its format never existed");
  return NULL;
}

Failure *raft_log_newer_format(const char *path, guint32 format) {
  return failure_new(FAILURE(UNSUPPORTED),
                     "The controller's folder %s has format %u, and this version knows formats up to %d: it was "
                     "written by a newer Milena. Start that version.",
                     path, format, RAFT_LOG_FORMAT);
}

Failure *raft_log_wrong_node(const char *path, guint64 found, guint64 wanted) {
  return failure_new(FAILURE(DUPLICATE_ID),
                     "The folder %s belongs to the controller %" G_GUINT64_FORMAT ", and this is the controller "
                     "%" G_GUINT64_FORMAT ". Start each with its own id and folder.",
                     path, found, wanted);
}

Failure *raft_log_check_node(const RaftLogStore *store, guint64 node_id) {
  g_autoptr(GBytes) value = NULL;
  Failure *failure = raft_db_get(store->db, RAFT_KEY_NODE, &value);
  if (failure)
    return failure;
  if (!value || g_bytes_get_size(value) != sizeof node_id)
    return raft_db_damaged(store->path, "it does not say which controller it belongs to");
  guint64 found = read_u64(g_bytes_get_data(value, NULL));
  return found == node_id ? NULL : raft_log_wrong_node(store->path, found, node_id);
}

/* What RocksDB says of directory and cluster against the note. */
static Failure *check_identity(const RaftLogStore *store) {
  const RaftLogIdentity *identity = &raft_note_file_get(store->note)->identity;
  g_autoptr(GBytes) directory = NULL, cluster = NULL;
  Failure *failure = raft_log_check_node(store, identity->node_id);
  if (!failure)
    failure = raft_db_get_checked(store->db, RAFT_KEY_DIRECTORY, &directory);
  if (!failure)
    failure = raft_db_get_checked(store->db, RAFT_KEY_CLUSTER, &cluster);
  if (failure)
    return failure;
  if (!directory || g_bytes_get_size(directory) != sizeof identity->directory.bytes ||
      memcmp(g_bytes_get_data(directory, NULL), identity->directory.bytes, sizeof identity->directory.bytes) != 0)
    return raft_db_damaged(store->path, "its file " RAFT_NOTE_FILE " is of another folder than its log");
  gsize size = 0;
  const char *id = cluster ? g_bytes_get_data(cluster, &size) : NULL;
  if (id && (size > RAFT_LOG_CLUSTER_ID_CHARS_MAX || size != strlen(identity->cluster_id) ||
             memcmp(id, identity->cluster_id, size) != 0))
    return raft_db_damaged(store->path,
                           "its file " RAFT_NOTE_FILE " does not know the cluster that its log belongs to");
  return NULL;
}

/* ---- The parts against each other ---- */

/* Does the log say more of term and vote than the note, which is written first? */
static Failure *check_vote(const RaftLogStore *store, guint64 last_term) {
  const RaftNote *note = raft_note_file_get(store->note);
  const RaftHardState *state = &store->written_state;
  gboolean voted = state->term == note->term && state->vote != 0 &&
                   (state->vote != note->vote || !raft_directory_equal(&state->vote_directory, &note->vote_directory));
  guint64 term = MAX(MAX(state->term, last_term), store->snapshot.term);
  if (term <= note->term && !voted)
    return NULL;
  return raft_db_damaged(store->path,
                         "its log knows the term %" G_GUINT64_FORMAT " and a vote for %" G_GUINT64_FORMAT
                         ", and its file " RAFT_NOTE_FILE ", which is always written first, the term %" G_GUINT64_FORMAT
                         " and a vote for %" G_GUINT64_FORMAT
                         ", so later votes may be lost: it could vote twice in one term, and two controllers would be "
                         "active, each losing what the other acknowledged",
                         term, state->vote, note->term, note->vote);
}

/* Is everything there that was durable when the note was written? */
static Failure *check_end(const RaftLogStore *store) {
  const RaftNote *note = raft_note_file_get(store->note);
  guint64 last = store->next - 1;
  if (note->end_index > last)
    return raft_db_damaged(store->path,
                           "its log ends with entry %" G_GUINT64_FORMAT ", and it had been synced up to entry "
                           "%" G_GUINT64_FORMAT ": acknowledged entries are lost",
                           last, note->end_index);
  if (note->end_index + 1 >= store->first && raft_log_chain_at(store, note->end_index) != note->end_chain)
    return raft_db_damaged(store->path, "entry %" G_GUINT64_FORMAT " of its log is not the one that had been synced",
                           note->end_index);
  if (store->written_state.commit > last)
    return raft_db_damaged(store->path,
                           "its log ends with entry %" G_GUINT64_FORMAT ", and entries up to %" G_GUINT64_FORMAT
                           " were committed: they are lost",
                           last, store->written_state.commit);
  return NULL;
}

Failure *raft_log_read(RaftLogStore *store, GPtrArray *entries, RaftStart *ret_start) {
  Failure *failure = check_identity(store);
  if (!failure)
    failure = read_state(store);
  if (!failure)
    failure = read_snapshot(store);
  if (failure)
    return failure;
  store->first = store->next = store->snapshot.index + 1;
  g_array_set_size(store->chains, 0);
  Reading reading = {store, entries, store->anchor, store->snapshot.term};
  failure = raft_db_scan(store->db, read_key, &reading);
  if (!failure)
    failure = check_end(store);
  if (!failure)
    failure = check_vote(store, reading.last_term);
  if (failure)
    return failure;
  const RaftNote *note = raft_note_file_get(store->note);
  *ret_start = (RaftStart){.hard_state = {note->term, note->vote, note->vote_directory, store->written_state.commit},
                           .snapshot = store->snapshot,
                           .entries = entries};
  return NULL;
}
