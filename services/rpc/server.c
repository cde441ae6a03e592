/* The server: services, listeners, start, drain, end. See server.h.
 *
 *   new ──start──► serving ──drain──► draining: health says NOT_SERVING, open calls are told, new ones refused, the
 * core closes listeners and sends GOAWAY; after the grace what is left is ended, then cancelled ──► drained ──free──►
 * gone
 *
 * Invariants
 *   1. services and methods do not change after the start, so any thread reads them.
 *   2. Every queue has one call requested of every method until the drain.
 *   3. The server's memory outlives its calls: each holds a reference.
 * Threads: one owner, as server.h says; calls are in server_call.c. Locks: none here; the registry has its own. */
#include <string.h>

#include "services/base/slog.h"
#include "services/rpc/accept.h"
#include "services/rpc/library.h"
#include "services/rpc/limits.h"
#include "services/rpc/server_internal.h"

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include <grpc/grpc_security.h>

enum {
  DEFAULT_RECEIVE_MAX_BYTES = 68 << 20,
  DEFAULT_MAX_CONCURRENT_STREAMS = 1000,
  DEFAULT_INFLIGHT_MAX_BYTES = 256 << 20,
  DEFAULT_SEND_QUEUE_MAX_BYTES = 4 << 20,
  /* A burst of one method finds this many calls waiting on each queue; each is replaced at once. */
  REQUESTED_CALLS = 4,
  STANDARD_MAILBOX_MAX = 10000,
  /* After the grace, calls get a status that says so; one that can't be sent in this time goes to a client that does
   * not read. */
  LAST_WORD_WAIT_MS = 500,
  /* Cancelled calls end within a moment; one that does not has a loop that no longer runs. */
  CANCEL_WAIT_MS = 5000,
};

/* ---- Life ---- */

static RpcServerOptions options_with_defaults(const RpcServerOptions *options) {
  RpcServerOptions full = options ? *options : (RpcServerOptions){0};
  full.receive_max_bytes = full.receive_max_bytes ? full.receive_max_bytes : DEFAULT_RECEIVE_MAX_BYTES;
  full.max_concurrent_streams =
      full.max_concurrent_streams ? full.max_concurrent_streams : DEFAULT_MAX_CONCURRENT_STREAMS;
  full.inflight_max_bytes = full.inflight_max_bytes ? full.inflight_max_bytes : DEFAULT_INFLIGHT_MAX_BYTES;
  full.send_queue_max_bytes = full.send_queue_max_bytes ? full.send_queue_max_bytes : DEFAULT_SEND_QUEUE_MAX_BYTES;
  return full;
}

static void method_free(gpointer data) {
  RpcMethod *method = data;
  g_free(method->path);
  g_free(method->loops);
  g_free(method->user_datas);
  g_free(method);
}

static void add_standard_services(RpcServer *server) {
  server->standard_loop = loop_new("rpc-standard", STANDARD_MAILBOX_MAX);
  server->health = rpc_health_new(server->standard_loop);
  rpc_server_add_service(server, &grpc__health__v1__health__descriptor, RPC_HEALTH_HANDLERS, server->standard_loop,
                         server->health);
  rpc_health_set(server->health, "", TRUE); /* a program that is not ready yet says so before start */
  rpc_server_add_service(server, &grpc__reflection__v1__server_reflection__descriptor, RPC_REFLECTION_HANDLERS,
                         server->standard_loop, server);
  rpc_server_add_service(server, &grpc__reflection__v1alpha__server_reflection__descriptor, RPC_REFLECTION_HANDLERS,
                         server->standard_loop, server);
  loop_start(server->standard_loop);
}

RpcServer *rpc_server_new(const RpcServerOptions *options) {
  rpc_library_init();
  rpc_accept_guard();
  RpcServer *server = g_new0(RpcServer, 1);
  atomic_init(&server->refs, 1);
  server->options = options_with_defaults(options);
  server->calls = rpc_registry_new();
  server->budget = rpc_budget_new(server->options.inflight_max_bytes);
  server->descriptors = rpc_descriptors_new();
  server->services = g_ptr_array_new();
  server->methods = g_ptr_array_new_with_free_func(method_free);
  server->owns_pollers = !server->options.pollers;
  server->pollers = server->owns_pollers ? rpc_pollers_new("rpc-server", 0) : server->options.pollers;
  grpc_channel_args *args = rpc_server_args_new(&server->options);
  server->core = grpc_server_create(args, NULL);
  rpc_args_free(args);
  for (guint i = 0; i < server->pollers->count; i++)
    grpc_server_register_completion_queue(server->core, rpc_queue_core(server->pollers->queues[i]), NULL);
  add_standard_services(server);
  return server;
}

RpcServer *rpc_server_ref(RpcServer *server) {
  atomic_fetch_add_explicit(&server->refs, 1, memory_order_relaxed);
  return server;
}

void rpc_server_unref(RpcServer *server) {
  if (atomic_fetch_sub_explicit(&server->refs, 1, memory_order_acq_rel) > 1)
    return;
  g_ptr_array_unref(server->methods);
  g_ptr_array_unref(server->services);
  rpc_descriptors_free(server->descriptors);
  rpc_budget_unref(server->budget);
  rpc_registry_free(server->calls);
  g_free(server);
}

/* ---- Services ---- */

static const RpcMethodHandler *find_handler(const RpcMethodHandler *handlers, const char *name) {
  for (; handlers->name; handlers++) {
    if (g_str_equal(handlers->name, name))
      return handlers;
  }
  return NULL;
}

/* The table must fit what the .proto says: a name that is wrong, or a kind, would be found by no caller. */
static void check_handlers(RpcServer *server, const ProtobufCServiceDescriptor *service,
                           const RpcMethodHandler *handlers) {
  for (; handlers->name; handlers++) {
    const Google__Protobuf__MethodDescriptorProto *proto =
        rpc_descriptors_method(server->descriptors, service->name, handlers->name);
    INVARIANT(proto, "each handler is named after a method of its service");
    INVARIANT((handlers->unary != NULL) != (handlers->stream != NULL), "a handler has one kind");
    INVARIANT((handlers->stream != NULL) == (proto->client_streaming != 0),
              "methods to which the client streams have a `stream` handler, all others a `unary` one");
  }
}

static void add_method(RpcServer *server, const ProtobufCServiceDescriptor *service,
                       const ProtobufCMethodDescriptor *descriptor, const RpcMethodHandler *handler, Loop *const *loops,
                       gpointer const *user_datas, guint loop_count) {
  RpcMethod *method = g_new0(RpcMethod, 1);
  method->service = service;
  method->descriptor = descriptor;
  method->handler = *handler;
  method->path = g_strdup_printf("/%s/%s", service->name, descriptor->name);
  method->client_streams = handler->stream != NULL;
  method->loops = g_memdup2(loops, loop_count * sizeof *loops);
  method->user_datas = g_memdup2(user_datas, loop_count * sizeof *user_datas);
  method->loop_count = loop_count;
  method->registered = grpc_server_register_method(
      server->core, method->path, NULL,
      method->client_streams ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  INVARIANT(method->registered, "a method is added once");
  g_ptr_array_add(server->methods, method);
}

void rpc_server_add_sharded_service(RpcServer *server, const ProtobufCServiceDescriptor *service,
                                    const RpcMethodHandler *handlers, Loop *const *loops, gpointer const *user_datas,
                                    guint loop_count) {
  INVARIANT(!server->is_started, "services are added before the start");
  INVARIANT(loop_count, "a service has a loop");
  check_handlers(server, service, handlers);
  for (guint i = 0; i < service->n_methods; i++) {
    const RpcMethodHandler *handler = find_handler(handlers, service->methods[i].name);
    if (handler)
      add_method(server, service, &service->methods[i], handler, loops, user_datas, loop_count);
  }
  g_ptr_array_add(server->services, (gpointer)service);
  rpc_health_set(server->health, service->name, TRUE);
}

void rpc_server_add_service(RpcServer *server, const ProtobufCServiceDescriptor *service,
                            const RpcMethodHandler *handlers, Loop *loop, gpointer user_data) {
  rpc_server_add_sharded_service(server, service, handlers, &loop, &user_data, 1);
}

void rpc_server_set_health(RpcServer *server, const char *service, gboolean serving) {
  rpc_health_set(server->health, service, serving);
}

/* ---- Listening ---- */

Failure *rpc_server_add_listener(RpcServer *server, const char *address, guint16 *ret_port) {
  INVARIANT(!server->is_started, "listeners are added before the start");
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  int port = grpc_server_add_http2_port(server->core, address, credentials);
  grpc_server_credentials_release(credentials);
  if (port <= 0)
    return failure_new(FAILURE(INVALID_FIELD),
                       "can't listen on %s: another process has the port, the address is not this machine's, or the "
                       "port needs privileges; see what has it with `ss -ltnp`, or choose another",
                       address);
  if (ret_port)
    *ret_port = port;
  return NULL;
}

void rpc_server_start(RpcServer *server) {
  INVARIANT(!server->is_started, "a server is started once");
  server->is_started = TRUE;
  grpc_server_start(server->core);
  for (guint i = 0; i < server->pollers->count; i++) {
    RpcQueue *queue = server->pollers->queues[i];
    for (guint n = 0; n < REQUESTED_CALLS; n++) {
      for (guint m = 0; m < server->methods->len; m++)
        rpc_server_request_call(server, queue, g_ptr_array_index(server->methods, m));
      rpc_server_request_call(server, queue, NULL);
    }
  }
}

/* ---- Draining ---- */

typedef struct {
  RpcOp op;
  pthread_mutex_t mutex; /* guards `done` */
  pthread_cond_t cond;
  gboolean done;
} Shutdown;

static void shutdown_done(RpcOp *op, gboolean ok) {
  (void)ok;
  Shutdown *shutdown = op->owner;
  pthread_mutex_lock(&shutdown->mutex);
  shutdown->done = TRUE;
  pthread_cond_signal(&shutdown->cond);
  pthread_mutex_unlock(&shutdown->mutex);
}

static void shutdown_wait(Shutdown *shutdown) {
  pthread_mutex_lock(&shutdown->mutex);
  while (!shutdown->done)
    pthread_cond_wait(&shutdown->cond, &shutdown->mutex);
  pthread_mutex_unlock(&shutdown->mutex);
}

/* The core tells a shutdown once all connections are closed. */
static void drain_core(RpcServer *server, guint grace_ms) {
  Shutdown shutdown = {.done = FALSE};
  pthread_mutex_init(&shutdown.mutex, NULL);
  pthread_cond_init(&shutdown.cond, NULL);
  rpc_op_init(&shutdown.op, RPC_OP_SHUTDOWN, &shutdown, shutdown_done);
  rpc_op_hand_over(&shutdown.op);
  grpc_server_shutdown_and_notify(server->core, rpc_queue_core(server->pollers->queues[0]), &shutdown.op);
  guint left = rpc_registry_wait_empty(server->calls, grace_ms);
  if (left) {
    rpc_registry_visit(server->calls, rpc_call_end_unfinished, NULL);
    left = rpc_registry_wait_empty(server->calls, LAST_WORD_WAIT_MS);
  }
  grpc_server_cancel_all_calls(server->core); /* idle connections are closed by this, too */
  if (left)
    left = rpc_registry_wait_empty(server->calls, CANCEL_WAIT_MS);
  if (left)
    slog_warning("calls did not end after they were cancelled: their loop does not run", "calls", SLOG_INT(left), NULL);
  shutdown_wait(&shutdown);
  pthread_cond_destroy(&shutdown.cond);
  pthread_mutex_destroy(&shutdown.mutex);
}

void rpc_server_drain(RpcServer *server, guint grace_ms) {
  if (server->is_drained)
    return;
  server->is_drained = TRUE;
  rpc_health_set_all(server->health, FALSE);
  atomic_store(&server->is_draining, TRUE);
  if (!server->is_started)
    return;
  rpc_registry_visit(server->calls, rpc_call_tell_draining, NULL);
  drain_core(server, grace_ms);
}

void rpc_server_free(RpcServer *server) {
  if (!server)
    return;
  rpc_server_drain(server, 0);
  if (!server->is_started) { /* the core wants a shutdown before its end, and a start before that */
    server->is_started = TRUE;
    grpc_server_start(server->core);
    drain_core(server, 0);
  }
  if (server->owns_pollers)
    rpc_pollers_free(server->pollers);
  grpc_server_destroy(server->core);
  loop_free(server->standard_loop);
  rpc_health_free(server->health);
  rpc_server_unref(server);
}
