#include "client/cli/table.h"

#include "tests/shim/shim.h"

TEST(table, columns_are_as_wide_as_their_widest_cell) {
  g_autoptr(Table) table = table_new("NAME", ">SIZE", "NOTE", NULL);
  table_add(table, "%s", "orders");
  table_add(table, "%d", 12345);
  table_add(table, "%s", "x");
  table_add(table, "%s", "a");
  table_add(table, "%d", 1);
  table_add(table, "%s", "");
  g_autofree char *text = table_format(table);
  EXPECT_EQ_STR("NAME     SIZE  NOTE\n"
                "orders  12345  x\n"
                "a           1  -\n",
                text);
}

TEST(table, width_counts_places_on_the_terminal) {
  g_autoptr(Table) table = table_new("A", "B", NULL);
  table_add(table, "%s", "\xc3\xa4\xc3\xa4"); /* two letters of two bytes */
  table_add(table, "1");
  table_add(table, "%s", "\xe6\x97\xa5\xe6\x9c\xac"); /* two letters of two places */
  table_add(table, "2");
  g_autofree char *text = table_format(table);
  EXPECT_EQ_STR("A     B\n\xc3\xa4\xc3\xa4    1\n\xe6\x97\xa5\xe6\x9c\xac  2\n", text);
}

TEST(table, foreign_text_does_not_work_the_terminal) {
  g_autoptr(Table) table = table_new("A", NULL);
  table_add(table, "%s", "x\033[2J\ny\xff");
  g_autofree char *text = table_format(table);
  EXPECT_EQ_STR("A\nx\\x1b[2J\\ny\\xff\n", text);
}

TEST(table, may_be_empty) {
  g_autoptr(Table) table = table_new("A", ">B", NULL);
  g_autofree char *text = table_format(table);
  EXPECT_EQ_STR("A  B\n", text);
}
