/* Idempotent producers against real processes: ids, retries, refusals, and what a killed broker still knows. */
#include <string.h>

#include "milena/v1/producer_service.pb-c.h"
#include "services/rpc/client.h"
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
  Milena__V1__InitProducerResponse got;
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
  g_autoptr(Failure) negative = init_producer(&world, 0, -1, 0, &got);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), negative ? (int)failure_reason(negative) : -1);
}
