/* An event loop with a bounded mailbox: the one thread that owns a piece of state.
 *
 * Other threads hand it tasks; it runs them in order. A task is embedded in whatever it carries, so posting allocates
 * nothing. The mailbox is bounded: loop_post says no when it is full, and the caller tells its peer to retry.
 * Completions of work that the loop itself started are bounded by that work, and always fit: loop_post_completion.
 *
 *   new ──start──► running ──stop──► stopping (runs what is in the mailbox, takes nothing more) ──► stopped
 *
 * Built on a glib main context; timers and other glib sources may be attached to loop_context. The mailbox is a pthread
 * mutex and an eventfd, which ThreadSanitizer understands. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Loop Loop;
typedef struct LoopTask LoopTask;

/* Any thread → the loop. Owned by whoever embeds it; must stay put until it has run, and may be posted again then. */
struct LoopTask {
  LoopTask *next;              /* the mailbox's while posted */
  void (*run)(LoopTask *task); /* called on the loop's thread; may free the task */
};

/* @name: of its thread, 15 characters at most; copied
 * @mailbox_max: tasks that may wait, besides completions */
Loop *loop_new(const char *name, guint mailbox_max);
/* Start the thread. */
void loop_start(Loop *loop);
/* Run the loop on the calling thread instead, until loop_quit: for main(). */
void loop_run(Loop *loop);
/* Make loop_run return once the mailbox is empty, or end the thread of a started loop. Any thread. */
void loop_quit(Loop *loop);
/* loop_quit, and wait for the thread. Not on the loop itself. */
void loop_stop(Loop *loop);
/* Run on this thread what is left in the mailbox of a loop that has ended: completions of work that went on. */
void loop_finish(Loop *loop);
/* Stops it if need be, and finishes it. NULL is fine. */
void loop_free(Loop *loop);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Loop, loop_free)

/* Hand @task to the loop. Returns FALSE, and does nothing, when the mailbox is full or the loop stops. Any thread. */
G_GNUC_WARN_UNUSED_RESULT gboolean loop_post(Loop *loop, LoopTask *task);
/* Hand over the completion of work that was counted when it began: always fits, until the loop has stopped. Any thread.
 */
void loop_post_completion(Loop *loop, LoopTask *task);
/* Run @func on the loop: convenience that allocates, not for hot paths; counts as a completion. Any thread. */
void loop_call(Loop *loop, void (*func)(gpointer data), gpointer data);
/* The same, and wait until it has run. Not on the loop itself. */
void loop_call_and_wait(Loop *loop, void (*func)(gpointer data), gpointer data);

/* Timers; the loop's thread only. Each returns a source to g_source_destroy and g_source_unref, owned by the caller. */
GSource *loop_add_timeout(Loop *loop, guint delay_ms, GSourceFunc func, gpointer data);
/* The calling thread runs the loop; or ran it, or stopped it: then what the loop owned is the caller's, to free it. */
gboolean loop_is_current(Loop *loop);
/* The loop runs what was posted: what is posted to it now runs before it looks at anything else. The loop's thread. */
gboolean loop_is_emptying(Loop *loop);
GMainContext *loop_context(Loop *loop);

/* State belongs to its loop: a broken promise ends the process. */
#define LOOP_ASSERT_CURRENT(loop) INVARIANT(loop_is_current(loop), "must run on its own loop")

G_END_DECLS

#include "services/base/invariant.h"
