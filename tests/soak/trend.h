/* Whether a figure that is sampled over time stays flat. Pure.
 *
 * Figures go up and down with what a process does, so what is judged is their upper edge: the time behind the warm-up
 * is cut into TREND_WINDOWS windows, of each the highest value counts, and the slope is the median of the slopes
 * between all pairs of these (Theil and Sen): a peak or two do not move it, a rise that goes on does. It rises when
 * that slope, over the time that was judged, comes to more than the bound: a share of the median, and never less than a
 * floor, since no figure is as still as a ruler. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define TREND_WINDOWS 10

typedef struct {
  double share; /* of the median: 0.1 */
  double floor; /* in the figure's own unit */
} TrendBound;

typedef struct {
  gboolean judged; /* FALSE: too few samples */
  gboolean rises;
  double median;  /* of the windows' highest values */
  double per_s;   /* the slope */
  double growth;  /* by that slope, over the time that was judged */
  double allowed; /* the bound, in the figure's unit */
} TrendVerdict;

typedef struct Trend Trend;

Trend *trend_new(void);
void trend_free(Trend *trend); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Trend, trend_free)

/* @at_s: since the start; never before the last one */
void trend_add(Trend *trend, double at_s, double value);
guint trend_count(const Trend *trend);
/* The latest; 0 when there is none. */
double trend_last(const Trend *trend);
/* What came from @warm_up_s on. */
TrendVerdict trend_judge(const Trend *trend, double warm_up_s, TrendBound bound);

G_END_DECLS
