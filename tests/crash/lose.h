/* What a power cut takes: applied to a folder whose process was killed while lose_unsynced.so watched it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint files_cut, files_removed;
  guint64 bytes_lost;
} LoseReport;

/* Read the notes and take away from the files below @folder what was not synced.
 *
 * @torn: of each file's unsynced tail, keep a random part instead of nothing
 * @random: for @torn */
void lose_apply(const char *folder, const char *journal, gboolean torn, GRand *random, LoseReport *ret_report);

G_END_DECLS
