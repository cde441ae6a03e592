/* The inside of RpcClient and RpcClientCall, for the files of this folder alone. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "services/rpc/client.h"
#include "services/rpc/op.h"
#include "services/rpc/pollers_internal.h"
#include "services/rpc/registry.h"
#include "services/rpc/sender.h"

G_BEGIN_DECLS

struct RpcClient {
  atomic_int refs; /* the owner's, and one for each call */
  RpcClientOptions options;
  RpcPollers *pollers; /* not used any more once all calls have ended */
  gboolean owns_pollers;
  atomic_uint next_queue;
  RpcRegistry *calls;      /* open ones */
  grpc_metadata *metadata; /* of every call; constant */
  gsize metadata_count;

  pthread_mutex_t mutex; /* guards what follows */
  GHashTable *channels;  /* address to grpc_channel, owned */
};

void rpc_client_unref(RpcClient *client);

/* A call of the core on the address's channel. @path: "/milena.v1.ProducerService/Produce"; @ret_queue: that it is
 * bound to; a reference */
grpc_call *rpc_client_open(RpcClient *client, const char *address, const char *path, gint64 deadline_us,
                           RpcQueue **ret_queue);

/* ---- A call: see client_call.c for its states. ---- */

struct RpcClientCall {
  atomic_int refs;
  RpcClient *client;
  char *address;
  grpc_call *core;
  RpcQueue *queue;           /* a reference */
  grpc_metadata *metadata;   /* a copy of the client's: the core may write into it */
  grpc_slice client_address; /* the call is made for this client; empty: for nobody else */
  GList link;                /* in client->calls */
  const ProtobufCMessageDescriptor *response_type;
  Loop *loop; /* NULL: events come on the queue's thread */
  gboolean is_stream;

  RpcUnaryDone done; /* unary */
  gpointer user_data;
  RpcClientEvents events; /* streams; user_data is their state */

  RpcOp headers_op, receive_op, send_op, close_op;

  /* Filled in by the core. */
  grpc_metadata_array headers, trailers;
  grpc_status_code code;
  grpc_slice sentence;
  grpc_byte_buffer *arrived;

  /* Receiving */
  RpcMessage *received;     /* the queue's thread, until a task hands it to the loop */
  atomic_bool is_cancelled; /* by us */
  Failure *malformed;       /* what arrived could not be decoded; takes the place of the status */
  pthread_mutex_t mutex;    /* guards the next three: reads start on the loop, ends come on the queue's thread */
  gboolean is_reading;
  gboolean has_status;
  gboolean is_closing; /* `closed` was posted */

  /* Sending: whoever holds the sender's turn. */
  RpcSender sender;
  grpc_byte_buffer *outgoing;

  gboolean is_abandoned; /* loop: no callback any more */

  LoopTask message_task, writable_task, closed_task;
  atomic_bool writable_posted;
};

G_END_DECLS
