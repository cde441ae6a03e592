/* How far the groups are, as an operator asks for it. One thread. */
#pragma once

#include <glib.h>
#include <milena/group.h>

G_BEGIN_DECLS

/* Create the topic, with a factor of 3 and a minimum of 2, and settings of the groups under which who is dead is out
 * after @session_ms. Returns NULL, or why that did not work within a minute; owned by the caller. */
char *progress_prepare(MilenaClient *client, const char *topic, guint partitions, guint session_ms);

/* Wait until each group has committed everything that is in the topic now. Returns NULL, or what is missing after so
 * long; owned by the caller.
 *
 * @look: called all the time; what is wrong otherwise, owned by the caller, or NULL: then the wait goes on */
char *progress_catch_up(MilenaClient *client, guint partitions, guint timeout_s, char *(*look)(gpointer data),
                        gpointer data);

/* Wait until each group is stable with so many members. Returns who reads what in which epoch, by instance where there
 * is one; or NULL with @ret_wrong, what is wrong after so long. Both owned by the caller. */
char *progress_calm(MilenaClient *client, guint members, guint timeout_s, char *(*look)(gpointer data), gpointer data,
                    char **ret_wrong);

G_END_DECLS
