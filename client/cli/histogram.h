/* How often values of each size came, in fixed memory (35 KiB): values up to 255 exactly, larger ones to within 1 %.
 * Pure; one owner thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Histogram Histogram;

Histogram *histogram_new(void);
void histogram_free(Histogram *histogram); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Histogram, histogram_free)

/* @value: a negative one counts as 0, one above 2^40 as that */
void histogram_add(Histogram *histogram, gint64 value);
/* Add all that @other has. */
void histogram_merge(Histogram *histogram, const Histogram *other);
guint64 histogram_count(const Histogram *histogram);
gint64 histogram_highest(const Histogram *histogram); /* 0 when empty */
/* The value that @share (0 to 1) of all values do not pass; 0 when empty. */
gint64 histogram_quantile(const Histogram *histogram, double share);

G_END_DECLS
