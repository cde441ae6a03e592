/* How long records stay, how segments grow, and clocks that jump. */
#include "storage/log/retention.h"

#include "storage/log/hot.h"
#include "tests/shim/shim.h"

#define MINUTE_MS (G_GINT64_CONSTANT(60) * 1000)
#define NOW_MS (G_GINT64_CONSTANT(1700000000) * 1000)
#define AGO(minutes) (NOW_MS - (minutes)*MINUTE_MS)

/* Four chunks of 100 offsets and 1,000 bytes each, written 40 to 0 minutes ago. The times are those of their latest
 * records. */
static const struct {
  const char *name;
  gint64 latest_ms[4]; /* timestamps, chunk by chunk */
  gint64 retention_minutes, retention_bytes, high_watermark, log_start;
  gint64 want;
} STARTS[] = {
    {"all_young", {AGO(30), AGO(20), AGO(10), AGO(1)}, 60, -1, 400, 0, 0},
    {"no_bound", {AGO(30), AGO(20), AGO(10), AGO(1)}, -1, -1, 400, 0, 0},
    {"two_over", {AGO(30), AGO(20), AGO(10), AGO(1)}, 15, -1, 400, 0, 200},
    {"all_over_the_last_too", {AGO(30), AGO(20), AGO(10), AGO(6)}, 5, -1, 400, 0, 400},
    {"not_above_the_high_watermark", {AGO(30), AGO(20), AGO(10), AGO(6)}, 5, -1, 250, 0, 250},
    {"never_back", {AGO(30), AGO(20), AGO(10), AGO(1)}, 25, -1, 400, 150, 150},
    {"within_a_chunk", {AGO(30), AGO(20), AGO(10), AGO(1)}, 15, -1, 400, 150, 200},
    {"a_late_timestamp_keeps_nothing_longer_than_its_writing", {AGO(30), AGO(2), AGO(10), AGO(1)}, 15, -1, 400, 0, 200},
    {"an_old_one_pulls_nobody_along", {AGO(30), AGO(9999), AGO(10), AGO(1)}, 15, -1, 400, 0, 200},
    {"the_future_counts_as_when_it_was_written", {AGO(-9999), AGO(20), AGO(10), AGO(1)}, 15, -1, 400, 0, 200},
    {"no_timestamps_count_as_when_they_were_written", {0, 0, 0, 0}, 15, -1, 400, 0, 200},
    {"no_timestamps_at_all_over", {0, 0, 0, 0}, 0, -1, 400, 0, 300},
    {"by_size_everything_fits", {AGO(30), AGO(20), AGO(10), AGO(1)}, -1, 4000, 400, 0, 0},
    {"by_size_what_is_left_reaches_the_bound", {AGO(30), AGO(20), AGO(10), AGO(1)}, -1, 2500, 400, 0, 100},
    {"by_size_exactly", {AGO(30), AGO(20), AGO(10), AGO(1)}, -1, 2000, 400, 0, 200},
    {"by_size_the_last_stays", {AGO(30), AGO(20), AGO(10), AGO(1)}, -1, 1, 400, 0, 300},
    {"by_both", {AGO(30), AGO(20), AGO(10), AGO(1)}, 25, 2000, 400, 0, 200},
};

TEST_ROWS(retention_start, STARTS) {
  LogChunk chunks[4];
  gint64 latest = LOG_TIMESTAMP_NONE;
  for (guint i = 0; i < 4; i++) {
    chunks[i] = (LogChunk){.first_offset = 100 * i,
                           .max_timestamp_before_ms = latest,
                           .bytes_before = 1000 * i,
                           .closed_ms = i < 3 ? AGO(30 - 10 * (gint64)i) + 1 : 0};
    latest = MAX(latest, STARTS[row].latest_ms[i]);
  }
  const LogStand stand = {.log_start_offset = STARTS[row].log_start,
                          .high_watermark = STARTS[row].high_watermark,
                          .log_end_offset = 400,
                          .max_timestamp_ms = latest,
                          .last_append_timestamp_ms = NOW_MS,
                          .appended_bytes = 4000};
  gint64 minutes = STARTS[row].retention_minutes;
  const LogRetention retention = {.retention_ms = minutes < 0 ? LOG_RETENTION_NONE : minutes * MINUTE_MS,
                                  .retention_bytes = STARTS[row].retention_bytes,
                                  .now_ms = NOW_MS};
  EXPECT_EQ_INT(STARTS[row].want, log_retention_start(chunks, 4, &stand, &retention));
}

TEST(retention, of_an_empty_log) {
  const LogStand stand = {.log_start_offset = 7, .high_watermark = 7, .log_end_offset = 7};
  const LogRetention retention = {.retention_ms = 0, .retention_bytes = 0, .now_ms = NOW_MS};
  EXPECT_EQ_INT(7, log_retention_start(NULL, 0, &stand, &retention));
}

/* ---- segments ---- */

static const LogRoll MOST = {.age_ms = 6 * 60 * MINUTE_MS, .bytes = G_GINT64_CONSTANT(1) << 30};

TEST(retention, segments_are_a_part_of_the_shortest_retention) {
  LogRoll roll = log_roll_for(-1, -1, MOST);
  EXPECT_EQ_INT(MOST.age_ms, roll.age_ms);
  EXPECT_EQ_INT(MOST.bytes, roll.bytes);
  roll = log_roll_for(7 * 24 * 60 * MINUTE_MS, G_GINT64_CONSTANT(1) << 40, MOST);
  EXPECT_EQ_INT(MOST.age_ms, roll.age_ms);
  EXPECT_EQ_INT(MOST.bytes, roll.bytes);
  roll = log_roll_for(2 * MINUTE_MS, 256 << 20, MOST);
  EXPECT_EQ_INT(30 * 1000, roll.age_ms);
  EXPECT_EQ_INT(64 << 20, roll.bytes);
  roll = log_roll_for(1000, 1, MOST);
  EXPECT_EQ_INT(10 * 1000, roll.age_ms);
  EXPECT_EQ_INT(16 << 20, roll.bytes);
}

/* A month of a topic with two minutes beside one that keeps everything: how many segments come to be. */
TEST(retention, longer_retentions_do_not_pay_for_short_ones) {
  const LogRoll roll = log_roll_for(2 * MINUTE_MS, -1, MOST);
  gint64 age_ms = 0;
  guint segments = 0;
  while (age_ms < 30 * 24 * 60 * MINUTE_MS)
    age_ms += log_roll_now(roll, segments++, MOST).age_ms;
  EXPECT_TRUE(segments > 300);
  EXPECT_TRUE(segments < 420);
  /* Where nothing else keeps them, there are few, and they stay short. */
  EXPECT_EQ_INT(30 * 1000, log_roll_now(roll, 10, MOST).age_ms);
  EXPECT_EQ_INT(MOST.age_ms, log_roll_now(roll, 100000, MOST).age_ms);
  EXPECT_EQ_INT(MOST.bytes, log_roll_now(roll, 100000, MOST).bytes);
}

/* ---- the clock ---- */

TEST(retention, a_clock_that_jumps_ahead_is_not_trusted_for_a_while) {
  LogRetentionClock clock = {0};
  gboolean jumped = TRUE;
  EXPECT_TRUE(log_retention_clock(&clock, NOW_MS, 5000, &jumped)); /* a machine that was off: nobody knows */
  EXPECT_FALSE(jumped);
  EXPECT_TRUE(log_retention_clock(&clock, NOW_MS + 60000, 65000, &jumped));
  EXPECT_TRUE(log_retention_clock(&clock, NOW_MS + 70000 + LOG_RETENTION_JUMP_MS, 75000, &jumped)); /* corrected */
  EXPECT_FALSE(jumped);
  gint64 ahead_ms = NOW_MS + 365 * 24 * 60 * MINUTE_MS;
  EXPECT_FALSE(log_retention_clock(&clock, ahead_ms, 80000, &jumped));
  EXPECT_TRUE(jumped);
  EXPECT_FALSE(log_retention_clock(&clock, ahead_ms + 1000, 81000, &jumped));
  EXPECT_FALSE(jumped);
  EXPECT_FALSE(
      log_retention_clock(&clock, NOW_MS + 90000, 82000, &jumped)); /* set right: the pause ends all the same */
  EXPECT_FALSE(jumped);
  EXPECT_TRUE(
      log_retention_clock(&clock, NOW_MS + 90000 + LOG_RETENTION_PAUSE_MS, 82000 + LOG_RETENTION_PAUSE_MS, &jumped));
}

TEST(retention, a_clock_that_goes_back_is_waited_for) {
  LogRetentionClock clock = {0};
  gboolean jumped = TRUE;
  log_retention_clock(&clock, NOW_MS, 5000, &jumped);
  EXPECT_TRUE(log_retention_clock(&clock, NOW_MS - 365 * 24 * 60 * MINUTE_MS, 6000, &jumped));
  EXPECT_FALSE(jumped);
}
