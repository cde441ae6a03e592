/* Changes of who the controllers are, while everything else goes on: a disk that was lost, or damaged, and is replaced
 * as an operator does it (remove, then add with an empty folder); a member that is exchanged for the one that stands
 * by.
 *
 * One job at a time, on a thread of its own that lives as long as the surgeon: it starts processes. A job tries until
 * it is done. */
#pragma once

#include "tests/chaos/fleet.h"

G_BEGIN_DECLS

typedef struct Surgeon Surgeon;

typedef enum {
  SURGEON_REPLACE, /* the member loses its disk */
  SURGEON_DAMAGE,  /* a bit of its folder is flipped while it is down; then its disk is replaced */
  SURGEON_MOVE,    /* the one that stands by becomes a member, and this one stands by */
} SurgeonJob;

/* @say: takes a line for people; called on the surgeon's thread */
Surgeon *surgeon_new(Fleet *fleet, guint standby, guint64 seed, void (*say)(const char *line, gpointer data),
                     gpointer data);
void surgeon_free(Surgeon *surgeon); /* waits for the job to end or gives it up; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Surgeon, surgeon_free)

/* FALSE when it is busy. @member: not the one that stands by */
gboolean surgeon_begin(Surgeon *surgeon, SurgeonJob job, guint member);
gboolean surgeon_is_busy(Surgeon *surgeon);
/* What it tries at this moment and why it has not succeeded; owned by the caller. */
char *surgeon_state(Surgeon *surgeon);
/* Which one stands by, as far as jobs have ended: it may be down or empty, and is no member. */
guint surgeon_standby(Surgeon *surgeon);
/* This one must not run now. */
gboolean surgeon_keeps_down(Surgeon *surgeon, guint controller);
/* How many jobs were done. */
guint surgeon_done(Surgeon *surgeon, SurgeonJob job);

/* ---- For who has no surgeon's thread ---- */

/* Begin the cluster with controllers 0 to @count - 1. Returns NULL or why it did not begin within a minute; owned by
 * the caller. */
char *surgeon_bootstrap(Fleet *fleet, guint count);

G_END_DECLS
