/* ResetOffsets: the groups plan which partitions it is about, the leaders say where their ends (and the time that is
 * asked for) are, and the groups set the offsets, having looked again.
 *
 * Thread: the coordinator's loop. A partition whose leader does not answer in time is refused by itself. */
#include "services/base/times.h"
#include "services/group_coordinator/group_call.h"

#define ENDS_TIMEOUT_MS 5000

/* What an EndsQuery was asked for; three of them at most for each partition. */
enum { ASKED_START, ASKED_END, ASKED_PLACE, ASKED_KINDS };

static void set_offsets(GroupCall *call) {
  const Milena__V1__ResetOffsetsRequest *request = rpc_message_body(call->message);
  Tenure *tenure;
  if (!group_call_find(call, request->group, &tenure))
    return;
  call->ask.answered = group_call_answered;
  groups_reset(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, call->resets, tenure_now());
}

/* Where an end or an offset is, or where the leader found the time. */
static gint64 place_of(const Milena__V1__ResetOffsetsRequest *request, const GroupsReset *reset, gint64 found) {
  if (request->target_case != MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_POSITION)
    return -1;
  switch (request->position->kind_case) {
  case MILENA__V1__POSITION__KIND_OFFSET:
    return request->position->offset;
  case MILENA__V1__POSITION__KIND_TIME:
    return found;
  default:
    return request->position->end == MILENA__V1__LOG_END__LOG_END_EARLIEST ? reset->log_start : reset->high_watermark;
  }
}

static void on_ends(const GArray *queries, gpointer data) {
  GroupCall *call = data;
  const Milena__V1__ResetOffsetsRequest *request = rpc_message_body(call->message);
  call->ends = NULL;
  g_autofree gint64 *found = g_new0(gint64, call->resets->len + 1);
  for (guint i = 0; i < queries->len; i++) {
    const EndsQuery *query = &g_array_index(queries, EndsQuery, i);
    guint place = query->user / ASKED_KINDS;
    GroupsReset *reset = &g_array_index(call->resets, GroupsReset, place);
    if (query->failure && !reset->failure)
      reset->failure = failure_copy(query->failure);
    gint64 *offsets[] = {&reset->log_start, &reset->high_watermark, &found[place]};
    *offsets[query->user % ASKED_KINDS] = query->offset;
  }
  for (guint i = 0; i < call->resets->len; i++) {
    GroupsReset *reset = &g_array_index(call->resets, GroupsReset, i);
    reset->offset = place_of(request, reset, found[i]);
  }
  set_offsets(call);
}

static void ask_ends(GroupCall *call, const Milena__V1__ResetOffsetsRequest *request) {
  GArray *queries = ends_queries_new();
  gboolean by_time = request->target_case == MILENA__V1__RESET_OFFSETS_REQUEST__TARGET_POSITION &&
                     request->position->kind_case == MILENA__V1__POSITION__KIND_TIME;
  for (guint i = 0; i < call->resets->len; i++) {
    const GroupsReset *reset = &g_array_index(call->resets, GroupsReset, i);
    if (reset->failure)
      continue;
    ends_query_end(queries, reset->topic, reset->topic_id, reset->partition, MILENA__V1__LOG_END__LOG_END_EARLIEST,
                   ASKED_KINDS * i + ASKED_START);
    ends_query_end(queries, reset->topic, reset->topic_id, reset->partition, MILENA__V1__LOG_END__LOG_END_LATEST,
                   ASKED_KINDS * i + ASKED_END);
    if (by_time)
      ends_query_time(queries, reset->topic, reset->topic_id, reset->partition,
                      times_timestamp_ms(request->position->time, 0), ASKED_KINDS * i + ASKED_PLACE);
  }
  gint64 left_ms = (rpc_call_answer_by_us(call->rpc) - g_get_monotonic_time()) / 1000;
  call->ends = ends_ask(call->coordinator->client, call->coordinator->loop, call->coordinator->image, queries,
                        CLAMP(left_ms, 1, ENDS_TIMEOUT_MS), on_ends, call);
}

void group_reset(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__ResetOffsetsRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, !request->validate_only);
  Tenure *tenure;
  if (!group_call_find(call, request->group, &tenure))
    return;
  Failure *failure = groups_plan_reset(tenure_groups(tenure), request, &call->resets);
  if (failure)
    group_call_refuse(call, failure);
  else
    ask_ends(call, request);
}
