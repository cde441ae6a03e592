/* See fixture.h. */
#include "tests/unit/rpc/fixture.h"

Fixture *fixture_new(const RpcServerOptions *options, guint mailbox_max) {
  Fixture *fixture = g_new0(Fixture, 1);
  fixture->server_loop = loop_new("test-server", mailbox_max);
  fixture->client_loop = loop_new("test-client", 1000);
  fixture->server = rpc_server_new(options);
  fixture->client = rpc_client_new(NULL);
  return fixture;
}

void fixture_start(Fixture *fixture) {
  g_autoptr(Failure) failure = rpc_server_add_listener(fixture->server, "127.0.0.1:0", &fixture->port);
  if (failure)
    g_error("%s", failure_message(failure));
  fixture->address = g_strdup_printf("127.0.0.1:%u", fixture->port);
  loop_start(fixture->server_loop);
  loop_start(fixture->client_loop);
  rpc_server_start(fixture->server);
}

void fixture_free(Fixture *fixture) {
  if (!fixture)
    return;
  rpc_client_free(fixture->client);
  rpc_server_free(fixture->server);
  loop_free(fixture->client_loop);
  loop_free(fixture->server_loop);
  g_free(fixture->address);
  g_free(fixture);
}

gint64 fixture_deadline_us(guint ms) {
  return g_get_monotonic_time() + (gint64)ms * 1000;
}

gboolean fixture_wait(const gint *value, gint least) {
  gint64 until = fixture_deadline_us(10000);
  while (g_atomic_int_get(value) < least) {
    if (g_get_monotonic_time() > until)
      return FALSE;
    g_usleep(500);
  }
  return TRUE;
}
