/* Whether a process is alive: yes while its loops run, no while one hangs, and yes again after that. */
#include "grpc/health/v1/health.pb-c.h"
#include "services/process/alive.h"
#include "services/rpc/client.h"
#include "tests/shim/shim.h"

#define HANGS_MS 300

/* The status of "alive", or -1 when nobody answers. */
static int ask(RpcClient *client, const char *address) {
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)ALIVE_SERVICE;
  g_autoptr(RpcMessage) response = NULL;
  g_autoptr(Failure) failure =
      rpc_client_unary_sync(client, address, &grpc__health__v1__health__descriptor, "Check", &request.base,
                            g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND, &response);
  if (failure)
    return -1;
  const Grpc__Health__V1__HealthCheckResponse *body = rpc_message_body(response);
  return (int)body->status;
}

static void wait_for(RpcClient *client, const char *address, int want) {
  int got = -1;
  for (guint i = 0; i < 3000 && (got = ask(client, address)) != want; i++)
    g_usleep(10 * 1000);
  EXPECT_EQ_INT(want, got);
}

static void hang(gpointer data) {
  while (!g_atomic_int_get((gint *)data))
    g_usleep(1000);
}

TEST(alive, says_no_while_a_loop_hangs) {
  g_autoptr(Loop) busy = loop_new("busy", 100);
  g_autoptr(Loop) idle = loop_new("idle", 100);
  loop_start(busy);
  loop_start(idle);
  guint16 port;
  RpcServer *server = rpc_server_new(NULL);
  ASSERT_NULL(rpc_server_add_listener(server, "127.0.0.1:0", &port));
  rpc_server_start(server);
  RpcClient *client = rpc_client_new(NULL);
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);
  Loop *loops[] = {idle, busy};
  Alive *alive = alive_new(&server, 1, loops, G_N_ELEMENTS(loops), HANGS_MS);
  wait_for(client, address, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
  gint free_it = 0;
  loop_call(busy, hang, &free_it);
  wait_for(client, address, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
  g_atomic_int_set(&free_it, 1);
  wait_for(client, address, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
  alive_free(alive);
  rpc_client_free(client);
  rpc_server_free(server);
}
