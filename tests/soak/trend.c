#include "tests/soak/trend.h"

#include <stdlib.h>

typedef struct {
  double at_s, value;
} Sample;

struct Trend {
  GArray *samples; /* of Sample, by time */
};

Trend *trend_new(void) {
  Trend *trend = g_new0(Trend, 1);
  trend->samples = g_array_new(FALSE, FALSE, sizeof(Sample));
  return trend;
}

void trend_free(Trend *trend) {
  if (!trend)
    return;
  g_array_unref(trend->samples);
  g_free(trend);
}

void trend_add(Trend *trend, double at_s, double value) {
  const Sample sample = {at_s, value};
  g_array_append_val(trend->samples, sample);
}

guint trend_count(const Trend *trend) {
  return trend->samples->len;
}

double trend_last(const Trend *trend) {
  guint count = trend->samples->len;
  return count ? g_array_index(trend->samples, Sample, count - 1).value : 0;
}

static int compare_doubles(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return left < right ? -1 : left > right;
}

static double median_of(double *values, guint count) {
  qsort(values, count, sizeof *values, compare_doubles);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The highest sample of each window. Returns how many windows have one. */
static guint find_edge(const Trend *trend, double from_s, double window_s, Sample *ret_edge) {
  guint count = 0;
  gint last = -1;
  for (guint i = 0; i < trend->samples->len; i++) {
    const Sample *sample = &g_array_index(trend->samples, Sample, i);
    if (sample->at_s < from_s)
      continue;
    gint window = MIN((gint)((sample->at_s - from_s) / window_s), TREND_WINDOWS - 1);
    if (count == 0 || window != last)
      ret_edge[count++] = (Sample){from_s + ((double)window + 0.5) * window_s, sample->value};
    else
      ret_edge[count - 1].value = MAX(ret_edge[count - 1].value, sample->value);
    last = window;
  }
  return count;
}

static double slope_of(const Sample *edge, guint count) {
  double slopes[TREND_WINDOWS * TREND_WINDOWS];
  guint n = 0;
  for (guint i = 0; i < count; i++)
    for (guint j = i + 1; j < count; j++)
      slopes[n++] = (edge[j].value - edge[i].value) / (edge[j].at_s - edge[i].at_s);
  return median_of(slopes, n);
}

TrendVerdict trend_judge(const Trend *trend, double warm_up_s, TrendBound bound) {
  guint total = trend->samples->len;
  double end_s = total ? g_array_index(trend->samples, Sample, total - 1).at_s : 0;
  TrendVerdict verdict = {0};
  if (end_s <= warm_up_s)
    return verdict;
  Sample edge[TREND_WINDOWS];
  guint count = find_edge(trend, warm_up_s, (end_s - warm_up_s) / TREND_WINDOWS, edge);
  if (count < TREND_WINDOWS / 2)
    return verdict;
  double values[TREND_WINDOWS];
  for (guint i = 0; i < count; i++)
    values[i] = edge[i].value;
  verdict.judged = TRUE;
  verdict.median = median_of(values, count);
  verdict.per_s = slope_of(edge, count);
  verdict.growth = verdict.per_s * (end_s - warm_up_s);
  verdict.allowed = MAX(bound.floor, bound.share * verdict.median);
  verdict.rises = verdict.growth > verdict.allowed;
  return verdict;
}
