/* A table for people: headed columns, as wide as their widest cell. Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Table Table;

/* @headings: a NULL ends them; one that begins with '>' is aligned to the right (and loses the '>') */
Table *table_new(const char *heading, ...) G_GNUC_NULL_TERMINATED;
void table_free(Table *table); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Add a cell; a row is full when it has as many cells as there are columns. Control characters are escaped, so that
 * foreign names can't work the terminal. An empty cell is shown as '-'. */
void table_add(Table *table, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The lines, each ended by a line feed; owned by the caller. All rows must be full. */
char *table_format(const Table *table);

G_END_DECLS
