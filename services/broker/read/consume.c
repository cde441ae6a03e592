/* Consume: a topic, or some of its partitions, as a stream.
 *
 *   looking up the topic ──► finding starts and stops ──► flowing ⇄ held back (the client is slow) ──► finished
 *
 * Flow control: when the call says BUSY nothing more is sent, and no read is started, until it is writable again; what
 * was read by then waits within the bounds of cursor.h. Finishes with OK when each partition has come to its stop, or
 * the limit is reached; with a partition's failure when others are through and it failed; with DRAINING when the broker
 * stops. Thread: the front's loop. The state lives until the call has closed. */
#include "services/broker/read/cursor.h"
#include "services/broker/read/resolve.h"
#include "services/broker/read/service.h"

typedef struct {
  ReadService *service;
  RpcCall *call;
  Milena__V1__Format format;
  guint32 max_bytes;
  Place start, stop;
  gboolean has_stop, has_limit;
  guint64 limit; /* records that may still be sent */
  gint32 *partitions;
  guint partition_count; /* 0: all */
  gint64 deadline_us;    /* of opening */
  SourceTopic *topic;
  GPtrArray *finds; /* of SourceFind: one for each start that must be found, then one for each stop */
  Resolver *resolver;
  CursorSet *set;
  gboolean busy, finished;
} Consume;

static void finish(Consume *consume, Failure *failure) {
  consume->finished = TRUE;
  if (consume->set != NULL)
    cursor_set_run(consume->set, FALSE);
  rpc_call_finish(consume->call, failure);
}

/* ---- flowing ---- */

static void send_frame(Consume *consume, const Milena__V1__ConsumeResponse *response, ReadMemory *memory) {
  gsize owner_count = 0;
  GBytes *const *owners = memory != NULL ? read_memory_owners(memory, &owner_count) : NULL;
  RpcSendResult result = rpc_call_send(consume->call, &response->base, owners, owner_count);
  consume->busy = result == RPC_BUSY;
  consume->finished |= result == RPC_CLOSED;
  if (consume->set != NULL && (consume->busy || consume->finished))
    cursor_set_run(consume->set, FALSE);
}

/* Send one piece. Returns FALSE when there is none now. */
static gboolean send_piece(Consume *consume) {
  g_autoptr(ReadMemory) memory = read_memory_new();
  guint64 records = consume->has_limit ? MIN(consume->limit, EXPAND_RECORDS_MAX) : EXPAND_RECORDS_MAX;
  ExpandLimits limits = {.bytes = consume->max_bytes, .records = records, .at_least_one = TRUE};
  CursorFrame frame;
  if (!cursor_set_next(consume->set, &limits, memory, &frame))
    return FALSE;
  Milena__V1__ConsumeResponse response = MILENA__V1__CONSUME_RESPONSE__INIT;
  response.frame_case = MILENA__V1__CONSUME_RESPONSE__FRAME_DATA;
  response.data = cursor_frame_message(&frame, memory);
  failure_free(frame.failure);
  consume->limit -= MIN(consume->limit, frame.piece.counted_records);
  send_frame(consume, &response, memory);
  return TRUE;
}

static void flow(gpointer user_data) {
  Consume *consume = user_data;
  while (!consume->busy && !consume->finished) {
    if (consume->has_limit && consume->limit == 0)
      finish(consume, NULL);
    else if (!send_piece(consume))
      break;
  }
  if (!consume->busy && !consume->finished && cursor_set_is_over(consume->set))
    finish(consume, failure_copy(cursor_set_failure(consume->set)));
}

/* ---- opening ---- */

static const SourceFind *find_of(const Consume *consume, guint index) {
  return g_ptr_array_index(consume->finds, index);
}

/* What is read of each partition, from what was found. */
static Milena__V1__ConsumeRange **ranges_new(const Consume *consume, ReadMemory *memory) {
  guint count = consume->partition_count;
  guint stop_find = consume->start.kind == PLACE_OFFSET ? 0 : count; /* stops were found after the starts */
  Milena__V1__ConsumeRange **ranges = read_memory_alloc(memory, count * sizeof *ranges);
  for (guint i = 0; i < count; i++) {
    Milena__V1__ConsumeRange *range = read_memory_alloc(memory, sizeof *range);
    milena__v1__consume_range__init(range);
    range->partition = consume->partitions[i];
    range->start_offset = consume->start.kind == PLACE_OFFSET ? consume->start.offset : find_of(consume, i)->offset;
    if (consume->has_stop) {
      range->stop_presence_case = MILENA__V1__CONSUME_RANGE__STOP_PRESENCE_STOP_OFFSET;
      range->stop_offset =
          consume->stop.kind == PLACE_OFFSET ? consume->stop.offset : find_of(consume, stop_find + i)->offset;
    }
    ranges[i] = range;
  }
  return ranges;
}

static void send_ready(Consume *consume, Milena__V1__ConsumeRange **ranges) {
  Milena__V1__ConsumeReady ready = MILENA__V1__CONSUME_READY__INIT;
  ready.n_ranges = consume->partition_count;
  ready.ranges = ranges;
  Milena__V1__ConsumeResponse response = MILENA__V1__CONSUME_RESPONSE__INIT;
  response.frame_case = MILENA__V1__CONSUME_RESPONSE__FRAME_READY;
  response.ready = &ready;
  send_frame(consume, &response, NULL);
}

/* Starts and stops are known. */
static void begin(gpointer user_data) {
  Consume *consume = user_data;
  if (consume->finished)
    return;
  const Failure *failure = consume->resolver != NULL ? resolver_failure(consume->resolver) : NULL;
  if (failure != NULL) {
    finish(consume, failure_copy(failure));
    return;
  }
  g_autoptr(ReadMemory) memory = read_memory_new();
  Milena__V1__ConsumeRange **ranges = ranges_new(consume, memory);
  send_ready(consume, ranges);
  consume->set = cursor_set_new(consume->service->front, consume->format, consume->max_bytes, flow, consume);
  for (guint i = 0; i < consume->partition_count; i++) {
    Cursor *cursor = cursor_set_add(consume->set, consume->topic->name, consume->topic->id, ranges[i]->partition);
    cursor_go(cursor, ranges[i]->start_offset, consume->has_stop ? ranges[i]->stop_offset : EXPAND_STOP_NONE);
  }
  cursor_set_run(consume->set, !consume->busy && !consume->finished);
  flow(consume);
}

static void add_finds(Consume *consume, Place place) {
  for (guint i = 0; place.kind != PLACE_OFFSET && i < consume->partition_count; i++)
    g_ptr_array_add(consume->finds, resolver_find_new(consume->topic->name, consume->topic->id, consume->partitions[i],
                                                      place, consume->deadline_us));
}

static void topic_done(SourceTopic *topic, gpointer user_data) {
  Consume *consume = user_data;
  if (consume->finished)
    return;
  if (topic->failure != NULL) {
    finish(consume, failure_copy(topic->failure));
    return;
  }
  if (consume->partition_count == 0) {
    consume->partition_count = topic->partition_count;
    consume->partitions = g_renew(gint32, consume->partitions, topic->partition_count);
    for (guint i = 0; i < topic->partition_count; i++)
      consume->partitions[i] = (gint32)i;
  }
  add_finds(consume, consume->start);
  if (consume->has_stop)
    add_finds(consume, consume->stop);
  if (consume->finds->len > 0)
    consume->resolver = resolver_new(consume->service->front, consume->finds, begin, consume);
  else
    begin(consume);
}

/* ---- the call ---- */

static void writable(RpcCall *call, gpointer state) {
  (void)call;
  Consume *consume = state;
  consume->busy = FALSE;
  if (consume->finished || consume->set == NULL)
    return;
  cursor_set_run(consume->set, TRUE);
  flow(consume);
}

static void draining(RpcCall *call, gpointer state) {
  (void)call;
  Consume *consume = state;
  if (consume->finished)
    return;
  Milena__V1__Draining frame = MILENA__V1__DRAINING__INIT;
  frame.message = (char *)"the broker is stopping: consume from another one, from the next offsets";
  Milena__V1__ConsumeResponse response = MILENA__V1__CONSUME_RESPONSE__INIT;
  response.frame_case = MILENA__V1__CONSUME_RESPONSE__FRAME_DRAINING;
  response.draining = &frame;
  send_frame(consume, &response, NULL);
  if (!consume->finished)
    finish(consume, failure_new(FAILURE(DRAINING), "%s", frame.message));
}

static void consume_free(Consume *consume) {
  cursor_set_free(consume->set);
  resolver_free(consume->resolver);
  g_ptr_array_unref(consume->finds);
  source_topic_free(consume->topic);
  g_free(consume->partitions);
  g_free(consume);
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  consume_free(state);
}

static const RpcCallEvents EVENTS = {.writable = writable, .draining = draining, .closed = closed};

static Failure *check_partitions(const gint32 *partitions, gsize count) {
  g_autoptr(GHashTable) seen = g_hash_table_new(g_int_hash, g_int_equal);
  Failure *failure = count > 0 ? read_request_count(count, "partitions") : NULL;
  for (gsize i = 0; failure == NULL && i < count; i++) {
    g_autofree char *path = g_strdup_printf("partitions[%" G_GSIZE_FORMAT "]", i);
    if (partitions[i] < 0)
      failure = read_request_invalid(path, "%d is no partition; they count from 0", partitions[i]);
    else if (!g_hash_table_add(seen, (gpointer)&partitions[i]))
      failure = read_request_invalid(path, "partition %d is named twice", partitions[i]);
  }
  return failure;
}

/* Read the request into @consume. */
static Failure *prepare(Consume *consume, const Milena__V1__ConsumeRequest *body) {
  Failure *failure = read_check_draining(consume->service);
  if (failure == NULL)
    failure = read_request_partition(body->topic, body->topic_id, 0, "");
  if (failure == NULL)
    failure = check_partitions(body->partitions, body->n_partitions);
  if (failure == NULL)
    failure = read_request_format(body->format, "format", &consume->format);
  if (failure == NULL)
    failure = read_request_max_bytes(body->max_bytes, "max_bytes", &consume->max_bytes);
  if (failure == NULL)
    failure = read_request_place(body->start, PLACE_EARLIEST, "start", &consume->start);
  if (failure == NULL && body->stop != NULL)
    failure = read_request_place(body->stop, PLACE_LATEST, "stop", &consume->stop);
  if (failure != NULL)
    return failure;
  consume->has_stop = body->stop != NULL;
  consume->has_limit = body->limit > 0;
  consume->limit = body->limit;
  consume->partition_count = (guint)body->n_partitions;
  consume->partitions = g_memdup2(body->partitions, body->n_partitions * sizeof *body->partitions);
  return NULL;
}

void read_consume(RpcCall *call, RpcMessage *request, gpointer user_data) {
  const Milena__V1__ConsumeRequest *body = rpc_message_body(request);
  Consume *consume = g_new0(Consume, 1);
  consume->service = user_data;
  consume->call = call;
  consume->finds = g_ptr_array_new_with_free_func((GDestroyNotify)source_find_free);
  Failure *failure = prepare(consume, body);
  if (failure != NULL) {
    consume_free(consume);
    rpc_call_finish(call, failure);
    return;
  }
  consume->deadline_us = read_deadline_us(call, READ_FIND_MS);
  rpc_call_set_events(call, &EVENTS, consume);
  consume->topic = source_topic_new();
  consume->topic->target =
      (SourceTarget){.topic = body->topic, .topic_id = body->topic_id, .deadline_us = consume->deadline_us};
  consume->topic->done = topic_done;
  consume->topic->user_data = consume;
  source_topic_start(consume->topic, consume->service->front);
}
