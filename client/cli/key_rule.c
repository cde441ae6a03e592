#include "client/cli/key_rule.h"

#include <string.h>

#include "client/cli/text.h"

struct KeyRule {
  GBytes *delimiter; /* at most one of the three is set; none: records have no key */
  guint field;
  GRegex *regex;
};

/* Each option by itself. */
static Failure *rule_fill(KeyRule *rule, const char *delimiter, gint field, const char *regex) {
  if (field < 0)
    return failure_new(FAILURE(INVALID_FIELD), "--key-field is %d, but fields are counted from 1.", field);
  rule->field = (guint)field;
  if (delimiter) {
    Failure *failure = text_unescape(delimiter, &rule->delimiter);
    if (failure)
      return failure_prefix(failure, "--key-delimiter");
    if (g_bytes_get_size(rule->delimiter) == 0)
      return failure_new(FAILURE(INVALID_FIELD), "--key-delimiter is empty; give at least one character.");
  }
  if (regex) {
    g_autoptr(GError) error = NULL;
    /* RAW: records are bytes, not text; MULTILINE: ^ and $ stand for the ends of each line of the record. */
    rule->regex = g_regex_new(regex, G_REGEX_RAW | G_REGEX_MULTILINE | G_REGEX_OPTIMIZE, 0, &error);
    if (!rule->regex)
      return failure_new(FAILURE(INVALID_FIELD), "--key-regex is not a regular expression: %s.", error->message);
  }
  return NULL;
}

Failure *key_rule_new(const char *delimiter, gint field, const char *regex, KeyRule **ret_rule) {
  if ((delimiter != NULL) + (field != 0) + (regex != NULL) > 1)
    return failure_new(FAILURE(INVALID_FIELD),
                       "--key-delimiter, --key-field and --key-regex exclude each other: give one of them.");
  g_autoptr(KeyRule) rule = g_new0(KeyRule, 1);
  Failure *failure = rule_fill(rule, delimiter, field, regex);
  if (failure)
    return failure;
  *ret_rule = g_steal_pointer(&rule);
  return NULL;
}

void key_rule_free(KeyRule *rule) {
  if (!rule)
    return;
  g_clear_pointer(&rule->delimiter, g_bytes_unref);
  g_clear_pointer(&rule->regex, g_regex_unref);
  g_free(rule);
}

static gboolean is_blank(guint8 byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void apply_field(guint field, KeyedRecord *record) {
  gsize at = 0, length = record->value_length;
  for (guint number = 1; at < length; number++) {
    while (at < length && is_blank(record->value[at]))
      at++;
    gsize begin = at;
    while (at < length && !is_blank(record->value[at]))
      at++;
    if (number == field && at > begin) {
      record->key = record->value + begin;
      record->key_length = at - begin;
      return;
    }
  }
}

static void apply_regex(const GRegex *regex, KeyedRecord *record) {
  g_autoptr(GMatchInfo) match = NULL;
  const char *text = (const char *)record->value;
  if (!g_regex_match_full(regex, text, (gssize)record->value_length, 0, 0, &match, NULL))
    return;
  int begin, end;
  /* A group that took no part in the match, as one branch of an alternation, gives way to the next. */
  for (int group = g_regex_get_capture_count(regex) > 0; group <= g_regex_get_capture_count(regex); group++) {
    if (!g_match_info_fetch_pos(match, group, &begin, &end) || begin < 0)
      continue;
    record->key = record->value + begin;
    record->key_length = (gsize)(end - begin);
    return;
  }
}

KeyedRecord key_rule_apply(const KeyRule *rule, const guint8 *record, gsize length) {
  KeyedRecord keyed = {.value = record, .value_length = length};
  if (rule->field)
    apply_field(rule->field, &keyed);
  if (rule->regex)
    apply_regex(rule->regex, &keyed);
  if (!rule->delimiter)
    return keyed;
  gsize delimiter_length;
  const void *delimiter = g_bytes_get_data(rule->delimiter, &delimiter_length);
  const guint8 *found = length ? memmem(record, length, delimiter, delimiter_length) : NULL;
  if (found) {
    keyed.key = record;
    keyed.key_length = (gsize)(found - record);
    keyed.value = found + delimiter_length;
    keyed.value_length = length - keyed.key_length - delimiter_length;
  }
  return keyed;
}
