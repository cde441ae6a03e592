/* A broker that stands still (SIGSTOP) keeps its connections: who waits for it goes on once the controllers have fenced
 * it, after the session's time, not when the connection is given up. As real processes. */
#include <signal.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/client.h"
#include "tests/cluster/world.h"

/* The session, the second in which all hear of its end, and what a busy machine needs. Without that news it takes the
 * connection's keepalive, 15 s and more. */
#define GOES_ON_MS (WORLD_SESSION_MS + 1000 + 4000)

/* A broker that stands still until the test ends, or thaws it. */
typedef struct {
  GPid pid;
} Frozen;

static void thaw(Frozen *frozen) {
  if (frozen->pid)
    kill(frozen->pid, SIGCONT);
  frozen->pid = 0;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Frozen, thaw)

static Frozen freeze(World *world, gint32 id) {
  g_autofree char *name = world_broker_name(id);
  Frozen frozen = {cluster_pid(world->cluster, name)};
  kill(frozen.pid, SIGSTOP);
  return frozen;
}

static gint64 ms_since(gint64 start_us) {
  return (g_get_monotonic_time() - start_us) / 1000;
}

static char *broker_address(World *world, gint32 id) {
  return g_strdup_printf("127.0.0.1:%u", cluster_port(world->cluster, (guint)id - 1));
}

/* ---- libmilena ---- */

static MilenaError *send_one(MilenaProducer *producer, const char *value, MilenaReceipt *ret_receipt) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = "t";
  record.partition = 0;
  record.value = milena_bytes_text(value);
  return milena_producer_send_sync(producer, &record, WORLD_WAIT_MS, ret_receipt);
}

/* Poll until the consumer has @count records, at most for @timeout_ms. Returns how many came. */
static gsize poll_until(MilenaConsumer *consumer, gsize count, gint64 timeout_ms) {
  gint64 start_us = g_get_monotonic_time();
  gsize got = 0;
  while (got < count && ms_since(start_us) < timeout_ms) {
    const MilenaRecordBatch *batch = NULL;
    if (!world_expect_none(milena_consumer_poll(consumer, 100, &batch), __FILE__, __LINE__))
      return got;
    got += batch ? batch->count : 0;
  }
  return got;
}

/* The client knows the leader's address alone, so it follows the metadata there too. */
TEST(frozen, a_client_goes_on_elsewhere_when_the_leader_that_it_follows_is_fenced) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 3, 2, MILENA_FLUSH_DEFAULT));
  gint32 leader = world_leader(&world, "t", 0);
  g_autofree char *address = broker_address(&world, leader);
  MilenaClient *client = NULL;
  ASSERT_NO_ERROR(milena_client_new(address, NULL, &client));
  MilenaProducer *producer = milena_producer_new(client, NULL);
  MilenaConsumer *consumer = milena_consumer_new(client, NULL);
  EXPECT_NULL(milena_consumer_assign_topic(consumer, "t", MILENA_BEGINNING, WORLD_CALL_MS));
  MilenaReceipt receipt = {0};
  EXPECT_NULL(send_one(producer, "before", &receipt));
  EXPECT_EQ_INT(1, poll_until(consumer, 1, WORLD_WAIT_MS));
  {
    g_auto(Frozen) frozen = freeze(&world, leader);
    gint64 start_us = g_get_monotonic_time();
    EXPECT_NULL(send_one(producer, "meanwhile", &receipt));
    gint64 produced_ms = ms_since(start_us);
    EXPECT_EQ_INT(1, poll_until(consumer, 1, WORLD_WAIT_MS));
    gint64 consumed_ms = ms_since(start_us);
    EXPECT_EQ_INT(1, receipt.offset);
    EXPECT_TRUE(produced_ms <= GOES_ON_MS);
    EXPECT_TRUE(consumed_ms <= GOES_ON_MS);
    g_print("a frozen leader: written after %d ms, read after %d ms, with a session of %d ms\n", (int)produced_ms,
            (int)consumed_ms, WORLD_SESSION_MS);
  }
  /* What the old leader took and could not pass on is not there twice. */
  UNTIL_IN_SYNC(&world, "t", 3);
  EXPECT_NULL(send_one(producer, "after", &receipt));
  EXPECT_EQ_INT(2, receipt.offset);
  milena_consumer_free(consumer);
  milena_producer_free(producer, 0);
  milena_client_free(client);
}

/* ---- through a broker that forwards ---- */

/* One call to a broker that does not lead, on a thread of its own. */
typedef struct {
  World *world;
  RpcClient *rpc;
  const char *address;
  const Milena__V1__ProducerSequence *sequence; /* NULL: none */
  gint64 took_ms;
  Failure *failure;
  gint64 offset;
} Asked;

static void ask_produce(Asked *asked) {
  Milena__V1__Record record = MILENA__V1__RECORD__INIT;
  record.value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT;
  record.value_text = (char *)"x";
  record.partition_choice_case = MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION;
  Milena__V1__Record *records[] = {&record};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = (char *)"t";
  request.n_records = 1;
  request.records = records;
  request.producer = (Milena__V1__ProducerSequence *)asked->sequence;
  g_autoptr(RpcMessage) message = NULL;
  gint64 start_us = g_get_monotonic_time();
  asked->failure =
      rpc_client_unary_sync(asked->rpc, asked->address, &milena__v1__producer_service__descriptor, "Produce",
                            &request.base, start_us + WORLD_WAIT_MS * G_TIME_SPAN_MILLISECOND, &message);
  asked->took_ms = ms_since(start_us);
  if (asked->failure)
    return;
  const Milena__V1__ProduceResult *result = ((Milena__V1__ProduceResponse *)rpc_message_body(message))->results[0];
  asked->failure = failure_from_status(result->status);
  asked->offset = result->base_offset;
}

static gpointer run_produce(gpointer data) {
  ask_produce(data);
  return NULL;
}

/* A long poll at @offset. */
static gpointer run_fetch(gpointer data) {
  Asked *asked = data;
  Milena__V1__FetchPartition partition = MILENA__V1__FETCH_PARTITION__INIT;
  partition.topic = (char *)"t";
  partition.offset = asked->offset;
  Milena__V1__FetchPartition *partitions[] = {&partition};
  Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
  wait.seconds = 25;
  Milena__V1__FetchRequest request = MILENA__V1__FETCH_REQUEST__INIT;
  request.n_partitions = 1;
  request.partitions = partitions;
  request.min_bytes = 1;
  request.max_wait = &wait;
  request.format = MILENA__V1__FORMAT__FORMAT_RECORDS;
  g_autoptr(RpcMessage) message = NULL;
  gint64 start_us = g_get_monotonic_time();
  asked->failure = rpc_client_unary_sync(asked->rpc, asked->address, &milena__v1__consumer_service__descriptor, "Fetch",
                                         &request.base, start_us + WORLD_WAIT_MS * G_TIME_SPAN_MILLISECOND, &message);
  asked->took_ms = ms_since(start_us);
  if (asked->failure)
    return NULL;
  const Milena__V1__FetchedPartition *got = ((Milena__V1__FetchResponse *)rpc_message_body(message))->partitions[0];
  asked->failure = failure_from_status(got->status);
  asked->offset = got->n_records > 0 ? got->records[0]->offset : -1;
  return NULL;
}

static gint64 new_producer_id(RpcClient *rpc, const char *address) {
  Milena__V1__InitProducerRequest request = MILENA__V1__INIT_PRODUCER_REQUEST__INIT;
  g_autoptr(RpcMessage) message = NULL;
  g_autoptr(Failure) failure =
      rpc_client_unary_sync(rpc, address, &milena__v1__producer_service__descriptor, "InitProducer", &request.base,
                            g_get_monotonic_time() + WORLD_CALL_MS * G_TIME_SPAN_MILLISECOND, &message);
  EXPECT_NULL(failure);
  return failure ? 0 : ((const Milena__V1__InitProducerResponse *)rpc_message_body(message))->producer_id;
}

/* What was forwarded to the leader when it froze: with a sequence it is sent again to the next one and written once;
 * without one its outcome is unknown, never "failed". A read is asked again. */
TEST(frozen, a_broker_forwards_to_the_next_leader_when_the_one_that_it_waits_for_is_fenced) {
  g_auto(World) world = {0};
  if (!world_init(&world, 1, 3))
    return;
  ASSERT_NO_ERROR(world_create(&world, "t", 1, 3, 2, MILENA_FLUSH_DEFAULT));
  gint32 leader = world_leader(&world, "t", 0);
  g_autofree char *address = broker_address(&world, leader % 3 + 1);
  RpcClient *rpc = rpc_client_new(NULL);
  Milena__V1__ProducerSequence sequence = MILENA__V1__PRODUCER_SEQUENCE__INIT;
  sequence.producer_id = new_producer_id(rpc, address);
  Asked first = {.rpc = rpc, .address = address, .sequence = &sequence};
  ask_produce(&first);
  EXPECT_NULL(first.failure);
  EXPECT_EQ_INT(0, first.offset);
  Milena__V1__ProducerSequence next = sequence;
  next.first_sequence = 1;
  Asked numbered = {.rpc = rpc, .address = address, .sequence = &next};
  Asked plain = {.rpc = rpc, .address = address};
  Asked read = {.rpc = rpc, .address = address, .offset = 1};
  {
    g_auto(Frozen) frozen = freeze(&world, leader);
    GThread *threads[] = {g_thread_new("plain", run_produce, &plain), g_thread_new("numbered", run_produce, &numbered),
                          g_thread_new("read", run_fetch, &read)};
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
      g_thread_join(threads[i]);
    EXPECT_NULL(numbered.failure);
    EXPECT_EQ_INT(1, numbered.offset);
    EXPECT_TRUE(numbered.took_ms <= GOES_ON_MS);
    ASSERT_TRUE(plain.failure != NULL);
    EXPECT_EQ_STR("UNKNOWN_OUTCOME", failure_reason_name(failure_reason(plain.failure)));
    EXPECT_TRUE(plain.took_ms <= GOES_ON_MS);
    EXPECT_NULL(read.failure);
    EXPECT_EQ_INT(1, read.offset);
    EXPECT_TRUE(read.took_ms <= GOES_ON_MS);
    g_print("through another broker: written after %d ms, unknown after %d ms, read after %d ms\n",
            (int)numbered.took_ms, (int)plain.took_ms, (int)read.took_ms);
  }
  failure_free(plain.failure);
  rpc_client_free(rpc);
}
