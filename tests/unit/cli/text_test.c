#include "client/cli/text.h"

#include "tests/shim/shim.h"

static const struct {
  const char *name, *text, *want;
  size_t length;
} ESCAPES[] = {
    {"plain", "abc", "abc", 3},
    {"line_feeds", "\\n\\n", "\n\n", 2},
    {"all_letters", "\\r\\t\\0\\\\", "\r\t\0\\", 4},
    {"hexadecimal", "\\x1F\\xffa",
     "\x1f\xff"
     "a",
     3},
    {"empty", "", "", 0},
    {"unknown_letter", "a\\q", NULL, 0},
    {"lone_backslash", "a\\", NULL, 0},
    {"half_a_byte", "\\x1", NULL, 0},
    {"no_byte", "\\xzz", NULL, 0},
};

TEST_ROWS(unescape, ESCAPES) {
  g_autoptr(GBytes) bytes = NULL;
  g_autoptr(Failure) failure = text_unescape(ESCAPES[row].text, &bytes);
  if (!ESCAPES[row].want) {
    EXPECT_NULL(bytes);
    EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
    return;
  }
  ASSERT_NULL(failure);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  EXPECT_EQ_BYTES(ESCAPES[row].want, ESCAPES[row].length, data, length);
}

static const struct {
  const char *name, *bytes;
  size_t length;
  const char *want;
} DISPLAYS[] = {
    {"plain", "abc", 3, "abc"},
    {"controls", "a\n\t\r\033[0m\0", 9, "a\\n\\t\\r\\x1b[0m\\x00"},
    {"utf8", "\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac"},
    {"broken_utf8", "a\xc3(\xff", 4, "a\\xc3(\\xff"},
    {"cut_utf8", "\xe2\x82", 2, "\\xe2\\x82"},
    {"control_above_ascii", "\xc2\x9b", 2, "\\xc2\\x9b"},
};

TEST_ROWS(escape, DISPLAYS) {
  g_autofree char *got = text_escape(DISPLAYS[row].bytes, DISPLAYS[row].length);
  EXPECT_EQ_STR(DISPLAYS[row].want, got);
}

TEST(text, numbers_have_bounds_and_pairs_have_names) {
  gint64 number = 7;
  g_autoptr(Failure) over = text_number("--partitions", "11", 1, 10, &number);
  EXPECT_CONTAINS(failure_message(over), "--partitions is '11'");
  g_autoptr(Failure) word = text_number("--partitions", "3x", 1, 10, &number);
  EXPECT_TRUE(word != NULL);
  EXPECT_EQ_INT(7, number);
  EXPECT_NULL(text_number("--partitions", "10", 1, 10, &number));
  EXPECT_EQ_INT(10, number);

  g_autofree char *key = NULL, *value = NULL;
  ASSERT_NULL(text_pair("--header", "a=b=c", &key, &value));
  EXPECT_EQ_STR("a", key);
  EXPECT_EQ_STR("b=c", value);
  g_autoptr(Failure) nameless = text_pair("--header", "=b", NULL, NULL);
  g_autoptr(Failure) lone = text_pair("--header", "b", NULL, NULL);
  EXPECT_TRUE(nameless && lone);
}

static const struct {
  const char *name;
  guint64 number;
  const char *grouped, *bytes, *duration;
} PEOPLE[] = {
    {"zero", 0, "0", "0 B", "0 s"},
    {"below_a_thousand", 999, "999", "999 B", "16 min 39 s"},
    {"thousand", 1000, "1,000", "1.0 kB", "16 min 40 s"},
    {"rounds_up_to_the_next_unit", 999999, "999,999", "1.0 MB", "11 d 13 h"},
    {"millions", 12345678, "12,345,678", "12.3 MB", "142 d 21 h"},
};

TEST_ROWS(for_people, PEOPLE) {
  g_autofree char *grouped = text_grouped(PEOPLE[row].number);
  g_autofree char *bytes = text_bytes((double)PEOPLE[row].number);
  g_autofree char *duration = text_duration((gint64)PEOPLE[row].number);
  EXPECT_EQ_STR(PEOPLE[row].grouped, grouped);
  EXPECT_EQ_STR(PEOPLE[row].bytes, bytes);
  EXPECT_EQ_STR(PEOPLE[row].duration, duration);
}

TEST(text, nouns_agree_with_their_number) {
  g_autofree char *one = text_counted(1, "record"), *many = text_counted(2345, "record");
  EXPECT_EQ_STR("1 record", one);
  EXPECT_EQ_STR("2,345 records", many);
}

static const struct {
  const char *name;
  gint64 unix_ms;
  const char *want;
} TIMES[] = {
    {"epoch", 0, "1970-01-01T00:00:00.000Z"},
    {"milliseconds", 1795266256250, "2026-11-21T13:04:16.250Z"},
    {"before_1970", -1, "1969-12-31T23:59:59.999Z"},
};

TEST_ROWS(time, TIMES) {
  g_autofree char *got = text_time(TIMES[row].unix_ms);
  EXPECT_EQ_STR(TIMES[row].want, got);
}

TEST(text, times_that_no_calendar_has_give_nothing) {
  EXPECT_NULL(text_time(G_MAXINT64));
  EXPECT_NULL(text_time(G_MININT64));
}

static const char *const WORDS[] = {"topics", "topics create", "topics list", "produce", "consume", "local", NULL};

static const struct {
  const char *name, *word, *want;
} NEAR[] = {
    {"swapped_letters", "topcis", "topics"},
    {"swapped_letters_of_two_words", "topcis list", "topics list"},
    {"missing_letter", "prduce", "produce"},
    {"beginning", "cons", "consume"},
    {"wrong_letter", "lokal", "local"},
    {"nothing_near", "frobnicate", NULL},
    {"one_letter", "x", NULL},
    {"empty", "", NULL},
};

TEST_ROWS(nearest, NEAR) {
  const char *got = text_nearest(NEAR[row].word, WORDS);
  if (NEAR[row].want)
    EXPECT_EQ_STR(NEAR[row].want, got ? got : "(none)");
  else
    EXPECT_NULL(got);
}

TEST(nearest, long_words_are_near_to_nothing) {
  g_autofree char *word = g_strnfill(500, 'a');
  EXPECT_NULL(text_nearest(word, WORDS));
}
