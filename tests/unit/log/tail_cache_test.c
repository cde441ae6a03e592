/* The tail cache: order, bounds, eviction, and a long random run against a simple model. */
#include "storage/log/tail_cache.h"

#include "tests/shim/shim.h"

#define PAYLOAD ((gsize)1000)
#define ROOM_FOR(n) ((n) * (PAYLOAD + 300))

/* @count records at @base; what is inside does not matter here. */
static LogBatch make(gint64 base, guint32 count, gsize bytes) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.base_offset = base;
  batch.record_count = count;
  batch.records = g_bytes_new_take(g_malloc0(bytes), bytes);
  return batch;
}

static void add(LogTailCache *cache, guint64 log_id, gint64 base, guint32 count, gsize bytes) {
  g_auto(LogBatch) batch = make(base, count, bytes);
  log_tail_cache_add(cache, log_id, &batch);
}

/* Base offsets of what a lookup gives: "10 20". */
static const char *look(LogTailCache *cache, guint64 log_id, gint64 from, gint64 end, gsize bytes, char *room) {
  g_autoptr(GArray) array = log_batch_array_new();
  guint given = log_tail_cache_lookup(cache, log_id, from, end, bytes, array);
  EXPECT_EQ_INT(given, array->len);
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < array->len; i++)
    g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i > 0 ? " " : "", LOG_BATCH_AT(array, i)->base_offset);
  g_strlcpy(room, text->str, 200);
  g_string_free(text, TRUE);
  return room;
}
#define LOOK(cache, log_id, ...) look((cache), (log_id), __VA_ARGS__, (char[200]){0})
#define ALL G_MAXINT64, G_MAXSIZE

/* Log 1: 0-9, 10-19, 20-29, 30-39. */
static LogTailCache *four(void) {
  LogTailCache *cache = log_tail_cache_new(ROOM_FOR(100));
  for (gint64 base = 0; base < 40; base += 10)
    add(cache, 1, base, 10, PAYLOAD);
  return cache;
}

static const struct {
  const char *name;
  gint64 from, end;
  gsize bytes;
  const char *given;
} LOOK_ROWS[] = {
    {"from_the_start", 0, ALL, "0 10 20 30"},
    {"from_within_a_batch", 15, ALL, "10 20 30"},
    {"from_the_last_record", 39, ALL, "30"},
    {"from_the_end", 40, ALL, ""},
    {"from_beyond", 41, ALL, ""},
    {"from_before", -1, ALL, ""},
    {"up_to_an_end", 0, 30, G_MAXSIZE, "0 10 20"},
    {"up_to_within_a_batch", 0, 29, G_MAXSIZE, "0 10"},
    {"up_to_within_the_first", 5, 9, G_MAXSIZE, ""},
    {"two_by_size", 0, G_MAXINT64, 2 * PAYLOAD, "0 10"},
    {"two_and_a_bit", 0, G_MAXINT64, 3 * PAYLOAD - 1, "0 10"},
    {"first_whatever_its_size", 0, G_MAXINT64, 1, "0"},
    {"no_bytes", 0, G_MAXINT64, 0, "0"},
};
TEST_ROWS(tail_cache_lookup, LOOK_ROWS) {
  g_autoptr(LogTailCache) cache = four();
  EXPECT_EQ_STR(LOOK_ROWS[row].given, LOOK(cache, 1, LOOK_ROWS[row].from, LOOK_ROWS[row].end, LOOK_ROWS[row].bytes));
  EXPECT_EQ_STR("", LOOK(cache, 2, LOOK_ROWS[row].from, LOOK_ROWS[row].end, LOOK_ROWS[row].bytes));
}

TEST(tail_cache, what_was_given_outlives_the_cache) {
  LogTailCache *cache = four();
  g_autoptr(GArray) array = log_batch_array_new();
  EXPECT_EQ_INT(4, log_tail_cache_lookup(cache, 1, 0, ALL, array));
  log_tail_cache_free(cache);
  EXPECT_EQ_INT(PAYLOAD, log_batch_payload_bytes(LOG_BATCH_AT(array, 3)));
}

static const struct {
  const char *name;
  gint64 end;
  const char *left;
} TRUNCATE_ROWS[] = {
    {"beyond", 50, "0 10 20 30"},
    {"at_the_end", 40, "0 10 20 30"},
    {"within_the_last", 39, "0 10 20"},
    {"at_a_border", 20, "0 10"},
    {"to_nothing", 0, ""},
};
TEST_ROWS(tail_cache_truncate, TRUNCATE_ROWS) {
  g_autoptr(LogTailCache) cache = four();
  add(cache, 2, 7, 1, PAYLOAD);
  log_tail_cache_truncate(cache, 1, TRUNCATE_ROWS[row].end);
  EXPECT_EQ_STR(TRUNCATE_ROWS[row].left, LOOK(cache, 1, 0, ALL));
  EXPECT_EQ_STR("7", LOOK(cache, 2, 7, ALL));
}

TEST(tail_cache, drops_what_was_compacted) {
  g_autoptr(LogTailCache) cache = four();
  log_tail_cache_drop_before(cache, 1, 19);
  EXPECT_EQ_STR("10 20 30", LOOK(cache, 1, 10, ALL));
  EXPECT_EQ_STR("", LOOK(cache, 1, 9, ALL));
  log_tail_cache_drop_before(cache, 1, 40);
  EXPECT_EQ_INT(0, log_tail_cache_batch_count(cache));
  log_tail_cache_drop_before(cache, 1, 50);
}

TEST(tail_cache, drop) {
  g_autoptr(LogTailCache) cache = four();
  add(cache, 2, 7, 1, PAYLOAD);
  log_tail_cache_drop(cache, 1);
  log_tail_cache_drop(cache, 3);
  EXPECT_EQ_STR("", LOOK(cache, 1, 0, ALL));
  EXPECT_EQ_INT(1, log_tail_cache_batch_count(cache));
  log_tail_cache_drop(cache, 2);
  EXPECT_EQ_INT(0, log_tail_cache_bytes(cache));
}

TEST(tail_cache, what_does_not_continue_replaces) {
  g_autoptr(LogTailCache) cache = four();
  add(cache, 1, 41, 1, PAYLOAD); /* a gap */
  EXPECT_EQ_STR("41", LOOK(cache, 1, 41, ALL));
  EXPECT_EQ_STR("", LOOK(cache, 1, 0, ALL));
  add(cache, 1, 5, 1, PAYLOAD); /* back */
  EXPECT_EQ_STR("5", LOOK(cache, 1, 5, ALL));
  gint64 first = -1, end = -1;
  EXPECT_TRUE(log_tail_cache_range(cache, 1, &first, &end));
  EXPECT_EQ_INT(5, first);
  EXPECT_EQ_INT(6, end);
  EXPECT_FALSE(log_tail_cache_range(cache, 2, &first, &end));
}

TEST(tail_cache, oldest_of_all_logs_goes_first) {
  g_autoptr(LogTailCache) cache = log_tail_cache_new(ROOM_FOR(4));
  add(cache, 1, 0, 10, PAYLOAD);
  add(cache, 2, 0, 10, PAYLOAD);
  add(cache, 1, 10, 10, PAYLOAD);
  add(cache, 2, 10, 10, PAYLOAD);
  add(cache, 3, 0, 10, PAYLOAD);
  EXPECT_EQ_STR("", LOOK(cache, 1, 0, ALL));
  EXPECT_EQ_STR("10", LOOK(cache, 1, 10, ALL));
  EXPECT_EQ_STR("0 10", LOOK(cache, 2, 0, ALL));
  add(cache, 3, 10, 10, PAYLOAD);
  EXPECT_EQ_STR("", LOOK(cache, 2, 0, ALL));
  add(cache, 3, 20, 10, PAYLOAD);
  EXPECT_EQ_STR("", LOOK(cache, 1, 10, ALL));
  EXPECT_TRUE(log_tail_cache_bytes(cache) <= ROOM_FOR(4));
}

TEST(tail_cache, a_batch_that_is_too_large_leaves_no_gap) {
  g_autoptr(LogTailCache) cache = log_tail_cache_new(ROOM_FOR(4));
  add(cache, 1, 0, 10, PAYLOAD);
  add(cache, 2, 0, 10, PAYLOAD);
  add(cache, 1, 10, 10, ROOM_FOR(5));
  EXPECT_EQ_STR("", LOOK(cache, 1, 0, ALL));
  EXPECT_EQ_STR("0", LOOK(cache, 2, 0, ALL));
  /* One that takes all the room drives out even the batch before it. */
  add(cache, 2, 10, 10, ROOM_FOR(4) - 300);
  EXPECT_EQ_STR("10", LOOK(cache, 2, 10, ALL));
  EXPECT_EQ_STR("", LOOK(cache, 2, 0, ALL));
}

TEST(tail_cache, of_no_bytes_keeps_nothing) {
  g_autoptr(LogTailCache) cache = log_tail_cache_new(0);
  add(cache, 1, 0, 10, 0);
  EXPECT_EQ_INT(0, log_tail_cache_batch_count(cache));
}

/* The model: for each log the end, and where the cached part may begin at the earliest. What a lookup gives must lie
 * within, begin with the batch asked for, and have no gap. */
TEST(tail_cache, random_run_keeps_its_promises) {
  enum { LOGS = 8, STEPS = 30000 };
  const gsize bytes_max = 40000;
  g_autoptr(LogTailCache) cache = log_tail_cache_new(bytes_max);
  g_autoptr(GRand) rand = g_rand_new_with_seed(3);
  gint64 ends[LOGS] = {0};
  for (guint i = 0; i < STEPS; i++) {
    guint log = g_rand_int(rand) % LOGS;
    guint dice = g_rand_int(rand) % 100;
    if (dice < 60) {
      guint32 count = 1 + g_rand_int(rand) % 20;
      add(cache, log + 1, ends[log], count, g_rand_int(rand) % 3000);
      ends[log] += count;
    } else if (dice < 65) {
      gint64 cut = g_rand_int(rand) % 30;
      ends[log] = MAX(ends[log] - cut, 0);
      log_tail_cache_truncate(cache, log + 1, ends[log]);
    } else if (dice < 66) {
      log_tail_cache_drop(cache, log + 1);
    }
    gint64 first, end, from = ends[log] - (gint64)(g_rand_int(rand) % 100);
    gboolean cached = log_tail_cache_range(cache, log + 1, &first, &end);
    g_autoptr(GArray) array = log_batch_array_new();
    guint given = log_tail_cache_lookup(cache, log + 1, from, ALL, array);
    EXPECT_EQ_INT(cached && from >= first && from<end, given> 0);
    for (guint j = 0; j < given; j++) {
      const LogBatch *batch = LOG_BATCH_AT(array, j);
      if (j == 0)
        EXPECT_TRUE(batch->base_offset <= from && from < log_batch_next_offset(batch));
      else
        EXPECT_EQ_INT(log_batch_next_offset(batch - 1), batch->base_offset);
      if (j == given - 1)
        EXPECT_EQ_INT(end, log_batch_next_offset(batch));
    }
    EXPECT_TRUE(log_tail_cache_bytes(cache) <= bytes_max);
    EXPECT_TRUE(!cached || end <= ends[log]);
  }
  for (guint log = 0; log < LOGS; log++)
    log_tail_cache_drop(cache, log + 1);
  EXPECT_EQ_INT(0, log_tail_cache_bytes(cache));
  EXPECT_EQ_INT(0, log_tail_cache_batch_count(cache));
}
