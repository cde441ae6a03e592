/* The sticky assignor when all members want the same: everybody has a quota, keeps what fits in it, and what is left
 * over goes to who has room. State: of one call.
 *
 * Fewest moves: when the partitions do not come out even, those who have the most get the larger quotas; so the sum of
 * what members keep, min(has, quota), is as large as it can be. */
#include <stdlib.h>

#include "services/base/invariant.h"
#include "services/group_coordinator/groups/assign_internal.h"

/* Members of one rack that have room, taken in turns. */
typedef struct {
  GArray *members; /* guint */
  guint next;
} Turns;

static Turns *turns_new(void) {
  Turns *turns = g_new0(Turns, 1);
  turns->members = g_array_new(FALSE, FALSE, sizeof(guint));
  return turns;
}

static void turns_free(gpointer data) {
  Turns *turns = data;
  g_array_unref(turns->members);
  g_free(turns);
}

typedef struct {
  GroupsAssignPlan *plan;
  guint *quota, *load;
  guint *topic_of; /* of each partition */
} Alike;

/* The next member with room, or NOBODY. Who has none any more is not asked again. */
static guint turns_take(const Alike *alike, Turns *turns) {
  while (turns->members->len > 0) {
    if (turns->next >= turns->members->len)
      turns->next = 0;
    guint member = g_array_index(turns->members, guint, turns->next);
    if (alike->load[member] < alike->quota[member]) {
      turns->next++;
      return member;
    }
    g_array_remove_index(turns->members, turns->next);
  }
  return GROUPS_ASSIGN_NOBODY;
}

static void give(Alike *alike, guint partition, guint member) {
  alike->plan->owners[partition] = member;
  alike->load[member]++;
}

/* ---- quotas ---- */

typedef struct {
  guint member, count;
} Ranked;

static int compare_most_first(gconstpointer a, gconstpointer b) {
  const Ranked *one = a, *other = b;
  if (one->count != other->count)
    return one->count < other->count ? 1 : -1;
  return one->member < other->member ? -1 : one->member > other->member;
}

static void set_quotas(Alike *alike, guint partitions) {
  const GroupsAssignInput *input = alike->plan->input;
  g_autofree Ranked *ranked = g_new(Ranked, input->member_count);
  for (guint m = 0; m < input->member_count; m++)
    ranked[m] = (Ranked){m, input->members[m].previous_count};
  qsort(ranked, input->member_count, sizeof *ranked, compare_most_first);
  guint each = partitions / input->member_count, more = partitions % input->member_count;
  for (guint i = 0; i < input->member_count; i++)
    alike->quota[ranked[i].member] = each + (i < more);
}

/* ---- keeping ---- */

/* Keep @room of the partitions, spread evenly: so one that gives up half of all does not give up one topic whole. */
static void keep_some(Alike *alike, guint member, const guint *partitions, guint count, guint room) {
  for (guint i = 0; i < count; i++)
    if (room >= count || (guint64)(i + 1) * room / count > (guint64)i * room / count)
      give(alike, partitions[i], member);
}

static void keep(Alike *alike, guint member) {
  const GroupsAssignPlan *plan = alike->plan;
  const GroupsAssignMember *own = &plan->input->members[member];
  g_autofree guint *near = g_new0(guint, own->previous_count + 1);
  g_autofree guint *far = g_new0(guint, own->previous_count + 1);
  guint near_count = 0, far_count = 0;
  for (guint i = 0; i < own->previous_count; i++) {
    guint partition = own->previous[i], topic = alike->topic_of[partition];
    if (plan->owners[partition] != GROUPS_ASSIGN_NOBODY || groups_assign_wanters(plan, topic) == 0)
      continue;
    if (groups_assign_is_near(plan, member, groups_assign_rack(plan, topic, partition)))
      near[near_count++] = partition;
    else
      far[far_count++] = partition;
  }
  guint room = alike->quota[member];
  keep_some(alike, member, near, near_count, room);
  room -= MIN(room, near_count);
  keep_some(alike, member, far, far_count, room);
}

/* ---- giving out the rest ---- */

static GHashTable *turns_by_rack(const Alike *alike) {
  const GroupsAssignInput *input = alike->plan->input;
  GHashTable *by_rack = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, turns_free);
  for (guint m = 0; m < input->member_count; m++) {
    if (!input->members[m].rack)
      continue;
    Turns *turns = g_hash_table_lookup(by_rack, input->members[m].rack);
    if (!turns)
      g_hash_table_insert(by_rack, (gpointer)input->members[m].rack, turns = turns_new());
    g_array_append_val(turns->members, m);
  }
  return by_rack;
}

static void give_near(Alike *alike, guint partitions) {
  const GroupsAssignPlan *plan = alike->plan;
  g_autoptr(GHashTable) by_rack = turns_by_rack(alike);
  if (g_hash_table_size(by_rack) == 0)
    return;
  for (guint p = 0; p < partitions; p++) {
    const char *rack = groups_assign_rack(plan, alike->topic_of[p], p);
    if (plan->owners[p] != GROUPS_ASSIGN_NOBODY || !rack || groups_assign_wanters(plan, alike->topic_of[p]) == 0)
      continue;
    Turns *turns = g_hash_table_lookup(by_rack, rack);
    guint member = turns ? turns_take(alike, turns) : GROUPS_ASSIGN_NOBODY;
    if (member != GROUPS_ASSIGN_NOBODY)
      give(alike, p, member);
  }
}

static void give_rest(Alike *alike, guint partitions) {
  const GroupsAssignInput *input = alike->plan->input;
  Turns *turns = turns_new();
  for (guint m = 0; m < input->member_count; m++)
    g_array_append_val(turns->members, m);
  for (guint p = 0; p < partitions; p++) {
    if (alike->plan->owners[p] != GROUPS_ASSIGN_NOBODY || groups_assign_wanters(alike->plan, alike->topic_of[p]) == 0)
      continue;
    guint member = turns_take(alike, turns);
    INVARIANT(member != GROUPS_ASSIGN_NOBODY, "the quotas add up to all partitions");
    give(alike, p, member);
  }
  turns_free(turns);
}

void groups_assign_sticky_alike(GroupsAssignPlan *plan) {
  const GroupsAssignInput *input = plan->input;
  guint total = groups_assign_total(input), wanted = 0;
  if (input->member_count == 0)
    return;
  Alike alike = {
      .plan = plan,
      .quota = g_new0(guint, input->member_count),
      .load = g_new0(guint, input->member_count),
      .topic_of = g_new0(guint, total + 1),
  };
  for (guint t = 0; t < input->topic_count; t++) {
    wanted += groups_assign_wanters(plan, t) > 0 ? input->topics[t].partition_count : 0;
    for (guint p = plan->first[t]; p < plan->first[t + 1]; p++)
      alike.topic_of[p] = t;
  }
  set_quotas(&alike, wanted);
  for (guint m = 0; m < input->member_count; m++)
    keep(&alike, m);
  give_near(&alike, total);
  give_rest(&alike, total);
  g_free(alike.quota);
  g_free(alike.load);
  g_free(alike.topic_of);
}
