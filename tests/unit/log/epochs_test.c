/* Leader epochs: traces, and the stored form. */
#include "storage/log/epochs.h"

#include "tests/shim/shim.h"
#include "tests/unit/log/hex.h"

/* "0@0 3@100": the entries as text; room for a few. */
static const char *entries(const LogEpochs *epochs, char *room) {
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < log_epochs_count(epochs); i++) {
    LogEpoch entry = log_epochs_get(epochs, i);
    g_string_append_printf(text, "%s%d@%" G_GINT64_FORMAT, i > 0 ? " " : "", entry.epoch, entry.start_offset);
  }
  g_strlcpy(room, text->str, 200);
  g_string_free(text, TRUE);
  return room;
}
#define ENTRIES(epochs) entries((epochs), (char[200]){0})

/* 0@0 3@100 7@4096 */
static LogEpochs *three(void) {
  LogEpochs *epochs = log_epochs_new();
  log_epochs_append(epochs, 0, 0);
  log_epochs_append(epochs, 3, 100);
  log_epochs_append(epochs, 7, 4096);
  return epochs;
}

TEST(epochs, append) {
  g_autoptr(LogEpochs) epochs = log_epochs_new();
  EXPECT_EQ_INT(LOG_EPOCH_NONE, log_epochs_latest(epochs));
  EXPECT_TRUE(log_epochs_append(epochs, 2, 10));
  EXPECT_FALSE(log_epochs_append(epochs, 2, 20)); /* goes on */
  EXPECT_EQ_STR("2@10", ENTRIES(epochs));
  EXPECT_TRUE(log_epochs_append(epochs, 4, 30));
  EXPECT_TRUE(log_epochs_append(epochs, 5, 30)); /* nothing was written in 4 */
  EXPECT_EQ_STR("2@10 5@30", ENTRIES(epochs));
  EXPECT_EQ_INT(5, log_epochs_latest(epochs));
}

static const struct {
  const char *name;
  gint32 epoch;
  gint64 offset;
  gboolean accepted;
} ACCEPT_ROWS[] = {
    {"next", 8, 5000, TRUE},          {"same_epoch", 7, 5000, TRUE},    {"same_start", 8, 4096, TRUE},
    {"older_epoch", 6, 5000, FALSE},  {"start_before", 8, 4095, FALSE}, {"negative_epoch", -1, 5000, FALSE},
    {"negative_start", 8, -1, FALSE},
};
TEST_ROWS(epochs_accepts, ACCEPT_ROWS) {
  g_autoptr(LogEpochs) epochs = three();
  EXPECT_EQ_INT(ACCEPT_ROWS[row].accepted, log_epochs_accepts(epochs, ACCEPT_ROWS[row].epoch, ACCEPT_ROWS[row].offset));
}

/* As Kafka's LeaderEpochFileCache.endOffsetFor. The log ends at 5000. */
static const struct {
  const char *name;
  gint32 asked;
  gboolean known;
  gint32 epoch;
  gint64 end;
} END_ROWS[] = {
    {"first", 0, TRUE, 0, 100},
    {"between", 2, TRUE, 0, 100},
    {"second", 3, TRUE, 3, 4096},
    {"gap", 6, TRUE, 3, 4096},
    {"latest", 7, TRUE, 7, 5000},
    {"newer", 8, FALSE, -9, -9},
    {"none", LOG_EPOCH_NONE, FALSE, -9, -9},
};
TEST_ROWS(epochs_end_offset, END_ROWS) {
  g_autoptr(LogEpochs) epochs = three();
  gint32 epoch = -9;
  gint64 end = -9;
  EXPECT_EQ_INT(END_ROWS[row].known, log_epochs_end_offset(epochs, END_ROWS[row].asked, 5000, &epoch, &end));
  EXPECT_EQ_INT(END_ROWS[row].epoch, epoch);
  EXPECT_EQ_INT(END_ROWS[row].end, end);
}

TEST(epochs, end_offset_before_the_first_and_of_none) {
  g_autoptr(LogEpochs) epochs = log_epochs_new();
  gint32 epoch = -9;
  gint64 end = -9;
  EXPECT_FALSE(log_epochs_end_offset(epochs, 0, 10, &epoch, &end));
  log_epochs_append(epochs, 5, 50);
  EXPECT_TRUE(log_epochs_end_offset(epochs, 3, 60, &epoch, &end));
  EXPECT_EQ_INT(3, epoch);
  EXPECT_EQ_INT(50, end);
}

TEST(epochs, at) {
  g_autoptr(LogEpochs) epochs = three();
  EXPECT_EQ_INT(0, log_epochs_at(epochs, 99));
  EXPECT_EQ_INT(3, log_epochs_at(epochs, 100));
  EXPECT_EQ_INT(7, log_epochs_at(epochs, G_MAXINT64));
  log_epochs_truncate_start(epochs, 50);
  EXPECT_EQ_INT(LOG_EPOCH_NONE, log_epochs_at(epochs, 49));
}

static const struct {
  const char *name;
  gint64 end;
  const char *left;
} TRUNCATE_END_ROWS[] = {
    {"beyond", 9000, "0@0 3@100 7@4096"},
    {"inside_latest", 4097, "0@0 3@100 7@4096"},
    {"at_latest", 4096, "0@0 3@100"},
    {"inside_first", 1, "0@0"},
    {"to_nothing", 0, ""},
};
TEST_ROWS(epochs_truncate_end, TRUNCATE_END_ROWS) {
  g_autoptr(LogEpochs) epochs = three();
  gboolean changed = log_epochs_truncate_end(epochs, TRUNCATE_END_ROWS[row].end);
  EXPECT_EQ_STR(TRUNCATE_END_ROWS[row].left, ENTRIES(epochs));
  EXPECT_EQ_INT(log_epochs_count(epochs) != 3, changed);
}

static const struct {
  const char *name;
  gint64 start;
  gboolean changed;
  const char *left;
} TRUNCATE_START_ROWS[] = {
    {"at_first", 0, FALSE, "0@0 3@100 7@4096"},    {"inside_first", 50, TRUE, "0@50 3@100 7@4096"},
    {"at_second", 100, TRUE, "3@100 7@4096"},      {"inside_second", 101, TRUE, "3@101 7@4096"},
    {"at_latest", 4096, TRUE, "7@4096"},           {"inside_latest", 9000, TRUE, "7@9000"},
    {"before_all", -1, FALSE, "0@0 3@100 7@4096"},
};
TEST_ROWS(epochs_truncate_start, TRUNCATE_START_ROWS) {
  g_autoptr(LogEpochs) epochs = three();
  EXPECT_EQ_INT(TRUNCATE_START_ROWS[row].changed, log_epochs_truncate_start(epochs, TRUNCATE_START_ROWS[row].start));
  EXPECT_EQ_STR(TRUNCATE_START_ROWS[row].left, ENTRIES(epochs));
}

TEST(epochs, copies_are_apart) {
  g_autoptr(LogEpochs) epochs = three();
  g_autoptr(LogEpochs) copy = log_epochs_copy(epochs);
  log_epochs_truncate_end(epochs, 0);
  EXPECT_EQ_STR("0@0 3@100 7@4096", ENTRIES(copy));
}

/* ---- stored form ---- */

#define GOLDEN "01 00000003 00000000 0000000000000000 00000003 0000000000000064 00000007 0000000000001000"

TEST(epochs, golden_bytes) {
  g_autoptr(LogEpochs) epochs = three();
  g_autoptr(GByteArray) out = g_byte_array_new();
  log_epochs_encode(epochs, out);
  g_autoptr(GBytes) golden = hex_bytes(GOLDEN);
  EXPECT_EQ_BYTES(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden), out->data, out->len);

  g_autoptr(LogEpochs) got = NULL;
  gsize used = 0;
  ASSERT_EQ_STR("", REASON_OF(log_epochs_decode(out->data, out->len, &got, &used)));
  EXPECT_EQ_STR("0@0 3@100 7@4096", ENTRIES(got));
  EXPECT_EQ_INT(41, used);
}

static const struct {
  const char *name, *hex, *reason;
} BAD_ROWS[] = {
    {"nothing", "", "CORRUPT_LOG"},
    {"format_0", "00 00000000", "CORRUPT_LOG"},
    {"newer_format", "02", "UNSUPPORTED"},
    {"no_count", "01 000000", "CORRUPT_LOG"},
    {"count_beyond_the_bytes", "01 00000002 00000000 0000000000000000", "CORRUPT_LOG"},
    {"count_of_most", "01 ffffffff 00000000 0000000000000000", "CORRUPT_LOG"},
    {"epoch_twice", "01 00000002 00000000 0000000000000000 00000000 0000000000000001", "CORRUPT_LOG"},
    {"offset_twice", "01 00000002 00000000 0000000000000001 00000001 0000000000000001", "CORRUPT_LOG"},
    {"negative_epoch", "01 00000001 ffffffff 0000000000000000", "CORRUPT_LOG"},
    {"negative_offset", "01 00000001 00000000 ffffffffffffffff", "CORRUPT_LOG"},
};
TEST_ROWS(epochs_refuses, BAD_ROWS) {
  g_autoptr(GBytes) bytes = hex_bytes(BAD_ROWS[row].hex);
  gsize len;
  const guint8 *data = g_bytes_get_data(bytes, &len);
  LogEpochs *got = NULL;
  EXPECT_EQ_STR(BAD_ROWS[row].reason, REASON_OF(log_epochs_decode(data, len, &got, NULL)));
  EXPECT_NULL(got);
}
