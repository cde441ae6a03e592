/* RocksDB as the log store uses it: see rocks_db.h. The figures behind the settings are in
 * docs/decisions/0003-rocksdb-settings.md. */
#include "storage/rocks/rocks_db.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "services/base/slog.h"
#include "storage/rocks/refusal.h"

#define SEGMENT_PREFIX "segment-"
#define RECOVERY_TOLERATE_CORRUPTED_TAIL 0
#define INDEX_WITH_FIRST_KEY 3 /* the C API passes it on, though it names only 0 to 2 */
#define LEVEL0_NEVER 1000000
#define CHECKSUM_CRC32C 1

/* ---- errors ---- */

Failure *rocks_failure(FailureReason reason, char *error, const char *format, ...) {
  va_list args;
  va_start(args, format);
  g_autofree char *what = g_strdup_vprintf(format, args);
  va_end(args);
  Failure *failure = failure_new(reason, "%s: %s", what, error ? error : "unknown error");
  rocksdb_free(error);
  return failure;
}

void rocks_die(const char *doing, const char *error) {
  slog_error(
      "a write to the log store failed: what the disk holds is unknown, so this process ends; it recovers what is "
      "durable when it is started again",
      "doing", doing, "error", error, NULL);
  fprintf(stderr, "log store: %s failed (%s): ending the process; check the disk, then start it again\n", doing, error);
  fflush(stderr);
  _exit(LOG_STORE_EXIT_STATUS); /* no destructors: they would write */
}

void rocks_check(const char *doing, char *error) {
  if (G_UNLIKELY(error))
    rocks_die(doing, error);
}

/* ---- settings ---- */

/* Memtables come and go by the megabyte: a malloc that gives them back to the kernel each time costs half the append
 * rate in page faults. 32 MiB is the most that glibc takes for the threshold of mmap. */
static void set_malloc(void) {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

/* Files that RocksDB may keep open: half of what the process may have, so that sockets have the rest. Bounded, so that
 * opening does not touch every file of a large store. */
static int open_files_max(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return 512;
  return (int)CLAMP(limit.rlim_cur / 2, 256, 8192);
}

static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache, int index_type, size_t block_bytes) {
  rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
  rocksdb_block_based_options_set_block_cache(table, cache);
  rocksdb_block_based_options_set_block_size(table, block_bytes);
  rocksdb_block_based_options_set_index_type(table, index_type);
  rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1); /* or they escape the cache's bound */
  rocksdb_block_based_options_set_format_version(table, 5);
  rocksdb_block_based_options_set_checksum(table, CHECKSUM_CRC32C); /* by the processor: crc32c.c */
  return table;
}

/* What the C API has no function for. */
static rocksdb_options_t *with_text_options(rocksdb_options_t *options, const char *text) {
  rocksdb_options_t *changed = rocksdb_options_create();
  char *error = NULL;
  rocksdb_get_options_from_string(options, text, changed, &error);
  INVARIANT(!error, "RocksDB knows its own options");
  rocksdb_options_destroy(options);
  return changed;
}

/* Of the database, and of its small column families, where RocksDB's own compaction is right. */
static rocksdb_options_t *small_options(const LogStoreOptions *options, gboolean create, gboolean direct_io,
                                        rocksdb_cache_t *cache) {
  rocksdb_options_t *o = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(o, create);
  rocksdb_options_set_create_missing_column_families(o, 1); /* which may be missing is checked before */
  rocksdb_options_set_wal_recovery_mode(o, RECOVERY_TOLERATE_CORRUPTED_TAIL); /* never point-in-time: loses silently */
  rocksdb_options_set_recycle_log_file_num(o, 0);                             /* does not go with that mode */
  rocksdb_options_set_manual_wal_flush(o, 0);
  rocksdb_options_set_unordered_write(o, 0);
  rocksdb_options_set_max_total_wal_size(o, (uint64_t)options->wal_bytes_max); /* bounds replay after a crash */
  rocksdb_options_set_use_direct_io_for_flush_and_compaction(o, direct_io); /* a flush does not push out useful pages */
  rocksdb_options_set_max_open_files(o, open_files_max());
  rocksdb_options_set_max_background_jobs(o, 2);
  rocksdb_options_set_skip_stats_update_on_db_open(o, 1); /* or every file is read at open */
  rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(o, 1);
  rocksdb_options_set_stats_dump_period_sec(o, 0);
  rocksdb_options_set_stats_persist_period_sec(o, 0);
  rocksdb_options_set_keep_log_file_num(o, 4);
  rocksdb_options_set_max_log_file_size(o, 4 << 20);
  rocksdb_options_set_write_buffer_size(o, 8 << 20);
  rocksdb_options_set_compression(o, rocksdb_no_compression);
  rocksdb_block_based_table_options_t *table =
      table_options(cache, rocksdb_block_based_table_index_type_binary_search, 4 << 10);
  rocksdb_options_set_block_based_table_factory(o, table);
  rocksdb_block_based_options_destroy(table);
  /* A write-ahead log that was synced and is gone, or cut, is damage. */
  return with_text_options(o, "track_and_verify_wals_in_manifest=true");
}

/* Of a segment: level 0 only. Its data is never rewritten; it leaves as a whole. */
static rocksdb_options_t *segment_options(const rocksdb_options_t *base, const LogStoreOptions *options,
                                          rocksdb_cache_t *cache) {
  rocksdb_options_t *o = rocksdb_options_create_copy((rocksdb_options_t *)base);
  rocksdb_options_set_write_buffer_size(o, (size_t)options->write_buffer_bytes);
  rocksdb_options_set_max_write_buffer_number(o, 3); /* room to go on writing while one is flushed and one waits */
  rocksdb_options_set_disable_auto_compactions(o, 1);
  rocksdb_options_set_level0_file_num_compaction_trigger(o, LEVEL0_NEVER);
  rocksdb_options_set_level0_slowdown_writes_trigger(o, LEVEL0_NEVER);
  rocksdb_options_set_level0_stop_writes_trigger(o, LEVEL0_NEVER);
  rocksdb_options_set_soft_pending_compaction_bytes_limit(o, 0); /* nothing will ever compact */
  rocksdb_options_set_hard_pending_compaction_bytes_limit(o, 0);
  /* The index with first keys lets an iterator over many files of level 0 pass by those that it does not need without
   * reading a block of each. */
  rocksdb_block_based_table_options_t *table = table_options(cache, INDEX_WITH_FIRST_KEY, 16 << 10);
  rocksdb_options_set_block_based_table_factory(o, table);
  rocksdb_block_based_options_destroy(table);
  /* And last keys as they are: a shortened one lies far behind the last batch of a log, so that a seek to what later
   * files have would read the last block of that log in each file. The deviation closes a block of more than 1 % before
   * an entry that goes beyond its size: so the first large batch of a file has a block of its own behind the marks of
   * its bulk group, and the index tells where it begins. */
  return with_text_options(o, "block_based_table_factory={index_shortening=kNoShortening;block_size_deviation=99}");
}

/* ---- opening ---- */

/* @error: freed. Opening writes and syncs, so a disk may refuse it: that is no damage, and ends the process. */
static Failure *open_failure(const char *path, char *error) {
  if (rocks_is_refusal(error))
    rocks_die("opening the database", error);
  return rocks_failure(FAILURE(CORRUPT_LOG), error, "the database in %s can't be opened", path);
}

typedef struct {
  GPtrArray *names;                         /* owned strings */
  const rocksdb_options_t **options;        /* of each */
  rocksdb_column_family_handle_t **handles; /* of each, once open */
} Families;

static void families_clear(Families *families) {
  g_clear_pointer(&families->names, g_ptr_array_unref);
  g_clear_pointer(&families->options, g_free);
  g_clear_pointer(&families->handles, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Families, families_clear)

static gboolean has_name(const Families *families, const char *name) {
  return g_ptr_array_find_with_equal_func(families->names, name, g_str_equal, NULL);
}

static gboolean segment_number(const char *name, guint32 *ret_number) {
  guint64 number;
  if (!g_str_has_prefix(name, SEGMENT_PREFIX) ||
      !g_ascii_string_to_unsigned(name + strlen(SEGMENT_PREFIX), 10, 1, G_MAXUINT32, &number, NULL))
    return FALSE;
  *ret_number = (guint32)number;
  return TRUE;
}

static const char *const SMALL_FAMILIES[] = {"default", "hot", "compacted", "producers", NULL};

/* Stores that were made before producers were remembered lack it: it is made when they are opened. */
static gboolean may_be_missing(const char *name) {
  return strcmp(name, "producers") == 0;
}

/* Names of all column families; the small ones are added when the store is being made. */
static Failure *list_families(const RocksDb *db, const char *path, gboolean create, Families *families) {
  families->names = g_ptr_array_new_with_free_func(g_free);
  size_t count = 0;
  char *error = NULL;
  char **names = rocksdb_list_column_families(db->small_options, path, &count, &error);
  for (size_t i = 0; i < count; i++)
    g_ptr_array_add(families->names, g_strdup(names[i]));
  if (names) /* on failure too: an empty list */
    rocksdb_list_column_families_destroy(names, count);
  if (error && (!create || rocks_is_refusal(error)))
    return open_failure(path, error);
  rocksdb_free(error);
  for (guint i = 0; SMALL_FAMILIES[i]; i++) {
    if (has_name(families, SMALL_FAMILIES[i]))
      continue;
    if (!create && !may_be_missing(SMALL_FAMILIES[i]))
      return failure_new(FAILURE(CORRUPT_LOG), "the database in %s lacks its column family %s", path,
                         SMALL_FAMILIES[i]);
    g_ptr_array_add(families->names, g_strdup(SMALL_FAMILIES[i]));
  }
  return NULL;
}

/* The options of each, and room for the handles. */
static Failure *choose_options(const RocksDb *db, const char *path, Families *families) {
  families->options = g_new0(const rocksdb_options_t *, families->names->len);
  families->handles = g_new0(rocksdb_column_family_handle_t *, families->names->len);
  for (guint i = 0; i < families->names->len; i++) {
    const char *name = g_ptr_array_index(families->names, i);
    guint32 ignored;
    gboolean is_segment = segment_number(name, &ignored);
    if (!is_segment && !g_strv_contains(SMALL_FAMILIES, name))
      return failure_new(FAILURE(UNSUPPORTED),
                         "the database in %s has a column family %s that this program does not "
                         "know: run the newer version that wrote it",
                         path, name);
    families->options[i] = is_segment ? db->segment_options : db->small_options;
  }
  return NULL;
}

static int compare_segments(gconstpointer a, gconstpointer b) {
  const RocksSegmentFound *left = a, *right = b;
  return left->number < right->number ? -1 : left->number > right->number;
}

static GArray *sort_handles(RocksDb *db, const Families *families) {
  GArray *segments = g_array_new(FALSE, FALSE, sizeof(RocksSegmentFound));
  for (guint i = 0; i < families->names->len; i++) {
    const char *name = g_ptr_array_index(families->names, i);
    RocksSegmentFound found = {.cf = families->handles[i]};
    if (segment_number(name, &found.number))
      g_array_append_val(segments, found);
    else if (strcmp(name, "hot") == 0)
      db->hot_cf = found.cf;
    else if (strcmp(name, "producers") == 0)
      db->producers_cf = found.cf;
    else if (strcmp(name, "compacted") == 0)
      db->compacted_cf = found.cf;
    else
      db->catalog_cf = found.cf;
  }
  g_array_sort(segments, compare_segments);
  return segments;
}

Failure *rocks_db_open(const char *path, const LogStoreOptions *options, gboolean create, gboolean direct_io,
                       RocksDb **ret_db, GArray **ret_segments) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_malloc);
  g_autoptr(RocksDb) db = g_new0(RocksDb, 1);
  db->cache = rocksdb_cache_create_lru((size_t)options->cache_bytes);
  db->small_options = small_options(options, create, direct_io, db->cache);
  db->segment_options = segment_options(db->small_options, options, db->cache);
  db->write_options = rocksdb_writeoptions_create();
  db->read_options = rocksdb_readoptions_create();
  db->flush_wait = rocksdb_flushoptions_create();
  db->flush_no_wait = rocksdb_flushoptions_create();
  rocksdb_flushoptions_set_wait(db->flush_no_wait, 0);
  g_auto(Families) families = {0};
  Failure *failure = list_families(db, path, create, &families);
  if (!failure)
    failure = choose_options(db, path, &families);
  if (failure)
    return failure;
  char *error = NULL;
  db->db = rocksdb_open_column_families(db->small_options, path, (int)families.names->len,
                                        (const char *const *)families.names->pdata, families.options, families.handles,
                                        &error);
  if (error)
    return open_failure(path, error);
  *ret_segments = sort_handles(db, &families);
  *ret_db = g_steal_pointer(&db);
  return NULL;
}

static void destroy_handle(rocksdb_column_family_handle_t *handle) {
  if (handle)
    rocksdb_column_family_handle_destroy(handle);
}

void rocks_db_close(RocksDb *db) {
  if (!db)
    return;
  destroy_handle(db->catalog_cf);
  destroy_handle(db->hot_cf);
  destroy_handle(db->producers_cf);
  destroy_handle(db->compacted_cf);
  if (db->db)
    rocksdb_close(db->db);
  rocksdb_flushoptions_destroy(db->flush_no_wait);
  rocksdb_flushoptions_destroy(db->flush_wait);
  rocksdb_readoptions_destroy(db->read_options);
  rocksdb_writeoptions_destroy(db->write_options);
  rocksdb_options_destroy(db->segment_options);
  rocksdb_options_destroy(db->small_options);
  rocksdb_cache_destroy(db->cache);
  g_free(db);
}

rocksdb_column_family_handle_t *rocks_db_create_segment(RocksDb *db, guint32 number) {
  g_autofree char *name = g_strdup_printf(SEGMENT_PREFIX "%08u", number);
  char *error = NULL;
  rocksdb_column_family_handle_t *cf = rocksdb_create_column_family(db->db, db->segment_options, name, &error);
  rocks_check("making a segment", error);
  return cf;
}

void rocks_db_release_logs(RocksDb *db) {
  rocksdb_column_family_handle_t *const families[] = {db->hot_cf, db->producers_cf, db->catalog_cf};
  for (guint i = 0; i < G_N_ELEMENTS(families); i++) {
    char *error = NULL;
    rocksdb_flush_cf(db->db, db->flush_no_wait, families[i], &error);
    rocks_check("flushing hot records", error);
  }
}
