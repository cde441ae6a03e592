/* What clients did to a register, and whether it could have happened one after the other.
 *
 * Values are unique, so each read names the write that it saw, and the question can be answered in the time of a sort
 * (Gibbons and Korach, "Testing shared memories", 1997): the operations on one value form a zone, from the first answer
 * among them to the last call. The history is linearizable if no two zones in which an answer comes before a call
 * overlap, if none of the others lies within one of those, and if no read ends before its write begins. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct History History;

/* A register that holds 0. */
History *history_new(void);
void history_free(History *history); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(History, history_free)

/* A client calls. Places in the order of all calls and answers are @at: rising, none twice. Returns the operation's
 * number. @value: not 0, and not written before */
guint history_write(History *history, guint64 at, guint64 value);
guint history_read(History *history, guint64 at);
/* It was answered. An operation without any answer may have happened, or happen later. */
void history_written(History *history, guint operation, guint64 at);
void history_has_read(History *history, guint operation, guint64 at, guint64 value);
/* It was answered, and has not happened. */
void history_refused(History *history, guint operation);

guint history_length(const History *history);
/* Returns NULL, or why no order explains what was seen; owned by the caller. */
char *history_check(const History *history);

G_END_DECLS
