/* ProduceStream: many jobs on one call.
 *
 *   opened ──init──► ready ──half-close──► ending (answers what it has) ──► finished
 *                      └── the broker drains ──► draining (new items are refused, one by one) ──half-close──┘
 *
 * A stream takes so many items and bytes at once; over the bound it does not ask for the next message, and HTTP/2 holds
 * the client back. The same when the client does not read its answers.
 *
 * The stream lives until the call is closed and its last job is done. Thread: the front's loop. Failure modes: a first
 * frame that is not init, or a frame that is empty, ends the call; everything else is told item by item. */
#include "services/broker/produce_internal.h"

#define IN_FLIGHT_MAX 4096
#define IN_FLIGHT_BYTES_MAX (32 << 20)

typedef struct {
  Producer *producer;
  RpcCall *call; /* NULL once it is closed */
  guint holders; /* the call, and each job */
  gboolean ready, ending, finished;
  gboolean asked, busy; /* a message was asked for; the client does not read its answers */
  guint in_flight;
  gsize in_flight_bytes;
  Milena__V1__Acks acks;
  gint64 timeout_ms;
  gboolean no_proxy;
} Stream;

typedef struct {
  Stream *stream;
  guint64 correlation_id;
  gsize bytes;
} StreamItem;

static void stream_release(Stream *stream) {
  if (--stream->holders == 0)
    g_free(stream);
}

static void stream_finish(Stream *stream, Failure *failure) {
  if (stream->finished || !stream->call) {
    failure_free(failure);
    return;
  }
  stream->finished = TRUE;
  rpc_call_finish(stream->call, failure);
}

/* Ask for the next message, if there is room for it. */
static void stream_read(Stream *stream) {
  if (!stream->call || stream->finished || stream->ending || stream->asked || stream->busy)
    return;
  if (stream->in_flight >= IN_FLIGHT_MAX || stream->in_flight_bytes >= IN_FLIGHT_BYTES_MAX)
    return;
  stream->asked = TRUE;
  rpc_call_read(stream->call);
}

static void stream_send(Stream *stream, const Milena__V1__ProduceStreamResponse *response) {
  if (!stream->call || stream->finished)
    return;
  if (rpc_call_send_soon(stream->call, &response->base) == RPC_BUSY) /* a sync answers many */
    stream->busy = TRUE;
}

static void end_if_over(Stream *stream) {
  if (stream->ending && stream->in_flight == 0)
    stream_finish(stream, NULL);
}

/* ---- items ---- */

static void send_result(Stream *stream, guint64 correlation_id, const Failure *failure, ProduceResults *results) {
  Milena__V1__ProduceStreamResult result = MILENA__V1__PRODUCE_STREAM_RESULT__INIT;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT;
  response.result = &result;
  result.correlation_id = correlation_id;
  if (failure)
    result.status = failure_to_status(failure);
  if (results) {
    result.n_results = results->count;
    result.results = results->results;
  }
  stream_send(stream, &response);
  if (result.status)
    google__rpc__status__free_unpacked(result.status, NULL);
}

static void on_item_done(ProduceJob *job, gpointer user_data) {
  g_autofree StreamItem *item = user_data;
  Stream *stream = item->stream;
  if (job->failure) {
    send_result(stream, item->correlation_id, job->failure, NULL);
  } else {
    ProduceResults results;
    produce_results_init(&results, job);
    send_result(stream, item->correlation_id, NULL, &results);
    produce_results_clear(&results);
  }
  stream->in_flight--;
  stream->in_flight_bytes -= item->bytes;
  end_if_over(stream);
  stream_read(stream);
  stream_release(stream);
}

static void take_item(Stream *stream, RpcMessage *message, const Milena__V1__ProduceStreamItem *proto) {
  ProduceInput input = {.topic_name = proto->topic,
                        .topic_id = proto->topic_id,
                        .n_records = proto->n_records,
                        .records = proto->records,
                        .n_batches = proto->n_batches,
                        .batches = proto->batches,
                        .sequence = proto->producer,
                        .acks = stream->acks,
                        .no_proxy = stream->no_proxy,
                        .deadline_us = g_get_monotonic_time() + stream->timeout_ms * 1000};
  g_autoptr(Failure) failure = NULL;
  if (front_is_draining(stream->producer->front))
    failure = failure_new(FAILURE(DRAINING), "this broker is stopping: nothing was written, go to another one");
  else
    failure = produce_check_input(&input);
  if (failure) {
    send_result(stream, proto->correlation_id, failure, NULL);
    return;
  }
  StreamItem *item = g_new0(StreamItem, 1);
  *item = (StreamItem){.stream = stream, .correlation_id = proto->correlation_id, .bytes = rpc_message_size(message)};
  stream->holders++;
  stream->in_flight++;
  stream->in_flight_bytes += item->bytes;
  produce_job_start(stream->producer, message, &input, on_item_done, item);
}

/* ---- frames ---- */

static Failure *bad_frame(const char *what) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", what), "frame", what);
}

static Failure *take_init(Stream *stream, const Milena__V1__ProduceStreamRequest *request) {
  if (request->frame_case != MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT)
    return bad_frame("the first frame of a ProduceStream must be init");
  const Milena__V1__ProduceStreamInit *init = request->init;
  Failure *failure = produce_check_terms(init->acks, init->timeout, &stream->acks, &stream->timeout_ms);
  if (failure)
    return failure_prefix_violations(failure, "init");
  stream->no_proxy = init->no_proxy;
  stream->ready = TRUE;
  Milena__V1__ProduceStreamReady ready = MILENA__V1__PRODUCE_STREAM_READY__INIT;
  ready.broker_id = front_broker_id(stream->producer->front);
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY;
  response.ready = &ready;
  stream_send(stream, &response);
  return NULL;
}

static Failure *take_frame(Stream *stream, RpcMessage *message) {
  const Milena__V1__ProduceStreamRequest *request = rpc_message_body(message);
  if (!stream->ready)
    return take_init(stream, request);
  switch (request->frame_case) {
  case MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_ITEM:
    take_item(stream, message, request->item);
    return NULL;
  case MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT:
    return bad_frame("init was sent already: send items");
  default:
    return bad_frame("a frame of a ProduceStream holds neither init nor an item");
  }
}

static void on_message(RpcCall *call, RpcMessage *message, gpointer state) {
  (void)call;
  Stream *stream = state;
  stream->asked = FALSE;
  if (!message) {
    stream->ending = TRUE;
    end_if_over(stream);
    return;
  }
  Failure *failure = take_frame(stream, message);
  if (failure)
    stream_finish(stream, failure);
  else
    stream_read(stream);
}

static void on_writable(RpcCall *call, gpointer state) {
  (void)call;
  Stream *stream = state;
  stream->busy = FALSE;
  stream_read(stream);
}

static void on_draining(RpcCall *call, gpointer state) {
  (void)call;
  Stream *stream = state;
  Milena__V1__Draining draining = MILENA__V1__DRAINING__INIT;
  draining.message = (char *)"the broker is stopping: finish this stream and go on elsewhere";
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING;
  response.draining = &draining;
  stream_send(stream, &response);
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Stream *stream = state;
  stream->call = NULL;
  stream_release(stream);
}

void produce_stream_open(RpcCall *call, gpointer producer) {
  static const RpcCallEvents EVENTS = {
      .message = on_message, .writable = on_writable, .draining = on_draining, .closed = on_closed};
  Stream *stream = g_new0(Stream, 1);
  *stream = (Stream){.producer = producer, .call = call, .holders = 1};
  rpc_call_set_events(call, &EVENTS, stream);
  stream_read(stream);
}
