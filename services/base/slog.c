/* Structured logs: see slog.h. One writer function formats what comes through glib's structured logging, ours or a
 * library's; lines are written whole, so those of several threads do not mix. */
#include "services/base/slog.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIELDS_MAX 32

/* Set once in main before any thread is started, then only read. */
static struct {
  char *process;
  SlogFormat format;
  SlogLevel least;
} config = {.least = SLOG_INFO};

static const char *const LEVEL_NAMES[] = {"debug", "info", "warning", "error"};
static const GLogLevelFlags LEVEL_FLAGS[] = {G_LOG_LEVEL_DEBUG, G_LOG_LEVEL_MESSAGE, G_LOG_LEVEL_WARNING,
                                             G_LOG_LEVEL_CRITICAL};

static SlogLevel level_from_flags(GLogLevelFlags flags) {
  if (flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
    return SLOG_ERROR;
  if (flags & G_LOG_LEVEL_WARNING)
    return SLOG_WARNING;
  return flags & (G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO) ? SLOG_INFO : SLOG_DEBUG;
}

static void append_json_string(GString *line, const char *text) {
  g_autofree char *valid = g_utf8_make_valid(text, -1);
  g_string_append_c(line, '"');
  for (const char *c = valid; *c; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_printf(line, "\\%c", *c);
    else if ((guchar)*c < 0x20)
      g_string_append_printf(line, "\\u%04x", *c);
    else
      g_string_append_c(line, *c);
  }
  g_string_append_c(line, '"');
}

/* A value as text: quoted when it would be hard to tell where it ends. */
static void append_text_value(GString *line, const char *text) {
  if (*text && !strpbrk(text, " \t\n\"="))
    g_string_append(line, text);
  else
    append_json_string(line, text);
}

static void append_field(GString *line, const char *key, const char *value) {
  if (config.format == SLOG_JSON) {
    g_string_append_c(line, ',');
    append_json_string(line, key);
    g_string_append_c(line, ':');
    append_json_string(line, value);
  } else {
    g_string_append_printf(line, " %s=", key);
    append_text_value(line, value);
  }
}

static void append_head(GString *line, SlogLevel level, const char *sentence) {
  g_autoptr(GDateTime) now = g_date_time_new_now_utc();
  g_autofree char *seconds = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
  int millis = g_date_time_get_microsecond(now) / 1000;
  if (config.format == SLOG_JSON) {
    g_string_append_printf(line, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"process\":", seconds, millis,
                           LEVEL_NAMES[level]);
    append_json_string(line, config.process ? config.process : "");
    g_string_append(line, ",\"message\":");
    append_json_string(line, sentence);
  } else {
    g_string_append_printf(line, "%s.%03dZ %-7s %s: %s", seconds, millis, LEVEL_NAMES[level],
                           config.process ? config.process : "milena", sentence);
  }
}

static GLogWriterOutput write_line(GLogLevelFlags flags, const GLogField *fields, gsize field_count, gpointer data) {
  (void)data;
  SlogLevel level = level_from_flags(flags);
  if (level < config.least)
    return G_LOG_WRITER_HANDLED;
  const char *sentence = "";
  for (gsize i = 0; i < field_count; i++)
    if (!strcmp(fields[i].key, "MESSAGE") && fields[i].length < 0)
      sentence = fields[i].value;
  g_autoptr(GString) line = g_string_sized_new(256);
  append_head(line, level, sentence);
  for (gsize i = 0; i < field_count; i++) /* ours are in lower case, glib's own in upper case */
    if (g_ascii_islower(fields[i].key[0]) && fields[i].length < 0)
      append_field(line, fields[i].key, fields[i].value);
  g_string_append(line, config.format == SLOG_JSON ? "}\n" : "\n");
  ssize_t ignored = write(STDERR_FILENO, line->str, line->len);
  (void)ignored;
  return G_LOG_WRITER_HANDLED;
}

void slog_init(const char *process, SlogFormat format, SlogLevel least) {
  g_free(config.process);
  config.process = g_strdup(process);
  config.format = format;
  config.least = least;
  g_log_set_writer_func(write_line, NULL, NULL);
}

void slog(SlogLevel level, const char *sentence, ...) {
  if (level < config.least)
    return;
  GLogField fields[FIELDS_MAX] = {{"MESSAGE", sentence, -1}};
  gsize count = 1;
  va_list args;
  va_start(args, sentence);
  for (const char *key; count < FIELDS_MAX && (key = va_arg(args, const char *));) {
    const char *value = va_arg(args, const char *);
    fields[count++] = (GLogField){key, value ? value : "", -1};
  }
  va_end(args);
  g_log_structured_array(LEVEL_FLAGS[level], fields, count);
}

const char *slog_number(gint64 n, char *buffer) {
  g_snprintf(buffer, 24, "%" G_GINT64_FORMAT, n);
  return buffer;
}
