/* A port on which nobody listens is found by a plain connect first: gRPC would wait between its tries. */
#include "client/cli/local_health.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "grpc/health/v1/health.pb-c.h"
#include "services/rpc/client.h"

struct HealthClient {
  RpcClient *rpc;
};

HealthClient *health_client_new(void) {
  HealthClient *client = g_new0(HealthClient, 1);
  client->rpc = rpc_client_new(NULL);
  return client;
}

void health_client_free(HealthClient *client) {
  if (!client)
    return;
  rpc_client_free(client->rpc);
  g_free(client);
}

gboolean health_is_listening(guint16 port) {
  struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  gboolean connected = fd >= 0 && connect(fd, (const struct sockaddr *)&target, sizeof target) == 0;
  if (fd >= 0)
    close(fd);
  return connected;
}

Health health_check(HealthClient *client, guint16 port, guint timeout_ms) {
  if (!health_is_listening(port))
    return HEALTH_SILENT;
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  g_autoptr(RpcMessage) response = NULL;
  gint64 deadline_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
  g_autoptr(Failure) failure = rpc_client_unary_sync(client->rpc, address, &grpc__health__v1__health__descriptor,
                                                     "Check", &request.base, deadline_us, &response);
  if (failure)
    return HEALTH_SILENT;
  const Grpc__Health__V1__HealthCheckResponse *body = rpc_message_body(response);
  return body->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING ? HEALTH_SERVING
                                                                                          : HEALTH_NOT_SERVING;
}
