#include "client/cli/splitter.h"

#include <string.h>

#include "tests/shim/shim.h"

/* All records of @input as "[a][b]", "!" for one that is too large; fed in pieces of @piece bytes. */
static char *split(const char *separator, gsize separator_length, gsize record_max_bytes, const char *input,
                   gsize length, gsize piece) {
  g_autoptr(GBytes) cut = g_bytes_new(separator, separator_length);
  g_autoptr(Splitter) splitter = splitter_new(cut, record_max_bytes);
  GString *out = g_string_new(NULL);
  const guint8 *record;
  gsize record_length, fed = 0;
  for (;;) {
    SplitterResult result = splitter_next(splitter, &record, &record_length);
    if (result == SPLITTER_END)
      return g_string_free(out, FALSE);
    if (result == SPLITTER_TOO_LARGE)
      g_string_append_c(out, '!');
    if (result == SPLITTER_RECORD)
      g_string_append_printf(out, "[%.*s]", (int)record_length, (const char *)record);
    if (result != SPLITTER_MORE)
      continue;
    gsize next = MIN(piece, length - fed);
    if (next == 0)
      splitter_end(splitter);
    else
      splitter_feed(splitter, input + fed, next);
    fed += next;
  }
}

static const struct {
  const char *name, *separator;
  gsize record_max_bytes;
  const char *input, *want;
} ROWS[] = {
    {"nothing", "\n", 100, "", ""},
    {"one_without_an_end", "\n", 100, "abc", "[abc]"},
    {"one_with_an_end", "\n", 100, "abc\n", "[abc]"},
    {"two", "\n", 100, "a\nb\n", "[a][b]"},
    {"empty_ones", "\n", 100, "\na\n\nb", "[][a][][b]"},
    {"lone_separator", "\n", 100, "\n", "[]"},
    {"blank_lines", "\n\n", 100, "a\nb\n\nc\n\n", "[a\nb][c]"},
    {"half_a_separator_at_the_end", "\n\n", 100, "a\n\nb\n", "[a][b\n]"},
    {"separator_that_begins_like_itself", "aab", 100, "xaaabyaab", "[xa][y]"},
    {"as_large_as_allowed", "\n", 3, "abc\nabc", "[abc][abc]"},
    {"too_large_in_the_middle", "\n", 3, "ab\nabcdefgh\nc\n", "[ab]![c]"},
    {"too_large_at_the_end", "\n", 3, "ab\nabcdefgh", "[ab]!"},
    {"too_large_by_one", "\n", 3, "abcd\nx", "![x]"},
    {"too_large_with_a_long_separator", "----", 2, "abc----d----efghij----k", "![d]![k]"},
    {"too_large_then_its_separator_in_pieces", "--", 2, "abcdef-gh--i--", "![i]"},
};

/* Wherever the pieces are cut, the records are the same. */
TEST_ROWS(splitter, ROWS) {
  gsize length = strlen(ROWS[row].input);
  for (gsize piece = 1; piece <= length + 1; piece++) {
    g_autofree char *got = split(ROWS[row].separator, strlen(ROWS[row].separator), ROWS[row].record_max_bytes,
                                 ROWS[row].input, length, piece);
    if (!EXPECT_EQ_STR(ROWS[row].want, got))
      FAIL("in pieces of %zu bytes", piece);
  }
}

TEST(splitter, nul_bytes_are_bytes) {
  static const char INPUT[] = "a\0b\0\0c";
  g_autofree char *got = split("\0", 1, 100, INPUT, sizeof INPUT - 1, 2);
  EXPECT_EQ_STR("[a][b][][c]", got);
}

TEST(splitter, numbers_count_every_record) {
  g_autoptr(GBytes) separator = g_bytes_new("\n", 1);
  g_autoptr(Splitter) splitter = splitter_new(separator, 4);
  const guint8 *record;
  gsize length;
  splitter_feed(splitter, "a\nlarger\nb\n", 11);
  EXPECT_EQ_INT(SPLITTER_RECORD, splitter_next(splitter, &record, &length));
  EXPECT_EQ_INT(1, splitter_number(splitter));
  EXPECT_EQ_INT(SPLITTER_TOO_LARGE, splitter_next(splitter, &record, &length));
  EXPECT_EQ_INT(2, splitter_number(splitter));
  EXPECT_EQ_INT(SPLITTER_RECORD, splitter_next(splitter, &record, &length));
  EXPECT_EQ_INT(3, splitter_number(splitter));
}

/* Random input, separators and pieces, against the obvious way to do it. */
TEST(splitter, agrees_with_a_plain_search) {
  g_autoptr(GRand) random = g_rand_new_with_seed(20261121);
  for (int run = 0; run < 500; run++) {
    char separator[4] = "", input[64] = "";
    int separator_length = g_rand_int_range(random, 1, 4), length = g_rand_int_range(random, 0, 60);
    for (int i = 0; i < separator_length; i++)
      separator[i] = "ab"[g_rand_int_range(random, 0, 2)];
    for (int i = 0; i < length; i++)
      input[i] = "abc"[g_rand_int_range(random, 0, 3)];
    GString *want = g_string_new(NULL);
    const char *at = input, *found;
    for (; (found = strstr(at, separator)); at = found + separator_length)
      g_string_append_printf(want, "[%.*s]", (int)(found - at), at);
    if (*at)
      g_string_append_printf(want, "[%s]", at);
    g_autofree char *got =
        split(separator, (gsize)separator_length, 100, input, (gsize)length, (gsize)g_rand_int_range(random, 1, 20));
    gboolean same = EXPECT_EQ_STR(want->str, got);
    g_string_free(want, TRUE);
    if (!same)
      FAIL("input '%s', separator '%s'", input, separator);
  }
}
