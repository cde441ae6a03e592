/* grpc.health.v1.Health: Check and Watch.
 *
 * State: which services serve, and who watches. Owner: the server's standard loop; rpc_health_set posts to it from any
 * thread. A watcher is told the state at once and every change; when the server drains, it is told NOT_SERVING, and its
 * stream ends. Failure modes: none of its own; a watcher that went away is dropped in `closed`. */
#include "grpc/health/v1/health.pb-c.h"
#include "services/rpc/server_internal.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus ServingStatus;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct RpcHealth {
  Loop *loop;
  GHashTable *states;  /* service to ServingStatus */
  GPtrArray *watchers; /* Watcher */
};

typedef struct {
  RpcHealth *health;
  RpcCall *call;
  char *service;
  ServingStatus told;
} Watcher;

RpcHealth *rpc_health_new(Loop *loop) {
  RpcHealth *health = g_new0(RpcHealth, 1);
  health->loop = loop;
  health->states = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  health->watchers = g_ptr_array_new();
  return health;
}

void rpc_health_free(RpcHealth *health) {
  INVARIANT(!health->watchers->len, "watchers end before the server does");
  g_ptr_array_unref(health->watchers);
  g_hash_table_unref(health->states);
  g_free(health);
}

/* FALSE when there is no such service. */
static gboolean find_state(RpcHealth *health, const char *service, ServingStatus *ret_status) {
  gpointer value;
  if (!g_hash_table_lookup_extended(health->states, service, NULL, &value))
    return FALSE;
  *ret_status = GPOINTER_TO_INT(value);
  return TRUE;
}

/* ---- Calls ---- */

static void health_check(RpcCall *call, RpcMessage *request, gpointer user_data) {
  const Grpc__Health__V1__HealthCheckRequest *body = rpc_message_body(request);
  Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  if (find_state(user_data, body->service, &response.status)) {
    rpc_call_reply(call, &response.base, NULL, 0);
    return;
  }
  g_autofree char *sentence = g_strdup_printf("this process has no service \"%s\"", body->service);
  rpc_call_finish(call, failure_new_code(GRPC_STATUS_NOT_FOUND, sentence));
}

static void watcher_tell(Watcher *watcher) {
  Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  if (!find_state(watcher->health, watcher->service, &response.status))
    response.status = STATUS(SERVICE_UNKNOWN);
  if (response.status == watcher->told)
    return;
  watcher->told = response.status;
  rpc_call_send(watcher->call, &response.base, NULL, 0);
}

static void watcher_draining(RpcCall *call, gpointer state) {
  (void)state;
  rpc_call_finish(call, failure_new(FAILURE(DRAINING), "this process is stopping"));
}

static void watcher_closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Watcher *watcher = state;
  g_ptr_array_remove_fast(watcher->health->watchers, watcher);
  g_free(watcher->service);
  g_free(watcher);
}

static const RpcCallEvents WATCHER_EVENTS = {.draining = watcher_draining, .closed = watcher_closed};

static void health_watch(RpcCall *call, RpcMessage *request, gpointer user_data) {
  const Grpc__Health__V1__HealthCheckRequest *body = rpc_message_body(request);
  Watcher *watcher = g_new0(Watcher, 1);
  *watcher = (Watcher){.health = user_data, .call = call, .service = g_strdup(body->service), .told = STATUS(UNKNOWN)};
  g_ptr_array_add(watcher->health->watchers, watcher);
  rpc_call_set_events(call, &WATCHER_EVENTS, watcher);
  watcher_tell(watcher);
}

const RpcMethodHandler RPC_HEALTH_HANDLERS[] = {
    {.name = "Check", .unary = health_check},
    {.name = "Watch", .unary = health_watch},
    {.name = NULL},
};

/* ---- Changes ---- */

typedef struct {
  RpcHealth *health;
  char *service; /* NULL: all */
  ServingStatus status;
} Change;

static void change_run(gpointer data) {
  Change *change = data;
  RpcHealth *health = change->health;
  if (change->service) {
    g_hash_table_insert(health->states, g_steal_pointer(&change->service), GINT_TO_POINTER(change->status));
  } else {
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, health->states);
    while (g_hash_table_iter_next(&iter, NULL, &value))
      g_hash_table_iter_replace(&iter, GINT_TO_POINTER(change->status));
  }
  for (guint i = 0; i < health->watchers->len; i++)
    watcher_tell(g_ptr_array_index(health->watchers, i));
  g_free(change);
}

static void post_change(RpcHealth *health, const char *service, gboolean serving) {
  Change *change = g_new0(Change, 1);
  *change = (Change){
      .health = health, .service = g_strdup(service), .status = serving ? STATUS(SERVING) : STATUS(NOT_SERVING)};
  loop_call(health->loop, change_run, change);
}

void rpc_health_set(RpcHealth *health, const char *service, gboolean serving) {
  post_change(health, service, serving);
}

void rpc_health_set_all(RpcHealth *health, gboolean serving) {
  post_change(health, NULL, serving);
}
