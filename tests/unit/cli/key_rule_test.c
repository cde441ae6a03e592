#include "client/cli/key_rule.h"

#include <string.h>

#include "tests/shim/shim.h"

#define DPKG " (?:status \\S+|install|upgrade|configure|trigproc|remove|purge) (\\S+)"

static const struct {
  const char *name, *delimiter;
  int field;
  const char *regex, *record, *key, *value;
} ROWS[] = {
    {"no_rule", NULL, 0, NULL, "a:b", NULL, "a:b"},
    {"delimiter", ":", 0, NULL, "a:b:c", "a", "b:c"},
    {"delimiter_missing", ":", 0, NULL, "abc", NULL, "abc"},
    {"delimiter_first", ":", 0, NULL, ":b", "", "b"},
    {"delimiter_last", ":", 0, NULL, "a:", "a", ""},
    {"delimiter_with_escape", "\\t", 0, NULL, "a\tb", "a", "b"},
    {"delimiter_of_two", "::", 0, NULL, "a:b::c", "a:b", "c"},
    {"field", NULL, 2, NULL, " one \t two three", "two", " one \t two three"},
    {"field_last", NULL, 3, NULL, "one two three\n", "three", "one two three\n"},
    {"field_missing", NULL, 4, NULL, "one two three ", NULL, "one two three "},
    {"field_of_nothing", NULL, 1, NULL, "", NULL, ""},
    {"regex_group", NULL, 0, "^Package: (\\S+)", "Package: bash\nVersion: 5", "bash", "Package: bash\nVersion: 5"},
    {"regex_at_a_later_line", NULL, 0, "^Package: (\\S+)", "X: y\nPackage: bash\n", "bash", "X: y\nPackage: bash\n"},
    {"regex_whole", NULL, 0, "[0-9]+", "ab123c", "123", "ab123c"},
    {"regex_missing", NULL, 0, "[0-9]+", "abc", NULL, "abc"},
    {"regex_second_branch", NULL, 0, "a=(\\d)|b=(\\d)", "b=7", "7", "b=7"},
    {"dpkg_status", NULL, 0, DPKG, "2026-11-21 10:00:00 status half-installed bash:amd64 5.2", "bash:amd64",
     "2026-11-21 10:00:00 status half-installed bash:amd64 5.2"},
    {"dpkg_install", NULL, 0, DPKG, "2026-11-21 10:00:00 install bash:amd64 <none> 5.2", "bash:amd64",
     "2026-11-21 10:00:00 install bash:amd64 <none> 5.2"},
    {"dpkg_startup", NULL, 0, DPKG, "2026-11-21 10:00:00 startup archives unpack", NULL,
     "2026-11-21 10:00:00 startup archives unpack"},
    {"bytes_that_are_no_text", NULL, 0, "k=(.)", "\xff\xfek=\xf0", "\xf0", "\xff\xfek=\xf0"},
};

TEST_ROWS(key_rule, ROWS) {
  g_autoptr(KeyRule) rule = NULL;
  ASSERT_NULL(key_rule_new(ROWS[row].delimiter, ROWS[row].field, ROWS[row].regex, &rule));
  KeyedRecord got = key_rule_apply(rule, (const guint8 *)ROWS[row].record, strlen(ROWS[row].record));
  EXPECT_EQ_BYTES(ROWS[row].value, strlen(ROWS[row].value), got.value, got.value_length);
  EXPECT_EQ_INT(ROWS[row].key != NULL, got.key != NULL);
  if (ROWS[row].key && got.key)
    EXPECT_EQ_BYTES(ROWS[row].key, strlen(ROWS[row].key), got.key, got.key_length);
}

static const struct {
  const char *name, *delimiter;
  int field;
  const char *regex, *says;
} REFUSED[] = {
    {"two_rules", ":", 1, NULL, "exclude"},       {"three_rules", ":", 1, "x", "exclude"},
    {"negative_field", NULL, -1, NULL, "from 1"}, {"empty_delimiter", "", 0, NULL, "empty"},
    {"bad_escape", "\\q", 0, NULL, "\\q"},        {"bad_regex", NULL, 0, "(", "--key-regex"},
};

TEST_ROWS(key_rule_refuses, REFUSED) {
  g_autoptr(KeyRule) rule = NULL;
  g_autoptr(Failure) failure = key_rule_new(REFUSED[row].delimiter, REFUSED[row].field, REFUSED[row].regex, &rule);
  EXPECT_NULL(rule);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), REFUSED[row].says);
}
