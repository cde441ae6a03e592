/* Deadlines of one loop, in a sequence sorted by due time, behind one glib source that tells glib's poll how long it
 * may sleep. Not g_source_set_ready_time: that signals the context's wake-up for each change, although the loop's own
 * thread makes it: a write, a poll and a read for each timer that is set.
 *
 * What is set to be at once, out of a task of the loop, is fired by another task: that spares glib's turn in between, a
 * poll among it.
 *
 * Invariant: the task is in the mailbox exactly while `posted`; the timers outlive it.
 * Thread: the loop's. Fails never. */
#include "services/base/timers.h"

struct Timers {
  LoopTask task; /* fires what is due: for what is to be soon */
  gboolean posted, freed;
  Loop *loop;
  GSequence *by_due; /* of Timer *, borrowed */
  GSource *source;
};

typedef struct {
  GSource base;
  Timers *timers;
} TimersSource;

static gint compare_due(gconstpointer a, gconstpointer b, gpointer data) {
  (void)data;
  gint64 left = ((const Timer *)a)->due_us, right = ((const Timer *)b)->due_us;
  return left < right ? -1 : left > right;
}

static Timer *first_timer(Timers *timers) {
  GSequenceIter *first = g_sequence_get_begin_iter(timers->by_due);
  return g_sequence_iter_is_end(first) ? NULL : g_sequence_get(first);
}

/* Another thread never sets a timer, so what is seen here holds until the poll returns. */
static gboolean source_prepare(GSource *source, int *timeout) {
  Timer *first = first_timer(((TimersSource *)source)->timers);
  gint64 left_us = first ? first->due_us - g_get_monotonic_time() : 0;
  *timeout = first ? (int)CLAMP((left_us + 999) / 1000, 0, G_MAXINT) : -1;
  return first && left_us <= 0;
}

static gboolean source_check(GSource *source) {
  Timer *first = first_timer(((TimersSource *)source)->timers);
  return first && first->due_us <= g_get_monotonic_time();
}

static void fire_due(Timers *timers) {
  gint64 now_us = g_get_monotonic_time();
  for (Timer *timer; (timer = first_timer(timers)) && timer->due_us <= now_us;) {
    timer_clear(timers, timer);
    timer->fire(timer, timer->data);
  }
}

static void task_run(LoopTask *task) {
  Timers *timers = (Timers *)((char *)task - G_STRUCT_OFFSET(Timers, task));
  timers->posted = FALSE;
  if (timers->freed)
    g_free(timers);
  else
    fire_due(timers);
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer data) {
  (void)callback;
  (void)data;
  fire_due(((TimersSource *)source)->timers);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs SOURCE_FUNCS = {.prepare = source_prepare, .check = source_check, .dispatch = source_dispatch};

Timers *timers_new(Loop *loop) {
  Timers *timers = g_new0(Timers, 1);
  timers->loop = loop;
  timers->task.run = task_run;
  timers->by_due = g_sequence_new(NULL);
  timers->source = g_source_new(&SOURCE_FUNCS, sizeof(TimersSource));
  ((TimersSource *)timers->source)->timers = timers;
  g_source_set_name(timers->source, "timers");
  g_source_set_can_recurse(timers->source, TRUE); /* spares glib's guard against it: see loop.c */
  g_source_attach(timers->source, loop_context(loop));
  return timers;
}

void timers_free(Timers *timers) {
  if (!timers)
    return;
  INVARIANT(g_sequence_is_empty(timers->by_due), "who waits clears its timer before the timers go");
  g_source_destroy(timers->source);
  g_source_unref(timers->source);
  g_sequence_free(timers->by_due);
  if (timers->posted)
    timers->freed = TRUE;
  else
    g_free(timers);
}

void timer_set(Timers *timers, Timer *timer, gint64 due_us, void (*fire)(Timer *timer, gpointer data), gpointer data) {
  LOOP_ASSERT_CURRENT(timers->loop);
  timer_clear(timers, timer);
  if (due_us == G_MAXINT64)
    return;
  timer->due_us = due_us;
  timer->fire = fire;
  timer->data = data;
  timer->place = g_sequence_insert_sorted(timers->by_due, timer, compare_due, NULL);
  if (due_us <= 0 && !timers->posted && loop_is_emptying(timers->loop)) {
    timers->posted = TRUE;
    loop_post_completion(timers->loop, &timers->task);
  }
}

void timer_clear(Timers *timers, Timer *timer) {
  if (!timer->place)
    return;
  LOOP_ASSERT_CURRENT(timers->loop);
  g_sequence_remove(timer->place);
  timer->place = NULL;
}

gboolean timer_is_set(const Timer *timer) {
  return timer->place != NULL;
}
