/* The kinds of faults of brokers, a function each; see nemesis.h. Mending takes back what they do, whatever it was. */
#include "tests/chaos/nemesis_internal.h"

#define LOOK_MS 2000
#define WATCH_S 30 /* a kill of a leader, until all that it led is written again */

/* ---- Who leads, and what was hit ---- */

static guint node_of(const Nemesis *nemesis, gint32 broker_id) {
  return nemesis->count + (guint)broker_id - 1;
}

static gint32 id_of(const Nemesis *nemesis, guint node) {
  return (gint32)(node - nemesis->count) + 1;
}

guint nemesis_leader(Nemesis *nemesis) {
  TrafficView view;
  gint32 top = traffic_look(nemesis->options.traffic, LOOK_MS, &view) ? traffic_view_top(&view) : -1;
  return top < 0 ? nemesis_any_broker(nemesis) : node_of(nemesis, top);
}

/* Note who was hit, before it is. Returns the index of the hit, or G_MAXUINT when it led nothing. */
static guint note_hit(Nemesis *nemesis, FaultKind kind, guint node) {
  TrafficView view;
  Traffic *traffic = nemesis->options.traffic;
  gboolean is_busy = nemesis->options.surgeon && surgeon_is_busy(nemesis->options.surgeon);
  if (fleet_state(nemesis->options.fleet, node) != FLEET_RUNNING || !traffic_look(traffic, LOOK_MS, &view))
    return G_MAXUINT;
  NemesisHit hit = {.kind = kind,
                    .broker_id = id_of(nemesis, node),
                    .partitions = traffic_view_led_by(&view, id_of(nemesis, node)),
                    .is_alone = nemesis->in_force == 0 && !is_busy && traffic_view_is_whole(&view)};
  if (!hit.partitions)
    return G_MAXUINT;
  hit.at_us = g_get_monotonic_time();
  g_array_append_val(nemesis->hits, hit);
  return nemesis->hits->len - 1;
}

/* What takes a while to put in force hit it only now. */
static void hit_now(Nemesis *nemesis, guint index) {
  if (index != G_MAXUINT)
    g_array_index(nemesis->hits, NemesisHit, index).at_us = g_get_monotonic_time();
}

/* Nothing else comes in between until all that it led is written again. */
static void watch(Nemesis *nemesis, guint index) {
  if (index == G_MAXUINT || !g_array_index(nemesis->hits, NemesisHit, index).is_alone)
    return;
  const NemesisHit hit = g_array_index(nemesis->hits, NemesisHit, index);
  while (!traffic_is_acknowledged(nemesis->options.traffic, hit.partitions, hit.at_us) && nemesis_look(nemesis) &&
         g_get_monotonic_time() - hit.at_us < WATCH_S * G_USEC_PER_SEC)
    g_usleep(NEMESIS_STEP_MS * 1000);
}

/* ---- Processes ---- */

static gboolean begin_kill(Nemesis *nemesis, guint who) {
  guint hit = note_hit(nemesis, FAULT_BROKER_KILL, who);
  nemesis_kill(nemesis, who, FALSE);
  watch(nemesis, hit);
  return TRUE;
}

static gboolean begin_kill_leader(Nemesis *nemesis, guint who) {
  guint hit = note_hit(nemesis, FAULT_LEADER_KILL, who);
  nemesis_kill(nemesis, who, FALSE);
  watch(nemesis, hit);
  return TRUE;
}

static gboolean begin_power_cut(Nemesis *nemesis, guint who) {
  guint hit = note_hit(nemesis, FAULT_BROKER_POWER_CUT, who);
  nemesis_kill(nemesis, who, TRUE);
  watch(nemesis, hit);
  return TRUE;
}

/* All are stopped before the first one loses anything: what one synced because another lost something is not there. */
static gboolean begin_power_cut_everything(Nemesis *nemesis, guint who) {
  (void)who;
  guint nodes = fleet_nodes(nemesis->options.fleet);
  for (guint i = 0; i < nodes; i++)
    fleet_freeze(nemesis->options.fleet, i);
  for (guint i = 0; i < nodes; i++)
    nemesis_kill(nemesis, i, TRUE);
  return TRUE;
}

static gboolean begin_freeze(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_FREEZE, who);
  fleet_freeze(nemesis->options.fleet, who);
  return TRUE;
}

static gboolean begin_freeze_leader(Nemesis *nemesis, guint who) {
  guint hit = note_hit(nemesis, FAULT_LEADER_FREEZE, who);
  fleet_freeze(nemesis->options.fleet, who);
  watch(nemesis, hit);
  return TRUE;
}

static gboolean begin_hiccup(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_LEADER_HICCUP, who);
  fleet_freeze(nemesis->options.fleet, who);
  nemesis_pause_ms(nemesis, 300, 9000, NULL);
  fleet_thaw(nemesis->options.fleet, who);
  return TRUE;
}

static gboolean begin_restart(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_RESTART, who);
  if (fleet_terminate(nemesis->options.fleet, who) != 0)
    nemesis_kill(nemesis, who, FALSE); /* it was not running, or nobody takes what it leads */
  fleet_start(nemesis->options.fleet, who);
  return TRUE;
}

/* ---- The network ---- */

enum { INBOUND = 1, OUTBOUND = 2 };

/* @first, @end: the nodes on the other side */
static void cut(Nemesis *nemesis, guint who, guint first, guint end, guint ways) {
  for (guint i = first; i < end; i++) {
    if (i == who)
      continue;
    if (ways & INBOUND)
      net_block(nemesis->options.net, i, who);
    if (ways & OUTBOUND)
      net_block(nemesis->options.net, who, i);
  }
}

static void cut_from_all(Nemesis *nemesis, guint who, guint ways) {
  cut(nemesis, who, 0, fleet_nodes(nemesis->options.fleet), ways);
}

static gboolean begin_cut_off(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_CUT_OFF, who);
  cut_from_all(nemesis, who, INBOUND | OUTBOUND);
  return TRUE;
}

static gboolean begin_cut_off_leader(Nemesis *nemesis, guint who) {
  guint hit = note_hit(nemesis, FAULT_LEADER_CUT_OFF, who);
  cut_from_all(nemesis, who, INBOUND | OUTBOUND);
  hit_now(nemesis, hit);
  watch(nemesis, hit);
  return TRUE;
}

static gboolean begin_unplug(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_UNPLUG, who);
  net_unplug(nemesis->options.net, who);
  return TRUE;
}

static gboolean begin_deaf(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_DEAF, who);
  cut_from_all(nemesis, who, INBOUND);
  return TRUE;
}

static gboolean begin_dumb(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_DUMB, who);
  cut_from_all(nemesis, who, OUTBOUND);
  return TRUE;
}

static gboolean begin_apart(Nemesis *nemesis, guint who) {
  guint other = nemesis_any_broker(nemesis);
  if (other == who)
    return FALSE;
  net_block(nemesis->options.net, who, other);
  net_block(nemesis->options.net, other, who);
  return TRUE;
}

static gboolean begin_unmanaged(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_UNMANAGED, who);
  cut(nemesis, who, 0, nemesis->count, INBOUND | OUTBOUND);
  return TRUE;
}

static gboolean begin_no_answers(Nemesis *nemesis, guint who) {
  note_hit(nemesis, FAULT_BROKER_NO_ANSWERS, who);
  net_block(nemesis->options.net, who, NET_OUTSIDE);
  return TRUE;
}

/* ---- Disks, leaders ---- */

static gboolean begin_failing_sync(Nemesis *nemesis, guint who) {
  guint syncs = (guint)g_rand_int_range(nemesis->random, 1, 400);
  nemesis_kill(nemesis, who, TRUE);
  fleet_start_failing(nemesis->options.fleet, who, syncs);
  return TRUE;
}

/* Then another one has all that is acknowledged, whatever comes after. */
static gboolean may_lose_disk(Nemesis *nemesis) {
  TrafficView view;
  Traffic *traffic = nemesis->options.traffic;
  return !nemesis->damaged && traffic_look(traffic, LOOK_MS, &view) && traffic_view_is_whole(&view);
}

static gboolean begin_lost_disk(Nemesis *nemesis, guint who) {
  if (!may_lose_disk(nemesis))
    return FALSE;
  guint hit = note_hit(nemesis, FAULT_BROKER_LOST_DISK, who);
  fleet_wipe(nemesis->options.fleet, who);
  fleet_start(nemesis->options.fleet, who);
  watch(nemesis, hit);
  return TRUE;
}

static gboolean begin_damaged_disk(Nemesis *nemesis, guint who) {
  if (!may_lose_disk(nemesis))
    return FALSE;
  g_autofree char *what = fleet_damage(nemesis->options.fleet, who);
  nemesis_say(nemesis, "  damaged: %s", what);
  nemesis->damaged = who;
  fleet_start(nemesis->options.fleet, who);
  return TRUE;
}

static gboolean begin_move(Nemesis *nemesis, guint who) {
  (void)who;
  g_autofree char *wrong = traffic_shuffle(nemesis->options.traffic, nemesis->random);
  if (wrong)
    nemesis_say(nemesis, "  not moved: %.150s", wrong);
  return TRUE;
}

static gboolean begin_fewer_replicas(Nemesis *nemesis, guint who) {
  (void)who;
  nemesis->is_shrunk = TRUE; /* also when nobody answered: it may have been done */
  g_autofree char *wrong = traffic_shrink(nemesis->options.traffic, nemesis->random);
  if (wrong)
    nemesis_say(nemesis, "  not shrunk: %.150s", wrong);
  return TRUE;
}

/* ---- The table ---- */

#define ROW(kind) [kind - FAULT_BROKER_FIRST]
#define CUTS (NEEDS_BROKERS | NEEDS_CUTS)
#define LOSES (NEEDS_BROKERS | NEEDS_LOSS | NEEDS_SYNCED)

const Fault NEMESIS_BROKER_FAULTS[FAULT_COUNT - FAULT_BROKER_FIRST] = {
    ROW(FAULT_BROKER_KILL) = {"kill broker", 10, NEEDS_BROKERS, HITS_BROKER, begin_kill},
    ROW(FAULT_LEADER_KILL) = {"kill leader", 20, NEEDS_BROKERS, HITS_LEADER, begin_kill_leader},
    ROW(FAULT_BROKER_POWER_CUT) = {"power cut of a broker", 7, LOSES, HITS_BROKER, begin_power_cut},
    ROW(FAULT_EVERYTHING_POWER_CUT) = {"power cut of everything", 6, LOSES, HITS_BROKER, begin_power_cut_everything},
    ROW(FAULT_BROKER_FREEZE) = {"freeze broker", 5, NEEDS_BROKERS, HITS_BROKER, begin_freeze},
    ROW(FAULT_LEADER_FREEZE) = {"freeze leader", 5, NEEDS_BROKERS, HITS_LEADER, begin_freeze_leader},
    ROW(FAULT_LEADER_HICCUP) = {"leader hiccup", 10, NEEDS_BROKERS, HITS_LEADER, begin_hiccup},
    ROW(FAULT_BROKER_CUT_OFF) = {"cut off broker", 5, CUTS, HITS_BROKER, begin_cut_off},
    ROW(FAULT_LEADER_CUT_OFF) = {"cut off leader", 5, CUTS, HITS_LEADER, begin_cut_off_leader},
    ROW(FAULT_BROKER_UNPLUG) = {"unplug broker", 4, CUTS, HITS_BROKER, begin_unplug},
    ROW(FAULT_BROKER_DEAF) = {"deaf broker", 6, CUTS, HITS_BROKER, begin_deaf},
    ROW(FAULT_BROKER_DUMB) = {"dumb broker", 6, CUTS, HITS_BROKER, begin_dumb},
    ROW(FAULT_BROKERS_APART) = {"brokers apart", 6, CUTS, HITS_BROKER, begin_apart},
    ROW(FAULT_BROKER_UNMANAGED) = {"broker without controllers", 5, CUTS, HITS_BROKER, begin_unmanaged},
    ROW(FAULT_BROKER_NO_ANSWERS) = {"no answers of the leader", 5, CUTS, HITS_LEADER, begin_no_answers},
    ROW(FAULT_BROKER_FAILING_SYNC) = {"failing fsync of a broker", 5, LOSES, HITS_BROKER, begin_failing_sync},
    ROW(FAULT_BROKER_RESTART) = {"restart of a broker", 4, NEEDS_BROKERS, HITS_BROKER, begin_restart},
    ROW(FAULT_BROKER_LOST_DISK) = {"lost disk of a broker", 6, NEEDS_BROKERS, HITS_BROKER, begin_lost_disk},
    ROW(FAULT_BROKER_DAMAGED_DISK) = {"damaged disk of a broker", 6, NEEDS_BROKERS, HITS_BROKER, begin_damaged_disk},
    ROW(FAULT_FEWER_REPLICAS) = {"fewer replicas", 6, NEEDS_BROKERS, HITS_LEADER, begin_fewer_replicas},
    ROW(FAULT_LEADERS_MOVE) = {"other leaders", 4, NEEDS_BROKERS, HITS_LEADER, begin_move},
};
