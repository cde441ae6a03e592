/* The operator: adds, promotes, removes and moves controllers, by chance; once the faults have ended, until every
 * member is whole and votes. It asks whoever leads, and is often refused.
 *
 * Invariants: a disk that is replaced is not needed by any configuration that may be in force. */
#include <string.h>

#include "tests/sim/raft/rules.h"

#define VOTERS_WANTED 3
#define MEMBERS_WANTED_MAX 6

static gboolean is_whole(const World *world, const RaftMember *member) {
  return raft_directory_equal(&world->nodes[member->id]->directory, &member->directory);
}

static gboolean survives(const World *world, const RaftConfiguration *configuration, const Node *node) {
  guint lost = 0;
  for (guint k = 0; k < configuration->member_count; k++) {
    const RaftMember *member = &configuration->members[k];
    lost += !member->learner && (member->id == node->id || !is_whole(world, member));
  }
  return lost <= (raft_configuration_voter_count(configuration) - 1) / 2;
}

gboolean operator_may_lose(const World *world, const Node *node) {
  if (rules_committed(world->rules) == 0)
    return FALSE; /* the first entry may be on one disk alone */
  for (guint i = 0; i < rules_configurations(world->rules); i++)
    if (!survives(world, rules_configuration(world->rules, i), node))
      return FALSE;
  /* One that was proposed a moment ago may be in no log yet. */
  for (guint id = 1; id <= NODES_MAX; id++) {
    const Node *other = world->nodes[id];
    if (other->up && raft_core_configuration_index(other->core) > rules_committed(world->rules) &&
        !survives(world, raft_core_configuration(other->core), node))
      return FALSE;
  }
  return TRUE;
}

/* ---- Acts ---- */

static void propose(Node *leader, const RaftChange *change) {
  static const char *const NAMES[] = {"add", "promote", "remove", "update"};
  World *world = leader->world;
  guint64 index;
  Failure *failure = raft_core_propose_change(leader->core, change, &index);
  world_tell(world, leader->id, "is asked to %s controller %d: %s", NAMES[change->kind], (int)change->member.id,
             failure ? failure_message(failure) : "it does");
  failure_free(failure);
  node_work(leader);
}

/* Somebody who is no member becomes a learner. */
static void add(Node *leader, gboolean old_disk) {
  World *world = leader->world;
  const RaftConfiguration *configuration = raft_core_configuration(leader->core);
  guint64 id = 1 + sim_below(world->sim, NODES_MAX);
  for (guint tries = 0; tries < NODES_MAX && raft_configuration_find(configuration, id); tries++)
    id = id % NODES_MAX + 1;
  Node *node = world->nodes[id];
  if (raft_configuration_find(configuration, id) || node->frozen || id == world->dead)
    return;
  if (!node->store || (!old_disk && operator_may_lose(world, node))) {
    if (node->up)
      node_stop(node, SIM_KILLED);
    node_new_disk(node, NULL);
  }
  if (!node->up)
    node_start(node);
  RaftChange change = {.kind = RAFT_CHANGE_ADD, .member = {.id = id, .directory = node->directory}};
  g_snprintf(change.member.address, sizeof change.member.address, "c%d:7750", (int)id);
  if (node_runs(leader)) /* to start somebody may have ended it */
    propose(leader, &change);
}

/* @member: NULL is fine */
static void change_member(Node *leader, RaftChangeKind kind, const RaftMember *member) {
  if (!member)
    return;
  RaftChange change = {.kind = kind, .member = *member};
  if (kind == RAFT_CHANGE_UPDATE)
    g_snprintf(change.member.address, sizeof change.member.address, "moved%d:7750",
               (int)sim_below(leader->world->sim, 100));
  propose(leader, &change);
}

static const RaftMember *any_member(World *world, const RaftConfiguration *configuration) {
  return configuration->member_count == 0 ? NULL
                                          : &configuration->members[sim_below(world->sim, configuration->member_count)];
}

static const RaftMember *find_lost(const World *world, const RaftConfiguration *configuration) {
  for (guint i = 0; i < configuration->member_count; i++)
    if (!is_whole(world, &configuration->members[i]))
      return &configuration->members[i];
  return NULL;
}

static const RaftMember *find_learner(const RaftConfiguration *configuration) {
  for (guint i = 0; i < configuration->member_count; i++)
    if (configuration->members[i].learner)
      return &configuration->members[i];
  return NULL;
}

static void transfer(Node *leader) {
  World *world = leader->world;
  const RaftMember *target = any_member(world, raft_core_configuration(leader->core));
  if (!target)
    return;
  Failure *failure = raft_core_transfer(leader->core, target->id);
  world->result->transfers += failure == NULL;
  world_tell(world, leader->id, "is asked to hand over to controller %d: %s", (int)target->id,
             failure ? failure_message(failure) : "it begins");
  failure_free(failure);
  node_work(leader);
}

/* Would a majority of whole disks be left? */
static gboolean may_remove(const World *world, const RaftConfiguration *configuration, const RaftMember *gone) {
  guint voters = 0, whole = 0;
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    voters += !member->learner && member != gone;
    whole += !member->learner && member != gone && is_whole(world, member);
  }
  return whole > voters / 2;
}

static void act_by_chance(Node *leader) {
  World *world = leader->world;
  const RaftConfiguration *configuration = raft_core_configuration(leader->core);
  const RaftMember *lost = find_lost(world, configuration), *learner = find_learner(configuration);
  const RaftMember *any = any_member(world, configuration);
  guint what = sim_below(world->sim, 100), voters = raft_configuration_voter_count(configuration);
  if (what < 15)
    transfer(leader);
  else if (what < 20)
    change_member(leader, RAFT_CHANGE_UPDATE, any);
  else if (lost && what < 70)
    change_member(leader, RAFT_CHANGE_REMOVE, lost);
  else if (learner && what < 60)
    change_member(leader, RAFT_CHANGE_PROMOTE, learner);
  else if (voters < VOTERS_WANTED || (what < 80 && configuration->member_count < MEMBERS_WANTED_MAX))
    add(leader, sim_chance(world->sim, 500));
  else if (any && may_remove(world, configuration, any))
    change_member(leader, RAFT_CHANGE_REMOVE, any);
}

/* Every member whole and voting, and some of them. */
static void repair(Node *leader) {
  World *world = leader->world;
  const RaftConfiguration *configuration = raft_core_configuration(leader->core);
  const RaftMember *lost = find_lost(world, configuration), *learner = find_learner(configuration);
  if (lost)
    change_member(leader, RAFT_CHANGE_REMOVE, lost);
  else if (learner && learner->id == world->dead)
    change_member(leader, RAFT_CHANGE_REMOVE, learner);
  else if (learner)
    change_member(leader, RAFT_CHANGE_PROMOTE, learner);
  else if (raft_configuration_voter_count(configuration) < MIN(VOTERS_WANTED, world->shape.voters))
    add(leader, FALSE);
}

static Node *find_leader(World *world) {
  Node *leader = world_active(world);
  /* Sometimes one that is it no more. */
  guint64 id = 1 + sim_below(world->sim, NODES_MAX);
  Node *other = world->nodes[id];
  if (sim_chance(world->sim, 200) && node_runs(other) && raft_core_role(other->core) == RAFT_LEADER)
    return other;
  return leader && node_runs(leader) ? leader : NULL;
}

static void act(gpointer data) {
  World *world = data;
  Node *leader = find_leader(world);
  if (leader && world->healing && !world->steady)
    repair(leader);
  else if (leader && !world->healing)
    act_by_chance(leader);
  sim_after(world->sim, sim_between(world->sim, 0, world->shape.operator_us), act, world, NULL);
}

void operator_start(World *world) {
  sim_after(world->sim, world->shape.operator_us, act, world, NULL);
}
