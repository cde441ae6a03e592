/* Small file systems to be filled: in memory (tmpfs), in a mount namespace of the calling thread's, so that nothing of
 * them is seen outside, and nothing stays. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Go into a mount namespace of this thread's own: what it starts later is in there too. Returns NULL, or a sentence why
 * that may not be, owned by the caller. */
char *small_disk_enter(void);

/* An empty file system of this size at @path, which is made. FALSE: refused, errno says why. */
gboolean small_disk_mount(const char *path, guint64 bytes);
/* Another size, while it is in use. */
gboolean small_disk_resize(const char *path, guint64 bytes);
/* Somebody else's file takes room, so that @free_bytes are left; less than is free now. */
gboolean small_disk_fill(const char *path, guint64 free_bytes);
/* That file goes. */
gboolean small_disk_sweep(const char *path);
guint64 small_disk_free_bytes(const char *path);
/* Whatever still has files open there. */
void small_disk_unmount(const char *path);

G_END_DECLS
