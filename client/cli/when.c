#include "client/cli/when.h"

#include <string.h>

static gint64 unit_ms(const char **at) {
  static const struct {
    const char *name;
    gint64 ms;
  } UNITS[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
  for (guint i = 0; i < G_N_ELEMENTS(UNITS); i++) {
    gsize length = strlen(UNITS[i].name);
    if (strncmp(*at, UNITS[i].name, length) == 0 && !g_ascii_isalpha((*at)[length])) {
      *at += length;
      return UNITS[i].ms;
    }
  }
  return 0;
}

/* "1h30m" → milliseconds; FALSE when it is not like that. */
static gboolean parse_span(const char *at, gint64 *ret_ms) {
  gint64 total = 0;
  do {
    char *end = NULL;
    if (!g_ascii_isdigit(*at))
      return FALSE;
    guint64 number = g_ascii_strtoull(at, &end, 10);
    at = end;
    gint64 unit = unit_ms(&at);
    /* No span of a log reaches back a thousand years; so the sum can't overflow. */
    if (unit == 0 || number > G_GUINT64_CONSTANT(31556952000000) / (guint64)unit)
      return FALSE;
    total += (gint64)number * unit;
    if (total > G_GINT64_CONSTANT(31556952000000))
      return FALSE;
  } while (*at);
  *ret_ms = total;
  return TRUE;
}

static gboolean parse_time(const char *text, GTimeZone *zone, gint64 *ret_ms) {
  g_autofree char *whole = strchr(text, 'T') || strchr(text, 't') || strchr(text, ' ')
                               ? g_strdup(text)
                               : g_strconcat(text, "T00:00:00", NULL);
  g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(whole, zone);
  if (!time)
    return FALSE;
  *ret_ms = g_date_time_to_unix(time) * 1000 + g_date_time_get_microsecond(time) / 1000;
  return TRUE;
}

Failure *when_parse(const char *option, const char *text, gint64 now_ms, GTimeZone *zone, When *ret_when) {
  When when = {.kind = WHEN_TIME};
  if (!strcmp(text, "beginning") || !strcmp(text, "earliest")) {
    when.kind = WHEN_BEGINNING;
  } else if (!strcmp(text, "end") || !strcmp(text, "latest")) {
    when.kind = WHEN_END;
  } else if (*text && strspn(text, "0123456789") == strlen(text)) {
    when.kind = WHEN_OFFSET;
    if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &when.offset, NULL))
      return failure_new(FAILURE(INVALID_FIELD), "%s is '%s': no offset is so large.", option, text);
  } else if (*text == '-' && parse_span(text + 1, &when.unix_ms)) {
    when.unix_ms = now_ms - when.unix_ms;
  } else if (!parse_time(text, zone, &when.unix_ms)) {
    return failure_new(FAILURE(INVALID_FIELD),
                       "%s is '%s', but must be beginning, end, an offset such as 1200, a time such as "
                       "2026-11-21T13:00:00Z, or a time ago such as -1h or -90s.",
                       option, text);
  }
  *ret_when = when;
  return NULL;
}
