/* How `milena produce` finds the key of a record: before a delimiter, in a field, or by a regular expression. Pure. */
#pragma once

#include <glib.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct KeyRule KeyRule;

/* The options as they were given; at most one of the first three may be set.
 *
 * @delimiter: what stands between key and value, with escapes; or NULL
 * @field: which field, from 1, of those that blanks separate, is the key; 0 for none
 * @regex: its first group, or else all that it matches, is the key; or NULL
 * @ret_rule: owned by the caller; untouched on failure
 *
 * Returns NULL, or INVALID_FIELD. */
Failure *key_rule_new(const char *delimiter, gint field, const char *regex, KeyRule **ret_rule);
void key_rule_free(KeyRule *rule); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KeyRule, key_rule_free)

/* A record taken apart; all borrowed from the record. */
typedef struct {
  const guint8 *key; /* NULL when it has none */
  gsize key_length;
  const guint8 *value;
  gsize value_length;
} KeyedRecord;

/* Take a record apart. With a delimiter the value is what follows it; else it is the whole record. */
KeyedRecord key_rule_apply(const KeyRule *rule, const guint8 *record, gsize length);

G_END_DECLS
