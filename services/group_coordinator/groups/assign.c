/* Range and round-robin, and the way into the sticky assignor; see assign.h. No state. */
#include "services/group_coordinator/groups/assign_internal.h"

guint groups_assign_total(const GroupsAssignInput *input) {
  guint total = 0;
  for (guint t = 0; t < input->topic_count; t++)
    total += input->topics[t].partition_count;
  return total;
}

static void plan_init(GroupsAssignPlan *plan, const GroupsAssignInput *input, guint *owners) {
  *plan = (GroupsAssignPlan){
      .input = input,
      .owners = owners,
      .first = g_new(guint, input->topic_count + 1),
      .wanted_from = g_new0(guint, input->topic_count + 2),
  };
  plan->first[0] = 0;
  for (guint t = 0; t < input->topic_count; t++)
    plan->first[t + 1] = plan->first[t] + input->topics[t].partition_count;
  for (guint p = 0; p < plan->first[input->topic_count]; p++)
    owners[p] = GROUPS_ASSIGN_NOBODY;
  /* Count, add up, fill in: the counts are kept one place further on, so that filling in turns them into beginnings. */
  guint *count = plan->wanted_from + 1;
  for (guint m = 0; m < input->member_count; m++)
    for (guint i = 0; i < input->members[m].topic_count; i++)
      count[input->members[m].topics[i]]++;
  guint sum = 0;
  for (guint t = 0; t < input->topic_count; t++) {
    guint here = count[t];
    count[t] = sum;
    sum += here;
  }
  plan->wanted_by = g_new(guint, MAX(sum, 1));
  for (guint m = 0; m < input->member_count; m++)
    for (guint i = 0; i < input->members[m].topic_count; i++)
      plan->wanted_by[count[input->members[m].topics[i]]++] = m;
}

static void plan_clear(GroupsAssignPlan *plan) {
  g_free(plan->first);
  g_free(plan->wanted_from);
  g_free(plan->wanted_by);
}

/* Neighbouring partitions of each topic to one member; the first members get one more where it does not come out even.
 */
static void assign_range(GroupsAssignPlan *plan) {
  for (guint t = 0; t < plan->input->topic_count; t++) {
    guint wanters = groups_assign_wanters(plan, t), partitions = plan->input->topics[t].partition_count;
    guint p = plan->first[t];
    for (guint i = 0; i < wanters; i++) {
      guint share = partitions / wanters + (i < partitions % wanters);
      for (guint k = 0; k < share; k++)
        plan->owners[p++] = plan->wanted_by[plan->wanted_from[t] + i];
    }
  }
}

/* The place of the first who wants the topic and is not before @member; behind the last one it begins anew. */
static guint wanter_from(const GroupsAssignPlan *plan, guint topic, guint member) {
  guint low = plan->wanted_from[topic], high = plan->wanted_from[topic + 1];
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (plan->wanted_by[middle] < member)
      low = middle + 1;
    else
      high = middle;
  }
  return low < plan->wanted_from[topic + 1] ? low : plan->wanted_from[topic];
}

static void assign_round_robin(GroupsAssignPlan *plan) {
  guint next = 0;
  for (guint t = 0; t < plan->input->topic_count; t++) {
    if (groups_assign_wanters(plan, t) == 0)
      continue;
    for (guint p = plan->first[t]; p < plan->first[t + 1]; p++) {
      guint member = plan->wanted_by[wanter_from(plan, t, next)];
      plan->owners[p] = member;
      next = member + 1;
    }
  }
}

/* Does everybody want every topic that anybody wants? */
static gboolean are_alike(const GroupsAssignPlan *plan) {
  for (guint t = 0; t < plan->input->topic_count; t++) {
    guint wanters = groups_assign_wanters(plan, t);
    if (wanters != 0 && wanters != plan->input->member_count)
      return FALSE;
  }
  return TRUE;
}

void groups_assign(Milena__V1__Assignor assignor, const GroupsAssignInput *input, guint *ret_owners) {
  GroupsAssignPlan plan;
  plan_init(&plan, input, ret_owners);
  if (assignor == MILENA__V1__ASSIGNOR__ASSIGNOR_RANGE)
    assign_range(&plan);
  else if (assignor == MILENA__V1__ASSIGNOR__ASSIGNOR_ROUND_ROBIN)
    assign_round_robin(&plan);
  else if (are_alike(&plan))
    groups_assign_sticky_alike(&plan);
  else
    groups_assign_sticky_mixed(&plan);
  plan_clear(&plan);
}
