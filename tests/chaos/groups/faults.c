/* The table of faults; see faults.h. What is in force is known to the fleet, the network and the members: to mend is to
 * thaw, start and plug in all. */
#include "tests/chaos/groups/faults.h"

typedef struct {
  const char *name;
  gboolean needs_cuts;
  char *(*begin)(const FaultsStage *stage);
} Fault;

static guint any(const FaultsStage *stage, guint count) {
  return (guint)g_rand_int_range(stage->random, 0, (gint32)count);
}

/* ---- Members ---- */

#define RESTART_MS 10000

static guint any_member(const FaultsStage *stage) {
  return any(stage, members_slots(stage->members));
}

static char *kill_member(const FaultsStage *stage) {
  guint slot = any_member(stage);
  members_kill(stage->members, slot);
  return members_name(stage->members, slot);
}

/* Neighbours: of one group, but for one pair in so many. */
static char *kill_two(const FaultsStage *stage) {
  guint slot = any_member(stage), other = (slot + 1) % members_slots(stage->members);
  members_kill(stage->members, slot);
  members_kill(stage->members, other);
  g_autofree char *one = members_name(stage->members, slot), *two = members_name(stage->members, other);
  return g_strdup_printf("%s and %s", one, two);
}

static char *kill_all(const FaultsStage *stage) {
  for (guint i = 0; i < members_slots(stage->members); i++)
    members_kill(stage->members, i);
  return g_strdup("all of them");
}

static char *freeze_member(const FaultsStage *stage) {
  guint slot = any_member(stage);
  members_freeze(stage->members, slot);
  return members_name(stage->members, slot);
}

static char *leave(const FaultsStage *stage) {
  guint slot = any_member(stage);
  members_ask_to_leave(stage->members, slot);
  return members_name(stage->members, slot);
}

/* It goes and comes as another one in the same moment. */
static char *replace_member(const FaultsStage *stage) {
  guint slot = any_member(stage);
  members_kill(stage->members, slot);
  members_start(stage->members, slot);
  return members_name(stage->members, slot);
}

/* Its library leaves for it, so that others read on; the next poll joins again. */
static char *slow_member(const FaultsStage *stage) {
  guint slot = members_any(stage->members, (guint)g_rand_int_range(stage->random, 0, MEMBERS_STREAMS), stage->random);
  members_slow_down(stage->members, slot);
  return members_name(stage->members, slot);
}

/* Nobody else may notice. */
static char *restart_instance(const FaultsStage *stage) {
  guint slot = members_any(stage->members, MEMBERS_STATIC, stage->random);
  *stage->wrong = members_restart(stage->members, slot, RESTART_MS);
  return members_name(stage->members, slot);
}

/* ---- Coordinators and brokers ---- */

static guint first_coordinator(const FaultsStage *stage) {
  return fleet_controllers(stage->fleet) + fleet_brokers(stage->fleet);
}

static guint any_coordinator(const FaultsStage *stage) {
  return first_coordinator(stage) + any(stage, fleet_coordinators(stage->fleet));
}

static guint any_broker(const FaultsStage *stage) {
  return fleet_controllers(stage->fleet) + any(stage, fleet_brokers(stage->fleet));
}

static char *name_of(const FaultsStage *stage, guint node) {
  return g_strdup(fleet_name(stage->fleet, node));
}

static char *kill_node(const FaultsStage *stage, guint node) {
  fleet_kill(stage->fleet, node, FALSE);
  return name_of(stage, node);
}

static char *kill_coordinator(const FaultsStage *stage) {
  return kill_node(stage, any_coordinator(stage));
}

static char *kill_coordinators(const FaultsStage *stage) {
  for (guint i = 0; i < fleet_coordinators(stage->fleet); i++)
    fleet_kill(stage->fleet, first_coordinator(stage) + i, FALSE);
  return g_strdup("all of them");
}

static char *freeze_coordinator(const FaultsStage *stage) {
  guint node = any_coordinator(stage);
  fleet_freeze(stage->fleet, node);
  return name_of(stage, node);
}

/* Planned: it hands its leases over first, and no session is lost. */
static char *stop_coordinator(const FaultsStage *stage) {
  guint node = any_coordinator(stage);
  int status = fleet_terminate(stage->fleet, node);
  if (status != 0)
    *stage->wrong =
        g_strdup_printf("%s was asked to stop, and ended with status %d", fleet_name(stage->fleet, node), status);
  return name_of(stage, node);
}

static char *kill_broker(const FaultsStage *stage) {
  return kill_node(stage, any_broker(stage));
}

static char *freeze_broker(const FaultsStage *stage) {
  guint node = any_broker(stage);
  fleet_freeze(stage->fleet, node);
  return name_of(stage, node);
}

/* Both ways. */
static void cut(const FaultsStage *stage, guint node, guint first, guint count) {
  for (guint i = first; i < first + count; i++) {
    net_block(stage->net, node, i);
    net_block(stage->net, i, node);
  }
}

/* Its session goes on, and members reach it: it can keep nothing of what they tell. */
static char *cut_from_brokers(const FaultsStage *stage) {
  guint node = any_coordinator(stage);
  cut(stage, node, fleet_controllers(stage->fleet), fleet_brokers(stage->fleet));
  return name_of(stage, node);
}

/* Its leases go to another, and it hears nothing of that. */
static char *cut_from_controllers(const FaultsStage *stage) {
  guint node = any_coordinator(stage);
  cut(stage, node, 0, fleet_controllers(stage->fleet));
  return name_of(stage, node);
}

static char *unplug_coordinator(const FaultsStage *stage) {
  guint node = any_coordinator(stage);
  net_unplug(stage->net, node);
  return name_of(stage, node);
}

static char *unplug_broker(const FaultsStage *stage) {
  guint node = any_broker(stage);
  net_unplug(stage->net, node);
  return name_of(stage, node);
}

/* ---- Controllers ---- */

static guint any_controller(const FaultsStage *stage) {
  return any(stage, fleet_controllers(stage->fleet));
}

static char *kill_controller(const FaultsStage *stage) {
  return kill_node(stage, any_controller(stage));
}

static char *kill_controllers(const FaultsStage *stage) {
  for (guint i = 0; i < fleet_controllers(stage->fleet); i++)
    fleet_kill(stage->fleet, i, FALSE);
  return g_strdup("all of them");
}

static char *freeze_controller(const FaultsStage *stage) {
  guint node = any_controller(stage);
  fleet_freeze(stage->fleet, node);
  return name_of(stage, node);
}

static char *unplug_controller(const FaultsStage *stage) {
  guint node = any_controller(stage);
  net_unplug(stage->net, node);
  return name_of(stage, node);
}

/* It may be the active one: brokers and coordinators still reach it. */
static char *cut_controller_from_others(const FaultsStage *stage) {
  guint node = any_controller(stage), count = fleet_controllers(stage->fleet);
  cut(stage, node, 0, node);
  cut(stage, node, node + 1, count - node - 1);
  return name_of(stage, node);
}

static const Fault FAULTS[] = {
    {"member kill", FALSE, kill_member},
    {"two members kill", FALSE, kill_two},
    {"members kill", FALSE, kill_all},
    {"member freeze", FALSE, freeze_member},
    {"member leave", FALSE, leave},
    {"member replace", FALSE, replace_member},
    {"member too slow", FALSE, slow_member},
    {"instance restart", FALSE, restart_instance},
    {"coordinator kill", FALSE, kill_coordinator},
    {"coordinators kill", FALSE, kill_coordinators},
    {"coordinator freeze", FALSE, freeze_coordinator},
    {"coordinator stop", FALSE, stop_coordinator},
    {"coordinator cut from brokers", TRUE, cut_from_brokers},
    {"coordinator cut from controllers", TRUE, cut_from_controllers},
    {"coordinator unplug", TRUE, unplug_coordinator},
    {"broker kill", FALSE, kill_broker},
    {"broker freeze", FALSE, freeze_broker},
    {"broker unplug", TRUE, unplug_broker},
    {"controller kill", FALSE, kill_controller},
    {"controllers kill", FALSE, kill_controllers},
    {"controller freeze", FALSE, freeze_controller},
    {"controller unplug", TRUE, unplug_controller},
    {"controller cut from controllers", TRUE, cut_controller_from_others},
};

/* ---- All of them ---- */

guint faults_count(void) {
  return G_N_ELEMENTS(FAULTS);
}

const char *faults_name(guint kind) {
  return FAULTS[kind].name;
}

const char *faults_skips(const FaultsStage *stage, guint kind) {
  return FAULTS[kind].needs_cuts && !net_can_cut(stage->net) ? "network namespaces can't be made here" : NULL;
}

gboolean faults_is_planned(guint kind) {
  return FAULTS[kind].begin == stop_coordinator || FAULTS[kind].begin == restart_instance;
}

char *faults_begin(const FaultsStage *stage, guint kind) {
  return FAULTS[kind].begin(stage);
}

void faults_mend(const FaultsStage *stage) {
  if (net_can_cut(stage->net))
    net_heal(stage->net);
  for (guint i = 0; i < fleet_nodes(stage->fleet); i++) {
    fleet_thaw(stage->fleet, i);
    fleet_start(stage->fleet, i);
  }
  for (guint i = 0; i < members_slots(stage->members); i++) {
    members_thaw(stage->members, i);
    members_start(stage->members, i);
  }
}
