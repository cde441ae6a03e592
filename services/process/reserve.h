/* A file in a data folder that does nothing but take room, so that there is some when the disk is full: a database that
 * can't write ends its process, and to be opened again it must write. Then the file goes, the process comes up, serves
 * what it can without writing much, and makes the file anew once there is room.
 *
 * Blocks, for as long as the file system takes to note the room: no bytes are written. One thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Before the folder is opened: give the room back if less than @bytes are free. A folder that is not there yet is fine.
 */
void reserve_release(const char *folder, gint64 bytes);
/* Take the room, if it is not taken, and three times as much is free. Where the file system can't do it without writing
 * there is no reserve. */
void reserve_keep(const char *folder, gint64 bytes);

G_END_DECLS
