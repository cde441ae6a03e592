/* How `milena consume` shows a record: templates such as "%p@%o %k: %v\n", and JSON. Pure. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* Some bytes, or none at all (data is NULL), which is not the same as empty ones. */
typedef struct {
  const guint8 *data;
  gsize length;
} ShownBytes;

typedef struct {
  const char *key;
  ShownBytes value;
} ShownHeader;

/* A record to show; all borrowed. */
typedef struct {
  const char *topic;
  gint32 partition;
  gint64 offset;
  gint64 unix_ms; /* its timestamp */
  gint32 leader_epoch;
  ShownBytes key, value;
  const ShownHeader *headers;
  gsize header_count;
} ShownRecord;

typedef struct Template Template;

/* Compile a format: value, key-value, full, json, or a template of text, escapes (text_unescape) and
 *
 *   %t topic   %p partition   %o offset   %T time   %e leader epoch   %k key   %v value   %h headers
 *   %K length of the key (-1: none)   %S length of the value (-1: none)   %% a percent sign
 *
 * Returns NULL, or INVALID_FIELD; @ret_template is owned by the caller, untouched on failure. */
Failure *template_new(const char *format, Template **ret_template);
void template_free(Template *template); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Template, template_free)

/* Append the record as it is to be written. Keys and values are written as they are; no key or value writes nothing. */
void template_apply(const Template *template, const ShownRecord *record, GString *out);

G_END_DECLS
