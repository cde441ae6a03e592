/* The kinds of faults of controllers, a function each; see nemesis.h. Mending takes back what they do, whatever it was.
 */
#include "tests/chaos/nemesis_internal.h"

/* ---- Processes ---- */

static gboolean begin_kill(Nemesis *nemesis, guint who) {
  nemesis_kill(nemesis, who, FALSE);
  return TRUE;
}

static gboolean begin_power_cut(Nemesis *nemesis, guint who) {
  nemesis_kill(nemesis, who, TRUE);
  return TRUE;
}

static gboolean begin_power_cut_all(Nemesis *nemesis, guint who) {
  (void)who;
  for (guint i = 0; i < nemesis->count; i++)
    nemesis_kill(nemesis, i, TRUE);
  return TRUE;
}

/* When nothing else is in force, the time until writes succeed again is measured: nothing else comes in between. */
static gboolean begin_kill_active(Nemesis *nemesis, guint who) {
  gboolean alone = nemesis->in_force == 0 && fleet_state(nemesis->options.fleet, who) == FLEET_RUNNING;
  gint64 now_us = g_get_monotonic_time();
  nemesis_kill(nemesis, who, FALSE);
  if (!alone || !nemesis->options.surgeon || surgeon_is_busy(nemesis->options.surgeon))
    return TRUE;
  g_array_append_val(nemesis->kills_us, now_us);
  guint64 before = load_writes_ok(nemesis->options.load);
  while (load_writes_ok(nemesis->options.load) < before + NEMESIS_PROGRESS_WRITES && nemesis_look(nemesis) &&
         g_get_monotonic_time() - now_us < NEMESIS_PROGRESS_S * G_USEC_PER_SEC / 2)
    g_usleep(NEMESIS_STEP_MS * 1000);
  return TRUE;
}

static gboolean begin_freeze(Nemesis *nemesis, guint who) {
  fleet_freeze(nemesis->options.fleet, who);
  return TRUE;
}

/* Clients that asked it meanwhile are answered when it wakes: it must not tell what it knew before. */
static gboolean begin_hiccup(Nemesis *nemesis, guint who) {
  fleet_freeze(nemesis->options.fleet, who);
  nemesis_pause_ms(nemesis, 300, 1500, NULL);
  fleet_thaw(nemesis->options.fleet, who);
  return TRUE;
}

/* ---- The network ---- */

/* Between controllers only: what clients send arrives. */
static void cut(Nemesis *nemesis, guint who, gboolean inbound, gboolean outbound) {
  for (guint i = 0; i < nemesis->count; i++) {
    if (i == who)
      continue;
    if (inbound)
      net_block(nemesis->options.net, i, who);
    if (outbound)
      net_block(nemesis->options.net, who, i);
  }
}

static gboolean begin_cut_off(Nemesis *nemesis, guint who) {
  cut(nemesis, who, TRUE, TRUE);
  return TRUE;
}

static gboolean begin_deaf(Nemesis *nemesis, guint who) {
  cut(nemesis, who, TRUE, FALSE);
  return TRUE;
}

static gboolean begin_dumb(Nemesis *nemesis, guint who) {
  cut(nemesis, who, FALSE, TRUE);
  return TRUE;
}

static gboolean begin_unplug(Nemesis *nemesis, guint who) {
  net_unplug(nemesis->options.net, who);
  return TRUE;
}

static gboolean begin_bridge(Nemesis *nemesis, guint middle) {
  for (guint i = 0; i < nemesis->count; i++)
    for (guint k = 0; k < nemesis->count; k++)
      if (i != k && i != middle && k != middle)
        net_block(nemesis->options.net, i, k);
  return TRUE;
}

static gboolean begin_no_answers(Nemesis *nemesis, guint who) {
  net_block(nemesis->options.net, who, NET_OUTSIDE);
  return TRUE;
}

/* ---- Disks and members ---- */

static gboolean begin_failing_sync(Nemesis *nemesis, guint who) {
  guint syncs = (guint)g_rand_int_range(nemesis->random, 1, 40);
  nemesis_kill(nemesis, who, TRUE);
  if (!nemesis->options.surgeon || !surgeon_keeps_down(nemesis->options.surgeon, who))
    fleet_start_failing(nemesis->options.fleet, who, syncs);
  return TRUE;
}

static gboolean begin_transfer(Nemesis *nemesis, guint to) {
  Milena__V1__TransferLeadershipRequest request = MILENA__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
  request.id = (gint32)to + 1;
  const char *address = fleet_client_address(nemesis->options.fleet, nemesis_active_member(nemesis));
  g_autoptr(RpcMessage) answer = NULL;
  g_autoptr(Failure) failure =
      caller_admin(&nemesis->caller, address, "TransferLeadership", &request.base, 3000, &answer);
  if (failure) {
    g_autofree char *text = caller_text(failure);
    nemesis_say(nemesis, "  not handed over: %.150s", text);
  }
  return TRUE;
}

static gboolean begin_surgery(Nemesis *nemesis, SurgeonJob job, guint who) {
  return nemesis->options.surgeon && surgeon_begin(nemesis->options.surgeon, job, who);
}

static gboolean begin_lost_disk(Nemesis *nemesis, guint who) {
  return begin_surgery(nemesis, SURGEON_REPLACE, who);
}

static gboolean begin_damaged_disk(Nemesis *nemesis, guint who) {
  return begin_surgery(nemesis, SURGEON_DAMAGE, who);
}

static gboolean begin_exchange(Nemesis *nemesis, guint who) {
  return begin_surgery(nemesis, SURGEON_MOVE, who);
}

/* ---- The table ---- */

const Fault NEMESIS_FAULTS[FAULT_BROKER_FIRST] = {
    [FAULT_KILL] = {"kill", 6, 0, HITS_MEMBER, begin_kill},
    [FAULT_KILL_ACTIVE] = {"kill active", 8, 0, HITS_ACTIVE, begin_kill_active},
    [FAULT_POWER_CUT] = {"power cut", 6, NEEDS_LOSS, HITS_MEMBER, begin_power_cut},
    [FAULT_POWER_CUT_ALL] = {"power cut of all", 3, NEEDS_LOSS, HITS_MEMBER, begin_power_cut_all},
    [FAULT_FREEZE] = {"freeze", 5, 0, HITS_MEMBER, begin_freeze},
    [FAULT_FREEZE_ACTIVE] = {"freeze active", 6, 0, HITS_ACTIVE, begin_freeze},
    [FAULT_HICCUP] = {"hiccup", 8, 0, HITS_ACTIVE, begin_hiccup},
    [FAULT_CUT_OFF] = {"cut off", 5, NEEDS_CUTS | NEEDS_OTHERS, HITS_MEMBER, begin_cut_off},
    [FAULT_CUT_ACTIVE] = {"cut off active", 6, NEEDS_CUTS | NEEDS_OTHERS, HITS_ACTIVE, begin_cut_off},
    [FAULT_UNPLUG] = {"unplug", 4, NEEDS_CUTS, HITS_MEMBER, begin_unplug},
    [FAULT_DEAF] = {"deaf", 5, NEEDS_CUTS | NEEDS_OTHERS, HITS_MEMBER, begin_deaf},
    [FAULT_DUMB] = {"dumb", 5, NEEDS_CUTS | NEEDS_OTHERS, HITS_MEMBER, begin_dumb},
    [FAULT_BRIDGE] = {"bridge", 4, NEEDS_CUTS | NEEDS_OTHERS, HITS_MEMBER, begin_bridge},
    [FAULT_NO_ANSWERS] = {"no answers", 4, NEEDS_CUTS, HITS_ACTIVE, begin_no_answers},
    [FAULT_FAILING_SYNC] = {"failing fsync", 5, NEEDS_LOSS, HITS_MEMBER, begin_failing_sync},
    [FAULT_TRANSFER] = {"transfer", 5, NEEDS_OTHERS, HITS_MEMBER, begin_transfer},
    [FAULT_LOST_DISK] = {"lost disk", 3, NEEDS_OTHERS, HITS_MEMBER, begin_lost_disk},
    [FAULT_DAMAGED_DISK] = {"damaged disk", 3, NEEDS_OTHERS, HITS_MEMBER, begin_damaged_disk},
    [FAULT_MOVE] = {"exchange", 4, NEEDS_OTHERS, HITS_MEMBER, begin_exchange},
};
