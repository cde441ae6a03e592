/* How consumer groups are shown: lines, tables and JSON. Pure. */
#pragma once

#include <glib.h>
#include <milena/group.h>

#include "client/cli/json.h"
#include "client/cli/table.h"

G_BEGIN_DECLS

/* "stable". Static. */
const char *group_view_state(MilenaGroupState state);
/* "sticky". Static. */
const char *group_view_assignor(MilenaAssignor assignor);
/* The assignor of this name; FALSE for none. */
gboolean group_view_parse_assignor(const char *name, MilenaAssignor *ret_assignor);

/* What to say before the tables: state, coordinator, lag, and why. Owned by the caller.
 *
 * @now_ms: milliseconds since 1970 */
char *group_view_head(const MilenaGroup *group);
/* Members, and how long ago each was heard. */
Table *group_view_members(const MilenaGroup *group, gint64 now_ms);

/* What a partition did between two looks. */
typedef struct {
  double read;    /* records a second that were committed; below 0: not known */
  double written; /* the same of those that came */
} GroupRate;

/* Committed offsets, ends and lag.
 *
 * @rates: one for each partition of the group, or NULL for no rates
 * @rows_max: at most so many, those with the most lag; 0: all
 * @ret_hidden: how many are not shown; may be NULL */
Table *group_view_partitions(const MilenaGroup *group, const GroupRate *rates, guint rows_max, guint *ret_hidden);
/* Rates from two looks at the same group, @elapsed_us apart: one for each partition of @after; owned by the caller. */
GroupRate *group_view_rates(const MilenaGroup *before, const MilenaGroup *after, gint64 elapsed_us);
/* "orders 3 1234" for each partition with a committed offset: what `groups reset-offsets --from-file` reads. Owned by
 * the caller. */
char *group_view_offsets(const MilenaGroup *group);

/* The whole group as an object. */
void group_view_json(const MilenaGroup *group, const GroupRate *rates, Json *json);

G_END_DECLS
