/* The rules; see partition_rules.h. No state of its own.
 *
 * Invariants, after each event:
 *  1. in_sync and eligible are replicas, and share no member.
 *  2. With at least the minimum in sync, nobody else is eligible: the high watermark moves without them.
 *  3. A leader is in sync.
 *  4. Who is unsynced is in sync or eligible: whoever joins later has all that counts on its disk.
 * Failure modes: none; what may not be done is refused before it changes anything. */
#include "controller/metadata/partition_rules.h"

#include <string.h>

#include "controller/metadata/records.h"
#include "services/base/invariant.h"

/* ---- Ids ---- */

static guint find(const BrokerIds *ids, gint32 id) {
  guint i = 0;
  while (i < ids->count && ids->ids[i] != id)
    i++;
  return i;
}

gboolean broker_ids_has(const BrokerIds *ids, gint32 id) {
  return find(ids, id) < ids->count;
}

void broker_ids_add(BrokerIds *ids, gint32 id) {
  if (broker_ids_has(ids, id))
    return;
  INVARIANT(ids->count < METADATA_REPLICAS_MAX, "commands bound the replicas of a partition");
  ids->ids[ids->count++] = id;
}

gboolean broker_ids_remove(BrokerIds *ids, gint32 id) {
  guint place = find(ids, id);
  if (place == ids->count)
    return FALSE;
  ids->count--;
  memmove(&ids->ids[place], &ids->ids[place + 1], (ids->count - place) * sizeof ids->ids[0]);
  return TRUE;
}

void broker_ids_keep(BrokerIds *ids, const BrokerIds *others) {
  BrokerIds kept = {0};
  for (guint i = 0; i < ids->count; i++)
    if (broker_ids_has(others, ids->ids[i]))
      kept.ids[kept.count++] = ids->ids[i];
  *ids = kept;
}

gboolean broker_ids_equal(const BrokerIds *a, const BrokerIds *b) {
  return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof a->ids[0]) == 0;
}

static gboolean has_all(const BrokerIds *ids, const BrokerIds *others) {
  for (guint i = 0; i < others->count; i++)
    if (!broker_ids_has(ids, others->ids[i]))
      return FALSE;
  return TRUE;
}

static void add_all(BrokerIds *ids, const BrokerIds *others) {
  for (guint i = 0; i < others->count; i++)
    broker_ids_add(ids, others->ids[i]);
}

/* ---- To and from records ---- */

static void load_ids(BrokerIds *ids, const gint32 *from, guint count) {
  ids->count = 0;
  for (guint i = 0; i < count; i++)
    broker_ids_add(ids, from[i]);
}

void partition_state_load(PartitionState *state, const MetadataPartition *partition) {
  state->leader_id = partition->leader_id;
  state->leader_epoch = partition->leader_epoch;
  state->partition_epoch = partition->partition_epoch;
  load_ids(&state->replicas, partition->replicas, partition->replica_count);
  load_ids(&state->in_sync, partition->isr, partition->isr_count);
  load_ids(&state->eligible, partition->eligible, partition->eligible_count);
  load_ids(&state->target, partition->target, partition->target_count);
  load_ids(&state->before, partition->before, partition->before_count);
  load_ids(&state->unsynced, partition->unsynced, partition->unsynced_count);
  state->throttle_bytes = partition->throttle_bytes;
  state->elected_unclean = state->leads_anew = FALSE;
}

/* It ends with the reassignment. */
static guint64 throttle_of(const PartitionState *state) {
  return state->target.count > 0 ? state->throttle_bytes : 0;
}

/* Invariant 4. */
static BrokerIds unsynced_of(const PartitionState *state) {
  BrokerIds counting = state->in_sync, unsynced = state->unsynced;
  add_all(&counting, &state->eligible);
  broker_ids_keep(&unsynced, &counting);
  return unsynced;
}

gboolean partition_state_changed(const PartitionState *state, const MetadataPartition *partition) {
  PartitionState loaded;
  partition_state_load(&loaded, partition);
  BrokerIds unsynced = unsynced_of(state);
  return state->leads_anew || state->elected_unclean || !broker_ids_equal(&unsynced, &loaded.unsynced) ||
         state->leader_id != loaded.leader_id || throttle_of(state) != loaded.throttle_bytes ||
         !broker_ids_equal(&state->replicas, &loaded.replicas) || !broker_ids_equal(&state->in_sync, &loaded.in_sync) ||
         !broker_ids_equal(&state->eligible, &loaded.eligible) || !broker_ids_equal(&state->target, &loaded.target) ||
         !broker_ids_equal(&state->before, &loaded.before);
}

MetadataRecord *partition_state_record(const PartitionState *state, const MetadataPartition *partition) {
  MetadataPartition changed = *partition;
  changed.leader_id = state->leader_id;
  changed.leader_epoch += state->leader_id != partition->leader_id || state->leads_anew;
  changed.damage_cut_epoch = state->leads_anew ? changed.leader_epoch : partition->damage_cut_epoch;
  changed.unclean_epoch = state->elected_unclean ? changed.leader_epoch : partition->unclean_epoch;
  BrokerIds unsynced = unsynced_of(state);
  changed.unsynced = unsynced.ids;
  changed.unsynced_count = unsynced.count;
  changed.partition_epoch++;
  changed.replicas = state->replicas.ids;
  changed.replica_count = state->replicas.count;
  changed.isr = state->in_sync.ids;
  changed.isr_count = state->in_sync.count;
  changed.eligible = state->eligible.ids;
  changed.eligible_count = state->eligible.count;
  changed.target = state->target.ids;
  changed.target_count = state->target.count;
  changed.before = state->before.ids;
  changed.before_count = state->before.count;
  changed.throttle_bytes = throttle_of(state);
  return metadata_record_partition(&changed);
}

/* ---- Elections ---- */

/* Invariant 2. */
static void settle_eligible(PartitionState *state, const PartitionRules *rules) {
  if (state->in_sync.count >= rules->min_in_sync)
    state->eligible.count = 0;
}

/* The one that stands best, the first of those that stand alike; -1 when all are gone. */
static gint32 best_of(const PartitionState *state, const PartitionRules *rules, const BrokerIds *among) {
  gint32 best = -1;
  BrokerStanding best_standing = BROKER_GONE;
  for (guint i = 0; i < state->replicas.count; i++) {
    gint32 id = state->replicas.ids[i];
    BrokerStanding standing = broker_ids_has(among, id) ? rules->standing(id, rules->data) : BROKER_GONE;
    /* Of two that yield, the one that leads already goes on. */
    if (standing > best_standing ||
        (standing == BROKER_YIELDS && standing == best_standing && id == state->leader_id)) {
      best = id;
      best_standing = standing;
    }
  }
  return best;
}

/* The replicas become these; what counts of the others is given up. */
static void set_replicas(PartitionState *state, const BrokerIds *replicas) {
  state->replicas = *replicas;
  broker_ids_keep(&state->in_sync, replicas);
  broker_ids_keep(&state->eligible, replicas);
}

/* All that it goes to are in sync: the others go. */
static void finish_reassignment(PartitionState *state) {
  if (state->target.count == 0 || !has_all(&state->in_sync, &state->target))
    return;
  BrokerIds target = state->target;
  state->target.count = state->before.count = 0;
  set_replicas(state, &target);
}

/* It leads, and is the only one in sync: what the others have, nobody knows. */
static void lead_alone(PartitionState *state, const PartitionRules *rules, gint32 leader_id) {
  state->leader_id = leader_id;
  state->in_sync = (BrokerIds){.count = 1, .ids = {leader_id}};
  broker_ids_remove(&state->eligible, leader_id);
  finish_reassignment(state); /* where it goes to this one alone no proposal would end it: none is left to make */
  settle_eligible(state, rules);
}

static ElectionKind lead_eligible(PartitionState *state, const PartitionRules *rules) {
  gint32 leader_id = best_of(state, rules, &state->eligible);
  if (leader_id < 0)
    return ELECTION_NONE;
  add_all(&state->eligible, &state->in_sync); /* they have all that is committed too */
  lead_alone(state, rules, leader_id);
  return ELECTION_CLEAN;
}

static ElectionKind lead_unclean(PartitionState *state, const PartitionRules *rules) {
  gint32 leader_id = best_of(state, rules, &state->replicas);
  if (leader_id < 0)
    return ELECTION_NONE;
  state->elected_unclean = TRUE;
  state->eligible.count = 0; /* what they have that this one lacks is given up */
  lead_alone(state, rules, leader_id);
  return ELECTION_UNCLEAN;
}

static ElectionKind elect(PartitionState *state, const PartitionRules *rules, gboolean unclean) {
  gint32 before = state->leader_id;
  if (before >= 0 && broker_ids_has(&state->in_sync, before) && rules->standing(before, rules->data) == BROKER_READY)
    return ELECTION_SAME;
  state->leader_id = best_of(state, rules, &state->in_sync);
  if (state->leader_id >= 0)
    return state->leader_id == before ? ELECTION_SAME : ELECTION_CLEAN;
  ElectionKind election = lead_eligible(state, rules);
  return election == ELECTION_NONE && unclean ? lead_unclean(state, rules) : election;
}

ElectionKind partition_elect(PartitionState *state, const PartitionRules *rules) {
  return elect(state, rules, rules->unclean);
}

ElectionKind partition_elect_unclean(PartitionState *state, const PartitionRules *rules) {
  return elect(state, rules, TRUE);
}

ElectionKind partition_elect_cutting(PartitionState *state, const PartitionRules *rules) {
  ElectionKind election = elect(state, rules, TRUE);
  if (state->leader_id < 0 || state->in_sync.count + state->eligible.count > 1)
    return election;
  state->leads_anew = TRUE;
  return ELECTION_UNCLEAN;
}

gboolean partition_elect_preferred(PartitionState *state, const PartitionRules *rules) {
  gint32 preferred = state->replicas.ids[0];
  if (state->leader_id == preferred || !broker_ids_has(&state->in_sync, preferred) ||
      rules->standing(preferred, rules->data) != BROKER_READY)
    return FALSE;
  state->leader_id = preferred;
  return TRUE;
}

/* ---- Who is in sync ---- */

ElectionKind partition_lose_broker(PartitionState *state, const PartitionRules *rules, gint32 broker_id) {
  if (broker_ids_remove(&state->in_sync, broker_id) && state->in_sync.count < rules->min_in_sync)
    broker_ids_add(&state->eligible, broker_id);
  return partition_elect(state, rules);
}

ElectionKind partition_lose_replica(PartitionState *state, const PartitionRules *rules, gint32 broker_id,
                                    gboolean last_counts) {
  gboolean counted = broker_ids_remove(&state->in_sync, broker_id) | broker_ids_remove(&state->eligible, broker_id);
  if (counted && last_counts && state->in_sync.count + state->eligible.count == 0)
    broker_ids_add(&state->eligible, broker_id);
  return partition_elect(state, rules);
}

void partition_flush_always(PartitionState *state) {
  state->unsynced = state->in_sync;
  add_all(&state->unsynced, &state->eligible);
}

void partition_set_min_in_sync(PartitionState *state, const PartitionRules *rules) {
  settle_eligible(state, rules);
}

/* ---- Reassignment ---- */

static gboolean move(PartitionState *state, const PartitionRules *rules, const PartitionState *moved,
                     ElectionKind *ret_election) {
  PartitionState next = *moved;
  BrokerIds all = next.replicas;
  set_replicas(&next, &all);
  if (next.in_sync.count + next.eligible.count == 0 && state->in_sync.count + state->eligible.count > 0)
    return FALSE;
  finish_reassignment(&next);
  settle_eligible(&next, rules);
  ElectionKind election = partition_elect(&next, rules);
  *state = next;
  if (ret_election)
    *ret_election = election;
  return TRUE;
}

gboolean partition_reassign(PartitionState *state, const PartitionRules *rules, const BrokerIds *target,
                            ElectionKind *ret_election) {
  PartitionState moved = *state;
  if (moved.target.count == 0)
    moved.before = moved.replicas;
  moved.target = *target;
  moved.replicas = *target;
  add_all(&moved.replicas, &moved.before);
  return move(state, rules, &moved, ret_election);
}

gboolean partition_cancel_reassignment(PartitionState *state, const PartitionRules *rules, ElectionKind *ret_election) {
  PartitionState moved = *state;
  moved.replicas = moved.before;
  moved.target.count = moved.before.count = 0;
  return move(state, rules, &moved, ret_election);
}

ElectionKind partition_set_in_sync(PartitionState *state, const PartitionRules *rules, const BrokerIds *in_sync,
                                   const BrokerIds *synced) {
  BrokerIds before = state->in_sync;
  state->in_sync = *in_sync;
  if (in_sync->count < rules->min_in_sync)
    add_all(&state->eligible, &before);
  for (guint i = 0; i < in_sync->count; i++)
    broker_ids_remove(&state->eligible, in_sync->ids[i]);
  for (guint i = 0; i < synced->count; i++)
    broker_ids_remove(&state->unsynced, synced->ids[i]);
  finish_reassignment(state);
  settle_eligible(state, rules);
  return partition_elect(state, rules);
}
