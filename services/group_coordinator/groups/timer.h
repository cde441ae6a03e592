/* Deadlines of many things of one kind: who is next costs nothing, to move one costs O(log n). No clock: the caller
 * brings the time. Timers are embedded in what they belong to. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gint64 at_ms;
  guint place; /* 1 and up while it is set; 0: it is not */
} GroupsTimer;

typedef struct {
  GPtrArray *heap; /* GroupsTimer *, borrowed; the earliest first */
} GroupsTimers;

void groups_timers_init(GroupsTimers *timers);
/* Timers that are still set are forgotten. */
void groups_timers_clear(GroupsTimers *timers);
/* Set it, or move it. */
void groups_timer_set(GroupsTimers *timers, GroupsTimer *timer, gint64 at_ms);
/* It may be unset already. */
void groups_timer_unset(GroupsTimers *timers, GroupsTimer *timer);
/* Unset and return one that is due, or NULL. */
GroupsTimer *groups_timers_pop(GroupsTimers *timers, gint64 now_ms);
/* When the next one is due; G_MAXINT64: none. */
gint64 groups_timers_next(const GroupsTimers *timers);

G_END_DECLS
