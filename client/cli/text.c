#include "client/cli/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Escapes ---- */

/* The byte that stands behind a backslash, or -1. Moves @at behind it. */
static int escaped_byte(const char **at) {
  static const struct {
    char letter, byte;
  } SIMPLE[] = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'0', '\0'}, {'\\', '\\'}};
  for (guint i = 0; i < G_N_ELEMENTS(SIMPLE); i++) {
    if (**at == SIMPLE[i].letter) {
      (*at)++;
      return (guint8)SIMPLE[i].byte;
    }
  }
  if (**at != 'x' || !g_ascii_isxdigit((*at)[1]) || !g_ascii_isxdigit((*at)[2]))
    return -1;
  int byte = g_ascii_xdigit_value((*at)[1]) * 16 + g_ascii_xdigit_value((*at)[2]);
  *at += 3;
  return byte;
}

Failure *text_unescape(const char *text, GBytes **ret_bytes) {
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  for (const char *at = text; *at;) {
    guint8 byte = (guint8)*at++;
    if (byte == '\\') {
      const char *escape = at - 1;
      int value = escaped_byte(&at);
      if (value < 0)
        return failure_new(FAILURE(INVALID_FIELD),
                           "'%s' has the unknown escape '%.2s': use \\n, \\r, \\t, \\0, \\\\ or \\xNN.", text, escape);
      byte = (guint8)value;
    }
    g_byte_array_append(bytes, &byte, 1);
  }
  *ret_bytes = g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
  return NULL;
}

char *text_escape(const char *bytes, gsize length) {
  GString *out = g_string_sized_new(length);
  const char *end = bytes + length;
  while (bytes < end) {
    guchar byte = (guchar)*bytes;
    gunichar character = byte < 0x80 ? byte : g_utf8_get_char_validated(bytes, end - bytes);
    gboolean valid = character != (gunichar)-1 && character != (gunichar)-2;
    if (valid && !g_unichar_iscntrl(character)) {
      const char *next = byte < 0x80 ? bytes + 1 : g_utf8_next_char(bytes);
      g_string_append_len(out, bytes, next - bytes);
      bytes = next;
      continue;
    }
    if (byte == '\n' || byte == '\r' || byte == '\t')
      g_string_append(out, byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : "\\t");
    else
      g_string_append_printf(out, "\\x%02x", byte);
    bytes++;
  }
  return g_string_free(out, FALSE);
}

/* ---- Arguments ---- */

Failure *text_number(const char *what, const char *text, gint64 least, gint64 most, gint64 *ret_number) {
  gint64 number;
  g_autoptr(GError) error = NULL;
  if (!g_ascii_string_to_signed(text, 10, least, most, &number, &error))
    return failure_new(FAILURE(INVALID_FIELD),
                       "%s is '%s', but must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT ".",
                       what, text, least, most);
  *ret_number = number;
  return NULL;
}

Failure *text_size(const char *what, const char *text, guint64 *ret_bytes) {
  static const struct {
    const char *suffix;
    guint64 factor;
  } UNITS[] = {{"", 1},          {"B", 1},         {"kB", 1000},    {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
               {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  char *end = NULL;
  guint64 number = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  for (guint i = 0; end && i < G_N_ELEMENTS(UNITS); i++) {
    if (strcmp(end, UNITS[i].suffix) != 0 || number > G_MAXINT64 / UNITS[i].factor)
      continue;
    *ret_bytes = number * UNITS[i].factor;
    return NULL;
  }
  return failure_new(FAILURE(INVALID_FIELD), "%s is '%s', but must be a size such as 512, 64KiB or 20MB.", what, text);
}

Failure *text_pair(const char *what, const char *text, char **ret_key, char **ret_value) {
  const char *equals = strchr(text, '=');
  if (!equals || equals == text)
    return failure_new(FAILURE(INVALID_FIELD), "%s is '%s', but must look like name=value.", what, text);
  *ret_key = g_strndup(text, (gsize)(equals - text));
  *ret_value = g_strdup(equals + 1);
  return NULL;
}

/* ---- For people ---- */

char *text_grouped(guint64 number) {
  g_autofree char *digits = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  gsize length = strlen(digits);
  GString *out = g_string_sized_new(length + length / 3);
  for (gsize i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0)
      g_string_append_c(out, ',');
    g_string_append_c(out, digits[i]);
  }
  return g_string_free(out, FALSE);
}

char *text_counted(guint64 number, const char *noun) {
  g_autofree char *grouped = text_grouped(number);
  return g_strdup_printf("%s %s%s", grouped, noun, number == 1 ? "" : "s");
}

char *text_bytes(double bytes) {
  static const char *const UNITS[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  guint unit = 0;
  /* 999.95 would be printed as 1000.0 of its unit. */
  while (bytes >= (unit ? 999.95 : 999.5) && unit + 1 < G_N_ELEMENTS(UNITS)) {
    bytes /= 1000;
    unit++;
  }
  return g_strdup_printf("%.*f %s", unit ? 1 : 0, bytes, UNITS[unit]);
}

char *text_duration(gint64 seconds) {
  static const struct {
    gint64 seconds;
    const char *name;
  } UNITS[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
  for (guint i = 0; i + 1 < G_N_ELEMENTS(UNITS); i++) {
    if (seconds >= UNITS[i].seconds)
      return g_strdup_printf("%" G_GINT64_FORMAT " %s %" G_GINT64_FORMAT " %s", seconds / UNITS[i].seconds,
                             UNITS[i].name, seconds % UNITS[i].seconds / UNITS[i + 1].seconds, UNITS[i + 1].name);
  }
  return g_strdup_printf("%" G_GINT64_FORMAT " s", seconds);
}

char *text_time(gint64 unix_ms) {
  gint64 seconds = unix_ms / 1000 - (unix_ms % 1000 < 0);
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
  if (!time)
    return NULL;
  g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
  return g_strdup_printf("%s.%03dZ", text, (int)(unix_ms - seconds * 1000));
}

/* ---- Nearest ---- */

#define WORD_MAX 64

/* How many letters must be inserted, deleted, replaced or swapped with their neighbour to come from one to the other.
 */
static guint distance(const char *from, const char *to) {
  gsize from_length = strlen(from), to_length = strlen(to);
  if (from_length > WORD_MAX || to_length > WORD_MAX)
    return G_MAXUINT;
  guint rows[3][WORD_MAX + 1]; /* the row before the last, the last, this */
  for (gsize j = 0; j <= to_length; j++)
    rows[1][j] = (guint)j;
  for (gsize i = 1; i <= from_length; i++) {
    rows[2][0] = (guint)i;
    for (gsize j = 1; j <= to_length; j++) {
      guint best = rows[1][j - 1] + (from[i - 1] != to[j - 1]);
      best = MIN(best, MIN(rows[1][j], rows[2][j - 1]) + 1);
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
        best = MIN(best, rows[0][j - 2] + 1);
      rows[2][j] = best;
    }
    memcpy(rows[0], rows[1], sizeof rows[0]);
    memcpy(rows[1], rows[2], sizeof rows[1]);
  }
  return rows[1][to_length];
}

const char *text_nearest(const char *word, const char *const *words) {
  const char *nearest = NULL;
  /* A third of its letters may be wrong: more would be a guess. */
  guint best = (guint)strlen(word) / 3 + 1;
  for (; *words; words++) {
    if (strlen(word) >= 2 && g_str_has_prefix(*words, word))
      return *words;
    guint steps = distance(word, *words);
    if (steps <= best && (!nearest || steps < best)) {
      best = steps;
      nearest = *words;
    }
  }
  return nearest;
}
