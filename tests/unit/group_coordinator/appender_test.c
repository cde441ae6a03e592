/* The appender against a leader in this process that keeps what it was sent as brokers do, by producer and sequence,
 * and that refuses, forgets to answer, or keeps silent when it is told to. One loop has both sides. */
#include "services/group_coordinator/appender.h"

#include <string.h>

#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/server.h"
#include "storage/log/producers.h"
#include "storage/log/records.h"
#include "tests/shim/shim.h"

#define RECORDS 200
#define WAIT_MS 60000

/* The leader, its log, and the appender; all of the loop but what is read with g_atomic. */
typedef struct {
  Loop *loop;
  RpcServer *server;
  RpcClient *client;
  char *address;
  Timers *timers;
  BrokerLinks *links;
  Appender *appender;

  LogProducers *producers;
  GString *log;    /* the values of its records */
  gint64 end;      /* of its log */
  guint refuse;    /* so many batches are refused: nothing is written */
  guint lose;      /* so many batches are written, and the stream breaks instead of an answer */
  gboolean silent; /* nothing is written or answered */

  gint durable; /* records, of RECORDS */
  gint failed;  /* 1: it has ended */
  FailureReason reason;
  gboolean may_be_written;
} World;

/* ---- the leader ---- */

static void answer(RpcCall *call, guint64 id, const Failure *failure, gint64 offset) {
  Milena__V1__ProduceResult result = MILENA__V1__PRODUCE_RESULT__INIT, *results[] = {&result};
  Milena__V1__ProduceStreamResult told = MILENA__V1__PRODUCE_STREAM_RESULT__INIT;
  Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
  result.status = failure ? failure_to_status(failure) : NULL;
  result.base_offset = offset;
  told.correlation_id = id;
  told.n_results = 1;
  told.results = results;
  response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_RESULT;
  response.result = &told;
  rpc_call_send(call, &response.base, NULL, 0);
  if (result.status)
    google__rpc__status__free_unpacked(result.status, NULL);
}

/* Write the batch, or find it written. */
static Failure *keep(World *world, LogBatch *batch, gint64 *ret_offset) {
  LogProducerBatch before;
  guint32 expected = 0;
  LogProducerVerdict verdict = log_producers_check(world->producers, batch, &before, &expected);
  if (verdict == LOG_PRODUCER_DUPLICATE) {
    *ret_offset = before.base_offset;
    return NULL;
  }
  if (verdict != LOG_PRODUCER_NEXT)
    return log_producers_refusal(verdict, batch, expected);
  *ret_offset = batch->base_offset = world->end;
  world->end += batch->record_count;
  log_producers_add(world->producers, batch);
  LogRecordsReader *reader = NULL;
  Failure *failure = log_records_reader_new(batch, &reader);
  LogRecord record;
  while (!failure && log_records_reader_next(reader, &record, &failure))
    g_string_append_len(world->log, (const char *)record.value.data, (gssize)record.value.len);
  log_records_reader_free(reader);
  return failure;
}

static void take_item(World *world, RpcCall *call, RpcMessage *message, const Milena__V1__ProduceStreamItem *item) {
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  g_autoptr(GBytes) records = rpc_message_share(message, &item->batches[0]->batch->records);
  EXPECT_NULL(log_batch_from_proto(item->batches[0]->batch, records, &batch));
  EXPECT_NULL(log_batch_check(&batch, 1 << 20));
  if (world->silent)
    return;
  gint64 offset = -1;
  g_autoptr(Failure) failure = NULL;
  if (world->refuse > 0 && world->refuse-- > 0)
    failure = failure_new(FAILURE(NOT_LEADER), "not now");
  else
    failure = keep(world, &batch, &offset);
  if (world->lose > 0 && world->lose-- > 0)
    rpc_call_finish(call, failure_new(FAILURE(PEER_UNREACHABLE), "the stream breaks"));
  else
    answer(call, item->correlation_id, failure, offset);
}

static void on_message(RpcCall *call, RpcMessage *message, gpointer state) {
  World *world = state;
  if (!message)
    return;
  const Milena__V1__ProduceStreamRequest *request = rpc_message_body(message);
  if (request->frame_case == MILENA__V1__PRODUCE_STREAM_REQUEST__FRAME_INIT) {
    Milena__V1__ProduceStreamReady ready = MILENA__V1__PRODUCE_STREAM_READY__INIT;
    Milena__V1__ProduceStreamResponse response = MILENA__V1__PRODUCE_STREAM_RESPONSE__INIT;
    response.frame_case = MILENA__V1__PRODUCE_STREAM_RESPONSE__FRAME_READY;
    response.ready = &ready;
    rpc_call_send(call, &response.base, NULL, 0);
  } else {
    take_item(world, call, message, request->item);
  }
  rpc_call_read(call);
}

static void on_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  (void)state;
}

static void on_stream(RpcCall *call, gpointer user_data) {
  static const RpcCallEvents EVENTS = {.message = on_message, .closed = on_closed};
  rpc_call_set_events(call, &EVENTS, user_data);
  rpc_call_read(call);
}

static const RpcMethodHandler HANDLERS[] = {{.name = "ProduceStream", .stream = on_stream}, {.name = NULL}};

/* ---- the appender ---- */

static void on_durable(guint64 number, const BrokerReceipt *first, gpointer data) {
  (void)first;
  g_atomic_int_set(&((World *)data)->durable, (gint)number);
}

static void on_failed(const Failure *failure, gboolean may_be_written, gpointer data) {
  World *world = data;
  world->reason = failure_reason(failure);
  world->may_be_written = may_be_written;
  g_atomic_int_set(&world->failed, 1);
}

static const AppenderEvents EVENTS = {.durable = on_durable, .failed = on_failed};

static void begin(World *world, guint32 epoch, gint64 timeout_ms) {
  world->appender = appender_new(&(AppenderOptions){.links = world->links,
                                                    .timers = world->timers,
                                                    .topic = "t",
                                                    .topic_id = "",
                                                    .lease_epoch = epoch,
                                                    .timeout_ms = timeout_ms,
                                                    .events = &EVENTS,
                                                    .data = world});
  appender_set_leader(world->appender, world->address, 1);
}

static void add_some(World *world, guint from, guint to) {
  g_autoptr(GBytes) key = g_bytes_new_static("k", 1);
  for (guint number = from; number <= to; number++) {
    g_autofree char *text = g_strdup_printf("%u,", number);
    g_autoptr(GBytes) value = g_bytes_new(text, strlen(text));
    EXPECT_NULL(appender_add(world->appender, number, key, value, 1));
    if (number % 3 == 0)
      appender_flush(world->appender);
  }
  appender_flush(world->appender);
}

static void world_init(World *world) {
  *world = (World){.loop = loop_new("appender", 1000),
                   .server = rpc_server_new(NULL),
                   .client = rpc_client_new(NULL),
                   .producers = log_producers_new(),
                   .log = g_string_new(NULL)};
  guint16 port = 0;
  EXPECT_NULL(rpc_server_add_listener(world->server, "127.0.0.1:0", &port));
  world->address = g_strdup_printf("127.0.0.1:%u", port);
  rpc_server_add_service(world->server, &milena__v1__producer_service__descriptor, HANDLERS, world->loop, world);
  world->timers = timers_new(world->loop);
  world->links = broker_links_new(world->client, world->loop, 1000);
  loop_start(world->loop);
  rpc_server_start(world->server);
}

static void end_on_loop(gpointer data) {
  World *world = data;
  appender_free(world->appender);
  broker_links_free(world->links);
}

/* @look: on this thread, once nothing runs any more; may be NULL */
static void world_end(World *world, void (*look)(const World *world)) {
  loop_call_and_wait(world->loop, end_on_loop, world);
  rpc_client_free(world->client);
  rpc_server_free(world->server);
  loop_stop(world->loop);
  if (look)
    look(world);
  timers_free(world->timers);
  loop_free(world->loop);
  log_producers_free(world->producers);
  g_string_free(world->log, TRUE);
  g_free(world->address);
}

static void world_clear(World *world) {
  world_end(world, NULL);
}

static gboolean wait_for(const gint *value, gint wanted) {
  for (gint64 end = g_get_monotonic_time() + WAIT_MS * 1000LL; g_get_monotonic_time() < end; g_usleep(1000))
    if (g_atomic_int_get(value) >= wanted)
      return TRUE;
  return FALSE;
}

static void add_all(gpointer data) {
  begin(data, 1, WAIT_MS);
  add_some(data, 1, RECORDS);
}

/* All records are in the log once, in their order. */
static void expect_log(const World *world) {
  g_autoptr(GString) wanted = g_string_new(NULL);
  for (guint i = 1; i <= RECORDS; i++)
    g_string_append_printf(wanted, "%u,", i);
  EXPECT_EQ_STR(wanted->str, world->log->str);
}

static const struct {
  const char *name;
  guint refuse, lose;
} TROUBLES[] = {{"none", 0, 0}, {"refused", 3, 0}, {"answers_lost", 0, 3}, {"both", 2, 2}};

TEST_ROWS(every_record_is_there_once, TROUBLES) {
  World world;
  world_init(&world);
  world.refuse = TROUBLES[row].refuse;
  world.lose = TROUBLES[row].lose;
  loop_call_and_wait(world.loop, add_all, &world);
  EXPECT_TRUE(wait_for(&world.durable, RECORDS));
  EXPECT_EQ_INT(0, g_atomic_int_get(&world.failed));
  world_end(&world, expect_log);
}

/* A lease of a higher epoch has written. */
static void fence(gpointer data) {
  World *world = data;
  LogBatch batch = LOG_BATCH_INIT;
  batch.producer_id = LOG_PRODUCER_COORDINATOR;
  batch.producer_epoch = 2;
  batch.record_count = 1;
  batch.base_offset = world->end++;
  log_producers_add(world->producers, &batch);
}

TEST(appender, a_newer_lease_ends_it_and_nothing_was_written) {
  World world;
  world_init(&world);
  loop_call_and_wait(world.loop, fence, &world);
  loop_call_and_wait(world.loop, add_all, &world);
  EXPECT_TRUE(wait_for(&world.failed, 1));
  EXPECT_EQ_INT(FAILURE(FENCED), world.reason);
  EXPECT_FALSE(world.may_be_written);
  EXPECT_EQ_INT(0, g_atomic_int_get(&world.durable));
  world_clear(&world);
}

static void add_in_haste(gpointer data) {
  begin(data, 1, 50);
  add_some(data, 1, 3);
}

TEST(appender, silence_ends_it_and_what_was_sent_may_be_written) {
  World world;
  world_init(&world);
  world.silent = TRUE;
  loop_call_and_wait(world.loop, add_in_haste, &world);
  EXPECT_TRUE(wait_for(&world.failed, 1));
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), world.reason);
  EXPECT_TRUE(world.may_be_written);
  world_clear(&world);
}
