#include "client/cli/json.h"

#include "tests/shim/shim.h"

static const struct {
  const char *name, *text, *want;
} STRINGS[] = {
    {"plain", "abc", "\"abc\""},
    {"empty", "", "\"\""},
    {"none", NULL, "null"},
    {"quotes_and_backslash", "a\"b\\c", "\"a\\\"b\\\\c\""},
    {"named_controls", "\n\t\r", "\"\\n\\t\\r\""},
    {"other_controls", "\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
    {"utf8", "\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\""},
    {"not_utf8", "a\xff", "\"a\xef\xbf\xbd\""},
};

TEST_ROWS(json_string, STRINGS) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  json_string(json, NULL, STRINGS[row].text);
  EXPECT_EQ_STR(STRINGS[row].want, out->str);
}

static const struct {
  const char *name, *bytes;
  gsize length;
  const char *want;
} BYTES[] = {
    {"none", NULL, 0, "{\"key\":null}"},
    {"empty", "", 0, "{\"key\":\"\"}"},
    {"text", "a\nb", 3, "{\"key\":\"a\\nb\"}"},
    {"not_utf8", "\xff\xfe", 2, "{\"key_base64\":\"//4=\"}"},
    {"with_nul", "a\0b", 3, "{\"key_base64\":\"YQBi\"}"},
};

TEST_ROWS(json_bytes, BYTES) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  json_open(json, NULL, '{');
  json_bytes(json, "key", BYTES[row].bytes, BYTES[row].length);
  json_close(json);
  EXPECT_EQ_STR(BYTES[row].want, out->str);
}

static void write_document(Json *json) {
  json_open(json, NULL, '{');
  json_int(json, "a", -1);
  json_uint(json, "b", G_MAXUINT64);
  json_open(json, "c", '[');
  json_bool(json, NULL, TRUE);
  json_double(json, NULL, 0.5);
  json_double(json, NULL, 1.0 / 0.0);
  json_close(json);
  json_open(json, "d", '{');
  json_close(json);
  json_close(json);
}

TEST(json, in_one_line) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, FALSE);
  write_document(json);
  EXPECT_EQ_STR("{\"a\":-1,\"b\":18446744073709551615,\"c\":[true,0.500,null],\"d\":{}}", out->str);
}

TEST(json, for_people) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  write_document(json);
  EXPECT_EQ_STR("{\n  \"a\": -1,\n  \"b\": 18446744073709551615,\n  \"c\": [\n    true,\n    0.500,\n    null\n  ],\n"
                "  \"d\": {}\n}",
                out->str);
}
