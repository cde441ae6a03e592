/* Who shall read what: partitions shared among members by a rule. Pure functions on numbers; the same input gives the
 * same output, on every machine.
 *
 * Partitions are counted through all topics: partition p of topic t is the sum of the partition counts before t, plus
 * p. A member gets partitions of topics that it wants only, and each partition of a topic that somebody wants has
 * exactly one owner. */
#pragma once

#include <glib.h>

#include "milena/v1/group_service.pb-c.h"

G_BEGIN_DECLS

#define GROUPS_ASSIGN_NOBODY G_MAXUINT

typedef struct {
  const char *rack;    /* NULL: not known */
  const guint *topics; /* indices of what it wants, rising */
  guint topic_count;
  const guint *previous; /* what it shall read until now, counted through all topics, rising */
  guint previous_count;
} GroupsAssignMember;

typedef struct {
  guint partition_count;
  const char *const *racks; /* of each partition's leader, each may be NULL; or NULL: not known */
} GroupsAssignTopic;

typedef struct {
  const GroupsAssignMember *members; /* in an order that lasts: range and round-robin go by it */
  guint member_count;
  const GroupsAssignTopic *topics;
  guint topic_count;
} GroupsAssignInput;

/* How many partitions there are in all. */
guint groups_assign_total(const GroupsAssignInput *input);
/* @ret_owners: groups_assign_total numbers: index of the member, or GROUPS_ASSIGN_NOBODY
 *
 * Sticky: with one and the same wish of all members, no member has two more than another, and as many partitions stay
 * as can; this costs O(partitions + members log members). With differing wishes no chain of moves from one member to
 * the next makes a member with many have one less and one with at least two less have one more. Among equals, a
 * partition goes to a member in its leader's rack. What is balanced stays as it is. */
void groups_assign(Milena__V1__Assignor assignor, const GroupsAssignInput *input, guint *ret_owners);

G_END_DECLS
