/* A client: one request after the other, to whom it takes for the active controller; what is not answered in time it
 * gives up, and its outcome is unknown.
 *
 * Invariants: one request is under way at a time; each call and each answer has its place in the order of all, and only
 * an answer to the request under way counts. No failure modes: what breaks is a rule. */
#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/rules.h"

#define THINK_MAX_US 40000
#define PATIENCE_MAX_US 800000
#define ANSWERS_AFTER_FAULTS 5

struct Client {
  World *world;
  guint number;
  gboolean ready;  /* the cluster is set up, as it has seen */
  guint64 target;  /* whom it asks */
  gboolean loyal;  /* it asks whom it asked before until it is refused, however long it waits */
  Request request; /* under way; its number rises */
  gboolean waits;
  guint operation; /* in the register's history */
  guint64 floor;   /* REQUEST_BLOCK: the highest that anybody had when it called */
  guint answered;
};

Client *client_new(World *world, guint number) {
  Client *client = g_new0(Client, 1);
  client->world = world;
  client->number = number;
  client->target = 1;
  client->loyal = sim_chance(world->sim, 400);
  return client;
}

void client_free(gpointer client) {
  g_free(client);
}

guint client_answered(const Client *client) {
  return client->answered;
}

/* ---- Asking ---- */

static void ask(gpointer data);

static void think(Client *client) {
  if (client->answered >= ANSWERS_AFTER_FAULTS)
    return; /* so that all can catch up */
  sim_after(client->world->sim, sim_between(client->world->sim, 0, THINK_MAX_US), ask, client, NULL);
}

static Request choose(Client *client) {
  Sim *sim = client->world->sim;
  Request request = {.client = client->number, .number = client->request.number + 1};
  guint what = sim_below(sim, 100);
  request.place = sim_below(sim, REGISTERS);
  request.kind = !client->ready ? REQUEST_SETUP
                 : what < 40    ? REQUEST_WRITE
                 : what < 75    ? REQUEST_READ
                 : what < 85    ? REQUEST_BLOCK
                                : REQUEST_CHURN;
  if (request.kind == REQUEST_WRITE)
    request.value = ++client->world->next_value;
  else if (request.kind == REQUEST_CHURN)
    request.value = sim_random(sim) >> 8;
  return request;
}

static void record_call(Client *client) {
  World *world = client->world;
  const Request *request = &client->request;
  client->floor = rules_highest_block(world->rules);
  if (request->kind == REQUEST_WRITE)
    client->operation = history_write(world->registers[request->place], ++world->place, request->value);
  else if (request->kind == REQUEST_READ)
    client->operation = history_read(world->registers[request->place], ++world->place);
}

typedef struct {
  World *world;
  Node *node;
  Request request;
} Call;

static void request_works(Node *node, gpointer data) {
  machine_request(node->machine, data);
}

static void call_arrives(gpointer data) {
  const Call *call = data;
  if (!call->node->up) { /* the connection is refused */
    const Answer answer = {.number = call->request.number, .kind = ANSWER_REFUSED};
    client_answer(call->world, call->node, call->request.client, &answer);
    return;
  }
  node_post(call->node, request_works, g_memdup2(&call->request, sizeof call->request), g_free);
}

/* Who might be a controller. */
static guint64 anybody(World *world) {
  guint64 id = 1 + sim_below(world->sim, NODES_MAX);
  while (!world->nodes[id]->store)
    id = id % NODES_MAX + 1;
  return id;
}

typedef struct {
  Client *client;
  guint number;
} Patience;

static void give_up(gpointer data) {
  const Patience *patience = data;
  Client *client = patience->client;
  if (!client->waits || client->request.number != patience->number)
    return;
  client->waits = FALSE;
  client->world->result->unknowns++;
  if (!client->loyal)
    client->target = anybody(client->world);
  think(client);
}

static gint64 travel_us(World *world) {
  return sim_between(world->sim, world->faults.delay_min_us, world->faults.delay_max_us);
}

static void ask(gpointer data) {
  Client *client = data;
  World *world = client->world;
  client->request = choose(client);
  client->waits = TRUE;
  record_call(client);
  /* A call is not repeated by the network: it goes through a stream. */
  if (!sim_chance(world->sim, world->faults.drop_per_mille)) {
    Call *call = g_new(Call, 1);
    *call = (Call){world, world->nodes[client->target], client->request};
    sim_after(world->sim, travel_us(world), call_arrives, call, g_free);
  }
  Patience *patience = g_new(Patience, 1);
  *patience = (Patience){client, client->request.number};
  sim_after(world->sim, sim_between(world->sim, PATIENCE_MAX_US / 8, PATIENCE_MAX_US), give_up, patience, g_free);
}

void client_start(Client *client) {
  think(client);
}

/* ---- Answers ---- */

typedef struct {
  World *world;
  guint client;
  Answer answer;
} Return;

static void record_done(Client *client, const Answer *answer) {
  World *world = client->world;
  const Request *request = &client->request;
  History *history = world->registers[request->place];
  if (request->kind == REQUEST_WRITE) {
    history_written(history, client->operation, ++world->place);
    world->result->writes++;
  } else if (request->kind == REQUEST_READ) {
    history_has_read(history, client->operation, ++world->place, answer->value);
    world->result->reads++;
  } else if (request->kind == REQUEST_BLOCK) {
    rules_block_given(world, client->floor, answer->value);
  } else if (request->kind == REQUEST_SETUP) {
    client->ready = answer->value == 1;
  }
  if (world->healing && (request->kind == REQUEST_WRITE || request->kind == REQUEST_READ))
    client->answered++;
  world_note(world, answer->value);
}

static void record_refused(Client *client, const Answer *answer) {
  World *world = client->world;
  const Request *request = &client->request;
  if (request->kind == REQUEST_WRITE || request->kind == REQUEST_READ)
    history_refused(world->registers[request->place], client->operation);
  gboolean knows = answer->leader > 0 && answer->leader <= NODES_MAX;
  client->target = knows ? answer->leader : anybody(world);
}

static void answer_arrives(gpointer data) {
  const Return *back = data;
  Client *client = g_ptr_array_index(back->world->clients, back->client);
  if (!client->waits || client->request.number != back->answer.number)
    return;
  client->waits = FALSE;
  if (back->answer.kind == ANSWER_DONE)
    record_done(client, &back->answer);
  else if (back->answer.kind == ANSWER_REFUSED)
    record_refused(client, &back->answer);
  else
    back->world->result->unknowns++;
  think(client);
}

void client_answer(World *world, const Node *from, guint client, const Answer *answer) {
  static const char *const KINDS[] = {"done", "refused", "unknown"};
  world_tell(world, from->id, "answers client %u: request %u %s, value %" G_GUINT64_FORMAT, client, answer->number,
             KINDS[answer->kind], answer->value);
  if (sim_chance(world->sim, world->faults.drop_per_mille))
    return;
  Return *back = g_new(Return, 1);
  *back = (Return){world, client, *answer};
  sim_after(world->sim, travel_us(world), answer_arrives, back, g_free);
}
