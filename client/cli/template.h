/* How `milena consume` shows a record: templates such as "%p@%o %k: %v\n", and JSON. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

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
void template_apply(const Template *template, const char *topic, gint32 partition, const MilenaConsumedRecord *record,
                    GString *out);

G_END_DECLS
