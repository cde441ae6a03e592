/* From a member's notes (notes.h) to events of a ledger. */
#pragma once

#include "tests/chaos/records/ledger.h"

G_BEGIN_DECLS

/* Add what this file says. Returns NULL, or the line that is no note or can't be; owned by the caller. A file that is
 * not there says nothing.
 *
 * @slow: is raised by each time that the member polled too late */
char *telling_notes(const char *path, guint group, Ledger *ledger, guint *slow);

G_END_DECLS
