/* Timers for fake fronts, which begin with their Loop: a timer is a source of its own, kept where the real one keeps
 * its place. */
#include "services/base/timers.h"

static gboolean timer_due(gpointer data) {
  Timer *timer = data;
  g_source_unref((GSource *)g_steal_pointer(&timer->place));
  timer->fire(timer, timer->data);
  return G_SOURCE_REMOVE;
}

void timer_clear(Timers *timers, Timer *timer) {
  (void)timers;
  if (timer->place == NULL)
    return;
  g_source_destroy((GSource *)timer->place);
  g_source_unref((GSource *)g_steal_pointer(&timer->place));
}

void timer_set(Timers *timers, Timer *timer, gint64 due_us, void (*fire)(Timer *timer, gpointer data), gpointer data) {
  timer_clear(timers, timer);
  timer->fire = fire;
  timer->data = data;
  gint64 delay_us = MAX(due_us - g_get_monotonic_time(), 0);
  timer->place =
      (GSequenceIter *)loop_add_timeout(*(Loop **)timers, (guint)((delay_us + 999) / 1000), timer_due, timer);
}

gboolean timer_is_set(const Timer *timer) {
  return timer->place != NULL;
}
