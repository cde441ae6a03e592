/* Deleting the oldest records of a partition wherever it is led: see source.h and routed.h. */
#include "milena/v1/admin_service.pb-c.h"
#include "services/broker/read/routed.h"

typedef struct SourceTrimState {
  Routed routed;
  SourceTrim *trim; /* NULL once abandoned */
  gint64 before_offset;
  gboolean validate_only;
  gint64 log_start_offset; /* the answer until it is told */
} SourceTrimState;

/* ---- here ---- */

static void local_done(PartitionTrim *local, gpointer data) {
  SourceTrimState *state = data;
  Failure *failure = g_steal_pointer(&local->failure);
  state->log_start_offset = local->log_start_offset;
  partition_trim_free(local);
  routed_answer(&state->routed, failure);
}

static void ask_local(Routed *routed) {
  SourceTrimState *state = (SourceTrimState *)routed;
  PartitionTrim *local = partition_trim_new();
  local->log_id = routed->route.partition->log_id;
  local->leader_epoch = routed->route.partition->leader_epoch;
  local->before_offset = state->before_offset;
  local->validate_only = state->validate_only;
  local->deadline_us = routed->deadline_us;
  local->done = local_done;
  local->user_data = state;
  routed_ref(routed);
  partition_trim_start(local, routed->route.shard, front_loop(routed->front));
}

/* ---- elsewhere ---- */

static Failure *take_answer(Routed *routed, RpcMessage *message) {
  SourceTrimState *state = (SourceTrimState *)routed;
  const Milena__V1__DeleteRecordsResponse *response = rpc_message_body(message);
  if (response->n_results != 1)
    return failure_new(FAILURE(INTERNAL), "broker %d answered one deletion with %" G_GSIZE_FORMAT " results",
                       state->routed.route.leader->id, response->n_results);
  const Milena__V1__DeletionResult *result = response->results[0];
  if (result->status != NULL && result->status->code != 0)
    return failure_from_status(result->status);
  state->log_start_offset = result->log_start_offset;
  return NULL;
}

static void ask_remote(Routed *routed) {
  SourceTrimState *state = (SourceTrimState *)routed;
  Milena__V1__PartitionDeletion deletion = MILENA__V1__PARTITION_DELETION__INIT;
  deletion.topic = routed->route.topic->name;
  deletion.topic_id = (char *)routed->route.topic->id;
  deletion.partition = routed->partition;
  if (state->before_offset >= 0) {
    deletion.before_presence_case = MILENA__V1__PARTITION_DELETION__BEFORE_PRESENCE_BEFORE_OFFSET;
    deletion.before_offset = state->before_offset;
  }
  Milena__V1__PartitionDeletion *deletions[] = {&deletion};
  Milena__V1__DeleteRecordsRequest request = MILENA__V1__DELETE_RECORDS_REQUEST__INIT;
  request.n_deletions = 1;
  request.deletions = deletions;
  request.validate_only = state->validate_only;
  request.no_proxy = TRUE;
  routed_ask(routed, &milena__v1__admin_service__descriptor, "DeleteRecords", &request.base, routed->deadline_us);
}

/* ---- the operation ---- */

static void cancel(Routed *routed) {
  SourceTrimState *state = (SourceTrimState *)routed;
  state->trim = NULL;
}

static void over(Routed *routed, Failure *failure) {
  SourceTrimState *state = (SourceTrimState *)routed;
  SourceTrim *trim = state->trim;
  trim->failure = failure;
  trim->log_start_offset = state->log_start_offset;
  routed_fill_origin(routed, &trim->origin);
  trim->done(trim, trim->user_data);
}

static void destroy(Routed *routed) {
  g_free(routed);
}

static const RoutedOps OPS = {ask_local, ask_remote, take_answer, cancel, over, destroy};

SourceTrim *source_trim_new(void) {
  return g_new0(SourceTrim, 1);
}

void source_trim_start(SourceTrim *trim, Front *front) {
  SourceTrimState *state = g_new0(SourceTrimState, 1);
  state->trim = trim;
  state->before_offset = trim->before_offset;
  state->validate_only = trim->validate_only;
  trim->state = state;
  routed_init(&state->routed, &OPS);
  routed_start(&state->routed, front, &trim->target);
}

void source_trim_free(SourceTrim *trim) {
  if (trim == NULL)
    return;
  if (trim->state != NULL)
    routed_abandon(&trim->state->routed);
  failure_free(trim->failure);
  source_origin_clear(&trim->origin);
  g_free(trim);
}
