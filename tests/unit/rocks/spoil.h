/* Damage to a broker's store, as a failing disk does it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Make what log @log_id remembers of one producer unreadable. The broker of @folder must have stopped. Returns FALSE,
 * after a test failure, when that can't be done. */
gboolean spoil_producers(const char *folder, guint64 log_id);
/* Flip a bit of the batch of log @log_id that begins at @offset. The same otherwise. */
gboolean spoil_batch(const char *folder, guint64 log_id, gint64 offset);

G_END_DECLS
