/* The progress line of `milena produce` on a terminal: a bar when the size is known, else counts. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What to show. */
typedef struct {
  guint64 bytes_done;
  guint64 bytes_total; /* 0 when unknown */
  guint64 records;
  gint64 elapsed_us;
} ProgressState;

/* The line, without control characters, at most @width characters; owned by the caller. Pure. */
char *progress_line(const ProgressState *state, guint width);

/* Draws on standard error, at most ten times a second; does nothing when that is no terminal. One thread. */
typedef struct Progress Progress;
Progress *progress_new(gboolean wanted);
/* Clears the line. NULL is fine. */
void progress_free(Progress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_free)
void progress_show(Progress *progress, const ProgressState *state);

G_END_DECLS
