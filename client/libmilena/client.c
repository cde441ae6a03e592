/* The client: see client.h and milena.h.
 *
 * Invariants
 *   1. `view` is never NULL, and only the loop replaces it.
 *   2. `bootstrap` holds at least one address and never changes.
 *   3. With bootstrap_only no address is ever used but those of `bootstrap`: brokers are reached through the one whose
 *      metadata is followed (the view's gateway).
 *   4. The metadata is followed from the first producer, consumer or wait for a topic on: administration alone needs
 * none.
 *
 * Threads: its own loop owns the watch and the listeners; the mutex guards view, addresses and trouble. */
#include "client/libmilena/client.h"

#include <pthread.h>
#include <string.h>

#include "client/libmilena/watch.h"
#include "services/base/cond.h"
#include "services/base/version.h"

#define DEFAULT_PORT "7600"
/* Tasks of users' threads that may wait: each producer and consumer posts at most one at a time. */
#define MAILBOX_MAX 4096
/* Silence that is worth a question: answers take milliseconds, and a long poll at most its own wait. */
#define CHECK_AFTER_US G_TIME_SPAN_SECOND

typedef struct {
  ClientViewFunc func;
  gpointer data;
} Listener;

struct MilenaClient {
  MilenaClientOptions options;
  GPtrArray *bootstrap; /* of strings */
  Loop *loop;
  RpcClient *rpc;
  Watch *watch;      /* the loop's */
  GArray *listeners; /* of Listener; the loop's */

  pthread_mutex_t mutex;  /* guards what follows */
  pthread_cond_t changed; /* the view, or the trouble; on the monotonic clock */
  View *view;
  Failure *trouble;
  char *address; /* the one to ask, or NULL: the next in turn */
  guint next_in_turn;
};

/* ---- making ---- */

void milena_client_options_init(MilenaClientOptions *options) {
  *options = (MilenaClientOptions){
      .attempt_timeout_ms = 5000, .backoff_ms = 50, .backoff_max_ms = 1000, .receive_max_bytes = 68u << 20};
}

const char *milena_version(void) {
  return MILENA_VERSION;
}

static MilenaError *bad_bootstrap(const char *part, const char *why) {
  return milena_error_new(FAILURE(INVALID_FIELD),
                          "the bootstrap address \"%s\" %s: write host:port, several separated by commas", part, why);
}

static gboolean is_port(const char *text) {
  guint64 port;
  return g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL);
}

/* One "host", "host:port", "[ip6]" or "[ip6]:port". */
static MilenaError *parse_address(const char *text, char **ret_address) {
  const char *host_end = text[0] == '[' ? strchr(text, ']') : NULL;
  if (text[0] == '[' && host_end == NULL)
    return bad_bootstrap(text, "opens a bracket and does not close it");
  const char *colon = strchr(host_end != NULL ? host_end : text, ':');
  if (host_end != NULL && host_end[1] != '\0' && colon != host_end + 1)
    return bad_bootstrap(text, "has something behind its bracket that is no port");
  if (colon == NULL) {
    *ret_address = g_strconcat(text, ":" DEFAULT_PORT, NULL);
    return NULL;
  }
  if (colon == text)
    return bad_bootstrap(text, "has no host");
  if (!is_port(colon + 1))
    return bad_bootstrap(text, "has no port from 1 to 65535 behind its colon");
  *ret_address = g_strdup(text);
  return NULL;
}

static MilenaError *parse_bootstrap(const char *bootstrap, GPtrArray *addresses) {
  g_auto(GStrv) parts = g_strsplit(bootstrap != NULL ? bootstrap : "", ",", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    const char *part = g_strstrip(parts[i]);
    if (part[0] == '\0')
      continue;
    char *address = NULL;
    MilenaError *error = parse_address(part, &address);
    if (error != NULL)
      return error;
    g_ptr_array_add(addresses, address);
  }
  return addresses->len > 0 ? NULL : bad_bootstrap(bootstrap != NULL ? bootstrap : "", "names no broker");
}

static void clamp_options(MilenaClientOptions *options) {
  options->attempt_timeout_ms = CLAMP(options->attempt_timeout_ms, 1, 3600 * 1000);
  options->backoff_ms = CLAMP(options->backoff_ms, 1, 60 * 1000);
  options->backoff_max_ms = CLAMP(options->backoff_max_ms, options->backoff_ms, 3600 * 1000);
}

MilenaError *milena_client_new(const char *bootstrap, const MilenaClientOptions *options, MilenaClient **ret_client) {
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  MilenaError *error = parse_bootstrap(bootstrap, addresses);
  if (error != NULL)
    return error;
  MilenaClient *client = g_new0(MilenaClient, 1);
  milena_client_options_init(&client->options);
  if (options != NULL)
    client->options = *options;
  clamp_options(&client->options);
  client->bootstrap = g_steal_pointer(&addresses);
  pthread_mutex_init(&client->mutex, NULL);
  cond_init_monotonic(&client->changed);
  client->view = view_new_empty();
  client->listeners = g_array_new(FALSE, FALSE, sizeof(Listener));
  client->loop = loop_new("libmilena", MAILBOX_MAX);
  client->watch = watch_new(client);
  client->rpc = rpc_client_new(&(RpcClientOptions){.receive_max_bytes = client->options.receive_max_bytes});
  loop_start(client->loop);
  *ret_client = client;
  return NULL;
}

static void stop_on_loop(gpointer data) {
  MilenaClient *client = data;
  INVARIANT(client->listeners->len == 0, "producers and consumers are freed before their client");
  watch_stop(client->watch);
}

void milena_client_free(MilenaClient *client) {
  if (client == NULL)
    return;
  loop_call_and_wait(client->loop, stop_on_loop, client);
  rpc_client_free(client->rpc);
  loop_free(client->loop);
  watch_free(client->watch);
  view_unref(client->view);
  failure_free(client->trouble);
  g_free(client->address);
  g_array_unref(client->listeners);
  g_ptr_array_unref(client->bootstrap);
  pthread_cond_destroy(&client->changed);
  pthread_mutex_destroy(&client->mutex);
  g_free(client);
}

Loop *client_loop(MilenaClient *client) {
  return client->loop;
}

RpcClient *client_rpc(MilenaClient *client) {
  return client->rpc;
}

const MilenaClientOptions *client_options(MilenaClient *client) {
  return &client->options;
}

/* ---- time ---- */

gint64 client_deadline_us(gint32 timeout_ms) {
  return timeout_ms < 0 ? G_MAXINT64 : g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
}

gint64 client_backoff_ms(MilenaClient *client, guint attempt) {
  gint64 most = client->options.backoff_max_ms;
  gint64 pause = client->options.backoff_ms;
  for (guint i = 1; i < attempt && pause < most; i++)
    pause *= 2;
  pause = MIN(pause, most);
  /* Spread, so that clients that failed together do not come back together. */
  return pause / 2 + g_random_int_range(0, (gint32)(pause / 2 + 1)) + 1;
}

gboolean client_is_direct(MilenaClient *client) {
  return !client->options.bootstrap_only;
}

/* ---- view ---- */

View *client_view(MilenaClient *client) {
  pthread_mutex_lock(&client->mutex);
  View *view = view_ref(client->view);
  pthread_mutex_unlock(&client->mutex);
  return view;
}

static void follow_on_loop(gpointer data) {
  watch_start(((MilenaClient *)data)->watch);
}

void client_follow(MilenaClient *client) {
  loop_call(client->loop, follow_on_loop, client);
}

void client_refresh(MilenaClient *client, guint64 hint_version, const char *address) {
  g_autoptr(View) view = client_view(client);
  if (hint_version == 0 || hint_version > view_version(view))
    watch_move(client->watch, address);
}

void client_suspect(MilenaClient *client, const char *address) {
  watch_suspect(client->watch, address);
}

gint64 client_check(MilenaClient *client, const char *address, gint64 since_us) {
  gint64 now_us = g_get_monotonic_time();
  if (now_us < since_us + CHECK_AFTER_US)
    return since_us + CHECK_AFTER_US;
  watch_check(client->watch, address);
  return now_us + CHECK_AFTER_US;
}

void client_publish_view(MilenaClient *client, View *view, const char *address) {
  LOOP_ASSERT_CURRENT(client->loop);
  if (client->options.bootstrap_only)
    view_set_gateway(view, address);
  pthread_mutex_lock(&client->mutex);
  View *before = client->view;
  client->view = view;
  pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->mutex);
  view_unref(before);
  for (guint i = 0; i < client->listeners->len; i++) {
    Listener *listener = &g_array_index(client->listeners, Listener, i);
    listener->func(listener->data);
  }
}

void client_set_trouble(MilenaClient *client, Failure *trouble) {
  pthread_mutex_lock(&client->mutex);
  Failure *before = client->trouble;
  client->trouble = trouble;
  if (trouble != NULL)
    pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->mutex);
  failure_free(before);
}

/* Ask a broker whether the topic exists; the watch tells the rest. Returns NULL when it does. */
static Failure *ask_for_topic(MilenaClient *client, const char *topic, gint64 deadline_us) {
  char *names[] = {(char *)topic};
  Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
  request.n_topics = 1;
  request.topics = names;
  g_autoptr(MilenaError) error = client_call(client, &milena__v1__metadata_service__descriptor, "GetMetadata",
                                             &request.base, CALL_READ, deadline_us, NULL);
  return error != NULL ? failure_copy(milena_error_failure(error)) : NULL;
}

Failure *client_wait_topic(MilenaClient *client, const char *topic, gint64 deadline_us, View **ret_view) {
  INVARIANT(!loop_is_current(client->loop), "the client's thread never waits");
  client_follow(client);
  g_autoptr(View) view = client_view(client);
  if (view_topic(view, topic) == NULL) {
    /* A broker that does not know a topic asks the controller before it says so. */
    Failure *failure = ask_for_topic(client, topic, deadline_us);
    if (failure != NULL)
      return failure;
  }
  Failure *failure = NULL;
  pthread_mutex_lock(&client->mutex);
  while (view_topic(client->view, topic) == NULL && failure == NULL)
    if (!cond_wait_until(&client->changed, &client->mutex, deadline_us) && g_get_monotonic_time() >= deadline_us)
      failure =
          client->trouble != NULL
              ? failure_copy(client->trouble)
              : failure_new(FAILURE(OVERLOADED), "the metadata of topic %s did not arrive in time: try again", topic);
  if (failure == NULL)
    *ret_view = view_ref(client->view);
  pthread_mutex_unlock(&client->mutex);
  return failure;
}

typedef struct {
  MilenaClient *client;
  Listener listener;
} ListenCall;

static void listen_on_loop(gpointer data) {
  ListenCall *call = data;
  g_array_append_val(call->client->listeners, call->listener);
}

void client_listen(MilenaClient *client, ClientViewFunc func, gpointer data) {
  ListenCall call = {client, {func, data}};
  loop_call_and_wait(client->loop, listen_on_loop, &call);
}

static void unlisten_on_loop(gpointer data) {
  ListenCall *call = data;
  GArray *listeners = call->client->listeners;
  for (guint i = listeners->len; i-- > 0;) {
    Listener *listener = &g_array_index(listeners, Listener, i);
    if (listener->func == call->listener.func && listener->data == call->listener.data)
      g_array_remove_index(listeners, i);
  }
}

void client_unlisten(MilenaClient *client, ClientViewFunc func, gpointer data) {
  ListenCall call = {client, {func, data}};
  loop_call_and_wait(client->loop, unlisten_on_loop, &call);
}

/* ---- addresses ---- */

/* Every address that may be asked, once: the brokers', then the bootstrap list. The mutex is held; strings are
 * borrowed. */
static GPtrArray *all_addresses(MilenaClient *client) {
  GPtrArray *all = g_ptr_array_new();
  if (!client->options.bootstrap_only)
    view_add_addresses(client->view, all);
  for (guint i = 0; i < client->bootstrap->len; i++) {
    gpointer address = client->bootstrap->pdata[i];
    if (!g_ptr_array_find_with_equal_func(all, address, g_str_equal, NULL))
      g_ptr_array_add(all, address);
  }
  return all;
}

char *client_address(MilenaClient *client) {
  pthread_mutex_lock(&client->mutex);
  if (client->address == NULL) {
    g_autoptr(GPtrArray) all = all_addresses(client);
    client->address = g_strdup(all->pdata[client->next_in_turn++ % all->len]);
  }
  char *address = g_strdup(client->address);
  pthread_mutex_unlock(&client->mutex);
  return address;
}

void client_address_answered(MilenaClient *client, const char *address) {
  /* A hint may have named another one. */
  if (client->options.bootstrap_only &&
      !g_ptr_array_find_with_equal_func(client->bootstrap, address, g_str_equal, NULL))
    return;
  pthread_mutex_lock(&client->mutex);
  if (g_strcmp0(client->address, address) != 0) {
    g_free(client->address);
    client->address = g_strdup(address);
  }
  pthread_mutex_unlock(&client->mutex);
}

void client_address_failed(MilenaClient *client, const char *address) {
  pthread_mutex_lock(&client->mutex);
  if (g_strcmp0(client->address, address) == 0)
    g_clear_pointer(&client->address, g_free);
  pthread_mutex_unlock(&client->mutex);
}

guint client_address_count(MilenaClient *client) {
  pthread_mutex_lock(&client->mutex);
  g_autoptr(GPtrArray) all = all_addresses(client);
  guint count = all->len;
  pthread_mutex_unlock(&client->mutex);
  return count;
}
