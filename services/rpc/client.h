/* A gRPC client: one channel for each address, shared, with keepalive and backoff; calls by protobuf-c descriptor.
 *
 * All callbacks of a call arrive on the loop that the caller names. Threads: the pool may be used from any thread; a
 * call belongs to its loop. */
#pragma once

#include "services/base/loop.h"
#include "services/rpc/message.h"
#include "services/rpc/server.h" /* RpcSendResult */

G_BEGIN_DECLS

typedef struct RpcClient RpcClient;         /* threads, completion queues and the channel pool */
typedef struct RpcClientCall RpcClientCall; /* one call; the caller holds a reference until it closed */

/* A value that goes with a call beside its message; the key in lower case. */
typedef struct {
  const char *key, *value;
} RpcMetadata;

typedef struct {
  RpcPollers *pollers;          /* borrowed for the client's life; NULL: one of its own */
  guint32 receive_max_bytes;    /* of one message; 0: 68 MiB */
  guint64 send_queue_max_bytes; /* of one stream, then send says BUSY; 0: 4 MiB */
  const RpcMetadata *metadata;  /* goes with every call; ends with a NULL key; copied; may be NULL */
} RpcClientOptions;

RpcClient *rpc_client_new(const RpcClientOptions *options); /* NULL: defaults */
/* Cancels all calls and waits until their callbacks have been posted. NULL is fine. */
void rpc_client_free(RpcClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcClient, rpc_client_free)
/* Close the channel to an address that will not be used again. */
void rpc_client_forget(RpcClient *client, const char *address);

/* The answer of a unary call. @response: borrowed, NULL on failure. @failure: borrowed, NULL on success. Called once,
 * also when the call was cancelled, but not after rpc_client_call_abandon. */
typedef void (*RpcUnaryDone)(RpcMessage *response, const Failure *failure, gpointer user_data);

/* Call a unary method.
 *
 * @address: host:port
 * @service, @method: as in the .proto: "Produce"
 * @deadline_us: monotonic time, or G_MAXINT64
 * @loop: where @done is called, exactly once
 *
 * Returns a reference to the call, to cancel it, or to drop at once with rpc_client_call_unref. */
RpcClientCall *rpc_client_unary(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                                const char *method, RpcMessage *request, gint64 deadline_us, Loop *loop,
                                RpcUnaryDone done, gpointer user_data);
/* The same for somebody else: who asks this process to ask. The server's rpc_call_client tells it.
 *
 * @client_address: of that client, as rpc_call_client of its call says; copied */
RpcClientCall *rpc_client_unary_for(RpcClient *client, const char *client_address, const char *address,
                                    const ProtobufCServiceDescriptor *service, const char *method, RpcMessage *request,
                                    gint64 deadline_us, Loop *loop, RpcUnaryDone done, gpointer user_data);
/* The same, blocking: for command-line tools and tests; not on a loop. */
Failure *rpc_client_unary_sync(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                               const char *method, const ProtobufCMessage *request, gint64 deadline_us,
                               RpcMessage **ret_response);

/* A streaming call; all on its loop. Any may be NULL but `closed`. */
typedef struct {
  /* As asked for by rpc_client_call_read. */
  void (*message)(RpcClientCall *call, RpcMessage *message, gpointer state);
  void (*writable)(RpcClientCall *call, gpointer state);
  /* Always last, once. @failure: borrowed; NULL when the server finished with OK. */
  void (*closed)(RpcClientCall *call, const Failure *failure, gpointer state);
} RpcClientEvents;

/* Open a stream of any kind. Ask for messages with rpc_client_call_read, one at a time. */
RpcClientCall *rpc_client_stream(RpcClient *client, const char *address, const ProtobufCServiceDescriptor *service,
                                 const char *method, gint64 deadline_us, Loop *loop, const RpcClientEvents *events,
                                 gpointer state);
void rpc_client_call_read(RpcClientCall *call);
RpcSendResult rpc_client_call_send(RpcClientCall *call, const ProtobufCMessage *message, GBytes *const *owners,
                                   gsize owner_count);
RpcSendResult rpc_client_call_send_message(RpcClientCall *call, RpcMessage *message); /* borrowed */
/* No more messages from us: after what was queued. */
void rpc_client_call_half_close(RpcClientCall *call);
/* Ends soon with CANCELLED. Any thread; more than once is fine. */
void rpc_client_call_cancel(RpcClientCall *call);
/* Cancel, and hear nothing more: no callback of this call comes after it. On the call's loop, unary calls and streams.
 */
void rpc_client_call_abandon(RpcClientCall *call);
RpcClientCall *rpc_client_call_ref(RpcClientCall *call);
void rpc_client_call_unref(RpcClientCall *call);

G_END_DECLS
