/* How fast a replica comes nearer to its leader, by what is told of it every second: over the last ten to twenty
 * seconds, so that one pause neither stops nor hides in it. Pure; no allocation. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Zeroed: nothing is known. */
typedef struct {
  gint64 left[2]; /* offsets that it lacked, then */
  gint64 us[2];   /* monotonic; the first is what is compared with, the second becomes it; 0: nothing yet */
} MoveRate;

/* It lacks so many offsets now. */
void move_rate_note(MoveRate *rate, gint64 left, gint64 now_us);
/* Seconds until it lacks nothing at this rate, rounded up; -1 when nobody can say. @left: as noted last */
gint64 move_rate_seconds_left(const MoveRate *rate, gint64 left, gint64 now_us);

G_END_DECLS
