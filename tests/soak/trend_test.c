/* What counts as flat, and what as a rise: saw teeth, a warm-up, single peaks; a slow leak among noise. */
#include "tests/soak/trend.h"

#include "tests/shim/shim.h"

#define SECONDS 600
#define WARM_UP_S 120

static double still(guint second) {
  (void)second;
  return 1000;
}
/* As disk space does when segments are dropped: it rises for 50 s, and falls at once. */
static double saw(guint second) {
  return 1000 + second % 50 * 20;
}
static double warming_up(guint second) {
  return MIN(second, 100) * 10;
}
static double peak(guint second) {
  return second > 500 && second < 520 ? 9000 : 1000;
}
static double falling(guint second) {
  return 2000 - second;
}
/* Half as much again within the run, on top of saw teeth. */
static double leak(guint second) {
  return saw(second) + second;
}
static double leak_by_steps(guint second) {
  return 1000 + second - second % 100;
}

static const struct {
  const char *name;
  double (*value)(guint second);
  gboolean rises;
} SHAPES[] = {
    {"still", still, FALSE},        {"saw_teeth", saw, FALSE},   {"warming_up", warming_up, FALSE},
    {"one_peak", peak, FALSE},      {"falling", falling, FALSE}, {"a_leak_in_saw_teeth", leak, TRUE},
    {"steps", leak_by_steps, TRUE},
};

TEST_ROWS(trend, SHAPES) {
  g_autoptr(Trend) trend = trend_new();
  for (guint i = 0; i <= SECONDS; i++)
    trend_add(trend, i, SHAPES[row].value(i));
  TrendVerdict verdict = trend_judge(trend, WARM_UP_S, (TrendBound){.share = 0.1, .floor = 10});
  EXPECT_TRUE(verdict.judged);
  EXPECT_EQ_INT(SHAPES[row].rises, verdict.rises);
}

TEST(trend, below_its_floor_is_no_rise) {
  g_autoptr(Trend) trend = trend_new();
  for (guint i = 0; i <= SECONDS; i++)
    trend_add(trend, i, (i - i % 200) / 200.0); /* 0 to 3 */
  EXPECT_FALSE(trend_judge(trend, WARM_UP_S, (TrendBound){.share = 0.1, .floor = 5}).rises);
  EXPECT_TRUE(trend_judge(trend, WARM_UP_S, (TrendBound){.share = 0.1, .floor = 1}).rises);
}

TEST(trend, of_too_few_samples_says_nothing) {
  g_autoptr(Trend) trend = trend_new();
  EXPECT_FALSE(trend_judge(trend, 0, (TrendBound){0}).judged);
  trend_add(trend, 1, 5);
  trend_add(trend, 2, 50);
  EXPECT_FALSE(trend_judge(trend, 0, (TrendBound){0}).judged);
  EXPECT_EQ_INT(50, (int)trend_last(trend));
  EXPECT_EQ_INT(2, trend_count(trend));
}
