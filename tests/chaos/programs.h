/* For tests: the programs side by side in one folder, where a fleet looks for them. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Links to milena-controller, milena-broker and milena-group-coordinator in @folder/bin; that path, owned by the
 * caller. Once or more often. */
char *programs_folder(const char *folder);

G_END_DECLS
