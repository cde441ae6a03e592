/* See node.h. The host of services/controller, as far as its order of things matters: one write is what a ready says,
 * messages leave after their write, snapshots are restored and entries applied once they are durable.
 *
 * Invariants: waiting is in the order of its messages; nothing of a former life reaches this one. Failure modes: what
 * the core refuses with a Failure is a broken rule here, since no disk of the simulation lies. */
#include "tests/sim/raft/node.h"

#include <string.h>

#include "services/base/invariant.h"
#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/rules.h"

/* A run has some thousands. */
#define EVENTS_MAX 500000

typedef struct {
  void (*func)(Node *node, gpointer data);
  gpointer data;
  GDestroyNotify free;
} Task;

static void task_free(gpointer data) {
  Task *task = data;
  if (task->free)
    task->free(task->data);
  g_free(task);
}

static void message_free(gpointer message) {
  raft_message_free(message);
}

Node *node_new(World *world, guint64 id) {
  Node *node = g_new0(Node, 1);
  node->world = world;
  node->id = id;
  g_queue_init(&node->inbox);
  g_queue_init(&node->disk_answers);
  return node;
}

static void drop_process(Node *node) {
  g_clear_pointer(&node->core, raft_core_free);
  g_clear_pointer(&node->machine, machine_free);
  g_clear_pointer(&node->waiting, g_ptr_array_unref);
  g_queue_clear_full(&node->inbox, task_free);
  g_queue_clear(&node->disk_answers);
  node->up = node->frozen = FALSE;
}

void node_free(Node *node) {
  if (!node)
    return;
  drop_process(node);
  store_free(node->store);
  g_free(node);
}

gboolean node_runs(const Node *node) {
  return node->up && !node->frozen;
}

void node_post(Node *node, void (*func)(Node *node, gpointer data), gpointer data, GDestroyNotify free) {
  if (!node->frozen) {
    if (node->up)
      func(node, data);
    if (free)
      free(data);
    return;
  }
  Task *task = g_new(Task, 1);
  *task = (Task){func, data, free};
  g_queue_push_tail(&node->inbox, task);
}

/* ---- Start and end ---- */

void node_new_disk(Node *node, RaftEntry *first) {
  INVARIANT(!node->up, "a disk is changed while the machine is off");
  World *world = node->world;
  guint64 number = ++world->next_folder;
  memset(&node->directory, 0, sizeof node->directory);
  memcpy(node->directory.bytes, &number, sizeof number);
  if (node->store)
    g_ptr_array_add(world->scrap, node->store);
  const Shape *shape = &world->shape;
  node->store = store_new(world->sim, shape->write_max_us, shape->sync_max_us);
  if (first)
    store_format(node->store, first);
}

typedef struct {
  Node *node;
  guint life;
} Clock;

static void clock_ticks(gpointer data) {
  const Clock *clock = data;
  Node *node = clock->node;
  if (!node->up || node->life != clock->life)
    return;
  if (!node->frozen)
    node_tick(node);
  sim_after(node->world->sim, node->tick_us, clock_ticks, g_memdup2(clock, sizeof *clock), g_free);
}

static void start_clock(Node *node) {
  World *world = node->world;
  gint64 wrong = world->shape.clock_per_mille;
  node->own_tick_us = node->tick_us = world->shape.tick_us * (1000 + sim_between(world->sim, -wrong, wrong)) / 1000;
  Clock *clock = g_new(Clock, 1);
  *clock = (Clock){node, node->life};
  sim_after(world->sim, sim_between(world->sim, 0, node->tick_us), clock_ticks, clock, g_free);
}

void node_start(Node *node) {
  INVARIANT(!node->up && node->store, "a machine with a disk is started once");
  World *world = node->world;
  const Shape *shape = &world->shape;
  RaftOptions options = {
      .id = node->id,
      .directory = node->directory,
      .election_ticks = shape->election_ticks,
      .heartbeat_ticks = shape->heartbeat_ticks,
      .seed = sim_random(world->sim),
      .append_bytes_max = shape->append_bytes_max,
      .inflight_max = shape->inflight_max,
      .inflight_bytes_max = shape->inflight_bytes_max,
      .uncommitted_max = shape->uncommitted_max,
      .reads_max = shape->reads_max,
      .chunk_bytes_max = shape->chunk_bytes_max,
      .chunks_max = shape->chunks_max,
  };
  const Stored *stored = store_durable(node->store);
  RaftStart start = {stored->hard_state, stored->snapshot, stored->entries};
  node->life++;
  node->up = TRUE;
  g_autoptr(Failure) failure = raft_core_new(&options, &start, &node->core);
  if (!failure)
    failure = machine_new(node, stored, &node->machine);
  node->waiting = g_ptr_array_new_with_free_func(message_free);
  node->handed_write = node->durable_write = 0;
  world_tell(world, node->id, "starts in term %" G_GUINT64_FORMAT " with entries up to %" G_GUINT64_FORMAT,
             stored->hard_state.term, store_last_index(node->store));
  if (failure) {
    sim_violated(world->sim, "controller %d can't start from its own disk: %s", (int)node->id,
                 failure_message(failure));
    return;
  }
  rules_node_starts(node);
  if (!world->manual)
    start_clock(node);
  node_work(node);
}

void node_stop(Node *node, SimCrash crash) {
  INVARIANT(node->up, "what runs can end");
  world_tell(node->world, node->id, crash == SIM_KILLED ? "is killed" : "loses its power");
  drop_process(node);
  store_crash(node->store, crash);
}

void node_freeze(Node *node) {
  world_tell(node->world, node->id, "is frozen");
  node->frozen = TRUE;
}

void node_thaw(Node *node) {
  world_tell(node->world, node->id, "goes on, %u things waited", node->inbox.length);
  node->frozen = FALSE;
  /* What waits is read from several connections, in any order. It may end the process. */
  gboolean mixed = sim_chance(node->world->sim, 500);
  while (!node->frozen && node->inbox.length > 0) {
    Task *task = g_queue_pop_nth(&node->inbox, mixed ? sim_below(node->world->sim, node->inbox.length) : 0);
    if (node->up)
      task->func(node, task->data);
    task_free(task);
  }
}

/* ---- Events ---- */

static void broken(Node *node, const char *what, Failure *failure) {
  sim_violated(node->world->sim, "controller %d, %s: %s", (int)node->id, what, failure_message(failure));
  failure_free(failure);
}

void node_tick(Node *node) {
  node->world->result->events++;
  raft_core_tick(node->core);
  rules_node_ticks(node);
  node_work(node);
}

static void step(Node *node, gpointer data) {
  const RaftMessage *message = data;
  World *world = node->world;
  world->result->events++;
  world_note(world, node->id << 56 ^ (guint64)message->kind << 48 ^ message->from << 40 ^ message->index << 20 ^
                        message->term);
  if (world->trace && !world->terse)
    world_trace_message(world, message);
  guint64 term_before = raft_core_term(node->core);
  if (world->result->events > EVENTS_MAX)
    sim_violated(world->sim, "the controllers exchange messages without an end");
  Failure *failure = raft_core_step(node->core, message);
  if (failure) {
    broken(node, "given a message", failure);
    return;
  }
  rules_message_taken(node, message, term_before);
  node_work(node);
}

void node_deliver(Node *node, const RaftMessage *message) {
  node_post(node, step, raft_message_copy(message), message_free);
}

static void leave(Node *node, RaftMessage *message) {
  World *world = node->world;
  rules_message_leaves(node, message);
  if (message->kind == RAFT_SNAPSHOT && !message->chunk) {
    const Stored *stored = store_durable(node->store);
    if (stored->snapshot.index != message->snapshot->index) {
      raft_message_free(message); /* another one has taken its place */
      return;
    }
    if (message->offset + message->length > stored->snapshot.size_bytes) {
      sim_violated(world->sim, "controller %d asks for bytes that its snapshot does not have: up to %d of %d",
                   (int)node->id, (int)(message->offset + message->length), (int)stored->snapshot.size_bytes);
      raft_message_free(message);
      return;
    }
    message->chunk = g_bytes_new_from_bytes(stored->snapshot_bytes, message->offset, message->length);
  }
  net_send(world, message);
}

static void send_waiting(Node *node) {
  guint kept = 0;
  for (guint i = 0; i < node->waiting->len; i++) {
    RaftMessage *message = node->waiting->pdata[i];
    if (message->after_write <= node->durable_write)
      leave(node, message);
    else
      node->waiting->pdata[kept++] = message;
  }
  g_ptr_array_set_free_func(node->waiting, NULL);
  g_ptr_array_set_size(node->waiting, (gint)kept);
  g_ptr_array_set_free_func(node->waiting, message_free);
}

static void write_is_durable(Node *node, gpointer data) {
  node->durable_write = GPOINTER_TO_SIZE(data);
  node->world->result->events++;
  world_note(node->world, node->id << 56 ^ node->durable_write);
  raft_core_written(node->core, node->durable_write);
  send_waiting(node);
  node_work(node);
}

static void write_done(guint64 write_id, gpointer data) {
  Node *node = data;
  if (node->deaf)
    g_queue_push_tail(&node->disk_answers, GSIZE_TO_POINTER(write_id));
  else
    node_post(node, write_is_durable, GSIZE_TO_POINTER(write_id), NULL);
}

void node_hear_disk(Node *node) {
  if (!g_queue_is_empty(&node->disk_answers))
    node_post(node, write_is_durable, g_queue_pop_head(&node->disk_answers), NULL);
}

/* ---- Work ---- */

static void take_messages(Node *node, RaftReady *ready) {
  for (guint i = 0; i < ready->messages->len; i++) {
    RaftMessage *message = ready->messages->pdata[i];
    if (message->after_write > node->durable_write)
      g_ptr_array_add(node->waiting, message);
    else
      leave(node, message);
  }
  g_ptr_array_set_free_func(ready->messages, NULL);
  g_ptr_array_set_size(ready->messages, 0);
}

static void work_once(Node *node, RaftReady *ready) {
  if (ready->write_id) {
    rules_entries_written(node, ready);
    node->handed_write = ready->write_id;
    store_write(node->store, ready, write_done, node);
    chaos_write_begins(node);
  }
  take_messages(node, ready);
  if (ready->restore)
    machine_restore(node->machine, ready->restore);
  for (guint i = 0; i < ready->committed->len; i++)
    machine_apply(node->machine, ready->committed->pdata[i]);
  for (guint i = 0; i < ready->reads->len; i++)
    machine_end_read(node->machine, &g_array_index(ready->reads, RaftRead, i));
}

void node_work(Node *node) {
  World *world = node->world;
  RaftReady ready;
  /* A host that has enough writes under way lets events pile up. */
  while (!sim_violation(world->sim) && node->handed_write - node->durable_write < world->shape.writes_max &&
         raft_core_ready(node->core, &ready)) {
    work_once(node, &ready);
    raft_ready_clear(&ready);
  }
  rules_node_stepped(node);
  machine_role_changed(node->machine);
  machine_maybe_snapshot(node->machine);
}
