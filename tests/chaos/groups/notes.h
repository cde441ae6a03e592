/* What a member notes, a line each, at the end of a file. A line is in the file before the next thing is done, so the
 * file of a killed member tells all but perhaps its last line. telling.h reads them. One thread.
 *
 *   given PARTITION US           it is the member's from now on
 *   gone PARTITION US            and not any more
 *   read PARTITION POLL OFFSET VALUE US
 *   asked ID PARTITION OFFSET US  a commit, or what a library may commit from now on
 *   answered ID ok|unknown US REASON
 *   slow US                      it does not poll for longer than it may */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  int file;
  guint64 last_id; /* of commits */
  GString *lines;  /* not in the file yet */
} Notes;

/* Ends the process when that file can't be opened. */
void notes_open(Notes *notes, const char *path);
void notes_close(Notes *notes);

void notes_given(Notes *notes, gint32 partition);
void notes_gone(Notes *notes, gint32 partition);
/* Only the next of the others writes it: records come in batches. */
void notes_read(Notes *notes, gint32 partition, guint poll, gint64 offset, const void *value, gsize size);
/* Returns the commit's id. */
guint64 notes_asked(Notes *notes, gint32 partition, gint64 offset);
/* @trouble: a reason, or NULL: it is kept */
void notes_answered(Notes *notes, guint64 id, const char *trouble);
void notes_slow(Notes *notes);
/* Everything is in the file then. */
void notes_write(Notes *notes);

G_END_DECLS
