/* A gRPC server: services are protobuf-c descriptors with a table of handlers.
 *
 * Handlers run on the loop given with the service. Completion-queue threads only decode and post. When a loop's mailbox
 * is full the call is refused with OVERLOADED before any handler sees it. Health (with Watch) and reflection (v1 and
 * v1alpha) come with every server.
 *
 *   new ──add_service, add_listener──► start ──► serving ──drain──► draining (streams are told; calls in
 *   progress may end until the deadline, then are cancelled) ──► stopped ──free
 *
 * Threads: new, add, start, drain, free from one owner thread. RpcCall functions: see each. */
#pragma once

#include "services/base/loop.h"
#include "services/rpc/message.h"
#include "services/rpc/pollers.h"

G_BEGIN_DECLS

typedef struct RpcServer RpcServer;
typedef struct RpcCall RpcCall;

typedef struct {
  RpcPollers *pollers;            /* borrowed for the server's life; NULL: its own */
  guint32 receive_max_bytes;      /* of one message; 0: 68 MiB, above the largest batch */
  guint32 max_concurrent_streams; /* of one connection; 0: 1,000 */
  guint64 inflight_max_bytes;     /* of request messages in the process; beyond it calls are refused; 0: 256 MiB */
  guint64 send_queue_max_bytes;   /* of one stream, then rpc_call_send says BUSY; 0: 4 MiB */
} RpcServerOptions;

/* One method. Exactly one of `unary` and `stream` is set. Names must be methods of the descriptor; methods of the
 * descriptor without an entry answer UNIMPLEMENTED. */
typedef struct {
  const char *name; /* "Produce" */
  /* Unary, and server-streaming: the request is there. The handler owns a reference to @call, and answers once (unary)
   * or sends and then finishes, now or later, on the same loop. @request: borrowed; ref it to keep it. */
  void (*unary)(RpcCall *call, RpcMessage *request, gpointer user_data);
  /* Client-streaming and bidirectional: the call is open; set the callbacks and ask for the first message. */
  void (*stream)(RpcCall *call, gpointer user_data);
} RpcMethodHandler;

/* What happens to a call after its handler returned; all on the service's loop. Any may be NULL. */
typedef struct {
  /* A message arrived, as asked for by rpc_call_read. NULL: the client is done sending (half-close). */
  void (*message)(RpcCall *call, RpcMessage *message, gpointer state);
  /* After rpc_call_send said RPC_BUSY: there is room again. */
  void (*writable)(RpcCall *call, gpointer state);
  /* The server drains: say so in the stream, and finish soon. */
  void (*draining)(RpcCall *call, gpointer state);
  /* Always the last, once, for every call whose callbacks were set: the client has the status, or went away
   * (@cancelled). The state may be freed here; the handler's reference to @call is released by the library after it. */
  void (*closed)(RpcCall *call, gboolean cancelled, gpointer state);
} RpcCallEvents;

typedef enum {
  RPC_SENT,  /* queued or sent; go on */
  RPC_BUSY,  /* queued, but stop until `writable` */
  RPC_CLOSED /* not sent: the client is gone or the call is finished */
} RpcSendResult;

RpcServer *rpc_server_new(const RpcServerOptions *options); /* NULL: defaults */
/* @handlers: ends with a NULL name; static. @loop: where they run; outlives the server. */
void rpc_server_add_service(RpcServer *server, const ProtobufCServiceDescriptor *service,
                            const RpcMethodHandler *handlers, Loop *loop, gpointer user_data);
/* A service whose calls are spread over several loops, by connection-less round-robin; user_data differs by loop. */
void rpc_server_add_sharded_service(RpcServer *server, const ProtobufCServiceDescriptor *service,
                                    const RpcMethodHandler *handlers, Loop *const *loops, gpointer const *user_datas,
                                    guint loop_count);

/* @address: "127.0.0.1:7600", port 0 for any
 * @ret_port: the port that was bound; may be NULL
 * Returns NULL, or why it can't listen: in use, no such address, not permitted. */
Failure *rpc_server_add_listener(RpcServer *server, const char *address, guint16 *ret_port);
void rpc_server_start(RpcServer *server);
/* Set the health of one service, or of the whole process with "". All are SERVING unless told otherwise, before start
 * or later. Any thread. */
void rpc_server_set_health(RpcServer *server, const char *service, gboolean serving);
/* Stop taking calls, tell open streams, wait for calls in progress until @grace_ms, then end them with UNKNOWN_OUTCOME,
 * and cancel what is left. Blocks; not on a service's loop, and those must still run: calls end on them. */
void rpc_server_drain(RpcServer *server, guint grace_ms);
void rpc_server_free(RpcServer *server); /* drains with no grace if need be; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcServer, rpc_server_free)

/* ---- A call, seen from the handler. On the call's loop unless another thread is named. ---- */

/* Set once, before the handler returns, where more than one answer is to be given or cancellation matters. */
void rpc_call_set_events(RpcCall *call, const RpcCallEvents *events, gpointer state);
gpointer rpc_call_state(RpcCall *call);
Loop *rpc_call_loop(RpcCall *call);
/* Ask for the next message of the client: until then the peer is held back by HTTP/2. */
void rpc_call_read(RpcCall *call);
/* Unary: answer and finish with OK. @owners as in rpc_message_pack. Any one thread at a time. Consumes the handler's
 * reference unless events were set. */
void rpc_call_reply(RpcCall *call, const ProtobufCMessage *response, GBytes *const *owners, gsize owner_count);
/* The same with a message that is packed already, or passed on as it came; borrowed. */
void rpc_call_reply_message(RpcCall *call, RpcMessage *message);
/* Streams: queue a message. */
RpcSendResult rpc_call_send(RpcCall *call, const ProtobufCMessage *message, GBytes *const *owners, gsize owner_count);
RpcSendResult rpc_call_send_message(RpcCall *call, RpcMessage *message); /* already packed; borrowed */
/* The same, once the loop has run what it took to run: many small messages that come together leave in one write. Loop.
 */
RpcSendResult rpc_call_send_soon(RpcCall *call, const ProtobufCMessage *message);
/* Finish: after what was queued, with OK (NULL) or a failure. @failure: taken. Consumes the handler's reference
 * unless events were set. Any one thread at a time. */
void rpc_call_finish(RpcCall *call, Failure *failure);
RpcCall *rpc_call_ref(RpcCall *call);
void rpc_call_unref(RpcCall *call);

/* Monotonic time (g_get_monotonic_time) in µs at which the client gives up; G_MAXINT64 for never. */
gint64 rpc_call_deadline_us(RpcCall *call);
/* When a handler should have its answer ready, so that it reaches the caller before that: a tenth of a second earlier,
 * or half of what is left when that is less. A bare timeout tells the caller less than any answer. G_MAXINT64: no
 * deadline.
 */
gint64 rpc_call_answer_by_us(RpcCall *call);
gboolean rpc_call_is_cancelled(RpcCall *call);
/* The client's address, "127.0.0.1:40612" or "[::1]:40612"; borrowed. */
const char *rpc_call_peer(RpcCall *call);
/* The address of the client for whom the call is made: of the one that called a process of the cluster, when that
 * passed the call on (rpc_client_unary_for); else the caller's. For people to see, not to trust: any caller may claim
 * one. Borrowed. */
const char *rpc_call_client(RpcCall *call);
#define RPC_CLIENT_KEY "milena-client"
/* A value of the client's metadata, or NULL; borrowed. */
const char *rpc_call_metadata(RpcCall *call, const char *key);
/* "/milena.v1.ProducerService/Produce"; borrowed. */
const char *rpc_call_method(RpcCall *call);

G_END_DECLS
