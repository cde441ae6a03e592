/* What a run has shown: lines for people while it goes on, then a line "ok", "not ok" or "skip" for each claim. Any
 * thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Report Report;

Report *report_new(void);
void report_free(Report *report); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Report, report_free)

/* A line at once. */
void report_say(Report *report, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The claim holds when @wrong is NULL. @wrong: why it does not; taken */
void report_claim(Report *report, char *wrong, const char *claim, ...) G_GNUC_PRINTF(3, 4);
void report_skip(Report *report, const char *why, const char *claim, ...) G_GNUC_PRINTF(3, 4);
guint report_failures(Report *report);
/* "12 passed, 0 failed, 1 skipped". */
void report_close(Report *report);

G_END_DECLS
