/* What the assignors share. */
#pragma once

#include "services/group_coordinator/groups/assign.h"

G_BEGIN_DECLS

/* The input, turned around: who wants a topic. */
typedef struct {
  const GroupsAssignInput *input;
  guint *owners;      /* the result; borrowed */
  guint *first;       /* topic_count + 1: the first partition of each topic, counted through all */
  guint *wanted_from; /* topic_count + 1: where each topic's wanters begin */
  guint *wanted_by;   /* members, rising within each topic */
} GroupsAssignPlan;

static inline guint groups_assign_wanters(const GroupsAssignPlan *plan, guint topic) {
  return plan->wanted_from[topic + 1] - plan->wanted_from[topic];
}
static inline const char *groups_assign_rack(const GroupsAssignPlan *plan, guint topic, guint partition) {
  const char *const *racks = plan->input->topics[topic].racks;
  return racks ? racks[partition - plan->first[topic]] : NULL;
}
static inline gboolean groups_assign_is_near(const GroupsAssignPlan *plan, guint member, const char *rack) {
  const char *own = plan->input->members[member].rack;
  return rack && own && g_str_equal(rack, own);
}

/* The two ways of the sticky assignor: all want the same, or not. The owners are all NOBODY before. */
void groups_assign_sticky_alike(GroupsAssignPlan *plan);
void groups_assign_sticky_mixed(GroupsAssignPlan *plan);

G_END_DECLS
