/* Finding an offset in a partition wherever it is led: see source.h and routed.h. */
#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/times.h"
#include "services/broker/read/routed.h"

typedef struct SourceFindState {
  Routed routed;
  SourceFind *find; /* NULL once abandoned */
  Place place;
  /* The answer until it is told. */
  gint64 offset, timestamp_ms;
  gboolean has_timestamp;
} SourceFindState;

/* ---- here ---- */

static PartitionFindKind kind_of(PlaceKind kind) {
  switch (kind) {
  case PLACE_EARLIEST:
    return PARTITION_FIND_EARLIEST;
  case PLACE_LAST_STABLE:
    return PARTITION_FIND_LAST_STABLE;
  case PLACE_TIME:
    return PARTITION_FIND_TIME;
  case PLACE_LATEST:
  case PLACE_OFFSET: /* for the bounds */
    break;
  }
  return PARTITION_FIND_LATEST;
}

static Failure *offset_check(const Routed *routed, gint64 offset, const PartitionBounds *bounds) {
  if (offset >= bounds->log_start_offset && offset <= bounds->high_watermark)
    return NULL;
  Failure *failure = failure_new(FAILURE(OFFSET_OUT_OF_RANGE),
                                 "offset %" G_GINT64_FORMAT " of %s/%d is out of range: earliest is %" G_GINT64_FORMAT
                                 ", latest %" G_GINT64_FORMAT,
                                 offset, routed->route.topic->name, routed->partition, bounds->log_start_offset,
                                 bounds->high_watermark);
  failure_add(failure, "earliest", "%" G_GINT64_FORMAT, bounds->log_start_offset);
  return failure_add(failure, "latest", "%" G_GINT64_FORMAT, bounds->high_watermark);
}

static void local_done(PartitionFind *local, gpointer data) {
  SourceFindState *state = data;
  Failure *failure = g_steal_pointer(&local->failure);
  if (failure == NULL && state->place.kind == PLACE_OFFSET)
    failure = offset_check(&state->routed, state->place.offset, &local->bounds);
  state->offset = state->place.kind == PLACE_OFFSET ? state->place.offset : local->offset;
  state->has_timestamp = state->place.kind == PLACE_TIME && local->found;
  state->timestamp_ms = local->record_timestamp_ms;
  partition_find_free(local);
  routed_answer(&state->routed, failure);
}

static void ask_local(Routed *routed) {
  SourceFindState *state = (SourceFindState *)routed;
  PartitionFind *local = partition_find_new();
  local->log_id = routed->route.partition->log_id;
  local->leader_epoch = routed->route.partition->leader_epoch;
  local->kind = kind_of(state->place.kind);
  local->timestamp_ms = state->place.timestamp_ms;
  local->done = local_done;
  local->user_data = state;
  routed_ref(routed);
  partition_find_start(local, routed->route.shard, front_loop(routed->front));
}

/* ---- elsewhere ---- */

static Failure *take_answer(Routed *routed, RpcMessage *message) {
  SourceFindState *state = (SourceFindState *)routed;
  const Milena__V1__ListOffsetsResponse *response = rpc_message_body(message);
  if (response->n_results != 1)
    return failure_new(FAILURE(INTERNAL), "broker %d answered one query with %" G_GSIZE_FORMAT " results",
                       state->routed.route.leader->id, response->n_results);
  const Milena__V1__OffsetResult *result = response->results[0];
  if (result->status != NULL && result->status->code != 0)
    return failure_from_status(result->status);
  state->offset = result->offset;
  state->has_timestamp = result->timestamp != NULL;
  state->timestamp_ms = times_timestamp_ms(result->timestamp, 0);
  return NULL;
}

/* @time: room for a place that is a time */
static void position_fill(const Place *place, Google__Protobuf__Timestamp *time, Milena__V1__Position *position) {
  position->kind_case = MILENA__V1__POSITION__KIND_END;
  switch (place->kind) {
  case PLACE_EARLIEST:
    position->end = MILENA__V1__LOG_END__LOG_END_EARLIEST;
    break;
  case PLACE_LATEST:
    position->end = MILENA__V1__LOG_END__LOG_END_LATEST;
    break;
  case PLACE_LAST_STABLE:
    position->end = MILENA__V1__LOG_END__LOG_END_LAST_STABLE;
    break;
  case PLACE_OFFSET:
    position->kind_case = MILENA__V1__POSITION__KIND_OFFSET;
    position->offset = place->offset;
    break;
  case PLACE_TIME:
    times_timestamp_set(time, place->timestamp_ms);
    position->kind_case = MILENA__V1__POSITION__KIND_TIME;
    position->time = time;
    break;
  }
}

static void ask_remote(Routed *routed) {
  SourceFindState *state = (SourceFindState *)routed;
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position_fill(&state->place, &time, &position);
  Milena__V1__OffsetQuery query = MILENA__V1__OFFSET_QUERY__INIT;
  query.topic = routed->route.topic->name;
  query.topic_id = (char *)routed->route.topic->id;
  query.partition = routed->partition;
  query.position = &position;
  Milena__V1__OffsetQuery *queries[] = {&query};
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = 1;
  request.queries = queries;
  request.no_proxy = TRUE;
  routed_ask(routed, &milena__v1__consumer_service__descriptor, "ListOffsets", &request.base, routed->deadline_us);
}

/* ---- the operation ---- */

static void cancel(Routed *routed) {
  SourceFindState *state = (SourceFindState *)routed;
  state->find = NULL;
}

static void over(Routed *routed, Failure *failure) {
  SourceFindState *state = (SourceFindState *)routed;
  SourceFind *find = state->find;
  find->failure = failure;
  find->offset = state->offset;
  find->has_timestamp = state->has_timestamp;
  find->timestamp_ms = state->timestamp_ms;
  routed_fill_origin(routed, &find->origin);
  find->done(find, find->user_data);
}

static void destroy(Routed *routed) {
  g_free(routed);
}

static const RoutedOps OPS = {ask_local, ask_remote, take_answer, cancel, over, destroy};

SourceFind *source_find_new(void) {
  return g_new0(SourceFind, 1);
}

void source_find_start(SourceFind *find, Front *front) {
  SourceFindState *state = g_new0(SourceFindState, 1);
  state->find = find;
  state->place = find->place;
  find->state = state;
  routed_init(&state->routed, &OPS);
  routed_start(&state->routed, front, &find->target);
}

void source_find_free(SourceFind *find) {
  if (find == NULL)
    return;
  if (find->state != NULL)
    routed_abandon(&find->state->routed);
  failure_free(find->failure);
  source_origin_clear(&find->origin);
  g_free(find);
}
