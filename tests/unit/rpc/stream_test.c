/* Streams of each kind, their flow control and their ends, between a real server and a real client. */
#include <string.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/message_internal.h"
#include "tests/shim/shim.h"
#include "tests/unit/rpc/fixture.h"

#define PRODUCER (&milena__v1__producer_service__descriptor)
#define CONSUMER (&milena__v1__consumer_service__descriptor)

enum { LARGE_BYTES = 256 * 1024, LARGE_COUNT = 64, SMALL_COUNT = 500 };

/* What the handlers of one test count. */
typedef struct {
  gint opened, messages, half_closes, closed, cancelled, drained, busy, writables;
  gint sent; /* of the Consume call's messages */
} Counts;

/* ---- Consume: sends as much as the topic's name says, as far as the client reads ---- */

typedef struct {
  Counts *counts;
  gint count, sent;
  gsize value_bytes;
} Consume;

static RpcSendResult consume_send_one(RpcCall *call, Consume *consume) {
  g_autofree guint8 *value = g_malloc0(consume->value_bytes + 1);
  Milena__V1__ConsumedRecord record = MILENA__V1__CONSUMED_RECORD__INIT;
  record.offset = consume->sent;
  record.value_kind_case = MILENA__V1__CONSUMED_RECORD__VALUE_KIND_VALUE;
  record.value = (ProtobufCBinaryData){.len = consume->value_bytes, .data = value};
  Milena__V1__ConsumedRecord *records[] = {&record};
  Milena__V1__FetchedPartition partition = MILENA__V1__FETCHED_PARTITION__INIT;
  partition.n_records = 1;
  partition.records = records;
  Milena__V1__ConsumeResponse response = MILENA__V1__CONSUME_RESPONSE__INIT;
  response.frame_case = MILENA__V1__CONSUME_RESPONSE__FRAME_DATA;
  response.data = &partition;
  return rpc_call_send(call, &response.base, NULL, 0);
}

static void consume_send(RpcCall *call, Consume *consume) {
  while (consume->sent < consume->count) {
    RpcSendResult result = consume_send_one(call, consume);
    if (result == RPC_CLOSED)
      return;
    consume->sent++;
    g_atomic_int_set(&consume->counts->sent, consume->sent);
    if (result == RPC_BUSY) {
      g_atomic_int_inc(&consume->counts->busy);
      return;
    }
  }
  rpc_call_finish(call, NULL);
}

static void consume_writable(RpcCall *call, gpointer state) {
  Consume *consume = state;
  g_atomic_int_inc(&consume->counts->writables);
  consume_send(call, consume);
}

static void consume_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  Consume *consume = state;
  if (cancelled)
    g_atomic_int_inc(&consume->counts->cancelled);
  g_atomic_int_inc(&consume->counts->closed);
  g_free(consume);
}

static const RpcCallEvents CONSUME_EVENTS = {.writable = consume_writable, .closed = consume_closed};

static void consume_open(RpcCall *call, RpcMessage *request, gpointer user_data) {
  const Milena__V1__ConsumeRequest *body = rpc_message_body(request);
  gboolean is_large = g_str_equal(body->topic, "large");
  Consume *consume = g_new0(Consume, 1);
  *consume = (Consume){
      .counts = user_data, .count = is_large ? LARGE_COUNT : SMALL_COUNT, .value_bytes = is_large ? LARGE_BYTES : 10};
  g_atomic_int_inc(&consume->counts->opened);
  rpc_call_set_events(call, &CONSUME_EVENTS, consume);
  consume_send(call, consume);
}

/* ---- ProduceStream: echoes each item's correlation id; 100: fails; counts at the half-close ---- */

static void echo_send(RpcCall *call, guint64 correlation_id) {
  Milena__V1__ProduceStreamResult result = MILENA__V1__PRODUCE_STREAM_RESULT__INIT;
  result.correlation_id = correlation_id;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT;
  response.result = &result;
  rpc_call_send(call, &response.base, NULL, 0);
}

static void echo_message(RpcCall *call, RpcMessage *message, gpointer state) {
  Counts *counts = state;
  if (!message) {
    g_atomic_int_inc(&counts->half_closes);
    rpc_call_finish(call, NULL);
    return;
  }
  g_atomic_int_inc(&counts->messages);
  const Milena__V1__ProduceStreamRequest *body = rpc_message_body(message);
  if (body->item->correlation_id == 100) {
    rpc_call_finish(call, failure_new(FAILURE(FENCED), "item 100 is not allowed"));
    return;
  }
  echo_send(call, body->item->correlation_id);
  rpc_call_read(call);
}

static void echo_draining(RpcCall *call, gpointer state) {
  g_atomic_int_inc(&((Counts *)state)->drained);
  Milena__V1__Draining draining = MILENA__V1__DRAINING__INIT;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING;
  response.draining = &draining;
  rpc_call_send(call, &response.base, NULL, 0);
  rpc_call_finish(call, NULL);
}

static void echo_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  Counts *counts = state;
  if (cancelled)
    g_atomic_int_inc(&counts->cancelled);
  g_atomic_int_inc(&counts->closed);
}

static const RpcCallEvents ECHO_EVENTS = {.message = echo_message, .draining = echo_draining, .closed = echo_closed};

static void echo_open(RpcCall *call, gpointer user_data) {
  g_atomic_int_inc(&((Counts *)user_data)->opened);
  rpc_call_set_events(call, &ECHO_EVENTS, user_data);
  rpc_call_read(call);
}

/* ---- ProduceStream as if only the client streamed: one answer, with the number of messages ---- */

static void collect_message(RpcCall *call, RpcMessage *message, gpointer state) {
  Counts *counts = state;
  if (message) {
    g_atomic_int_inc(&counts->messages);
    rpc_call_read(call);
    return;
  }
  g_atomic_int_inc(&counts->half_closes);
  echo_send(call, (guint64)g_atomic_int_get(&counts->messages));
  rpc_call_finish(call, NULL);
}

static const RpcCallEvents COLLECT_EVENTS = {.message = collect_message, .closed = echo_closed};

static void collect_open(RpcCall *call, gpointer user_data) {
  g_atomic_int_inc(&((Counts *)user_data)->opened);
  rpc_call_set_events(call, &COLLECT_EVENTS, user_data);
  rpc_call_read(call);
}

/* ---- Produce: never answers by itself ---- */

static void stuck_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  echo_closed(call, cancelled, state);
}
static const RpcCallEvents STUCK_EVENTS = {.closed = stuck_closed};

static void stuck_open(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  g_atomic_int_inc(&((Counts *)user_data)->opened);
  rpc_call_set_events(call, &STUCK_EVENTS, user_data);
}

static void list_offsets(RpcCall *call, RpcMessage *request, gpointer user_data) {
  (void)request;
  (void)user_data;
  Milena__V1__ListOffsetsResponse response = MILENA__V1__LIST_OFFSETS_RESPONSE__INIT;
  rpc_call_reply(call, &response.base, NULL, 0);
}

static const RpcMethodHandler CONSUMER_HANDLERS[] = {
    {.name = "Consume", .unary = consume_open}, {.name = "ListOffsets", .unary = list_offsets}, {.name = NULL}};
static const RpcMethodHandler PRODUCER_HANDLERS[] = {
    {.name = "ProduceStream", .stream = echo_open}, {.name = "Produce", .unary = stuck_open}, {.name = NULL}};

static const RpcMethodHandler COLLECTING_HANDLERS[] = {{.name = "ProduceStream", .stream = collect_open},
                                                       {.name = NULL}};

static Fixture *start_with(Counts *counts, const RpcMethodHandler *producer_handlers) {
  Fixture *fixture = fixture_new(&(RpcServerOptions){.send_queue_max_bytes = 1 << 20}, 1000);
  rpc_server_add_service(fixture->server, CONSUMER, CONSUMER_HANDLERS, fixture->server_loop, counts);
  rpc_server_add_service(fixture->server, PRODUCER, producer_handlers, fixture->server_loop, counts);
  fixture_start(fixture);
  return fixture;
}

static Fixture *start(Counts *counts) {
  return start_with(counts, PRODUCER_HANDLERS);
}

static Recorder *open_consume(Fixture *fixture, const char *topic, gboolean reads_on) {
  Recorder *recorder =
      recorder_open(fixture, fixture->address, CONSUMER, "Consume", fixture_deadline_us(30000), reads_on);
  Milena__V1__ConsumeRequest request = MILENA__V1__CONSUME_REQUEST__INIT;
  request.topic = (char *)topic;
  recorder_send(recorder, &request.base);
  recorder_half_close(recorder);
  return recorder;
}

static void send_item(Recorder *recorder, guint64 correlation_id) {
  Milena__V1__ProduceStreamItem item = MILENA__V1__PRODUCE_STREAM_ITEM__INIT;
  item.correlation_id = correlation_id;
  Milena__V1__ProduceStreamRequest request = MILENA__V1__PRODUCE_STREAM_REQUEST__INIT;
  request.frame_case = MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_ITEM;
  request.item = &item;
  recorder_send(recorder, &request.base);
}

static Recorder *open_echo(Fixture *fixture) {
  return recorder_open(fixture, fixture->address, PRODUCER, "ProduceStream", fixture_deadline_us(30000), TRUE);
}

/* ---- Kinds ---- */

TEST(stream, server_streaming_comes_whole_and_in_order) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_consume(fixture, "small", TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  ASSERT_EQ_INT(SMALL_COUNT, recorder->messages);
  for (guint i = 0; i < SMALL_COUNT; i++) {
    const Milena__V1__ConsumeResponse *body = recorder_body(recorder, i);
    ASSERT_EQ_INT(i, body->data->records[0]->offset);
  }
  EXPECT_TRUE(fixture_wait(&counts.closed, 1));
  EXPECT_EQ_INT(0, counts.cancelled);
}

/* No service of the API has one, so a service that streams both ways is handled as one: what goes over the wire is the
 * same, many messages to the server, its half-close, and one answer. */
TEST(stream, client_streaming_is_answered_once_after_the_half_close) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start_with(&counts, COLLECTING_HANDLERS);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  for (guint i = 0; i < SMALL_COUNT; i++)
    send_item(recorder, 1000 + i);
  ASSERT_TRUE(fixture_wait(&counts.messages, SMALL_COUNT));
  EXPECT_EQ_INT(0, g_atomic_int_get(&recorder->messages));
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  ASSERT_EQ_INT(1, g_atomic_int_get(&recorder->messages));
  const Milena__V1__ProduceStreamResponse *body = recorder_body(recorder, 0);
  EXPECT_EQ_INT(SMALL_COUNT, body->result->correlation_id); /* as many as came */
  EXPECT_EQ_INT(1, g_atomic_int_get(&counts.half_closes));
}

TEST(stream, bidirectional_echoes_and_ends_at_the_half_close) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  for (guint i = 0; i < 50; i++)
    send_item(recorder, 1000 + i);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 50));
  EXPECT_EQ_INT(0, g_atomic_int_get(&recorder->closed));
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  for (guint i = 0; i < 50; i++) {
    const Milena__V1__ProduceStreamResponse *body = recorder_body(recorder, i);
    ASSERT_EQ_INT(1000 + i, body->result->correlation_id);
  }
  EXPECT_EQ_INT(1, g_atomic_int_get(&counts.half_closes));
}

TEST(stream, the_server_may_fail_it_in_the_middle) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  send_item(recorder, 1);
  send_item(recorder, 100);
  send_item(recorder, 2);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(1, recorder->messages);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(recorder->failure));
  EXPECT_EQ_STR("item 100 is not allowed", failure_message(recorder->failure));
  Milena__V1__ProduceStreamRequest request = MILENA__V1__PRODUCE_STREAM_REQUEST__INIT;
  EXPECT_EQ_INT(RPC_CLOSED, recorder_send(recorder, &request.base));
}

static void send_garbage(gpointer recorder) {
  g_autoptr(GBytes) garbage = g_bytes_new("\x12\x7f", 2);
  GBytes **pieces = g_new(GBytes *, 1);
  pieces[0] = g_bytes_ref(garbage);
  g_autoptr(RpcMessage) message = rpc_message_new_raw(pieces, 1);
  rpc_client_call_send_message(((Recorder *)recorder)->call, message);
}

TEST(stream, a_malformed_message_ends_it_with_the_reason) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  send_item(recorder, 1);
  loop_call_and_wait(fixture->client_loop, send_garbage, recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_EQ_INT(FAILURE(MALFORMED_MESSAGE), failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), "item");
  ASSERT_TRUE(fixture_wait(&counts.closed, 1));
  EXPECT_EQ_INT(1, g_atomic_int_get(&counts.messages));
}

/* ---- Ends ---- */

TEST(stream, cancellation_reaches_the_server_and_is_no_half_close) {
  for (guint round = 0; round < 20; round++) {
    Counts counts = {0};
    g_autoptr(Fixture) fixture = start(&counts);
    g_autoptr(Recorder) recorder = open_echo(fixture);
    send_item(recorder, 7);
    ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
    rpc_client_call_cancel(recorder->call);
    ASSERT_TRUE(fixture_wait(&counts.closed, 1));
    EXPECT_EQ_INT(1, counts.cancelled);
    EXPECT_EQ_INT(0, counts.half_closes);
    ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
    EXPECT_EQ_INT(FAILURE(CANCELLED), failure_reason(recorder->failure));
  }
}

TEST(stream, a_client_that_goes_away_is_a_cancellation) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  send_item(recorder, 7);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  rpc_client_free(g_steal_pointer(&fixture->client));
  ASSERT_TRUE(fixture_wait(&counts.closed, 1));
  EXPECT_EQ_INT(1, counts.cancelled);
}

TEST(stream, a_deadline_ends_both_sides) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  g_autoptr(Failure) failure = rpc_client_unary_sync(fixture->client, fixture->address, PRODUCER, "Produce",
                                                     &request.base, fixture_deadline_us(200), NULL);
  EXPECT_EQ_INT(FAILURE(DEADLINE_EXCEEDED), failure_reason(failure));
  ASSERT_TRUE(fixture_wait(&counts.closed, 1));
  EXPECT_EQ_INT(1, counts.cancelled);
}

static void abandon(gpointer recorder) {
  rpc_client_call_abandon(((Recorder *)recorder)->call);
}

TEST(stream, an_abandoned_call_is_not_heard_of_again) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  send_item(recorder, 7);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  loop_call_and_wait(fixture->client_loop, abandon, recorder);
  ASSERT_TRUE(fixture_wait(&counts.closed, 1));
  rpc_client_free(g_steal_pointer(&fixture->client)); /* waits until all callbacks are posted */
  loop_stop(fixture->client_loop);
  EXPECT_EQ_INT(0, recorder->closed);
  recorder->closed = 1; /* for recorder_free, which waits for it */
}

/* ---- Flow control ---- */

TEST(stream, a_slow_reader_holds_back_its_own_stream_alone) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) slow = open_consume(fixture, "large", FALSE);
  ASSERT_TRUE(fixture_wait(&counts.busy, 1));
  g_usleep(100000);
  gint sent = g_atomic_int_get(&counts.sent);
  EXPECT_TRUE(sent < LARGE_COUNT / 2); /* bounded by the queue and HTTP/2's windows */

  g_autoptr(Recorder) quick = open_consume(fixture, "small", TRUE); /* on the same connection */
  ASSERT_TRUE(fixture_wait(&quick->closed, 1));
  EXPECT_EQ_INT(SMALL_COUNT, quick->messages);
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  g_autoptr(Failure) failure = rpc_client_unary_sync(fixture->client, fixture->address, CONSUMER, "ListOffsets",
                                                     &request.base, fixture_deadline_us(5000), NULL);
  EXPECT_NULL(failure);

  recorder_read(slow, TRUE);
  ASSERT_TRUE(fixture_wait(&slow->closed, 1));
  EXPECT_NULL(slow->failure);
  EXPECT_EQ_INT(LARGE_COUNT, slow->messages);
  EXPECT_TRUE(g_atomic_int_get(&counts.writables) > 0);
}

/* ---- Draining ---- */

TEST(drain, streams_are_told_and_end) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) recorder = open_echo(fixture);
  send_item(recorder, 7);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  gint64 before_us = g_get_monotonic_time();
  rpc_server_drain(fixture->server, 20000);
  EXPECT_TRUE(g_get_monotonic_time() - before_us < 10 * G_USEC_PER_SEC);
  EXPECT_EQ_INT(1, counts.drained);
  EXPECT_EQ_INT(1, counts.closed);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  const Milena__V1__ProduceStreamResponse *last = recorder_body(recorder, 1);
  EXPECT_EQ_INT(MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_DRAINING, last->frame_case);
}

typedef struct {
  gint done;
  FailureReason reason;
} LastWord;

static void hear_last_word(RpcMessage *response, const Failure *failure, gpointer user_data) {
  (void)response;
  LastWord *word = user_data;
  word->reason = failure ? failure_reason(failure) : 0;
  g_atomic_int_inc(&word->done);
}

TEST(drain, what_does_not_end_in_time_is_ended_with_an_unknown_outcome) {
  Counts counts = {0};
  LastWord word = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  g_autoptr(RpcMessage) packed = rpc_message_pack(&request.base, NULL, 0);
  rpc_client_call_unref(rpc_client_unary(fixture->client, fixture->address, PRODUCER, "Produce", packed, G_MAXINT64,
                                         fixture->client_loop, hear_last_word, &word));
  ASSERT_TRUE(fixture_wait(&counts.opened, 1));
  rpc_server_drain(fixture->server, 100);
  EXPECT_EQ_INT(1, g_atomic_int_get(&counts.closed));
  ASSERT_TRUE(fixture_wait(&word.done, 1));
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), word.reason);
}

TEST(drain, a_client_that_does_not_read_does_not_hold_it_up) {
  Counts counts = {0};
  g_autoptr(Fixture) fixture = start(&counts);
  g_autoptr(Recorder) slow = open_consume(fixture, "large", FALSE);
  ASSERT_TRUE(fixture_wait(&counts.busy, 1));
  gint64 before_us = g_get_monotonic_time();
  rpc_server_drain(fixture->server, 10);
  EXPECT_TRUE(g_get_monotonic_time() - before_us < 4 * G_USEC_PER_SEC);
  EXPECT_EQ_INT(1, g_atomic_int_get(&counts.closed));
}
