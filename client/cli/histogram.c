/* See histogram.h. Each power of two above 255 has HALF buckets of equal width. */
#include "client/cli/histogram.h"

#include <math.h>

#define HALF_BITS 7
#define HALF (1 << HALF_BITS)
#define VALUE_BITS_MAX 40
#define BUCKETS (2 * HALF + (VALUE_BITS_MAX - HALF_BITS) * HALF)

struct Histogram {
  guint64 counts[BUCKETS];
  guint64 count;
  gint64 highest;
};

Histogram *histogram_new(void) {
  return g_new0(Histogram, 1);
}

void histogram_free(Histogram *histogram) {
  g_free(histogram);
}

static guint bucket_of(gint64 value) {
  if (value < 2 * (gint64)HALF)
    return (guint)value;
  guint shift = (guint)(63 - __builtin_clzll((guint64)value)) - HALF_BITS;
  return 2 * HALF + (shift - 1) * HALF + (guint)((value >> shift) - HALF);
}

/* The largest value of a bucket. */
static gint64 bucket_end(guint bucket) {
  if (bucket < 2 * HALF)
    return bucket;
  guint shift = (bucket - 2 * HALF) / HALF + 1;
  gint64 part = (bucket - 2 * HALF) % HALF + HALF;
  return ((part + 1) << shift) - 1;
}

void histogram_add(Histogram *histogram, gint64 value) {
  gint64 bounded = CLAMP(value, 0, G_GINT64_CONSTANT(1) << VALUE_BITS_MAX);
  histogram->counts[bucket_of(bounded)]++;
  histogram->count++;
  histogram->highest = MAX(histogram->highest, bounded);
}

void histogram_merge(Histogram *histogram, const Histogram *other) {
  for (guint i = 0; i < BUCKETS; i++)
    histogram->counts[i] += other->counts[i];
  histogram->count += other->count;
  histogram->highest = MAX(histogram->highest, other->highest);
}

guint64 histogram_count(const Histogram *histogram) {
  return histogram->count;
}

gint64 histogram_highest(const Histogram *histogram) {
  return histogram->highest;
}

gint64 histogram_quantile(const Histogram *histogram, double share) {
  guint64 rank = (guint64)ceil(share * (double)histogram->count), seen = 0;
  for (guint i = 0; i < BUCKETS; i++) {
    seen += histogram->counts[i];
    if (seen > 0 && seen >= rank)
      return MIN(bucket_end(i), histogram->highest);
  }
  return histogram->highest;
}
