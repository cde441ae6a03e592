#include "client/cli/template.h"

#include "tests/shim/shim.h"

/* A literal and its length, for it may hold NUL. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static const MilenaHeader HEADERS[] = {{"a", {"1", 1}}, {"b", {NULL, 0}}};

static const MilenaConsumedRecord RECORD = {
    .offset = 42,
    .timestamp_ms = 1795266256250,
    .key = {"key", 3},
    .value = {"va\0lue", 6},
    .headers = HEADERS,
    .header_count = 2,
    .leader_epoch = 7,
};
static const MilenaConsumedRecord TOMBSTONE = {.offset = 1};

static const struct {
  const char *name, *format;
  const MilenaConsumedRecord *record;
  const char *want;
  size_t length;
} ROWS[] = {
    {"value", "value", &RECORD, TEXT("va\0lue\n")},
    {"key_value", "key-value", &RECORD, TEXT("key\tva\0lue\n")},
    {"full", "full", &RECORD, TEXT("t-3@42 2026-11-21T13:04:16.250Z key=key headers=a=1,b= value=va\0lue\n")},
    {"all_directives", "%t|%p|%o|%T|%e|%k|%h|%K|%S|%%\\n", &RECORD,
     TEXT("t|3|42|2026-11-21T13:04:16.250Z|7|key|a=1,b=|3|6|%\n")},
    {"escapes", "\\x00\\t%o", &RECORD, TEXT("\0\t42")},
    {"value_of_a_tombstone", "%v|%S|%K", &TOMBSTONE, TEXT("|-1|-1")},
    {"json", "json", &RECORD,
     TEXT(
         "{\"topic\":\"t\",\"partition\":3,\"offset\":42,\"timestamp\":\"2026-11-21T13:04:16.250Z\",\"leader_epoch\":7,"
         "\"key\":\"key\",\"value_base64\":\"dmEAbHVl\",\"headers\":[{\"key\":\"a\",\"value\":\"1\"},"
         "{\"key\":\"b\",\"value\":null}]}\n")},
    {"json_of_a_tombstone", "json", &TOMBSTONE,
     TEXT("{\"topic\":\"t\",\"partition\":3,\"offset\":1,\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"leader_epoch\":0,"
          "\"key\":null,\"value\":null,\"headers\":[]}\n")},
};

TEST_ROWS(template, ROWS) {
  g_autoptr(Template) template = NULL;
  ASSERT_NULL(template_new(ROWS[row].format, &template));
  g_autoptr(GString) out = g_string_new(NULL);
  template_apply(template, "t", 3, ROWS[row].record, out);
  EXPECT_EQ_BYTES(ROWS[row].want, ROWS[row].length, out->str, out->len);
}

static const struct {
  const char *name, *format, *says;
} REFUSED[] = {
    {"misspelt_name", "vaule", "'vaule'"}, {"unknown_directive", "%v %x", "%x"}, {"lone_percent", "%v %", "'%'"},
    {"bad_escape", "%v\\q", "\\q"},        {"empty", "", "value, key-value"},
};

TEST_ROWS(template_refuses, REFUSED) {
  g_autoptr(Template) template = NULL;
  g_autoptr(Failure) failure = template_new(REFUSED[row].format, &template);
  EXPECT_NULL(template);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), REFUSED[row].says);
}
