/* Runs many seeds in several processes, so that one that ends its process, or never ends, is found by its seed too. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* One run. Returns NULL, or what broke; owned by the caller. @sums: added to, of the simulation's own meaning */
typedef char *(*RunnerFunc)(guint64 seed, guint64 *sums);
#define RUNNER_SUMS_MAX 24

/* Run seeds @first and on. Each that fails is told to @failed, in no order, as soon as it is known.
 *
 * @jobs: processes; 0: one for each processor
 * @failures_max: end after so many; 0: never
 * @ret_sums: RUNNER_SUMS_MAX numbers: of the seeds that did not end their process
 *
 * Returns how many failed. */
guint64 runner_run(RunnerFunc func, guint64 first, guint64 count, guint jobs, guint64 failures_max,
                   void (*failed)(guint64 seed, const char *why, gpointer data), gpointer data, guint64 *ret_sums);

G_END_DECLS
