/* A server and a client over loopback, each with its loop, for the tests of services/rpc. */
#pragma once

#include "services/rpc/client.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct {
  Loop *server_loop, *client_loop;
  RpcServer *server;
  RpcClient *client;
  char *address;
  guint16 port;
} Fixture;

/* Handlers get @user_data. Add more services to fixture->server before fixture_start. */
Fixture *fixture_new(const RpcServerOptions *options, guint mailbox_max);
void fixture_start(Fixture *fixture);
/* Client first, then server, then loops. */
void fixture_free(Fixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fixture, fixture_free)

gint64 fixture_deadline_us(guint ms);

/* Wait until *@value (atomic) is at least @least; FALSE after 10 s. */
gboolean fixture_wait(const gint *value, gint least);

G_END_DECLS
