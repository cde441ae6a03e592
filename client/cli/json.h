/* Writes JSON (RFC 8259): values in their order, commas, escapes and indentation by itself. Pure.
 *
 *   json_open(json, NULL, '{'); json_string(json, "name", "orders"); json_close(json);
 *
 * @key is the member's name inside an object, and NULL inside an array and at the top. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Json Json;

/* @out: borrowed; gets the text appended
 * @indent: TRUE: a line for each value, for people; FALSE: all in one line */
Json *json_new(GString *out, gboolean indent);
void json_free(Json *json); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_free)

/* @bracket: '{' or '[' */
void json_open(Json *json, const char *key, char bracket);
void json_close(Json *json);
/* NULL becomes null; bytes that are not UTF-8 become U+FFFD. */
void json_string(Json *json, const char *key, const char *text);
/* Bytes: a string under @key when they are UTF-8 without NUL, else base64 under "<key>_base64"; NULL: null. Only in
 * objects. */
void json_bytes(Json *json, const char *key, const void *bytes, gsize length);
void json_int(Json *json, const char *key, gint64 number);
void json_uint(Json *json, const char *key, guint64 number);
/* Three digits behind the point; null when it is no number. */
void json_double(Json *json, const char *key, double number);
void json_bool(Json *json, const char *key, gboolean value);

G_END_DECLS
