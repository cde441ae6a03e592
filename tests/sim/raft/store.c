/* See store.h.
 *
 * Invariants: `stored` is what the records up to `folded` make, and those are what is durable. A write is one record:
 * all of it or nothing; but term and vote, which a host syncs separately before it, may survive alone when the power is
 * cut. Failure modes: none; a crash is an event. */
#include "tests/sim/raft/store.h"

#include "services/base/invariant.h"

/* One record on the disk: a write of the core, or an own snapshot (write_id 0). */
typedef struct {
  Store *store;
  guint64 write_id;
  RaftHardState hard_state;
  GPtrArray *entries;
  gboolean has_snapshot;
  RaftSnapshotMeta meta; /* installed, or own */
  GBytes *bytes;
  void (*written)(guint64 write_id, gpointer data);
  void (*snapshot_done)(const RaftSnapshotMeta *meta, gpointer data);
  gpointer data;
} Record;

struct Store {
  Sim *sim;
  SimDisk *disk;
  Stored stored;
  guint folded;
};

static void record_free(gpointer data) {
  Record *record = data;
  g_clear_pointer(&record->entries, g_ptr_array_unref);
  g_clear_pointer(&record->bytes, g_bytes_unref);
  g_free(record);
}

Store *store_new(Sim *sim, gint64 write_max_us, gint64 sync_max_us) {
  Store *store = g_new0(Store, 1);
  store->sim = sim;
  store->disk = sim_disk_new(sim, write_max_us, sync_max_us, record_free);
  store->stored.entries = raft_entries_new();
  return store;
}

void store_free(gpointer data) {
  Store *store = data;
  if (!store)
    return;
  sim_disk_free(store->disk);
  g_ptr_array_unref(store->stored.entries);
  g_clear_pointer(&store->stored.snapshot_bytes, g_bytes_unref);
  g_free(store);
}

void store_format(Store *store, RaftEntry *first) {
  store->stored.hard_state.term = 1;
  g_ptr_array_add(store->stored.entries, first);
}

guint64 store_last_index(const Store *store) {
  return store->stored.snapshot.index + store->stored.entries->len;
}

/* ---- What records make ---- */

static void take_snapshot(Stored *stored, const Record *record) {
  guint64 covered = record->meta.index - stored->snapshot.index;
  /* An installed one replaces the log; an own one only what it holds. */
  guint drop = record->write_id ? stored->entries->len : (guint)MIN(covered, stored->entries->len);
  if (drop > 0)
    g_ptr_array_remove_range(stored->entries, 0, drop);
  stored->snapshot = record->meta;
  g_clear_pointer(&stored->snapshot_bytes, g_bytes_unref);
  stored->snapshot_bytes = g_bytes_ref(record->bytes);
}

static void fold_record(Stored *stored, const Record *record) {
  if (record->has_snapshot && record->meta.index > stored->snapshot.index)
    take_snapshot(stored, record);
  if (!record->write_id)
    return;
  stored->hard_state = record->hard_state;
  for (guint i = 0; i < record->entries->len; i++) {
    RaftEntry *entry = record->entries->pdata[i];
    if (entry->index <= stored->snapshot.index)
      continue; /* an own snapshot has come in between: the same, committed */
    guint keep = (guint)(entry->index - stored->snapshot.index - 1);
    INVARIANT(keep <= stored->entries->len, "what is persisted has no gaps");
    g_ptr_array_set_size(stored->entries, (gint)keep);
    g_ptr_array_add(stored->entries, raft_entry_ref(entry));
  }
}

static void fold(Store *store) {
  const GPtrArray *records = sim_disk_records(store->disk);
  for (guint end = sim_disk_count(store->disk, SIM_SYNCED); store->folded < end; store->folded++)
    fold_record(&store->stored, records->pdata[store->folded]);
}

/* ---- Writing ---- */

static void record_done(gpointer data) {
  const Record *record = data;
  fold(record->store);
  if (record->write_id)
    record->written(record->write_id, record->data);
  else
    record->snapshot_done(&record->meta, record->data);
}

void store_write(Store *store, const RaftReady *ready, void (*done)(guint64 write_id, gpointer data), gpointer data) {
  Record *record = g_new0(Record, 1);
  *record = (Record){.store = store,
                     .write_id = ready->write_id,
                     .hard_state = ready->hard_state,
                     .entries = g_ptr_array_ref(ready->entries),
                     .written = done,
                     .data = data};
  if (ready->install) {
    record->has_snapshot = TRUE;
    record->meta = ready->install->meta;
    record->bytes = g_bytes_ref(ready->install->bytes);
  }
  sim_disk_write(store->disk, record, SIM_SYNCED, record_done, record);
}

void store_put_snapshot(Store *store, const RaftSnapshotMeta *meta, GBytes *bytes,
                        void (*done)(const RaftSnapshotMeta *meta, gpointer data), gpointer data) {
  Record *record = g_new0(Record, 1);
  *record = (Record){.store = store,
                     .has_snapshot = TRUE,
                     .meta = *meta,
                     .bytes = g_bytes_ref(bytes),
                     .snapshot_done = done,
                     .data = data};
  sim_disk_write(store->disk, record, SIM_SYNCED, record_done, record);
}

void store_crash(Store *store, SimCrash crash) {
  /* Records that are lost are gone afterwards; of the first, term and vote may be there. */
  const GPtrArray *records = sim_disk_records(store->disk);
  g_autoptr(GArray) states = g_array_new(FALSE, FALSE, sizeof(RaftHardState));
  for (guint i = store->folded; i < records->len; i++)
    g_array_append_val(states, ((Record *)records->pdata[i])->hard_state);
  guint from = store->folded;
  sim_disk_crash(store->disk, crash);
  fold(store);
  guint lost = store->folded - from;
  if (lost >= states->len || !sim_chance(store->sim, 300))
    return;
  RaftHardState torn = g_array_index(states, RaftHardState, lost);
  torn.commit = store->stored.hard_state.commit;
  if (torn.term > 0) /* not an own snapshot */
    store->stored.hard_state = torn;
}

const Stored *store_durable(const Store *store) {
  return &store->stored;
}

gboolean store_holds(const Store *store, guint64 index, guint64 term) {
  const Stored *stored = &store->stored;
  if (index <= stored->snapshot.index)
    return index < stored->snapshot.index || stored->snapshot.term == term;
  guint64 place = index - stored->snapshot.index - 1;
  return place < stored->entries->len && ((const RaftEntry *)stored->entries->pdata[place])->term == term;
}
