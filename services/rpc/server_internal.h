/* The inside of RpcServer and RpcCall, for the files of this folder alone. */
#pragma once

#include <stdatomic.h>

#include "services/rpc/budget.h"
#include "services/rpc/descriptors.h"
#include "services/rpc/op.h"
#include "services/rpc/pollers_internal.h"
#include "services/rpc/registry.h"
#include "services/rpc/sender.h"
#include "services/rpc/server.h"
#include "services/rpc/status.h"

G_BEGIN_DECLS

typedef struct RpcHealth RpcHealth;

/* What a refused caller is told to wait: queues empty within milliseconds once the peak is over. */
#define RPC_OVERLOADED_RETRY_MS 100

/* A method of a service that was added; immutable after the start. */
typedef struct {
  const ProtobufCServiceDescriptor *service;
  const ProtobufCMethodDescriptor *descriptor;
  RpcMethodHandler handler;
  char *path;              /* "/milena.v1.ProducerService/Produce" */
  gboolean client_streams; /* the client may send more than one message */
  Loop **loops;            /* calls go round */
  gpointer *user_datas;    /* one for each loop */
  guint loop_count;
  atomic_uint next_loop;
  void *registered; /* the core's handle */
} RpcMethod;

struct RpcServer {
  atomic_int refs; /* the owner's, and one for each call */
  RpcServerOptions options;
  grpc_server *core;
  RpcPollers *pollers; /* not after rpc_server_free */
  gboolean owns_pollers;
  RpcRegistry *calls; /* open ones */
  RpcBudget *budget;  /* of request messages */
  RpcDescriptors *descriptors;
  GPtrArray *services; /* const ProtobufCServiceDescriptor, of all that were added */
  GPtrArray *methods;  /* RpcMethod, owned */
  Loop *standard_loop; /* of health and reflection */
  RpcHealth *health;
  gboolean is_started;     /* owner thread */
  gboolean is_drained;     /* owner thread */
  atomic_bool is_draining; /* new calls are refused */
};

RpcServer *rpc_server_ref(RpcServer *server);
void rpc_server_unref(RpcServer *server);

/* ---- A call: see server_call.c for its states. ---- */

struct RpcCall {
  atomic_int refs;
  RpcServer *server;
  RpcQueue *queue;
  RpcMethod *method; /* NULL: a method that no one added */
  GList link;        /* in server->calls */

  /* Filled in by the core when the call arrives, then constant. */
  grpc_call *core;
  grpc_metadata_array metadata;
  gpr_timespec core_deadline;
  grpc_byte_buffer *payload;
  grpc_call_details details; /* of calls without a method */
  gint64 deadline_us;
  Loop *loop;
  gpointer user_data;

  RpcOp accept_op, close_op, receive_op, send_op;

  /* Receiving: `received` belongs to the queue's thread until message_task is posted, then to the loop. */
  grpc_byte_buffer *arrived;
  RpcMessage *received;
  gboolean is_reading;     /* loop: a receive was started and its message not yet delivered */
  gboolean is_half_closed; /* loop: the client sends nothing more */

  /* Sending: whoever holds the sender's turn. */
  RpcSender sender;
  gboolean headers_sent;
  grpc_byte_buffer *outgoing; /* while it is being sent */
  RpcStatus status;           /* while the end is being sent */
  gboolean status_is_set;
  atomic_bool is_ended; /* claimed by the first who ends the call; it alone writes `outcome` */
  Failure *outcome;     /* NULL: OK; written before the sender hears of the end, read when it is sent */

  int core_cancelled;       /* the core's answer to close_op */
  atomic_bool is_cancelled; /* the client went away, can't be reached, or was told that the process stops */
  gboolean was_handed_over; /* queue's thread: a handler will see it */

  /* Loop */
  RpcCallEvents events;
  atomic_bool has_events; /* set by the loop; looked at on the queue's thread when the call is over */
  gpointer state;
  gboolean is_closed; /* `closed` was called, or would have been */
  gboolean was_told_to_drain;
  char *peer, *client;        /* addresses as people write them, made when first asked for */
  GHashTable *metadata_texts; /* key to value, made when first asked for */

  LoopTask start_task, message_task, send_task, writable_task, closed_task, draining_task;
  atomic_bool writable_posted;
};

/* Keep a call requested of @method (NULL: of any other) on one queue. */
void rpc_server_request_call(RpcServer *server, RpcQueue *queue, RpcMethod *method);
/* A new call that waits to arrive. */
RpcCall *rpc_call_new(RpcServer *server, RpcQueue *queue, RpcMethod *method);
/* It arrived: watch it until it is over. The reference becomes the library's. FALSE: the server is gone, and so is the
 * reference. Queue's thread. */
gboolean rpc_call_watch(RpcCall *call);
/* Hand it to its loop. FALSE: the mailbox is full. Queue's thread. */
gboolean rpc_call_hand_over(RpcCall *call);
/* End it, unless it has ended; @failure: taken, NULL for OK. Any thread. */
void rpc_call_end(RpcCall *call, Failure *failure);
/* A message that arrived, decoded as @type (NULL: left raw) and charged to @budget (NULL: not charged). Also for
 * clients.
 * @buffer: borrowed. Returns NULL, MALFORMED_MESSAGE or OVERLOADED. */
Failure *rpc_receive_message(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, RpcBudget *budget,
                             RpcMessage **ret_message);
/* Tell an open call that the server drains. Any thread. */
void rpc_call_tell_draining(gpointer call, gpointer unused);
/* End a call that its handler did not end in time: the client hears that the outcome is unknown. Any thread. */
void rpc_call_end_unfinished(gpointer call, gpointer unused);

/* The standard services; added by rpc_server_new. */
RpcHealth *rpc_health_new(Loop *loop);
void rpc_health_free(RpcHealth *health);
extern const RpcMethodHandler RPC_HEALTH_HANDLERS[];
/* Any thread. */
void rpc_health_set(RpcHealth *health, const char *service, gboolean serving);
void rpc_health_set_all(RpcHealth *health, gboolean serving);
extern const RpcMethodHandler RPC_REFLECTION_HANDLERS[]; /* v1 and v1alpha; user_data: the server */

G_END_DECLS
