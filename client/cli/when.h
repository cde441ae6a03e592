/* A place in a topic, as `milena consume --from` takes it: an end of the log, an offset, or a time. Pure. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef enum { WHEN_BEGINNING, WHEN_END, WHEN_OFFSET, WHEN_TIME } WhenKind;

typedef struct {
  WhenKind kind;
  gint64 offset;  /* WHEN_OFFSET */
  gint64 unix_ms; /* WHEN_TIME */
} When;

/* "beginning", "end", "1234", "2026-11-21T13:00:00Z", "2026-11-21", "-90s", "-1h30m".
 *
 * @option: its name in the sentence: "--from"
 * @now_ms: what relative times count from, milliseconds since 1970
 * @zone: of times that name none
 * @ret_when: untouched on failure
 *
 * Returns NULL, or INVALID_FIELD. */
Failure *when_parse(const char *option, const char *text, gint64 now_ms, GTimeZone *zone, When *ret_when);

G_END_DECLS
