/* How full a disk is: the watermark's texts and sizes, the levels with their lines, and what each lets through. */
#include "services/broker/disk.h"
#include "tests/shim/shim.h"

#define MIB (G_GINT64_CONSTANT(1) << 20)
#define GIB (G_GINT64_CONSTANT(1) << 30)

static const struct {
  const char *name, *text;
  gint64 total, want;
} WATERMARKS[] = {
    {"bytes", "3GiB", 100 * GIB, 3 * GIB},
    {"share", "10%", 100 * GIB, 10 * GIB},
    {"none", "0", 100 * GIB, 0},
    {"auto_of_a_large_disk", "auto", 10000 * GIB, 2 * GIB},
    {"auto_of_a_middling_disk", "auto", 2000 * 10 * MIB, 1000 * MIB},
    {"auto_of_a_small_disk", "auto", 4 * GIB, 256 * MIB},
    {"auto_of_a_tiny_disk", "auto", 100 * MIB, 25 * MIB},
};

TEST_ROWS(disk_watermark, WATERMARKS) {
  DiskWatermark watermark;
  ASSERT_TRUE(disk_watermark_parse(WATERMARKS[row].text, &watermark) == NULL);
  EXPECT_EQ_INT(WATERMARKS[row].want, disk_watermark_bytes(&watermark, WATERMARKS[row].total));
}

static const struct {
  const char *name, *text;
} MISTAKES[] = {{"empty", ""},       {"a_word", "much"},     {"negative", "-5"},     {"no_number", "%"},
                {"too_much", "91%"}, {"a_share_of_0", "0%"}, {"half_a_unit", "5Gi"}, {"overflow", "99999999999GiB"}};

TEST_ROWS(disk_watermark_refuses, MISTAKES) {
  DiskWatermark watermark = {.bytes = 77};
  g_autoptr(Failure) failure = disk_watermark_parse(MISTAKES[row].text, &watermark);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), "such as 2GiB");
  EXPECT_EQ_INT(77, watermark.bytes);
}

/* From one level to the next with a watermark of 800 MiB: lines at 800, 400 and 100, left at 1000, 500 and 125. */
static const struct {
  const char *name;
  DiskLevel before;
  gint64 free_mib;
  DiskLevel want;
} STEPS[] = {
    {"room", DISK_FINE, 800, DISK_FINE},
    {"below_the_watermark", DISK_FINE, 799, DISK_LOW},
    {"all_at_once", DISK_FINE, 10, DISK_FULL},
    {"low_is_not_left_at_its_line", DISK_LOW, 999, DISK_LOW},
    {"low_is_left_a_quarter_above", DISK_LOW, 1000, DISK_FINE},
    {"short", DISK_LOW, 399, DISK_SHORT},
    {"short_is_not_left_at_its_line", DISK_SHORT, 499, DISK_SHORT},
    {"short_is_left_to_low", DISK_SHORT, 500, DISK_LOW},
    {"full", DISK_SHORT, 99, DISK_FULL},
    {"full_is_not_left_at_its_line", DISK_FULL, 124, DISK_FULL},
    {"full_is_left_to_short", DISK_FULL, 125, DISK_SHORT},
    {"full_is_left_to_fine", DISK_FULL, 5000, DISK_FINE},
};

TEST_ROWS(disk_level, STEPS) {
  EXPECT_EQ_STR(disk_level_name(STEPS[row].want),
                disk_level_name(disk_level_next(STEPS[row].before, 800 * MIB, STEPS[row].free_mib * MIB)));
}

TEST(disk, without_a_watermark_is_always_fine) {
  EXPECT_EQ_INT(DISK_FINE, disk_level_next(DISK_FULL, 0, 0));
  EXPECT_TRUE(disk_has_room(NULL, DISK_FOR_CLIENTS));
}

static void count(DiskLevel level, gpointer data) {
  *(guint *)data += level != DISK_FINE;
}

TEST(disk, is_looked_at_when_the_watch_begins) {
  g_autoptr(Loop) loop = loop_new("disk", 10);
  guint changes = 0;
  DiskOptions options = {.broker_id = 7, .folder = shim_temp_dir(), .changed = count, .data = &changes};
  ASSERT_TRUE(disk_watermark_parse("0", &options.watermark) == NULL);
  Disk *disk = disk_new(loop, &options);
  EXPECT_EQ_INT(0, changes);
  EXPECT_TRUE(disk_has_room(disk, DISK_FOR_CLIENTS));
  EXPECT_TRUE(disk_figures(disk).total_bytes > 0);
  disk_free(disk);
  /* More than any disk has. */
  options.watermark.bytes = G_MAXINT64 / 2;
  disk = disk_new(loop, &options);
  EXPECT_EQ_INT(1, changes);
  EXPECT_EQ_INT(DISK_FULL, disk_figures(disk).level);
  EXPECT_FALSE(disk_has_room(disk, DISK_FOR_CLIENTS));
  EXPECT_FALSE(disk_has_room(disk, DISK_FOR_COPIES));
  EXPECT_FALSE(disk_has_room(disk, DISK_FOR_INTERNAL));
  g_autoptr(Failure) failure = disk_refusal(disk);
  EXPECT_EQ_STR("DISK_LOW", failure_reason_name(failure_reason(failure)));
  EXPECT_CONTAINS(failure_message(failure), "broker 7's disk is nearly full");
  EXPECT_CONTAINS(failure_message(failure), options.folder);
  EXPECT_EQ_STR("7", failure_get(failure, "broker_id"));
  disk_free(disk);
}
