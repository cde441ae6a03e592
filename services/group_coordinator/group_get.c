/* GetGroup: what the groups say of one, and how far its members are behind, which the partitions' leaders know.
 *
 * Thread: the coordinator's loop. A leader that does not answer in time leaves its partitions without a lag, and with a
 * reason. */
#include "services/group_coordinator/group_call.h"
#include "services/membership/coordinators.h"

#define ENDS_TIMEOUT_MS 3000

/* What an EndsQuery was asked for. */
enum { ASKED_END, ASKED_START };

static Milena__V1__Group *group_of(const GroupCall *call) {
  return ((Milena__V1__GetGroupResponse *)call->response)->group;
}

/* Who coordinates it, by the metadata of now. */
static void fill_coordinator(const GroupCall *call) {
  Milena__V1__Group *group = group_of(call);
  CoordinatorPlace place;
  g_autoptr(Failure) failure = coordinators_find(call->coordinator->image, group->group, &place);
  if (failure)
    return;
  Milena__V1__GroupCoordinator told;
  coordinators_fill(call->coordinator->image, &place, &told);
  group->coordinator = g_memdup2(&told, sizeof told);
  group->coordinator->address = g_strdup(told.address);
}

static void reply(GroupCall *call) {
  group_call_reply(call, g_steal_pointer(&call->response));
}

/* ---- lag ---- */

/* Does it read from the start where nothing is committed? Then that is what is still to be read. */
static gboolean starts_at_earliest(const GroupCall *call, const Milena__V1__GroupPartition *partition) {
  const Milena__V1__GetGroupRequest *request = rpc_message_body(call->message);
  Tenure *tenure;
  g_autoptr(Failure) failure = coordinator_find_tenure(call->coordinator, request->group, &tenure);
  return !failure && *partition->member_id &&
         groups_offset_reset(tenure_groups(tenure), request->group, partition->member_id) ==
             MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
}

static void set_lag(Milena__V1__Group *group, Milena__V1__GroupPartition *partition, gint64 from) {
  partition->lag_presence_case = MILENA__V1__GROUP_PARTITION__LAG_PRESENCE_LAG;
  partition->lag = MAX(0, partition->high_watermark - from);
  group->total_lag += partition->lag;
}

static void take_end(Milena__V1__GroupPartition *partition, const EndsQuery *query) {
  if (query->failure) {
    if (!partition->status)
      partition->status = failure_to_status(query->failure);
    return;
  }
  partition->high_watermark_presence_case = MILENA__V1__GROUP_PARTITION__HIGH_WATERMARK_PRESENCE_HIGH_WATERMARK;
  partition->high_watermark = query->offset;
}

/* The queries are in the order of the partitions: each has its end, and behind that its start where it was asked for.
 */
static void on_ends(const GArray *queries, gpointer data) {
  GroupCall *call = data;
  call->ends = NULL;
  Milena__V1__Group *group = group_of(call);
  guint place = 0;
  for (gsize i = 0; i < group->n_partitions; i++) {
    Milena__V1__GroupPartition *partition = group->partitions[i];
    take_end(partition, &g_array_index(queries, EndsQuery, place++));
    const EndsQuery *start = place < queries->len ? &g_array_index(queries, EndsQuery, place) : NULL;
    gboolean has_start = start && start->user == ASKED_START;
    place += has_start;
    if (!partition->high_watermark_presence_case)
      continue;
    if (partition->committed)
      set_lag(group, partition, partition->committed->offset);
    else if (has_start && !start->failure)
      set_lag(group, partition, start->offset);
  }
  reply(call);
}

static void ask_ends(GroupCall *call) {
  const Milena__V1__Group *group = group_of(call);
  GArray *queries = ends_queries_new();
  for (gsize i = 0; i < group->n_partitions; i++) {
    const Milena__V1__GroupPartition *partition = group->partitions[i];
    ends_query_end(queries, partition->topic, partition->topic_id, partition->partition,
                   MILENA__V1__LOG_END__LOG_END_LATEST, ASKED_END);
    if (!partition->committed && starts_at_earliest(call, partition))
      ends_query_end(queries, partition->topic, partition->topic_id, partition->partition,
                     MILENA__V1__LOG_END__LOG_END_EARLIEST, ASKED_START);
  }
  gint64 left_ms = (rpc_call_answer_by_us(call->rpc) - g_get_monotonic_time()) / 1000;
  call->ends = ends_ask(call->coordinator->client, call->coordinator->loop, call->coordinator->image, queries,
                        CLAMP(left_ms, 1, ENDS_TIMEOUT_MS), on_ends, call);
}

static void on_group(GroupAsk *ask, ProtobufCMessage *response, Failure *failure) {
  GroupCall *call = (GroupCall *)ask;
  const Milena__V1__GetGroupRequest *request = rpc_message_body(call->message);
  if (failure) {
    group_call_refuse(call, failure);
    return;
  }
  call->response = response;
  fill_coordinator(call);
  if (request->skip_lag || group_of(call)->n_partitions == 0)
    reply(call);
  else
    ask_ends(call);
}

void group_get(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__GetGroupRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, FALSE);
  Tenure *tenure;
  if (!group_call_find(call, request->group, &tenure))
    return;
  call->ask.answered = on_group;
  groups_get(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request);
}
