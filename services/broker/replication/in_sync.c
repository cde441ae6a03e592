/* Proposals of who is in sync, for all that this shard leads: looked at from time to time, and soon after a follower
 * has come far enough; sent to the active controller together, one call at a time.
 *
 *   quiet ──replicas propose──► asking ──answered──► each accepted (the metadata says so soon), or refused
 *                                 ▲ │ no answer: the same again, after a while
 *                                 └─┘
 *
 * A proposal without an answer may have been accepted: it is sent again as it is until there is one, or the partition's
 * metadata has changed, which settles it (replica.h). Thread: the shard's loop. Failure modes: without a controller,
 * who is in sync stays as it is. */
#include "milena/internal/v1/controller_service.pb-c.h"
#include "services/base/slog.h"
#include "services/broker/front_internal.h"
#include "services/broker/replica/assignment.h"
#include "services/broker/replication/replication_internal.h"

#define LOOK_EVERY_MS 500
#define LOOK_SOON_MS 5
#define RETRY_MS 100
#define ASK_TIMEOUT_MS 3000
#define PROPOSALS_MAX 1000
#define MEMBERS_MAX (FOLLOWERS_MAX + 1)

typedef struct {
  guint64 log_id;
  gint32 leader_epoch;
  guint64 partition_epoch;
  FollowersProposal members;
} Proposal;

struct InSync {
  Shard *shard;
  GArray *proposals; /* of Proposal: asked, or to be asked again */
  RpcClientCall *call;
  Timer timer;
  gboolean stopped;
};

static void look(InSync *in_sync);

static void on_timer(Timer *timer, gpointer data) {
  (void)timer;
  look(data);
}

static void look_in(InSync *in_sync, gint64 delay_ms) {
  if (!in_sync->stopped)
    timer_set(in_sync->shard->timers, &in_sync->timer, g_get_monotonic_time() + delay_ms * 1000, on_timer, in_sync);
}

/* ---- collecting ---- */

static gboolean may_join(gint32 broker_id, guint64 broker_epoch, gpointer data) {
  return replica_assignment_may_join(data, broker_id, broker_epoch);
}

static void collect_from(InSync *in_sync, Partition *partition, gint64 now_ms) {
  const MetadataPartition *metadata;
  Proposal proposal;
  const ReplicaTerms terms = {REPLICATION_LAG_MAX_MS, now_ms, may_join, in_sync->shard->image};
  if (!partition_metadata(partition, &metadata) || (metadata->replica_count < 2 && metadata->unsynced_count == 0) ||
      !replica_propose(partition->replica, &terms, &proposal.members))
    return;
  proposal.log_id = partition->log_id;
  proposal.leader_epoch = metadata->leader_epoch;
  proposal.partition_epoch = metadata->partition_epoch;
  g_array_append_val(in_sync->proposals, proposal);
}

static void collect(InSync *in_sync) {
  gint64 now_ms = g_get_monotonic_time() / 1000;
  GHashTableIter iter;
  gpointer partition;
  g_hash_table_iter_init(&iter, in_sync->shard->partitions);
  while (in_sync->proposals->len < PROPOSALS_MAX && g_hash_table_iter_next(&iter, NULL, &partition))
    if (replica_leads(((Partition *)partition)->replica))
      collect_from(in_sync, partition, now_ms);
}

/* The partition that the proposal is about, if it still is as it was. */
static Partition *current(const InSync *in_sync, const Proposal *proposal, const MetadataPartition **ret_metadata) {
  Partition *partition = partition_lookup(in_sync->shard, proposal->log_id);
  if (!partition || !partition_metadata(partition, ret_metadata) || !replica_leads(partition->replica) ||
      (*ret_metadata)->leader_epoch != proposal->leader_epoch ||
      (*ret_metadata)->partition_epoch != proposal->partition_epoch)
    return NULL;
  return partition;
}

/* ---- asking ---- */

typedef Milena__Internal__V1__InSyncProposal ProposalProto;
typedef Milena__Internal__V1__InSyncMember MemberProto;

static void fill(const InSync *in_sync, const Proposal *proposal, const Partition *partition, ProposalProto *proto,
                 MemberProto *members, MemberProto **places) {
  milena__internal__v1__in_sync_proposal__init(proto);
  proto->topic_id = (char *)partition->topic_id;
  proto->partition = partition->number;
  proto->leader_epoch = proposal->leader_epoch;
  proto->partition_epoch = proposal->partition_epoch;
  proto->n_members = proposal->members.count + 1;
  proto->members = places;
  for (guint i = 0; i < proto->n_members; i++) {
    milena__internal__v1__in_sync_member__init(&members[i]);
    places[i] = &members[i];
  }
  members[0].broker_id = in_sync->shard->broker->id;
  members[0].synced = proposal->members.self_synced;
  for (guint i = 0; i < proposal->members.count; i++) {
    members[i + 1].broker_id = proposal->members.members[i].broker_id;
    members[i + 1].broker_epoch = proposal->members.members[i].broker_epoch;
    members[i + 1].synced = proposal->members.members[i].synced;
  }
}

static void take_result(const InSync *in_sync, const Proposal *proposal,
                        const Milena__Internal__V1__InSyncResult *result) {
  const MetadataPartition *metadata;
  g_autoptr(Failure) failure = failure_from_status(result->status);
  Partition *partition = current(in_sync, proposal, &metadata);
  /* Accepted: the metadata says so soon. Stale: it has changed since, maybe by an earlier try of this very proposal,
   * and settles it. Only who can't join for certain is taken back. */
  if (!partition || !failure || failure_reason(failure) != FAILURE(INELIGIBLE_REPLICA))
    return;
  slog_info("the controller refused who is in sync", "partition", partition->name, "error", failure_message(failure),
            NULL);
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_proposal_refused(partition->replica, &out);
  partition_settle(partition, &out);
}

static void on_answer(RpcMessage *message, const Failure *failure, gpointer data) {
  InSync *in_sync = data;
  g_clear_pointer(&in_sync->call, rpc_client_call_unref);
  if (failure) {
    look_in(in_sync, RETRY_MS);
    return;
  }
  const Milena__Internal__V1__AlterInSyncResponse *response = rpc_message_body(message);
  g_autoptr(GArray) proposals = in_sync->proposals;
  in_sync->proposals = g_array_new(FALSE, FALSE, sizeof(Proposal));
  for (guint i = 0; i < MIN(proposals->len, response->n_results); i++)
    take_result(in_sync, &g_array_index(proposals, Proposal, i), response->results[i]);
  look_in(in_sync, LOOK_EVERY_MS);
}

static void send(InSync *in_sync, const char *controller) {
  guint count = in_sync->proposals->len;
  g_autofree ProposalProto *protos = g_new(ProposalProto, count);
  g_autofree ProposalProto **places = g_new(ProposalProto *, count);
  g_autofree MemberProto *members = g_new(MemberProto, (gsize)count * MEMBERS_MAX);
  g_autofree MemberProto **member_places = g_new(MemberProto *, (gsize)count * MEMBERS_MAX);
  for (guint i = 0; i < count; i++) {
    const Proposal *proposal = &g_array_index(in_sync->proposals, Proposal, i);
    const MetadataPartition *metadata;
    fill(in_sync, proposal, current(in_sync, proposal, &metadata), &protos[i], &members[(gsize)i * MEMBERS_MAX],
         &member_places[(gsize)i * MEMBERS_MAX]);
    places[i] = &protos[i];
  }
  Milena__Internal__V1__AlterInSyncRequest request = MILENA__INTERNAL__V1__ALTER_IN_SYNC_REQUEST__INIT;
  request.broker_id = in_sync->shard->broker->id;
  request.broker_epoch = in_sync->shard->broker_epoch;
  request.n_proposals = count;
  request.proposals = places;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  in_sync->call = rpc_client_unary(in_sync->shard->broker->client, controller,
                                   &milena__internal__v1__controller_service__descriptor, "AlterInSync", message,
                                   g_get_monotonic_time() + ASK_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND,
                                   in_sync->shard->loop, on_answer, in_sync);
}

static void drop_settled(InSync *in_sync) {
  for (guint i = in_sync->proposals->len; i-- > 0;) {
    const MetadataPartition *metadata;
    if (!current(in_sync, &g_array_index(in_sync->proposals, Proposal, i), &metadata))
      g_array_remove_index(in_sync->proposals, i);
  }
}

static void look(InSync *in_sync) {
  if (in_sync->call || in_sync->stopped)
    return; /* its answer looks again */
  drop_settled(in_sync);
  const char *controller = in_sync->shard->front->controller;
  if (in_sync->shard->image && controller && in_sync->shard->broker_epoch)
    collect(in_sync);
  if (in_sync->proposals->len > 0 && controller)
    send(in_sync, controller);
  else
    look_in(in_sync, LOOK_EVERY_MS);
}

/* ---- life ---- */

InSync *in_sync_new(Shard *shard) {
  InSync *in_sync = g_new0(InSync, 1);
  in_sync->shard = shard;
  in_sync->proposals = g_array_new(FALSE, FALSE, sizeof(Proposal));
  return in_sync;
}

void in_sync_look_soon(InSync *in_sync) {
  if (!in_sync->call)
    look_in(in_sync, LOOK_SOON_MS);
}

void in_sync_stop(InSync *in_sync) {
  in_sync->stopped = TRUE;
  timer_clear(in_sync->shard->timers, &in_sync->timer);
  if (in_sync->call) {
    rpc_client_call_abandon(in_sync->call);
    g_clear_pointer(&in_sync->call, rpc_client_call_unref);
  }
}

void in_sync_free(InSync *in_sync) {
  in_sync_stop(in_sync);
  g_array_unref(in_sync->proposals);
  g_free(in_sync);
}
