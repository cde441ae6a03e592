/* Many deadlines on one loop, at the price of one glib source: a main context looks at each of its sources in every
 * turn, so a timeout source for each waiting read would cost all the others.
 *
 * Thread: the loop's alone. */
#pragma once

#include "services/base/loop.h"

G_BEGIN_DECLS

typedef struct Timers Timers;

/* One deadline; embedded in what waits, zeroed at first. Must stay put while set. */
typedef struct Timer Timer;
struct Timer {
  GSequenceIter *place; /* private: NULL while not set */
  gint64 due_us;        /* private */
  void (*fire)(Timer *timer, gpointer data);
  gpointer data;
};

Timers *timers_new(Loop *loop);
/* No timer may be set any more. NULL is fine. */
void timers_free(Timers *timers);
/* Call @fire with @data once monotonic time has reached @due_us; replaces what was set. G_MAXINT64: never. */
void timer_set(Timers *timers, Timer *timer, gint64 due_us, void (*fire)(Timer *timer, gpointer data), gpointer data);
/* Fine when it is not set. */
void timer_clear(Timers *timers, Timer *timer);
gboolean timer_is_set(const Timer *timer);

G_END_DECLS
