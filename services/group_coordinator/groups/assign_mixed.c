/* The sticky assignor when members want different topics: everybody keeps what it has and still wants, the rest goes to
 * whoever has least, then partitions move from who has many to who has few, directly as long as that helps, and at last
 * along chains: A gives one of a topic to B, B one of another topic to C. State: of one call.
 *
 * Invariants: a member's load is the sum of its lists; every partition of a topic that somebody wants is in one list.
 * It ends: each move, and each chain, makes the sum of the squares of the loads smaller. */
#include <stdlib.h>
#include <string.h>

#include "services/base/invariant.h"
#include "services/group_coordinator/groups/assign_internal.h"

/* Chains are looked for until so many members were looked at: for thousands of members with thousands of different
 * wishes the result is then a little less even, instead of late. */
#define LOOKS_MAX ((gsize)20 * 1000 * 1000)

typedef struct {
  GroupsAssignPlan *plan;
  guint *load;   /* of each member */
  GArray **held; /* for each place in wanted_by: that member's partitions of that topic, kept ones first; NULL: none */
  guint64 looks;
} Mixed;

#define NOWHERE G_MAXUINT

/* The place of @member in the topic's wanters, or NOWHERE. */
static guint place_of(const GroupsAssignPlan *plan, guint topic, guint member) {
  guint low = plan->wanted_from[topic], high = plan->wanted_from[topic + 1];
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (plan->wanted_by[middle] < member)
      low = middle + 1;
    else
      high = middle;
  }
  return low < plan->wanted_from[topic + 1] && plan->wanted_by[low] == member ? low : NOWHERE;
}

static guint held_count(const Mixed *mixed, guint place) {
  return mixed->held[place] ? mixed->held[place]->len : 0;
}

static void give(Mixed *mixed, guint place, guint partition) {
  if (!mixed->held[place])
    mixed->held[place] = g_array_new(FALSE, FALSE, sizeof(guint));
  g_array_append_val(mixed->held[place], partition);
  mixed->plan->owners[partition] = mixed->plan->wanted_by[place];
  mixed->load[mixed->plan->wanted_by[place]]++;
}

/* Move one partition, if there is a choice one that came last: what was kept stays longest. */
static void move(Mixed *mixed, guint from, guint to) {
  GArray *held = mixed->held[from];
  guint partition = g_array_index(held, guint, held->len - 1);
  g_array_set_size(held, held->len - 1);
  mixed->load[mixed->plan->wanted_by[from]]--;
  give(mixed, to, partition);
}

static void keep_all(Mixed *mixed) {
  const GroupsAssignPlan *plan = mixed->plan;
  for (guint m = 0; m < plan->input->member_count; m++) {
    const GroupsAssignMember *member = &plan->input->members[m];
    guint topic = 0;
    for (guint i = 0; i < member->previous_count; i++) {
      guint partition = member->previous[i];
      while (partition >= plan->first[topic + 1])
        topic++;
      guint place = place_of(plan, topic, m);
      if (place != NOWHERE && plan->owners[partition] == GROUPS_ASSIGN_NOBODY)
        give(mixed, place, partition);
    }
  }
}

/* Who wants the topic and has least; in the rack, if that costs nothing. */
static guint least_loaded(const Mixed *mixed, guint topic, const char *rack) {
  const GroupsAssignPlan *plan = mixed->plan;
  guint best = plan->wanted_from[topic];
  for (guint place = best + 1; place < plan->wanted_from[topic + 1]; place++) {
    guint member = plan->wanted_by[place], other = plan->wanted_by[best];
    if (mixed->load[member] < mixed->load[other] ||
        (mixed->load[member] == mixed->load[other] && groups_assign_is_near(plan, member, rack) &&
         !groups_assign_is_near(plan, other, rack)))
      best = place;
  }
  return best;
}

typedef struct {
  guint topic, wanters;
} Ranked;

static int compare_fewest_first(gconstpointer a, gconstpointer b) {
  const Ranked *one = a, *other = b;
  if (one->wanters != other->wanters)
    return one->wanters < other->wanters ? -1 : 1;
  return one->topic < other->topic ? -1 : one->topic > other->topic;
}

/* Topics that few want go first: their partitions have the least choice. */
static void give_rest(Mixed *mixed) {
  const GroupsAssignPlan *plan = mixed->plan;
  g_autofree Ranked *ranked = g_new(Ranked, plan->input->topic_count);
  for (guint t = 0; t < plan->input->topic_count; t++)
    ranked[t] = (Ranked){t, groups_assign_wanters(plan, t)};
  qsort(ranked, plan->input->topic_count, sizeof *ranked, compare_fewest_first);
  for (guint i = 0; i < plan->input->topic_count; i++) {
    guint topic = ranked[i].topic;
    if (ranked[i].wanters == 0)
      continue;
    for (guint p = plan->first[topic]; p < plan->first[topic + 1]; p++)
      if (plan->owners[p] == GROUPS_ASSIGN_NOBODY)
        give(mixed, least_loaded(mixed, topic, groups_assign_rack(plan, topic, p)), p);
  }
}

/* ---- moves from one to another ---- */

/* Returns TRUE if anything moved. */
static gboolean level_topic(Mixed *mixed, guint topic) {
  const GroupsAssignPlan *plan = mixed->plan;
  gboolean moved = FALSE;
  while (groups_assign_wanters(plan, topic) > 1) {
    guint most = NOWHERE, least = plan->wanted_from[topic];
    for (guint place = plan->wanted_from[topic]; place < plan->wanted_from[topic + 1]; place++) {
      guint load = mixed->load[plan->wanted_by[place]];
      if (held_count(mixed, place) > 0 && (most == NOWHERE || load > mixed->load[plan->wanted_by[most]]))
        most = place;
      if (load < mixed->load[plan->wanted_by[least]])
        least = place;
    }
    if (most == NOWHERE || mixed->load[plan->wanted_by[most]] < mixed->load[plan->wanted_by[least]] + 2)
      break;
    move(mixed, most, least);
    moved = TRUE;
  }
  return moved;
}

/* ---- chains of moves ---- */

/* A search from one member: how each other was reached. */
typedef struct {
  guint *from_place, *to_place; /* for each member that was reached: the move that reaches it */
  gboolean *reached, *topic_seen, *settled;
  GArray *queue; /* guint: members, in the order in which they were reached */
} Chains;

/* Everybody who can get one from @member directly. Returns the one that ends the chain, or NOBODY. */
static guint reach_from(Mixed *mixed, Chains *chains, guint member, guint limit) {
  const GroupsAssignPlan *plan = mixed->plan;
  const GroupsAssignMember *input = &plan->input->members[member];
  for (guint i = 0; i < input->topic_count; i++) {
    guint topic = input->topics[i], from = place_of(plan, topic, member);
    if (chains->topic_seen[topic] || held_count(mixed, from) == 0)
      continue;
    chains->topic_seen[topic] = TRUE;
    for (guint to = plan->wanted_from[topic]; to < plan->wanted_from[topic + 1]; to++) {
      guint other = plan->wanted_by[to];
      mixed->looks++;
      if (chains->reached[other])
        continue;
      chains->reached[other] = TRUE;
      chains->from_place[other] = from;
      chains->to_place[other] = to;
      g_array_append_val(chains->queue, other);
      if (mixed->load[other] <= limit)
        return other;
    }
  }
  return GROUPS_ASSIGN_NOBODY;
}

/* One chain from @start to somebody with at least two less. Returns FALSE when there is none: then it has none either
 * for whoever was reached and has no more than @start. */
static gboolean move_along_chain(Mixed *mixed, Chains *chains, guint start) {
  const GroupsAssignInput *input = mixed->plan->input;
  if (mixed->load[start] < 2)
    return FALSE;
  memset(chains->reached, 0, input->member_count * sizeof *chains->reached);
  memset(chains->topic_seen, 0, input->topic_count * sizeof *chains->topic_seen);
  g_array_set_size(chains->queue, 0);
  chains->reached[start] = TRUE;
  g_array_append_val(chains->queue, start);
  guint end = GROUPS_ASSIGN_NOBODY;
  for (guint i = 0; i < chains->queue->len && end == GROUPS_ASSIGN_NOBODY; i++)
    end = reach_from(mixed, chains, g_array_index(chains->queue, guint, i), mixed->load[start] - 2);
  if (end == GROUPS_ASSIGN_NOBODY)
    return FALSE;
  for (guint member = end; member != start;) {
    guint before = mixed->plan->wanted_by[chains->from_place[member]];
    move(mixed, chains->from_place[member], chains->to_place[member]);
    member = before;
  }
  return TRUE;
}

/* From the largest load down. Who can't give anything away is settled, with all that it reaches: chains of those with
 * less load can't end there. */
static void level_by_chains(Mixed *mixed) {
  const GroupsAssignInput *input = mixed->plan->input;
  Chains chains = {
      .from_place = g_new0(guint, input->member_count),
      .to_place = g_new0(guint, input->member_count),
      .reached = g_new0(gboolean, input->member_count),
      .topic_seen = g_new0(gboolean, input->topic_count + 1),
      .settled = g_new0(gboolean, input->member_count),
      .queue = g_array_new(FALSE, FALSE, sizeof(guint)),
  };
  while (mixed->looks < LOOKS_MAX) {
    guint most = GROUPS_ASSIGN_NOBODY;
    for (guint m = 0; m < input->member_count; m++)
      if (!chains.settled[m] && (most == GROUPS_ASSIGN_NOBODY || mixed->load[m] > mixed->load[most]))
        most = m;
    mixed->looks += input->member_count;
    if (most == GROUPS_ASSIGN_NOBODY || mixed->load[most] < 2)
      break;
    if (move_along_chain(mixed, &chains, most))
      continue;
    for (guint i = 0; i < chains.queue->len; i++)
      chains.settled[g_array_index(chains.queue, guint, i)] = TRUE;
  }
  g_free(chains.from_place);
  g_free(chains.to_place);
  g_free(chains.reached);
  g_free(chains.topic_seen);
  g_free(chains.settled);
  g_array_unref(chains.queue);
}

void groups_assign_sticky_mixed(GroupsAssignPlan *plan) {
  const GroupsAssignInput *input = plan->input;
  guint places = plan->wanted_from[input->topic_count];
  Mixed mixed = {
      .plan = plan,
      .load = g_new0(guint, input->member_count + 1),
      .held = g_new0(GArray *, places + 1),
  };
  keep_all(&mixed);
  give_rest(&mixed);
  for (gboolean moved = TRUE; moved;) {
    moved = FALSE;
    for (guint t = 0; t < input->topic_count; t++)
      moved |= level_topic(&mixed, t);
  }
  level_by_chains(&mixed);
  for (guint i = 0; i < places; i++)
    if (mixed.held[i])
      g_array_unref(mixed.held[i]);
  g_free(mixed.held);
  g_free(mixed.load);
}
