#include "client/cli/json.h"

#include <math.h>
#include <string.h>

#include "services/base/invariant.h"

#define DEPTH_MAX 16

struct Json {
  GString *out;
  gboolean indent;
  guint depth;
  char closers[DEPTH_MAX];
  gboolean filled[DEPTH_MAX + 1]; /* by depth: has a value already */
};

Json *json_new(GString *out, gboolean indent) {
  Json *json = g_new0(Json, 1);
  json->out = out;
  json->indent = indent;
  return json;
}

void json_free(Json *json) {
  g_free(json);
}

static void new_line(Json *json) {
  if (!json->indent)
    return;
  g_string_append_c(json->out, '\n');
  for (guint i = 0; i < json->depth; i++)
    g_string_append(json->out, "  ");
}

static void append_quoted(GString *out, const char *text, gsize length) {
  g_autofree char *valid = g_utf8_make_valid(text, (gssize)length);
  g_string_append_c(out, '"');
  for (const char *at = valid; *at; at++) {
    guchar byte = (guchar)*at;
    if (byte == '"' || byte == '\\')
      g_string_append_printf(out, "\\%c", byte);
    else if (byte == '\n' || byte == '\t' || byte == '\r')
      g_string_append(out, byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : "\\r");
    else if (byte < 0x20 || byte == 0x7f)
      g_string_append_printf(out, "\\u%04x", byte);
    else
      g_string_append_c(out, (char)byte);
  }
  g_string_append_c(out, '"');
}

/* What stands before a value: comma, line, name. */
static void begin_value(Json *json, const char *key) {
  INVARIANT((key != NULL) == (json->depth > 0 && json->closers[json->depth - 1] == '}'),
            "members of objects have names, others have none");
  if (json->filled[json->depth])
    g_string_append_c(json->out, ',');
  json->filled[json->depth] = TRUE;
  if (json->depth > 0)
    new_line(json);
  if (!key)
    return;
  append_quoted(json->out, key, strlen(key));
  g_string_append(json->out, json->indent ? ": " : ":");
}

void json_open(Json *json, const char *key, char bracket) {
  INVARIANT(json->depth < DEPTH_MAX, "our own documents are shallow");
  begin_value(json, key);
  g_string_append_c(json->out, bracket);
  json->closers[json->depth++] = bracket == '{' ? '}' : ']';
  json->filled[json->depth] = FALSE;
}

void json_close(Json *json) {
  INVARIANT(json->depth > 0, "something is open");
  gboolean filled = json->filled[json->depth];
  json->depth--;
  if (filled)
    new_line(json);
  g_string_append_c(json->out, json->closers[json->depth]);
}

void json_string(Json *json, const char *key, const char *text) {
  begin_value(json, key);
  if (text)
    append_quoted(json->out, text, strlen(text));
  else
    g_string_append(json->out, "null");
}

void json_bytes(Json *json, const char *key, const void *bytes, gsize length) {
  if (!bytes) {
    json_string(json, key, NULL);
  } else if (g_utf8_validate_len(bytes, length, NULL)) {
    begin_value(json, key);
    append_quoted(json->out, bytes, length);
  } else {
    g_autofree char *name = g_strconcat(key, "_base64", NULL);
    g_autofree char *encoded = g_base64_encode(bytes, length);
    json_string(json, name, encoded);
  }
}

void json_int(Json *json, const char *key, gint64 number) {
  begin_value(json, key);
  g_string_append_printf(json->out, "%" G_GINT64_FORMAT, number);
}

void json_uint(Json *json, const char *key, guint64 number) {
  begin_value(json, key);
  g_string_append_printf(json->out, "%" G_GUINT64_FORMAT, number);
}

void json_double(Json *json, const char *key, double number) {
  begin_value(json, key);
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  if (isfinite(number))
    g_string_append(json->out, g_ascii_formatd(text, sizeof text, "%.3f", number));
  else
    g_string_append(json->out, "null");
}

void json_bool(Json *json, const char *key, gboolean value) {
  begin_value(json, key);
  g_string_append(json->out, value ? "true" : "false");
}
