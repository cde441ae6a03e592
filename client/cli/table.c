#include "client/cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "client/cli/text.h"
#include "services/base/invariant.h"

struct Table {
  GPtrArray *cells; /* char *, row by row; the first row are the headings */
  GArray *right;    /* gboolean of each column */
};

Table *table_new(const char *heading, ...) {
  Table *table = g_new0(Table, 1);
  table->cells = g_ptr_array_new_with_free_func(g_free);
  table->right = g_array_new(FALSE, FALSE, sizeof(gboolean));
  va_list headings;
  va_start(headings, heading);
  for (; heading; heading = va_arg(headings, const char *)) {
    gboolean right = *heading == '>';
    g_array_append_val(table->right, right);
    g_ptr_array_add(table->cells, g_strdup(heading + right));
  }
  va_end(headings);
  return table;
}

void table_free(Table *table) {
  if (!table)
    return;
  g_ptr_array_unref(table->cells);
  g_array_unref(table->right);
  g_free(table);
}

void table_add(Table *table, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *cell = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_ptr_array_add(table->cells, *cell ? text_escape(cell, strlen(cell)) : g_strdup("-"));
}

/* Places on the terminal. */
static guint cell_width(const char *cell) {
  guint width = 0;
  for (; *cell; cell = g_utf8_next_char(cell)) {
    gunichar character = g_utf8_get_char(cell);
    if (!g_unichar_iszerowidth(character))
      width += g_unichar_iswide(character) ? 2 : 1;
  }
  return width;
}

char *table_format(const Table *table) {
  guint columns = table->right->len;
  INVARIANT(table->cells->len % columns == 0, "all rows are full");
  g_autofree guint *widths = g_new0(guint, columns);
  for (guint i = 0; i < table->cells->len; i++)
    widths[i % columns] = MAX(widths[i % columns], cell_width(table->cells->pdata[i]));
  GString *out = g_string_new(NULL);
  for (guint i = 0; i < table->cells->len; i++) {
    guint column = i % columns;
    const char *cell = table->cells->pdata[i];
    int blanks = (int)(widths[column] - cell_width(cell));
    gboolean right = g_array_index(table->right, gboolean, column);
    gboolean last = column + 1 == columns;
    g_string_append_printf(out, "%*s%s", right ? blanks : 0, "", cell);
    g_string_append_printf(out, "%*s%s", right || last ? 0 : blanks, "", last ? "\n" : "  ");
  }
  return g_string_free(out, FALSE);
}
