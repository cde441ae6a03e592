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

/* ---- A client's stream that records what comes. All functions from the test's thread. ---- */

typedef struct Recorder Recorder;
struct Recorder {
  Fixture *fixture;
  RpcClientCall *call;
  gboolean reads_on;                /* ask for the next message as each arrives */
  gint messages, writables, closed; /* counts; read with g_atomic_int_get */
  GPtrArray *received;              /* RpcMessage; read after `closed`, or when nothing is asked for */
  Failure *failure;                 /* read after `closed` */
};

/* Open a stream. @reads_on: read everything that comes, from the start */
Recorder *recorder_open(Fixture *fixture, const char *address, const ProtobufCServiceDescriptor *service,
                        const char *method, gint64 deadline_us, gboolean reads_on);
/* Send one message; what rpc_client_call_send said. */
RpcSendResult recorder_send(Recorder *recorder, const ProtobufCMessage *message);
void recorder_half_close(Recorder *recorder);
/* Read one message, or with reads_on all that follow. */
void recorder_read(Recorder *recorder, gboolean reads_on);
/* The body of a message that came. */
gpointer recorder_body(Recorder *recorder, guint index);
/* Waits for the end. */
void recorder_free(Recorder *recorder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Recorder, recorder_free)

G_END_DECLS
