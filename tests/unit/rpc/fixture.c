/* See fixture.h. */
#include "tests/unit/rpc/fixture.h"

Fixture *fixture_new(const RpcServerOptions *options, guint mailbox_max) {
  Fixture *fixture = g_new0(Fixture, 1);
  fixture->server_loop = loop_new("test-server", mailbox_max);
  fixture->client_loop = loop_new("test-client", 1000);
  fixture->server = rpc_server_new(options);
  static const RpcMetadata METADATA[] = {{"x-test", "a value"}, {NULL, NULL}};
  fixture->client = rpc_client_new(&(RpcClientOptions){.metadata = METADATA});
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

/* ---- Recorder ---- */

static void recorder_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Recorder *recorder = state;
  g_ptr_array_add(recorder->received, rpc_message_ref(message));
  g_atomic_int_inc(&recorder->messages);
  if (recorder->reads_on)
    rpc_client_call_read(call);
}

static void recorder_writable(RpcClientCall *call, gpointer state) {
  (void)call;
  g_atomic_int_inc(&((Recorder *)state)->writables);
}

static void recorder_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  (void)call;
  Recorder *recorder = state;
  recorder->failure = failure ? failure_copy(failure) : NULL;
  g_atomic_int_inc(&recorder->closed);
}

static const RpcClientEvents RECORDER_EVENTS = {
    .message = recorder_message, .writable = recorder_writable, .closed = recorder_closed};

Recorder *recorder_open(Fixture *fixture, const char *address, const ProtobufCServiceDescriptor *service,
                        const char *method, gint64 deadline_us, gboolean reads_on) {
  Recorder *recorder = g_new0(Recorder, 1);
  recorder->fixture = fixture;
  recorder->received = g_ptr_array_new_with_free_func((GDestroyNotify)rpc_message_unref);
  recorder->call = rpc_client_stream(fixture->client, address, service, method, deadline_us, fixture->client_loop,
                                     &RECORDER_EVENTS, recorder);
  if (reads_on)
    recorder_read(recorder, TRUE);
  return recorder;
}

typedef struct {
  Recorder *recorder;
  const ProtobufCMessage *message;
  gboolean reads_on;
  RpcSendResult result;
} Step;

static void step_send(gpointer data) {
  Step *step = data;
  step->result = rpc_client_call_send(step->recorder->call, step->message, NULL, 0);
}

RpcSendResult recorder_send(Recorder *recorder, const ProtobufCMessage *message) {
  Step step = {.recorder = recorder, .message = message};
  loop_call_and_wait(recorder->fixture->client_loop, step_send, &step);
  return step.result;
}

static void step_half_close(gpointer data) {
  rpc_client_call_half_close(((Step *)data)->recorder->call);
}

void recorder_half_close(Recorder *recorder) {
  Step step = {.recorder = recorder};
  loop_call_and_wait(recorder->fixture->client_loop, step_half_close, &step);
}

static void step_read(gpointer data) {
  Step *step = data;
  step->recorder->reads_on = step->reads_on;
  rpc_client_call_read(step->recorder->call);
}

void recorder_read(Recorder *recorder, gboolean reads_on) {
  Step step = {.recorder = recorder, .reads_on = reads_on};
  loop_call_and_wait(recorder->fixture->client_loop, step_read, &step);
}

gpointer recorder_body(Recorder *recorder, guint index) {
  return rpc_message_body(g_ptr_array_index(recorder->received, index));
}

void recorder_free(Recorder *recorder) {
  if (!recorder)
    return;
  if (!g_atomic_int_get(&recorder->closed))
    rpc_client_call_cancel(recorder->call);
  if (!fixture_wait(&recorder->closed, 1))
    g_error("a stream did not end");
  rpc_client_call_unref(recorder->call);
  g_ptr_array_unref(recorder->received);
  failure_free(recorder->failure);
  g_free(recorder);
}
