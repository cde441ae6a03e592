/* Spreads bytes over time: whoever sends takes a place on one line, as long as its bytes last at its rate, and goes on
 * at the end of it. Takers of the same rate share it; those of different rates share the time.
 *
 * Pure: time comes as an argument. Any thread: one atomic word. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  _Atomic gint64 end_us; /* of the line; zeroed at first */
} Pacer;

/* Take a place for bytes that were sent now.
 *
 * @now_us: monotonic
 * @bytes_per_s: more than 0
 *
 * Returns when to send on. */
gint64 pacer_take(Pacer *pacer, gint64 now_us, guint64 bytes, guint64 bytes_per_s);

G_END_DECLS
