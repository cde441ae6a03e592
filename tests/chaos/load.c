/* The clients; see load.h.
 *
 * Owning threads: each client's own for what it notes; the names and counters that they share are behind a mutex. */
#include "tests/chaos/load.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 6             /* names in use at one time */
#define OPS_OF_A_NAME 60    /* then it is left behind */
#define UNKNOWN_OF_A_NAME 5 /* or after so many writes of unknown outcome: they make the search long */
#define CALL_MS 2000        /* one try */
#define ASIDE_MS 1000       /* a read of any controller */
#define READS_ASIDE 0.4     /* how many reads ask any controller instead: one that was active a moment ago, say */
#define TRIES_MS 4000       /* while nothing was done, an operation is tried again for so long */
#define REST_MS 30          /* after a refusal that was no answer */
#define NAME_PREFIX "chaos-"

typedef struct {
  guint topic; /* number of the name */
  guint ops, unknown;
} Slot;

typedef struct {
  Load *load;
  guint number;
  Caller caller;
  GRand *random;
  guint at; /* index of the address that it keeps to */
  GArray *ops;
  GThread *thread;
} Client;

struct Load {
  char **addresses;
  guint address_count, client_count, pause_ms;
  Client *clients;
  GMutex mutex;
  Slot slots[SLOTS];
  guint next_topic;
  guint64 next_tag;
  guint64 writes_ok;
  guint last_active;
  gboolean stopping;
  GArray *history;
};

/* ---- Shared ---- */

static guint take_name(Load *load, guint slot_index) {
  g_mutex_lock(&load->mutex);
  Slot *slot = &load->slots[slot_index];
  if (slot->ops >= OPS_OF_A_NAME || slot->unknown >= UNKNOWN_OF_A_NAME)
    *slot = (Slot){.topic = load->next_topic++};
  slot->ops++;
  guint topic = slot->topic;
  g_mutex_unlock(&load->mutex);
  return topic;
}

static void note_result(Load *load, const HistoryOp *op, guint at) {
  g_mutex_lock(&load->mutex);
  for (guint i = 0; i < SLOTS; i++)
    load->slots[i].unknown += load->slots[i].topic == op->topic && op->result == HISTORY_UNKNOWN;
  if (op->result == HISTORY_OK) {
    load->writes_ok++;
    load->last_active = at;
  }
  g_mutex_unlock(&load->mutex);
}

static guint64 take_tag(Load *load) {
  g_mutex_lock(&load->mutex);
  guint64 tag = load->next_tag++;
  g_mutex_unlock(&load->mutex);
  return tag;
}

static gboolean is_stopping(Load *load) {
  g_mutex_lock(&load->mutex);
  gboolean stopping = load->stopping;
  g_mutex_unlock(&load->mutex);
  return stopping;
}

guint64 load_writes_ok(Load *load) {
  g_mutex_lock(&load->mutex);
  guint64 count = load->writes_ok;
  g_mutex_unlock(&load->mutex);
  return count;
}

guint load_last_active(Load *load) {
  g_mutex_lock(&load->mutex);
  guint at = load->last_active;
  g_mutex_unlock(&load->mutex);
  return at;
}

/* ---- Calls ---- */

/* Go where the failure points to, or to the next address. */
static void move_on(Client *client, const Failure *failure) {
  Load *load = client->load;
  const char *hint = caller_hint(failure);
  INVARIANT(load->address_count > 0, "a load has somewhere to go");
  for (guint i = 0; hint && i < load->address_count; i++)
    if (strcmp(hint, load->addresses[i]) == 0 && i != client->at) {
      client->at = i;
      return;
    }
  client->at = (client->at + 1) % load->address_count;
  g_usleep(REST_MS * 1000);
}

/* Call until there is an answer or nobody knows: what was not done for sure is tried again elsewhere. */
static HistoryResult call(Client *client, const char *method, const ProtobufCMessage *request,
                          RpcMessage **ret_answer) {
  gint64 until_us = g_get_monotonic_time() + TRIES_MS * 1000;
  for (;;) {
    g_autoptr(Failure) failure =
        caller_admin(&client->caller, client->load->addresses[client->at], method, request, CALL_MS, ret_answer);
    HistoryResult result = caller_result_of_write(failure);
    if (result == HISTORY_OK || result == HISTORY_REFUSED)
      return result;
    move_on(client, failure);
    if (result == HISTORY_UNKNOWN || g_get_monotonic_time() > until_us || is_stopping(client->load))
      return result;
  }
}

static void finish(Client *client, HistoryOp *op) {
  op->return_us = op->result == HISTORY_UNKNOWN ? HISTORY_NEVER_US : g_get_monotonic_time();
  g_array_append_val(client->ops, *op);
}

static HistoryOp begin(const Client *client, HistoryKind kind, guint topic) {
  return (HistoryOp){.client = client->number, .kind = kind, .topic = topic, .invoke_us = g_get_monotonic_time()};
}

static void name_of(guint topic, char name[32]) {
  g_snprintf(name, 32, NAME_PREFIX "%u", topic);
}

guint load_topic_of_name(const char *name) {
  return g_str_has_prefix(name, NAME_PREFIX) ? (guint)atoi(name + strlen(NAME_PREFIX)) : G_MAXUINT;
}

static void take_topic(HistoryOp *op, const Milena__V1__Topic *topic) {
  op->tag = caller_tag_of_topic(topic);
  g_strlcpy(op->id, topic ? topic->id : "", sizeof op->id);
}

static void do_create(Client *client, guint topic) {
  char name[32];
  name_of(topic, name);
  HistoryOp op = begin(client, HISTORY_CREATE, topic);
  op.tag = take_tag(client->load);
  Milena__V1__TopicConfig config = caller_config_of_tag(op.tag);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = name;
  request.config = &config;
  g_autoptr(RpcMessage) answer = NULL;
  op.result = call(client, "CreateTopic", &request.base, &answer);
  if (op.result == HISTORY_OK) {
    const Milena__V1__CreateTopicResponse *response = rpc_message_body(answer);
    g_strlcpy(op.id, response->topic ? response->topic->id : "", sizeof op.id);
  }
  finish(client, &op);
  note_result(client->load, &op, client->at);
}

static void do_update(Client *client, guint topic) {
  char name[32];
  name_of(topic, name);
  HistoryOp op = begin(client, HISTORY_UPDATE, topic);
  op.tag = take_tag(client->load);
  Milena__V1__TopicConfig config = caller_config_of_tag(op.tag);
  char *paths[] = {(char *)"max_message_bytes"};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.paths = paths;
  mask.n_paths = 1;
  Milena__V1__UpdateTopicRequest request = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  request.name = name;
  request.config = &config;
  request.update_mask = &mask;
  g_autoptr(RpcMessage) answer = NULL;
  op.result = call(client, "UpdateTopic", &request.base, &answer);
  if (op.result == HISTORY_OK) {
    const Milena__V1__UpdateTopicResponse *response = rpc_message_body(answer);
    g_strlcpy(op.id, response->topic ? response->topic->id : "", sizeof op.id);
  }
  finish(client, &op);
  note_result(client->load, &op, client->at);
}

static void do_delete(Client *client, guint topic) {
  char name[32];
  name_of(topic, name);
  HistoryOp op = begin(client, HISTORY_DELETE, topic);
  Milena__V1__DeleteTopicRequest request = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  request.name = name;
  g_autoptr(RpcMessage) answer = NULL;
  op.result = call(client, "DeleteTopic", &request.base, &answer);
  finish(client, &op);
  note_result(client->load, &op, client->at);
}

/* Ask any controller, once: who answers must be sure that it is the active one. */
static HistoryResult call_aside(Client *client, const char *method, const ProtobufCMessage *request,
                                RpcMessage **ret_answer) {
  const Load *load = client->load;
  const char *address = load->addresses[g_rand_int_range(client->random, 0, (gint32)load->address_count)];
  g_autoptr(Failure) failure = caller_admin(&client->caller, address, method, request, ASIDE_MS, ret_answer);
  return caller_result_of_write(failure);
}

static void do_get(Client *client, guint topic) {
  char name[32];
  name_of(topic, name);
  HistoryOp op = begin(client, HISTORY_READ, topic);
  Milena__V1__GetTopicRequest request = MILENA__V1__GET_TOPIC_REQUEST__INIT;
  request.name = name;
  g_autoptr(RpcMessage) answer = NULL;
  gboolean aside = g_rand_double(client->random) < READS_ASIDE;
  op.result = (aside ? call_aside : call)(client, "GetTopic", &request.base, &answer);
  if (op.result == HISTORY_REFUSED)
    op.result = HISTORY_OK; /* an answer: it is not there */
  else if (op.result == HISTORY_OK)
    take_topic(&op, ((const Milena__V1__GetTopicResponse *)rpc_message_body(answer))->topic);
  finish(client, &op);
}

/* ---- Lists ---- */

/* Takes the topics of one page into the reads that look for them. */
static void take_page(const Milena__V1__ListTopicsResponse *response, GArray *reads) {
  for (gsize i = 0; i < response->n_topics; i++)
    for (guint k = 0; k < reads->len; k++) {
      HistoryOp *op = &g_array_index(reads, HistoryOp, k);
      if (op->topic == load_topic_of_name(response->topics[i]->name))
        take_topic(op, response->topics[i]);
    }
}

static HistoryResult list_all(Client *client, GArray *reads) {
  g_autofree char *token = g_strdup("");
  do {
    Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
    request.page_size = 1000;
    request.page_token = token;
    g_autoptr(RpcMessage) answer = NULL;
    HistoryResult result = call(client, "ListTopics", &request.base, &answer);
    if (result != HISTORY_OK)
      return result;
    const Milena__V1__ListTopicsResponse *response = rpc_message_body(answer);
    take_page(response, reads);
    char *next = g_strdup(response->next_page_token);
    g_free(token);
    token = next;
  } while (*token);
  return HISTORY_OK;
}

/* A list is a read of every name: of those in use now. */
static void do_list(Client *client) {
  Load *load = client->load;
  g_autoptr(GArray) reads = g_array_new(FALSE, FALSE, sizeof(HistoryOp));
  g_mutex_lock(&load->mutex);
  for (guint i = 0; i < SLOTS; i++) {
    HistoryOp op = begin(client, HISTORY_READ, load->slots[i].topic);
    g_array_append_val(reads, op);
  }
  g_mutex_unlock(&load->mutex);
  HistoryResult result = list_all(client, reads);
  for (guint i = 0; i < reads->len; i++) {
    HistoryOp *op = &g_array_index(reads, HistoryOp, i);
    op->result = result;
    finish(client, op);
  }
}

/* ---- The clients' threads ---- */

static void do_something(Client *client) {
  double what = g_rand_double(client->random);
  if (what < 0.04) {
    do_list(client);
    return;
  }
  guint topic = take_name(client->load, (guint)g_rand_int_range(client->random, 0, SLOTS));
  if (what < 0.30)
    do_create(client, topic);
  else if (what < 0.50)
    do_update(client, topic);
  else if (what < 0.65)
    do_delete(client, topic);
  else
    do_get(client, topic);
}

static gpointer client_main(gpointer data) {
  Client *client = data;
  caller_init(&client->caller);
  while (!is_stopping(client->load)) {
    do_something(client);
    g_usleep((gulong)g_rand_int_range(client->random, 0, (gint32)(2 * client->load->pause_ms + 1)) * 1000);
  }
  caller_clear(&client->caller);
  return NULL;
}

Load *load_new(const LoadOptions *options) {
  Load *load = g_new0(Load, 1);
  g_mutex_init(&load->mutex);
  load->addresses = g_new0(char *, options->address_count + 1);
  for (guint i = 0; i < options->address_count; i++)
    load->addresses[i] = g_strdup(options->addresses[i]);
  load->address_count = options->address_count;
  load->pause_ms = options->pause_ms;
  load->client_count = options->clients;
  load->clients = g_new0(Client, options->clients);
  load->next_tag = CALLER_TAG_FIRST;
  for (guint i = 0; i < SLOTS; i++)
    load->slots[i].topic = load->next_topic++;
  load->history = g_array_new(FALSE, FALSE, sizeof(HistoryOp));
  for (guint i = 0; i < options->clients; i++)
    load->clients[i] = (Client){
        .load = load,
        .number = i + 1,
        .random = g_rand_new_with_seed((guint32)(options->seed * 1000 + i)),
        .ops = g_array_new(FALSE, FALSE, sizeof(HistoryOp)),
    };
  return load;
}

void load_start(Load *load) {
  for (guint i = 0; i < load->client_count; i++)
    load->clients[i].thread = g_thread_new("client", client_main, &load->clients[i]);
}

void load_stop(Load *load) {
  g_mutex_lock(&load->mutex);
  load->stopping = TRUE;
  g_mutex_unlock(&load->mutex);
  for (guint i = 0; i < load->client_count; i++) {
    Client *client = &load->clients[i];
    if (client->thread)
      g_thread_join(g_steal_pointer(&client->thread));
    g_array_append_vals(load->history, client->ops->data, client->ops->len);
    g_array_set_size(client->ops, 0);
  }
}

void load_free(Load *load) {
  if (!load)
    return;
  for (guint i = 0; i < load->client_count; i++) {
    g_rand_free(load->clients[i].random);
    g_array_unref(load->clients[i].ops);
  }
  g_free(load->clients);
  g_strfreev(load->addresses);
  g_array_unref(load->history);
  g_mutex_clear(&load->mutex);
  g_free(load);
}

guint load_topics(const Load *load) {
  return load->next_topic;
}

GArray *load_history(Load *load) {
  return load->history;
}
