/* A binary heap of deadlines; see timer.h.
 *
 * Invariants: heap[place - 1] is the timer itself; a parent is never later than its children. Owner: whoever has the
 * groups. Nothing fails. */
#include "services/group_coordinator/groups/timer.h"

#include "services/base/invariant.h"

void groups_timers_init(GroupsTimers *timers) {
  timers->heap = g_ptr_array_new();
}

void groups_timers_clear(GroupsTimers *timers) {
  g_clear_pointer(&timers->heap, g_ptr_array_unref);
}

static GroupsTimer *timer_at(const GroupsTimers *timers, guint place) {
  return timers->heap->pdata[place - 1];
}

static void put(GroupsTimers *timers, guint place, GroupsTimer *timer) {
  timers->heap->pdata[place - 1] = timer;
  timer->place = place;
}

static void rise(GroupsTimers *timers, GroupsTimer *timer) {
  guint place = timer->place;
  for (; place > 1 && timer_at(timers, place / 2)->at_ms > timer->at_ms; place /= 2)
    put(timers, place, timer_at(timers, place / 2));
  put(timers, place, timer);
}

static void sink(GroupsTimers *timers, GroupsTimer *timer) {
  guint place = timer->place;
  for (;;) {
    guint child = 2 * place;
    if (child > timers->heap->len)
      break;
    if (child < timers->heap->len && timer_at(timers, child + 1)->at_ms < timer_at(timers, child)->at_ms)
      child++;
    if (timer_at(timers, child)->at_ms >= timer->at_ms)
      break;
    put(timers, place, timer_at(timers, child));
    place = child;
  }
  put(timers, place, timer);
}

void groups_timer_set(GroupsTimers *timers, GroupsTimer *timer, gint64 at_ms) {
  timer->at_ms = at_ms;
  if (timer->place == 0) {
    g_ptr_array_add(timers->heap, timer);
    timer->place = timers->heap->len;
  }
  rise(timers, timer);
  sink(timers, timer);
}

void groups_timer_unset(GroupsTimers *timers, GroupsTimer *timer) {
  if (timer->place == 0)
    return;
  INVARIANT(timer_at(timers, timer->place) == timer, "a timer that is set is in its place");
  guint place = timer->place;
  timer->place = 0;
  GroupsTimer *last = timer_at(timers, timers->heap->len);
  g_ptr_array_set_size(timers->heap, (gint)timers->heap->len - 1);
  if (last == timer)
    return;
  put(timers, place, last);
  rise(timers, last);
  sink(timers, last);
}

GroupsTimer *groups_timers_pop(GroupsTimers *timers, gint64 now_ms) {
  if (timers->heap->len == 0 || timer_at(timers, 1)->at_ms > now_ms)
    return NULL;
  GroupsTimer *timer = timer_at(timers, 1);
  groups_timer_unset(timers, timer);
  return timer;
}

gint64 groups_timers_next(const GroupsTimers *timers) {
  return timers->heap->len > 0 ? timer_at(timers, 1)->at_ms : G_MAXINT64;
}
