/* Counts of values in bounded memory. */
#include "client/cli/histogram.h"
#include "tests/shim/shim.h"

TEST(histogram, is_empty_at_first) {
  g_autoptr(Histogram) histogram = histogram_new();
  EXPECT_EQ_INT(0, histogram_count(histogram));
  EXPECT_EQ_INT(0, histogram_quantile(histogram, 0.99));
  EXPECT_EQ_INT(0, histogram_highest(histogram));
}

TEST(histogram, tells_small_values_exactly) {
  g_autoptr(Histogram) histogram = histogram_new();
  for (gint64 i = 1; i <= 100; i++)
    histogram_add(histogram, i);
  EXPECT_EQ_INT(50, histogram_quantile(histogram, 0.5));
  EXPECT_EQ_INT(99, histogram_quantile(histogram, 0.99));
  EXPECT_EQ_INT(100, histogram_quantile(histogram, 0.999));
  EXPECT_EQ_INT(1, histogram_quantile(histogram, 0));
  EXPECT_EQ_INT(100, histogram_quantile(histogram, 1));
}

static const struct {
  const char *name;
  gint64 value;
} VALUES[] = {
    {"least_of_a_bucket", 256},
    {"odd", 257},
    {"power", 1 << 20},
    {"below_a_power", 65535},
    {"a_minute", 6e7},
    {"a_day", G_GINT64_CONSTANT(86400000000)},
    {"the_bound", G_GINT64_CONSTANT(1) << 40},
};
TEST_ROWS(histogram_is_near, VALUES) {
  g_autoptr(Histogram) histogram = histogram_new();
  gint64 value = VALUES[row].value;
  histogram_add(histogram, value);
  histogram_add(histogram, G_GINT64_CONSTANT(1) << 40);
  gint64 told = histogram_quantile(histogram, 0.5);
  EXPECT_TRUE(told >= value);
  EXPECT_TRUE(told <= value + value / 100);
}

TEST(histogram, takes_what_is_out_of_range) {
  g_autoptr(Histogram) histogram = histogram_new();
  histogram_add(histogram, -5);
  histogram_add(histogram, G_MAXINT64);
  EXPECT_EQ_INT(0, histogram_quantile(histogram, 0.5));
  EXPECT_EQ_INT(G_GINT64_CONSTANT(1) << 40, histogram_highest(histogram));
}

TEST(histogram, merges) {
  g_autoptr(Histogram) histogram = histogram_new(), other = histogram_new();
  histogram_add(histogram, 1);
  histogram_add(other, 3);
  histogram_add(other, 1000);
  histogram_merge(histogram, other);
  EXPECT_EQ_INT(3, histogram_count(histogram));
  EXPECT_EQ_INT(3, histogram_quantile(histogram, 0.5));
  EXPECT_EQ_INT(1000, histogram_highest(histogram));
}
