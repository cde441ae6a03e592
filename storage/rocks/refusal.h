/* Which of RocksDB's errors say that the system refused a read, a write or a sync, rather than that bytes are damaged.
 * Opening writes too, and nobody shall throw a store away because a disk was full: a refusal ends the process. Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What no damaged byte brings about: EIO, a full disk, too many open files and the like.
 * @error: RocksDB's sentence */
gboolean rocks_is_refusal(const char *error);

G_END_DECLS
