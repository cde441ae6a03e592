/* The log store: see log_store.h. This file opens and closes; log_writer.c and log_readers.c do the work.
 *
 *   open: lock the folder → role and format → frontier note → RocksDB → sequence against the note → catalog and hot
 *         records → (unclean) cut what was never settled, verify the latest segments → note "not clean" → threads
 *   close: writer and syncer run dry → readers → flush memtables → note "clean" → handles → RocksDB → lock
 *
 * Invariants
 *   1. The frontier note says clean only between the end of a close in order and the next open.
 *   2. The note's sequence was durable when it was written; a database that recovers to less has lost synced data.
 *   3. STORE is written when a store is made before anything is written to the database: a folder without it holds
 *      nothing that was acknowledged.
 *
 * Failure modes: what can't be read at open is a Failure, and so is a folder that can't be used; writes and syncs that
 * the system refuses end the process (rocks_die), also those of opening; reads give Failures. */
#include "storage/rocks/log_store.h"

#include <glib/gstdio.h>
#include <string.h>

#include "services/base/slog.h"
#include "storage/rocks/folder.h"
#include "storage/rocks/frontier.h"
#include "storage/rocks/log_readers.h"
#include "storage/rocks/log_recovery.h"
#include "storage/rocks/log_segments.h"
#include "storage/rocks/log_surplus.h"
#include "storage/rocks/log_writer.h"
#include "storage/rocks/producer_records.h"
#include "storage/rocks/rocks_db.h"

#define ROLE "broker-log"
#define FORMAT 1
#define IDENTITY_GROUP "identity"
#define FIRST_SEGMENT 1

struct LogStore {
  RocksFolder *folder;
  RocksDb *db;
  LogIndex *index;
  LogWriter *writer;
  LogReaders *readers;
  GHashTable *damages; /* log id → LogDamage, as found at open */
  LogStoreIdentity identity;
  RocksFrontier frontier; /* as found */
  gboolean was_clean, was_created;
  gboolean lost_nothing, told;
  guint64 bulk_group; /* the last one that was settled, as found */
  guint surplus_cuts;
  gboolean needs_fresh; /* the active segment must not be written any more */
};

void log_store_options_init(LogStoreOptions *options) {
  *options = (LogStoreOptions){
      .segment_bytes_max = G_GINT64_CONSTANT(1) << 30,
      .segment_age_max_ms =
          G_GINT64_CONSTANT(6) * 60 * 60 * 1000, /* a week of retention is 28 segments, not hundreds for each log */
      .time_index_bytes = 1 << 20,
      .write_buffer_bytes = 16 << 20,
      .cache_bytes = 16 << 20,
      .wal_bytes_max = 256 << 20,
      .direct_io = TRUE,
      .writes_max = 65536,
      .write_bytes_max = 128 << 20,
      .group_bytes_max = 1 << 20,
      .bulk_bytes_min = 4 << 20,
      .reader_threads = 2,
      .reads_max = 16384,
      .read_sessions_max = 256,
      .read_session_age_ms = 250, /* it pins memtables: at 30 s a reader close behind the end held 180 MB */
  };
}

/* ---- identity ---- */

static void load_identity(LogStore *store) {
  GKeyFile *file = rocks_folder_store(store->folder);
  g_autofree char *cluster_id = g_key_file_get_string(file, IDENTITY_GROUP, "cluster-id", NULL);
  g_autofree char *incarnation = g_key_file_get_string(file, IDENTITY_GROUP, "incarnation", NULL);
  g_strlcpy(store->identity.cluster_id, cluster_id ? cluster_id : "", sizeof store->identity.cluster_id);
  g_strlcpy(store->identity.incarnation, incarnation ? incarnation : "", sizeof store->identity.incarnation);
  store->identity.node_id = -1;
  if (g_key_file_has_key(file, IDENTITY_GROUP, "node-id", NULL))
    store->identity.node_id = g_key_file_get_int64(file, IDENTITY_GROUP, "node-id", NULL);
}

const LogStoreIdentity *log_store_identity(const LogStore *store) {
  return &store->identity;
}

Failure *log_store_set_identity(LogStore *store, const char *cluster_id, gint64 node_id) {
  const LogStoreIdentity *old = &store->identity;
  const char *path = rocks_folder_path(store->folder);
  INVARIANT(cluster_id[0] && strlen(cluster_id) < sizeof old->cluster_id && node_id >= 0, "an identity is complete");
  if (old->cluster_id[0] && strcmp(old->cluster_id, cluster_id) != 0)
    return failure_new(FAILURE(CLUSTER_MISMATCH),
                       "folder %s belongs to cluster %s, not %s: use another folder, or point "
                       "this node at its own cluster",
                       path, old->cluster_id, cluster_id);
  if (old->node_id >= 0 && old->node_id != node_id)
    return failure_new(FAILURE(CLUSTER_MISMATCH),
                       "folder %s belongs to node %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT
                       ": use another folder, or start this node with its own id",
                       path, old->node_id, node_id);
  if (old->node_id == node_id && old->cluster_id[0])
    return NULL;
  GKeyFile *file = rocks_folder_store(store->folder);
  g_key_file_set_string(file, IDENTITY_GROUP, "cluster-id", cluster_id);
  g_key_file_set_int64(file, IDENTITY_GROUP, "node-id", node_id);
  Failure *failure = rocks_folder_save(store->folder);
  if (!failure)
    load_identity(store);
  return failure;
}

/* ---- opening ---- */

/* Whether RocksDB recovered all that was known to be durable. */
static Failure *check_sequence(LogStore *store, gboolean has_frontier) {
  const char *path = rocks_folder_path(store->folder);
  guint64 found = rocksdb_get_latest_sequence_number(store->db->db);
  if (store->was_created && found != 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "folder %s holds a database with data but its STORE file is missing: "
                       "restore that file, or name an empty folder",
                       path);
  if (!store->was_created && !has_frontier)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "folder %s lacks its FRONTIER note: synced data may be missing; move the "
                       "folder away and let this node fetch its data anew",
                       path);
  if (found < store->frontier.sequence)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "folder %s has lost synced data: its database ends at sequence %" G_GUINT64_FORMAT
                       ", but %" G_GUINT64_FORMAT " was synced (a write-ahead log is missing or cut); "
                       "move the folder away and let this node fetch its data anew",
                       path, found, store->frontier.sequence);
  return NULL;
}

/* Take away what bulk groups wrote that nobody was told of: or the next appends would mix with it. */
static void cut_surplus(LogStore *store) {
  const char *path = rocks_folder_path(store->folder);
  g_autoptr(Failure) failure =
      log_surplus_cut(store->db, store->index, store->frontier.segment, store->bulk_group, &store->surplus_cuts);
  store->needs_fresh = failure != NULL;
  if (failure)
    slog_error("what was written last, and never acknowledged, can't be told from the rest: a new segment begins, and "
               "logs that go on where they should have ended are reported as damaged",
               "folder", path, "error", failure_message(failure), NULL);
  if (store->surplus_cuts > 0)
    slog_info("the log store was stopped while it wrote in bulk: what was never acknowledged was cut", "folder", path,
              "logs", SLOG_INT(store->surplus_cuts), NULL);
}

static void verify(LogStore *store) {
  gint64 start_us = g_get_monotonic_time();
  guint64 bytes;
  log_recovery_verify(store->db, store->index, store->frontier.segment, store->damages, &bytes);
  slog_info("the log store was not closed in order: what was written last was verified", "folder",
            rocks_folder_path(store->folder), "bytes", SLOG_INT(bytes), "milliseconds",
            SLOG_INT((g_get_monotonic_time() - start_us) / 1000), "damaged_logs",
            SLOG_INT(g_hash_table_size(store->damages)), NULL);
}

/* See that there is a segment to write to: a new store has none, and one that stopped right behind a roll has not noted
 * it yet. What nobody needs goes. */
static void prepare_segments(LogStore *store) {
  if (log_index_segment_count(store->index) == 0)
    log_segments_add(store->db, store->index, FIRST_SEGMENT, 0);
  log_segments_note_active(store->db, store->index);
  if (store->needs_fresh) {
    log_segments_add(store->db, store->index, log_index_active(store->index)->number + 1, 0);
    log_segments_note_active(store->db, store->index);
  }
  log_segments_clean(store->db, store->index);
}

/* From here on the store is in use, and not clean: a refused write ends the process already. */
static void mark_in_use(LogStore *store) {
  gboolean damaged = log_index_damaged_count(store->index) > 0;
  store->frontier = (RocksFrontier){
      .sequence = rocksdb_get_latest_sequence_number(store->db->db),
      .segment = damaged ? store->frontier.segment : log_index_active(store->index)->number,
  };
  char *error = NULL;
  rocksdb_flush_wal(store->db->db, 1, &error); /* or the note would promise what is not durable yet */
  rocks_check("syncing the write-ahead log", error);
  g_autoptr(Failure) failure = rocks_frontier_write(store->folder, &store->frontier);
  if (failure)
    rocks_die("noting that the store is in use", failure_message(failure));
}

/* A new store is one once its STORE file is there: before anything is written to the database. */
static Failure *finish_creation(LogStore *store) {
  Failure *failure = rocks_frontier_write(store->folder, &store->frontier);
  if (failure)
    return failure;
  g_autofree char *incarnation = g_uuid_string_random();
  g_key_file_set_string(rocks_folder_store(store->folder), IDENTITY_GROUP, "incarnation", incarnation);
  return rocks_folder_save(store->folder);
}

static Failure *open_database(LogStore *store, const LogStoreOptions *options) {
  g_autofree char *db_path = g_build_filename(options->path, "db", NULL);
  g_autoptr(GArray) segments = NULL;
  gboolean direct_io = options->direct_io && rocks_folder_can_direct_io(store->folder);
  Failure *failure = rocks_db_open(db_path, options, store->was_created, direct_io, &store->db, &segments);
  if (failure)
    return failure;
  return log_recovery_load(store->db, segments, store->index, store->damages, &store->bulk_group);
}

static Failure *open_store(LogStore *store, const LogStoreOptions *options) {
  Failure *failure = rocks_folder_open(options->path, ROLE, FORMAT, options->create, &store->folder);
  if (failure)
    return failure;
  store->was_created = rocks_folder_is_new(store->folder);
  gboolean has_frontier;
  failure = rocks_frontier_read(store->folder, &store->frontier, &has_frontier);
  if (failure)
    return failure;
  if (store->was_created) /* what an interrupted creation left */
    store->frontier = (RocksFrontier){0};
  store->was_clean = store->was_created || store->frontier.clean;
  store->lost_nothing = store->was_clean && !store->frontier.untold;
  failure = open_database(store, options);
  if (!failure)
    failure = check_sequence(store, has_frontier);
  if (!failure && store->was_created)
    failure = finish_creation(store);
  if (failure)
    return failure;
  load_identity(store);
  if (!store->was_clean) {
    cut_surplus(store);
    verify(store);
  }
  prepare_segments(store);
  mark_in_use(store);
  return NULL;
}

/* Also of a half-opened one. */
static void free_store(LogStore *store) {
  log_readers_free(store->readers);
  log_writer_free(store->writer);
  log_index_free(store->index); /* with the segments' handles: before the database */
  rocks_db_close(store->db);
  rocks_folder_close(store->folder);
  g_hash_table_unref(store->damages);
  g_free(store);
}

Failure *log_store_open(const LogStoreOptions *options, LogStore **ret_store) {
  INVARIANT(options->segment_bytes_max > 0 && options->write_buffer_bytes > 0 && options->group_bytes_max > 0,
            "sizes of the log store are positive");
  LogStore *store = g_new0(LogStore, 1);
  store->index = log_index_new();
  store->damages = log_damages_new();
  Failure *failure = open_store(store, options);
  if (failure) {
    free_store(store);
    return failure;
  }
  store->writer = log_writer_new(store->db, store->index, store->folder, options, &store->frontier, store->bulk_group);
  store->readers = log_readers_new(store->db, store->index, options);
  *ret_store = store;
  return NULL;
}

gboolean log_store_was_clean(const LogStore *store) {
  return store->was_clean;
}

gboolean log_store_lost_nothing(const LogStore *store) {
  return store->lost_nothing;
}

void log_store_set_told(LogStore *store) {
  store->told = TRUE;
}

gboolean log_store_was_created(const LogStore *store) {
  return store->was_created;
}

Failure *log_store_recover(LogStore *store, LogStoreRecoverFunc func, gpointer data) {
  return log_recovery_tell(store->db, store->damages, func, data);
}

Failure *log_store_recover_producers(LogStore *store, LogStoreProducerFunc func, gpointer data) {
  return producer_records_tell(store->db, func, data);
}

/* ---- closing ---- */

/* Put the memtables on disk, so that the next open replays nothing. */
static void flush_all(LogStore *store) {
  g_autoptr(GPtrArray) families = g_ptr_array_new();
  g_ptr_array_add(families, store->db->catalog_cf);
  g_ptr_array_add(families, store->db->hot_cf);
  g_ptr_array_add(families, store->db->producers_cf);
  g_ptr_array_add(families, log_index_compacted(store->index)->cf);
  for (guint i = 0; i < log_index_segment_count(store->index); i++)
    g_ptr_array_add(families, log_index_segment(store->index, i)->cf);
  for (guint i = 0; i < families->len; i++) {
    char *error = NULL;
    rocksdb_flush_cf(store->db->db, store->db->flush_wait, g_ptr_array_index(families, i), &error);
    rocks_check("flushing at the end", error);
  }
}

void log_store_close(LogStore *store) {
  if (!store)
    return;
  log_writer_stop(store->writer);
  g_clear_pointer(&store->readers, log_readers_free);
  flush_all(store);
  RocksFrontier frontier = log_writer_frontier(store->writer);
  frontier.untold = !store->lost_nothing && !store->told;
  g_autoptr(Failure) failure = rocks_frontier_write(store->folder, &frontier);
  if (failure)
    rocks_die("writing the clean marker", failure_message(failure));
  free_store(store);
}

/* ---- operations ---- */

gboolean log_store_submit(LogStore *store, LogWrite *write) {
  return log_writer_submit(store->writer, write);
}

gboolean log_store_read(LogStore *store, LogRead *read) {
  return log_readers_read(store->readers, read);
}

void log_read_clear(LogRead *read) {
  g_clear_pointer(&read->batches, g_array_unref);
  g_clear_pointer(&read->failure, failure_free);
}

gboolean log_store_find(LogStore *store, LogFind *find) {
  return log_readers_find(store->readers, find);
}

void log_find_clear(LogFind *find) {
  log_batch_clear(&find->batch);
  g_clear_pointer(&find->failure, failure_free);
  find->found = FALSE;
}

gboolean log_store_chunks(LogStore *store, guint64 log_id, GArray *chunks) {
  return log_index_chunks(store->index, log_id, chunks);
}

void log_store_tidy(LogStore *store, LogRoll roll) {
  log_writer_tidy(store->writer, roll);
}

void log_store_segments(LogStore *store, GArray *infos) {
  log_index_infos(store->index, infos);
}

gint64 log_store_disk_bytes(LogStore *store) {
  g_autofree char *path = g_build_filename(rocks_folder_path(store->folder), "db", NULL);
  g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
  gint64 bytes = 0;
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *file = g_build_filename(path, name, NULL);
    GStatBuf status;
    if (g_stat(file, &status) == 0) /* files come and go */
      bytes += status.st_size;
  }
  return bytes;
}

static void add_segment_stats(LogStore *store, LogStoreStats *stats) {
  g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(LogSegmentInfo));
  log_index_infos(store->index, infos);
  stats->segments = infos->len;
  for (guint i = 0; i < infos->len; i++) {
    const LogSegmentInfo *info = &g_array_index(infos, LogSegmentInfo, i);
    stats->needed_bytes += info->needed_bytes;
    stats->expired_held_bytes += MAX(info->bytes - info->needed_bytes, 0);
  }
}

LogCompacted *log_compacted_new(void) {
  LogCompacted *compacted = g_new0(LogCompacted, 1);
  compacted->gone = g_array_new(FALSE, FALSE, sizeof(gint64));
  compacted->batches = log_batch_array_new();
  return compacted;
}

void log_compacted_free(LogCompacted *compacted) {
  if (!compacted)
    return;
  g_array_unref(compacted->gone);
  g_array_unref(compacted->batches);
  g_free(compacted);
}

void log_store_compact_note(LogStore *store, guint64 log_id, CompactNote *ret_note) {
  log_index_compact_note(store->index, log_id, ret_note);
}

void log_store_stats(LogStore *store, LogStoreStats *ret_stats) {
  *ret_stats = (LogStoreStats){0};
  log_writer_stats(store->writer, ret_stats);
  log_readers_stats(store->readers, ret_stats);
  ret_stats->surplus_cuts = store->surplus_cuts;
  add_segment_stats(store, ret_stats);
  log_index_compact_stats(store->index, ret_stats);
  ret_stats->logs = log_index_count(store->index);
}
