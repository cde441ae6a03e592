/* Segments that nobody needs go, and their space with them; catalog and hot records agree, whatever happens between. */
#include <glib/gstdio.h>
#include <rocksdb/c.h>
#include <string.h>

#include "storage/rocks/catalog.h"
#include "tests/shim/shim.h"
#include "tests/unit/rocks/fixture.h"

#define BATCH_BYTES 8000

typedef struct {
  Fixture f;
  TestLog a, b;
} World;

static void world_open(World *world) {
  fixture_init(&world->f, shim_temp_dir());
  fixture_open(&world->f);
  test_log_init(&world->a, 1);
  test_log_init(&world->b, 2);
  fixture_create(&world->f, &world->a);
  fixture_create(&world->f, &world->b);
}

static void world_clear(World *world) {
  test_log_clear(&world->a);
  test_log_clear(&world->b);
  fixture_clear(&world->f);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void reopen(World *world) {
  fixture_close(&world->f);
  fixture_open(&world->f);
}

static void append_many(World *world, TestLog *log, guint count) {
  for (guint i = 0; i < count; i++)
    fixture_append(&world->f, log, 1, BATCH_BYTES, 1000 + log->hot.log_end_offset);
}

static LogStoreStats stats_of(World *world) {
  LogStoreStats stats;
  log_store_stats(world->f.store, &stats);
  return stats;
}

static void tidy(World *world) {
  log_store_tidy(world->f.store, (LogRoll){G_MAXINT64, G_MAXINT64});
}

static void wait_for_segments(World *world, guint count) {
  for (guint i = 0; i < 2000 && stats_of(world).segments > count; i++)
    g_usleep(5000);
  EXPECT_EQ_INT(count, stats_of(world).segments);
}

/* Segments go behind the answer to the write that freed them: wait until none is left that nobody needs. */
static void wait_until_tidy(World *world) {
  gboolean is_tidy = FALSE;
  for (guint i = 0; i < 2000 && !is_tidy; i++) {
    g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(LogSegmentInfo));
    log_store_segments(world->f.store, infos);
    is_tidy = TRUE;
    for (guint k = 0; k + 1 < infos->len; k++)
      is_tidy &= g_array_index(infos, LogSegmentInfo, k).log_count > 0;
    if (!is_tidy)
      g_usleep(5000);
  }
  EXPECT_TRUE(is_tidy);
}

static guint64 disk_bytes(const char *path) {
  g_autofree char *db = g_build_filename(path, "db", NULL);
  g_autoptr(GDir) dir = g_dir_open(db, 0, NULL);
  guint64 bytes = 0;
  for (const char *name; (name = g_dir_read_name(dir));) {
    g_autofree char *file = g_build_filename(db, name, NULL);
    GStatBuf buf;
    if (g_str_has_suffix(name, ".sst") && g_stat(file, &buf) == 0)
      bytes += (guint64)buf.st_size;
  }
  return bytes;
}

static char *chunks_of(World *world, const TestLog *log) {
  g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(LogChunk));
  EXPECT_TRUE(log_store_chunks(world->f.store, log->id, chunks));
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < chunks->len; i++) {
    const LogChunk *chunk = &g_array_index(chunks, LogChunk, i);
    EXPECT_TRUE(i + 1 == chunks->len || chunk->closed_ms > 0);
    g_string_append_printf(text, "%" G_GINT64_FORMAT "@%" G_GINT64_FORMAT " ", chunk->first_offset,
                           chunk->bytes_before);
  }
  return g_string_free(text, FALSE);
}

/* Both logs have something in every segment. */
static void fill(World *world) {
  for (guint i = 0; i < 12; i++) {
    append_many(world, &world->a, 8);
    append_many(world, &world->b, 4);
  }
}

TEST(retention, a_segment_goes_when_no_log_needs_it) {
  g_auto(World) world = {0};
  world_open(&world);
  fill(&world);
  LogStoreStats before = stats_of(&world);
  ASSERT_TRUE(before.segments >= 4);
  EXPECT_EQ_INT(0, before.expired_held_bytes);

  /* One of the two logs needs nothing of them: they are held, and accounted for. */
  fixture_put_start(&world.f, &world.a, world.a.hot.log_end_offset);
  LogStoreStats held = stats_of(&world);
  EXPECT_EQ_INT(before.segments, held.segments);
  EXPECT_TRUE(held.expired_held_bytes > 90 * BATCH_BYTES);
  EXPECT_EQ_INT(before.needed_bytes, held.needed_bytes + held.expired_held_bytes);
  EXPECT_EQ_INT(48, fixture_scan(&world.f, &world.b, 0, 100000));

  fixture_put_start(&world.f, &world.b, world.b.hot.log_end_offset);
  wait_for_segments(&world, 1);
  EXPECT_EQ_INT(before.segments - 1, stats_of(&world).segments_dropped);
  EXPECT_TRUE(disk_bytes(world.f.options.path) < 40 * BATCH_BYTES);

  /* Logs go on where they were, over a restart too. */
  append_many(&world, &world.a, 40);
  gint64 start = world.a.hot.log_start_offset;
  EXPECT_EQ_INT(start + 40, fixture_scan(&world.f, &world.a, start, 100000));
  reopen(&world);
  EXPECT_EQ_INT(start + 40, fixture_scan(&world.f, &world.a, start, 100000));
  append_many(&world, &world.b, 3);
  EXPECT_EQ_INT(51, fixture_scan(&world.f, &world.b, 48, 100000));
}

TEST(retention, what_is_needed_from_the_middle_stays) {
  g_auto(World) world = {0};
  world_open(&world);
  fill(&world);
  guint segments = stats_of(&world).segments;
  fixture_put_start(&world.f, &world.a, 50);
  fixture_put_start(&world.f, &world.b, 30);
  wait_until_tidy(&world);
  EXPECT_EQ_INT(96, fixture_scan(&world.f, &world.a, 50, 100000));
  EXPECT_EQ_INT(48, fixture_scan(&world.f, &world.b, 30, 100000));
  EXPECT_TRUE(stats_of(&world).segments < segments);
  EXPECT_TRUE(stats_of(&world).segments > 1);
  LogStoreStats before = stats_of(&world);
  g_autofree char *chunks = chunks_of(&world, &world.a);
  reopen(&world);
  g_autofree char *chunks_after = chunks_of(&world, &world.a);
  EXPECT_EQ_STR(chunks, chunks_after);
  LogStoreStats after = stats_of(&world);
  EXPECT_EQ_INT(before.segments, after.segments);
  EXPECT_EQ_INT(before.needed_bytes, after.needed_bytes);
  EXPECT_EQ_INT(before.expired_held_bytes, after.expired_held_bytes);
  EXPECT_EQ_INT(96, fixture_scan(&world.f, &world.a, 50, 100000));
  EXPECT_EQ_INT(48, fixture_scan(&world.f, &world.b, 30, 100000));
}

TEST(retention, chunks_tell_bytes) {
  g_auto(World) world = {0};
  world_open(&world);
  append_many(&world, &world.a, 60);
  g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(LogChunk));
  EXPECT_TRUE(log_store_chunks(world.f.store, 1, chunks));
  ASSERT_TRUE(chunks->len >= 2);
  gint64 each = world.a.hot.appended_bytes / 60;
  for (guint i = 0; i < chunks->len; i++) {
    const LogChunk *chunk = &g_array_index(chunks, LogChunk, i);
    EXPECT_EQ_INT(each * chunk->first_offset, chunk->bytes_before);
  }
  EXPECT_FALSE(log_store_chunks(world.f.store, 77, chunks));
}

/* A whole log that is over, in the segment that is being written: it goes when that rolls, with no further write. */
TEST(retention, an_idle_store_tidies_up) {
  g_auto(World) world = {0};
  world_open(&world);
  append_many(&world, &world.a, 10);
  fixture_put_start(&world.f, &world.a, 10);
  EXPECT_EQ_INT(1, stats_of(&world).segments);
  for (guint i = 0; i < 2000 && stats_of(&world).segments_dropped == 0; i++) {
    log_store_tidy(world.f.store, (LogRoll){.age_ms = 1, .bytes = G_MAXINT64});
    g_usleep(5000);
  }
  EXPECT_EQ_INT(1, stats_of(&world).segments_dropped);
  EXPECT_EQ_INT(1, stats_of(&world).segments);
  /* There is nothing in the new one: it does not roll again and again. */
  for (guint i = 0; i < 20; i++) {
    tidy(&world);
    g_usleep(2000);
  }
  EXPECT_EQ_INT(1, stats_of(&world).segments_dropped);
  append_many(&world, &world.a, 2);
  EXPECT_EQ_INT(12, fixture_scan(&world.f, &world.a, 10, 100000));
}

TEST(retention, dropped_logs_hold_nothing) {
  g_auto(World) world = {0};
  world_open(&world);
  fill(&world);
  fixture_drop(&world.f, &world.a);
  fixture_drop(&world.f, &world.b);
  wait_for_segments(&world, 1);
  EXPECT_EQ_INT(0, stats_of(&world).needed_bytes);
  reopen(&world);
  EXPECT_EQ_INT(0, stats_of(&world).logs);
}

/* A partition that leaves the broker, and comes back while its old bytes are still there. */
TEST(retention, a_log_that_comes_back_begins_anew) {
  g_auto(World) world = {0};
  world_open(&world);
  append_many(&world, &world.b, 20);
  append_many(&world, &world.a, 20);
  fixture_drop(&world.f, &world.a);
  test_log_clear(&world.a);
  test_log_init(&world.a, 1);
  fixture_create(&world.f, &world.a);
  fixture_append(&world.f, &world.a, 7, 100, 5000); /* not where the old batches began */
  EXPECT_EQ_INT(7, fixture_scan(&world.f, &world.a, 0, 100000));
  fixture_append(&world.f, &world.a, 7, 100, 5000);
  EXPECT_EQ_INT(14, fixture_scan(&world.f, &world.a, 0, 100000));
  reopen(&world);
  EXPECT_EQ_INT(14, fixture_scan(&world.f, &world.a, 0, 100000));
}

/* A follower that is too far behind: it is cut to its start, then begins far ahead. */
TEST(retention, a_log_that_begins_anew_far_ahead) {
  g_auto(World) world = {0};
  world_open(&world);
  append_many(&world, &world.a, 20);
  EXPECT_EQ_INT(0, fixture_truncate(&world.f, &world.a, 0));
  world.a.hot.log_end_offset = world.a.hot.high_watermark = 500;
  fixture_put_start(&world.f, &world.a, 500);
  append_many(&world, &world.a, 30);
  EXPECT_EQ_INT(530, fixture_scan(&world.f, &world.a, 500, 100000));
  EXPECT_EQ_INT(505, fixture_find(&world.f, &world.a, 1505));
  reopen(&world);
  EXPECT_EQ_INT(530, fixture_scan(&world.f, &world.a, 500, 100000));
}

/* ---- between the steps ---- */

static void delete_key(rocksdb_t *db, const CatalogEntry *entry) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  char *error = NULL;
  rocksdb_delete(db, options, (const char *)bytes.key, bytes.key_len, &error);
  EXPECT_NULL(error);
  rocksdb_writeoptions_destroy(options);
}

static void put_entry(rocksdb_t *db, const CatalogEntry *entry) {
  CatalogBytes bytes;
  catalog_encode(entry, &bytes);
  rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
  char *error = NULL;
  rocksdb_put(db, options, (const char *)bytes.key, bytes.key_len, (const char *)bytes.value, bytes.value_len, &error);
  EXPECT_NULL(error);
  rocksdb_writeoptions_destroy(options);
}

/* Open the closed store's database as it is, and do something to its catalog. */
static void with_catalog(const World *world, void (*change)(rocksdb_t *db)) {
  g_autofree char *path = g_build_filename(world->f.options.path, "db", NULL);
  rocksdb_options_t *options = rocksdb_options_create();
  size_t count = 0;
  char *error = NULL;
  char **names = rocksdb_list_column_families(options, path, &count, &error);
  ASSERT_TRUE(error == NULL);
  g_autofree const rocksdb_options_t **each = g_new(const rocksdb_options_t *, count);
  g_autofree rocksdb_column_family_handle_t **handles = g_new0(rocksdb_column_family_handle_t *, count);
  for (size_t i = 0; i < count; i++)
    each[i] = options;
  rocksdb_t *db =
      rocksdb_open_column_families(options, path, (int)count, (const char *const *)names, each, handles, &error);
  ASSERT_TRUE(error == NULL);
  change(db);
  for (size_t i = 0; i < count; i++)
    rocksdb_column_family_handle_destroy(handles[i]);
  rocksdb_close(db);
  rocksdb_list_column_families_destroy(names, count);
  rocksdb_options_destroy(options);
}

/* As a crash leaves it that came between the catalog's note and the drop: segment 1 is gone, and still there. */
static void note_gone(rocksdb_t *db) {
  delete_key(db, &(CatalogEntry){.kind = CATALOG_SEGMENT, .segment = 1});
  delete_key(db, &(CatalogEntry){.kind = CATALOG_SPAN, .segment = 1, .log_id = 1});
  delete_key(db, &(CatalogEntry){.kind = CATALOG_SPAN, .segment = 1, .log_id = 2});
  put_entry(db, &(CatalogEntry){.kind = CATALOG_GONE, .segment = 1, .time_ms = 1});
}

TEST(retention, a_drop_that_was_interrupted_is_finished_at_open) {
  g_auto(World) world = {0};
  world_open(&world);
  fill(&world);
  guint segments = stats_of(&world).segments;
  fixture_put_start(&world.f, &world.a, 90);
  fixture_close(&world.f);
  with_catalog(&world, note_gone);
  ASSERT_TRUE(fixture_open(&world.f));
  EXPECT_EQ_INT(segments - 1, stats_of(&world).segments);
  EXPECT_EQ_INT(96, fixture_scan(&world.f, &world.a, 90, 100000));
  reopen(&world);
  EXPECT_EQ_INT(segments - 1, stats_of(&world).segments);
}

/* The drop was done, and the last note of it lost. */
static void note_gone_before(rocksdb_t *db) {
  put_entry(db, &(CatalogEntry){.kind = CATALOG_GONE, .segment = 4000, .time_ms = 1});
}

/* What an older version left of a log that it dropped. */
static void note_dropped_log(rocksdb_t *db) {
  put_entry(db, &(CatalogEntry){.kind = CATALOG_DROPPED, .log_id = 9, .time_ms = 1});
  put_entry(db, &(CatalogEntry){.kind = CATALOG_SPAN, .segment = 1, .log_id = 9, .max_timestamp_before = 5});
}

static void count_entries(rocksdb_t *db) {
  rocksdb_readoptions_t *options = rocksdb_readoptions_create();
  rocksdb_iterator_t *iterator = rocksdb_create_iterator(db, options);
  for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
    size_t len;
    const char *key = rocksdb_iter_key(iterator, &len);
    EXPECT_TRUE(*key != CATALOG_GONE && *key != CATALOG_DROPPED);
    EXPECT_TRUE(*key != CATALOG_SPAN || key[len - 1] != 9);
  }
  rocksdb_iter_destroy(iterator);
  rocksdb_readoptions_destroy(options);
}

TEST(retention, notes_about_nothing_are_forgotten_at_open) {
  g_auto(World) world = {0};
  world_open(&world);
  fill(&world);
  fixture_close(&world.f);
  with_catalog(&world, note_gone_before);
  with_catalog(&world, note_dropped_log);
  ASSERT_TRUE(fixture_open(&world.f));
  EXPECT_EQ_INT(96, fixture_scan(&world.f, &world.a, 0, 100000));
  fixture_close(&world.f);
  with_catalog(&world, count_entries);
}

/* A reader that stands in a segment goes on to its end, whatever becomes of it. */
TEST(retention, a_reader_keeps_what_it_reads) {
  g_auto(World) world = {0};
  world_open(&world);
  world.f.options.read_session_age_ms = 60000;
  reopen(&world);
  append_many(&world, &world.a, 90);
  LogRead read = {0};
  fixture_read(&world.f, &world.a, 0, 90, BATCH_BYTES, &read);
  EXPECT_EQ_STR("0+1", describe(&read));
  log_read_clear(&read);
  EXPECT_EQ_INT(1, stats_of(&world).sessions);
  fixture_put_start(&world.f, &world.a, 89);
  wait_for_segments(&world, 1);
  fixture_read(&world.f, &world.a, 1, 90, BATCH_BYTES, &read); /* as one that was on its way */
  EXPECT_TRUE(read.failure == NULL);
  EXPECT_EQ_STR("1+1", describe(&read));
  log_read_clear(&read);
  EXPECT_EQ_INT(90, fixture_scan(&world.f, &world.a, 89, 100000));
}
