/* Idempotent producers against real processes: ids, retries, refusals, and what a killed broker still knows. */
#include <stdio.h>
#include <string.h>

#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/client.h"
#include "storage/log/records.h"
#include "tests/cluster/harness.h"
#include "tests/shim/shim.h"

#define CALL_MS 20000

/* A cluster and a client of its brokers. */
typedef struct {
  Cluster *cluster;
  RpcClient *client;
} World;

static void world_clear(World *world) {
  rpc_client_free(world->client);
  cluster_down(world->cluster);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static gboolean world_init(World *world, guint brokers) {
  *world = (World){.cluster = cluster_up(brokers)};
  if (!world->cluster)
    return FALSE;
  world->client = rpc_client_new(NULL);
  return TRUE;
}

/* Call ProducerService of broker @broker, from 0. */
static Failure *call(World *world, guint broker, const char *method, const ProtobufCMessage *request,
                     RpcMessage **ret_response) {
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", cluster_port(world->cluster, broker));
  return rpc_client_unary_sync(world->client, address, &milena__v1__producer_service__descriptor, method, request,
                               g_get_monotonic_time() + CALL_MS * 1000, ret_response);
}

static Failure *init_producer(World *world, guint broker, gint64 id, guint32 epoch,
                              Milena__V1__InitProducerResponse *ret) {
  Milena__V1__InitProducerRequest request = MILENA__V1__INIT_PRODUCER_REQUEST__INIT;
  request.producer_id = id;
  request.producer_epoch = epoch;
  g_autoptr(RpcMessage) response = NULL;
  Failure *failure = call(world, broker, "InitProducer", &request.base, &response);
  if (!failure)
    *ret = *(const Milena__V1__InitProducerResponse *)rpc_message_body(response);
  return failure;
}

TEST(producer_ids, any_broker_gives_them_and_none_is_given_twice) {
  g_auto(World) world = {0};
  if (!world_init(&world, 2))
    return;
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  Milena__V1__InitProducerResponse got = MILENA__V1__INIT_PRODUCER_RESPONSE__INIT;
  for (guint i = 0; i < 20; i++) {
    ASSERT_NULL(init_producer(&world, i % 2, 0, 0, &got));
    EXPECT_TRUE(got.producer_id >= 1);
    EXPECT_EQ_INT(0, got.producer_epoch);
    EXPECT_TRUE(g_hash_table_add(seen, g_memdup2(&got.producer_id, sizeof got.producer_id)));
  }
  gint64 id = got.producer_id;
  ASSERT_NULL(init_producer(&world, 0, id, 7, &got));
  EXPECT_EQ_INT(id, got.producer_id);
  EXPECT_EQ_INT(8, got.producer_epoch);
  ASSERT_NULL(init_producer(&world, 1, id, G_MAXUINT32, &got));
  EXPECT_TRUE(g_hash_table_add(seen, g_memdup2(&got.producer_id, sizeof got.producer_id)));
  EXPECT_EQ_INT(0, got.producer_epoch);
  g_autoptr(Failure) unknown = init_producer(&world, 1, id + 1000000, 0, &got);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_PRODUCER), unknown ? (int)failure_reason(unknown) : -1);
  g_autoptr(Failure) negative = init_producer(&world, 0, -1, 0, &got);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), negative ? (int)failure_reason(negative) : -1);
}

/* ---- writing ---- */

/* What became of one batch; end with told_clear. */
typedef struct {
  Failure *failure; /* of the call, or of the batch */
  gint64 base_offset;
  gboolean duplicate;
  gint32 leader_id; /* -1: not told */
} Told;

static void told_clear(Told *told) {
  g_clear_pointer(&told->failure, failure_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Told, told_clear)

static Told send_request(World *world, guint broker, const Milena__V1__ProduceRequest *request) {
  g_autoptr(RpcMessage) message = NULL;
  Told told = {.base_offset = -1, .leader_id = -1};
  told.failure = call(world, broker, "Produce", &request->base, &message);
  if (told.failure)
    return told;
  const Milena__V1__ProduceResponse *response = rpc_message_body(message);
  if (response->n_results != 1) {
    told.failure = failure_new(FAILURE(INTERNAL), "%" G_GSIZE_FORMAT " results", response->n_results);
    return told;
  }
  const Milena__V1__ProduceResult *result = response->results[0];
  told.failure = failure_from_status(result->status);
  told.base_offset = result->base_offset;
  told.duplicate = result->duplicate;
  told.leader_id = result->route ? result->route->leader_id : -1;
  return told;
}

/* One plain record with a sequence. */
static Told produce(World *world, guint broker, gint32 partition, gint64 id, guint32 epoch, guint32 sequence,
                    const char *value) {
  Milena__V1__Record record = MILENA__V1__RECORD__INIT;
  record.value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT;
  record.value_text = (char *)value;
  record.partition_choice_case = MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION;
  record.partition = partition;
  Milena__V1__Record *records[] = {&record};
  Milena__V1__ProducerSequence who = MILENA__V1__PRODUCER_SEQUENCE__INIT;
  who.producer_id = id;
  who.producer_epoch = epoch;
  who.first_sequence = sequence;
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = (char *)"t";
  request.n_records = 1;
  request.records = records;
  request.producer = &who;
  return send_request(world, broker, &request);
}

/* An encoded batch of three records. */
static Told produce_batch(World *world, guint broker, gint32 partition, gint64 id, guint32 sequence) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  for (guint i = 0; i < 3; i++)
    failure_free(log_records_builder_add(builder, LOG_FIELD_NONE, log_field("batched", 7), NULL, 0, 1000));
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  failure_free(log_records_builder_finish(builder, MILENA__V1__COMPRESSION__COMPRESSION_ZSTD, &batch));
  batch.producer_id = id;
  batch.first_sequence = sequence;
  log_batch_seal(&batch);
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);
  Milena__V1__PartitionBatch part = MILENA__V1__PARTITION_BATCH__INIT;
  part.topic = (char *)"t";
  part.partition = partition;
  part.batch = &proto.batch;
  Milena__V1__PartitionBatch *batches[] = {&part};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.n_batches = 1;
  request.batches = batches;
  return send_request(world, broker, &request);
}

static void expect_told(Told told, gint64 offset, gboolean duplicate) {
  if (told.failure)
    shim_fail(__FILE__, __LINE__, "refused: %s", failure_message(told.failure));
  EXPECT_EQ_INT(offset, told.base_offset);
  EXPECT_EQ_INT(duplicate, told.duplicate);
  told_clear(&told);
}

static void expect_refused(Told told, FailureReason reason) {
  EXPECT_EQ_INT(reason, told.failure ? (int)failure_reason(told.failure) : 0);
  told_clear(&told);
}

/* Two brokers, topic t of two partitions, and a producer. Returns its id, or 0. */
static gint64 begin(World *world) {
  if (!world_init(world, 2))
    return 0;
  EXPECT_EQ_INT(0, cluster_milena(world->cluster, "topics", "create", "t", "--partitions", "2", NULL)->exit_code);
  Milena__V1__InitProducerResponse got = MILENA__V1__INIT_PRODUCER_RESPONSE__INIT;
  EXPECT_NULL(init_producer(world, 0, 0, 0, &got));
  return got.producer_id;
}

static void kill_and_start(World *world, const char *name) {
  const char *folder = cluster_folder(world->cluster);
  const Ran *ran = cluster_milena(world->cluster, "local", "stop", name, "--kill", "--data", folder, NULL);
  if (!EXPECT_EQ_INT(0, ran->exit_code))
    shim_fail(__FILE__, __LINE__, "%s%s", ran->out, ran->err);
  ran = cluster_milena(world->cluster, "local", "start", name, "--data", folder, NULL);
  if (!EXPECT_EQ_INT(0, ran->exit_code))
    shim_fail(__FILE__, __LINE__, "%s%s", ran->out, ran->err);
}

TEST(idempotence, a_retry_is_answered_as_the_first_try_whichever_broker_is_the_door) {
  g_auto(World) world = {0};
  gint64 id = begin(&world);
  if (!id)
    return;
  for (gint32 partition = 0; partition < 2; partition++) {
    for (guint i = 0; i < 6; i++) {
      expect_told(produce(&world, i % 2, partition, id, 0, i, "v"), i, FALSE);
      expect_told(produce(&world, (i + 1) % 2, partition, id, 0, i, "v"), i, TRUE);
    }
    expect_told(produce_batch(&world, 0, partition, id, 6), 6, FALSE);
    expect_told(produce_batch(&world, 1, partition, id, 6), 6, TRUE);
    expect_refused(produce(&world, 0, partition, id, 0, 0, "v"), FAILURE(SEQUENCE_MISMATCH));  /* too old to say */
    expect_refused(produce(&world, 1, partition, id, 0, 11, "v"), FAILURE(SEQUENCE_MISMATCH)); /* a gap */
    expect_refused(produce(&world, 1, partition, id + 1, 0, 4, "v"), FAILURE(UNKNOWN_PRODUCER));
  }
  Milena__V1__InitProducerResponse next;
  EXPECT_NULL(init_producer(&world, 1, id, 0, &next));
  EXPECT_EQ_INT(1, next.producer_epoch);
  expect_told(produce(&world, 0, 0, id, 1, 0, "v"), 9, FALSE);
  expect_refused(produce(&world, 0, 0, id, 0, 9, "v"), FAILURE(FENCED));
  expect_told(produce(&world, 0, 1, id, 0, 9, "v"), 9, FALSE); /* the other partition has not heard of it yet */
}

TEST(idempotence, a_killed_broker_still_knows_what_it_wrote) {
  g_auto(World) world = {0};
  gint64 id = begin(&world);
  if (!id)
    return;
  for (guint i = 0; i < 7; i++)
    expect_told(produce(&world, 0, 0, id, 0, i, "v"), i, FALSE);
  for (guint round = 0; round < 2; round++) {
    kill_and_start(&world, "broker-1");
    kill_and_start(&world, "broker-2");
    for (guint i = 2; i < 7; i++)
      expect_told(produce(&world, i % 2, 0, id, 0, i, "v"), i, TRUE);
    expect_refused(produce(&world, 0, 0, id, 0, 1, "v"), FAILURE(SEQUENCE_MISMATCH));
  }
  expect_told(produce(&world, 0, 0, id, 0, 7, "v"), 7, FALSE);
}

/* ---- kills while data flows ---- */

#define KILLS 24

typedef struct {
  World *world;
  gint64 id;
  guint door;
  gint32 partition;
  gint stop;       /* atomic */
  guint32 written; /* records that were acknowledged, in order */
  guint duplicates;
} Writer;

/* One record after the other; each is sent again, as it is, until it is acknowledged. */
static gpointer write_on(gpointer data) {
  Writer *writer = data;
  for (;; writer->written++) {
    if (g_atomic_int_get(&writer->stop))
      return NULL;
    g_autofree char *value = g_strdup_printf("%u:%u", writer->door, writer->written);
    for (;;) {
      g_auto(Told) told =
          produce(writer->world, writer->door, writer->partition, writer->id, 0, writer->written, value);
      if (!told.failure) {
        writer->duplicates += told.duplicate;
        break;
      }
      FailureReason reason = failure_reason(told.failure);
      if (reason == FAILURE(SEQUENCE_MISMATCH) || reason == FAILURE(UNKNOWN_PRODUCER) || reason == FAILURE(FENCED)) {
        shim_fail(__FILE__, __LINE__, "record %u: %s", writer->written, failure_message(told.failure));
        return NULL;
      }
      g_usleep(5000);
    }
  }
}

TEST(idempotence, kills_double_nothing_and_lose_nothing) {
  g_auto(World) world = {0};
  gint64 id = begin(&world);
  if (!id)
    return;
  g_auto(Told) first = produce(&world, 0, 0, id, 0, 0, "0");
  ASSERT_TRUE(first.failure == NULL);
  /* Broker 2 is killed: one writer has broker 1 as its door to it, the other goes there itself. */
  gint32 partition = first.leader_id == 2 ? 0 : 1;
  Milena__V1__InitProducerResponse ids[2];
  Writer writers[2];
  GThread *threads[2];
  for (guint i = 0; i < 2; i++) {
    ASSERT_NULL(init_producer(&world, 0, 0, 0, &ids[i]));
    writers[i] = (Writer){.world = &world, .id = ids[i].producer_id, .door = i, .partition = partition};
    threads[i] = g_thread_new("writer", write_on, &writers[i]);
  }
  for (guint i = 0; i < KILLS; i++) {
    g_usleep(50000 + 17000 * (i % 5));
    kill_and_start(&world, "broker-2");
  }
  for (guint i = 0; i < 2; i++)
    g_atomic_int_set(&writers[i].stop, 1);
  for (guint i = 0; i < 2; i++)
    g_thread_join(threads[i]);
  g_autofree char *number = g_strdup_printf("%d", partition);
  const Ran *ran = cluster_milena(world.cluster, "consume", "t", "--partition", number, NULL);
  ASSERT_EQ_INT(0, ran->exit_code);
  /* Each writer's values are its count, each once and in order, whatever the other wrote between them. */
  g_auto(GStrv) lines = g_strsplit(g_strchomp(ran->out), "\n", -1);
  guint32 next[2] = {0};
  for (guint i = partition == 0 ? 1 : 0; lines[i]; i++) {
    guint door = 0, number = 0;
    ASSERT_EQ_INT(2, sscanf(lines[i], "%u:%u", &door, &number));
    ASSERT_TRUE(door < 2);
    ASSERT_EQ_INT(next[door]++, number);
  }
  for (guint i = 0; i < 2; i++)
    EXPECT_EQ_INT(writers[i].written, next[i]);
  g_print("%u and %u records, %u and %u answered as duplicates, over %d kills\n", writers[0].written,
          writers[1].written, writers[0].duplicates, writers[1].duplicates, KILLS);
}
