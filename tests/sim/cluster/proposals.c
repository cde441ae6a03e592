/* See broker.h: proposals of who is in sync, and reports of damage, as services/broker/replication/in_sync.c and
 * damage.c have them.
 *
 * Invariants: one call of each is under way at a time; a proposal without an answer is sent again as it was, until the
 * metadata have settled it. */
#include "services/broker/replica/assignment.h"
#include "tests/sim/cluster/office.h"

#define LOOK_EVERY_US 150000
#define LOOK_SOON_US 5000
#define RETRY_US 60000
#define PATIENCE_US 900000

static void look(Broker *broker, gpointer data);

static gboolean may_join(gint32 broker_id, guint64 broker_epoch, gpointer data) {
  return replica_assignment_may_join(data, broker_id, broker_epoch);
}

/* The log that the proposal is about, if it still is as it was. */
static Log *current(const Broker *broker, const Proposal *proposal) {
  Log *log = log_find(broker, proposal->log_id);
  const MetadataPartition *metadata = log && broker->image ? part_in(log->part, broker->image, NULL) : NULL;
  if (!metadata || !replica_leads(log->replica) || metadata->leader_epoch != proposal->leader_epoch ||
      metadata->partition_epoch != proposal->partition_epoch)
    return NULL;
  return log;
}

static void collect_from(Broker *broker, Log *log) {
  const MetadataPartition *metadata = part_in(log->part, broker->image, NULL);
  const ReplicaTerms terms = {broker->cluster->shape.lag_max_us / 1000, broker_now_ms(broker), may_join, broker->image};
  Proposal proposal;
  if (!metadata || (metadata->replica_count < 2 && metadata->unsynced_count == 0) ||
      !replica_propose(log->replica, &terms, &proposal.members))
    return;
  proposal.log_id = log->log_id;
  proposal.leader_epoch = metadata->leader_epoch;
  proposal.partition_epoch = metadata->partition_epoch;
  g_array_append_val(broker->proposals, proposal);
  broker_tell(broker, "proposes %u in sync of log %d", proposal.members.count + 1, (int)log->log_id);
}

static void collect(Broker *broker) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Log *log = value;
    if (replica_leads(log->replica))
      collect_from(broker, log);
  }
}

static void look_again(Broker *broker, gpointer data) {
  (void)data;
  look(broker, NULL);
  broker_after(broker, LOOK_EVERY_US, look_again, NULL, NULL);
}

static void look(Broker *broker, gpointer data) {
  (void)data;
  broker->look_soon = FALSE;
  if (broker->asking || !broker->image || !broker->epoch)
    return;
  for (guint i = broker->proposals->len; i-- > 0;)
    if (!current(broker, &g_array_index(broker->proposals, Proposal, i)))
      g_array_remove_index(broker->proposals, i);
  collect(broker);
  if (broker->proposals->len == 0)
    return;
  broker->asking = call_new(broker->cluster, CALL_ALTER, broker, broker->controller);
  broker->asking->proposals = g_array_copy(broker->proposals);
  call_start(broker->asking, PATIENCE_US);
}

static void take_result(Broker *broker, const Proposal *proposal, FailureReason reason) {
  Log *log = current(broker, proposal);
  if (!log || reason != FAILURE(INELIGIBLE_REPLICA))
    return;
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_proposal_refused(log->replica, &out);
  log_settle(log, &out);
}

void proposals_answered(Broker *broker, const Call *call) {
  if (broker->asking != call)
    return;
  Call *held = broker->asking;
  broker->asking = NULL;
  if (call->reason || !call->refusals) {
    broker_after(broker, RETRY_US, look, NULL, NULL);
  } else {
    g_autoptr(GArray) proposals = broker->proposals;
    broker->proposals = g_array_new(FALSE, FALSE, sizeof(Proposal));
    for (guint i = 0; i < proposals->len; i++)
      take_result(broker, &g_array_index(proposals, Proposal, i), g_array_index(call->refusals, FailureReason, i));
  }
  call_unref(held);
}

void proposals_look_soon(Broker *broker) {
  if (broker->look_soon)
    return;
  broker->look_soon = TRUE;
  broker_after(broker, LOOK_SOON_US, look, NULL, NULL);
}

/* ---- Damage ---- */

static void look_at_damage(Broker *broker, gpointer data) {
  (void)data;
  damage_look(broker);
}

void damage_look(Broker *broker) {
  if (broker->reporting || !broker->image || !broker->epoch)
    return;
  g_autoptr(GArray) damaged = g_array_new(FALSE, FALSE, sizeof(guint64));
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Log *log = value;
    const MetadataPartition *metadata = part_in(log->part, broker->image, NULL);
    gboolean others_count;
    if (!replica_damage(log->replica) || !metadata)
      continue;
    if (replica_cuts_damage(log->replica))
      log_mend(log);
    else if (!replica_assignment_counts(metadata, broker->id, &others_count))
      following_assigned(log);
    else if (others_count)
      g_array_append_val(damaged, log->log_id);
  }
  if (damaged->len == 0)
    return;
  broker->reporting = call_new(broker->cluster, CALL_DAMAGE, broker, broker->controller);
  broker->reporting->damaged = g_steal_pointer(&damaged);
  call_start(broker->reporting, PATIENCE_US);
}

void damage_answered(Broker *broker, const Call *call) {
  if (broker->reporting != call)
    return;
  g_clear_pointer(&broker->reporting, call_unref);
  broker_after(broker, RETRY_US, look_at_damage, NULL, NULL);
}

void proposals_begin(Broker *broker) {
  broker_after(broker, LOOK_EVERY_US, look_again, NULL, NULL);
}
