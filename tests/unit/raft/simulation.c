/* See simulation.h.
 *
 * Rules: one leader a term; no two nodes apply different entries at one index; a node applies each index once, in
 * order, after each start from its snapshot's end; what was acknowledged (applied by the leader that proposed it) stays
 * for ever; after the faults have stopped, a leader is found and everybody applies what it has. */
#include "tests/unit/raft/simulation.h"

#include <string.h>

#include "controller/raft/raft.h"
#include "storage/log/crc32c.h"

#define NODES 3
#define ELECTION_TICKS 10
#define HEARTBEAT_TICKS 3
#define HEAL_ROUNDS 400

typedef struct {
  guint64 id;
  RaftHardState state;
  GPtrArray *entries;
  RaftInstall *install; /* NULL: none */
} Write;

typedef struct {
  guint64 id, applied;
  RaftCore *core;
  GQueue writes;      /* of Write: not durable yet */
  GPtrArray *waiting; /* of RaftMessage: until their write is durable */
  RaftHardState state;
  RaftSnapshotMeta snapshot;
  GBytes *snapshot_bytes;
  GPtrArray *entries;
  guint64 leader_of; /* the last term that it was seen to lead */
  gboolean cut;
} Node;

typedef struct {
  GRand *rand;
  Node nodes[NODES];
  GPtrArray *net;      /* of RaftMessage, in no order */
  GHashTable *leaders; /* term -> node */
  GArray *history;     /* guint64: hash of the entry applied at index i + 1 */
  guint64 proposals;
  SimulationResult result;
} Simulation;

static void message_free(gpointer message) {
  raft_message_free(message);
}

static void write_free(gpointer data) {
  Write *write = data;
  g_ptr_array_unref(write->entries);
  if (write->install)
    g_bytes_unref(write->install->bytes);
  g_free(write->install);
  g_free(write);
}

static void violated(Simulation *simulation, const char *format, guint64 a, guint64 b) {
  if (!*simulation->result.violation)
    g_snprintf(simulation->result.violation, sizeof simulation->result.violation,
               "%s: %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT, format, a, b);
}

static gboolean chance(Simulation *simulation, double probability) {
  return g_rand_double(simulation->rand) < probability;
}

/* ---- Checks ---- */

static void check_leader(Simulation *simulation, Node *node) {
  if (raft_core_role(node->core) != RAFT_LEADER || node->leader_of == raft_core_term(node->core))
    return;
  node->leader_of = raft_core_term(node->core);
  simulation->result.elections++;
  gpointer term = GSIZE_TO_POINTER(node->leader_of), other;
  if (g_hash_table_lookup_extended(simulation->leaders, term, NULL, &other) &&
      GPOINTER_TO_SIZE(other) != (gsize)node->id)
    violated(simulation, "two leaders of one term", node->leader_of, node->id);
  g_hash_table_insert(simulation->leaders, term, GSIZE_TO_POINTER(node->id));
}

static guint64 entry_hash(const RaftEntry *entry) {
  return (entry->term << 32) ^ ((guint64)entry->kind << 28) ^ g_bytes_hash(entry->data);
}

static void check_applied(Simulation *simulation, Node *node, const RaftEntry *entry) {
  if (entry->index != node->applied + 1)
    violated(simulation, "applied out of order", entry->index, node->applied);
  node->applied = entry->index;
  guint64 hash = entry_hash(entry);
  if (entry->index > simulation->history->len + 1) {
    violated(simulation, "applied an index that nobody applied before it", entry->index, node->id);
  } else if (entry->index == simulation->history->len + 1) {
    g_array_append_val(simulation->history, hash);
    simulation->result.committed += entry->kind == RAFT_ENTRY_KIND(METADATA) ? 1 : 0;
  } else if (g_array_index(simulation->history, guint64, entry->index - 1) != hash) {
    violated(simulation, "two nodes applied different entries at one index", entry->index, node->id);
  }
}

static GBytes *snapshot_of(guint64 index) {
  char *text = g_strdup_printf("everything up to %" G_GUINT64_FORMAT, index);
  return g_bytes_new_take(text, strlen(text));
}

static void check_restored(Simulation *simulation, Node *node, const RaftInstall *install) {
  g_autoptr(GBytes) expected = snapshot_of(install->meta.index);
  if (install->meta.index <= node->applied || install->meta.index > simulation->history->len)
    violated(simulation, "restored an older state, or one that never was", install->meta.index, node->id);
  if (!g_bytes_equal(expected, install->bytes))
    violated(simulation, "restored a damaged snapshot", install->meta.index, node->id);
  node->applied = install->meta.index;
  simulation->result.installs++;
}

/* ---- Nodes ---- */

/* A part of the snapshot on the disk; FALSE when another took its place. */
static gboolean fill_chunk(const Node *node, RaftMessage *message) {
  if (message->kind != RAFT_SNAPSHOT || message->chunk)
    return TRUE;
  if (message->snapshot->index != node->snapshot.index)
    return FALSE;
  message->chunk = g_bytes_new_from_bytes(node->snapshot_bytes, message->offset, message->length);
  return TRUE;
}

/* On the net a message may be lost, and may come twice. */
static void put_on_net(Simulation *simulation, RaftMessage *message, double loss) {
  Node *sender = &simulation->nodes[message->from - 1];
  if (!fill_chunk(sender, message) || sender->cut || chance(simulation, loss)) {
    raft_message_free(message);
    return;
  }
  if (loss > 0 && chance(simulation, 0.05))
    g_ptr_array_add(simulation->net, raft_message_copy(message));
  g_ptr_array_add(simulation->net, message);
}

static void work(Simulation *simulation, Node *node, double loss) {
  RaftReady ready;
  check_leader(simulation, node);
  while (raft_core_ready(node->core, &ready)) {
    if (ready.write_id) {
      Write *write = g_new(Write, 1);
      *write =
          (Write){ready.write_id, ready.hard_state, g_ptr_array_ref(ready.entries), g_steal_pointer(&ready.install)};
      g_queue_push_tail(&node->writes, write);
    }
    while (ready.messages->len > 0) {
      RaftMessage *message = g_ptr_array_steal_index(ready.messages, 0);
      if (message->after_write)
        g_ptr_array_add(node->waiting, message);
      else
        put_on_net(simulation, message, loss);
    }
    if (ready.restore)
      check_restored(simulation, node, ready.restore);
    for (guint i = 0; i < ready.committed->len; i++)
      check_applied(simulation, node, ready.committed->pdata[i]);
    raft_ready_clear(&ready);
  }
}

static void write_one(Simulation *simulation, Node *node, double loss) {
  Write *write = g_queue_pop_head(&node->writes);
  if (!write)
    return;
  node->state = write->state;
  if (write->install) {
    node->snapshot = write->install->meta;
    g_clear_pointer(&node->snapshot_bytes, g_bytes_unref);
    node->snapshot_bytes = g_bytes_ref(write->install->bytes);
    g_ptr_array_set_size(node->entries, 0);
  }
  for (guint i = 0; i < write->entries->len; i++) {
    RaftEntry *entry = write->entries->pdata[i];
    g_ptr_array_set_size(node->entries, (gint)(entry->index - node->snapshot.index - 1));
    g_ptr_array_add(node->entries, raft_entry_ref(entry));
  }
  raft_core_written(node->core, write->id);
  while (node->waiting->len > 0 && ((RaftMessage *)node->waiting->pdata[0])->after_write <= write->id)
    put_on_net(simulation, g_ptr_array_steal_index(node->waiting, 0), loss);
  write_free(write);
  work(simulation, node, loss);
}

static void node_start(Simulation *simulation, Node *node) {
  RaftOptions options = {
      .id = node->id,
      .election_ticks = ELECTION_TICKS,
      .heartbeat_ticks = HEARTBEAT_TICKS,
      .seed = g_rand_int(simulation->rand),
      .append_bytes_max = chance(simulation, 0.5) ? 1 : 0,
      .inflight_max = 3,
      .chunk_bytes_max = 5,
      .chunks_max = 3,
  };
  RaftStart start = {.hard_state = node->state, .snapshot = node->snapshot, .entries = node->entries};
  g_autoptr(Failure) failure = raft_core_new(&options, &start, &node->core);
  if (failure)
    violated(simulation, failure_message(failure), node->id, 0);
  node->waiting = g_ptr_array_new_with_free_func(message_free);
  g_queue_init(&node->writes);
  node->applied = node->snapshot.index;
}

static void node_stop(Node *node) {
  g_clear_pointer(&node->core, raft_core_free);
  g_queue_clear_full(&node->writes, write_free);
  g_clear_pointer(&node->waiting, g_ptr_array_unref);
}

static void crash(Simulation *simulation, Node *node) {
  node_stop(node);
  node_start(simulation, node);
  if (node->core)
    work(simulation, node, 0);
}

/* A snapshot of what was applied. */
static void compact(Simulation *simulation, Node *node) {
  guint64 index = node->applied;
  if (index <= node->snapshot.index || index < raft_core_first_index(node->core))
    return; /* nothing new, or a leader's snapshot is on its way to the disk */
  RaftSnapshotMeta meta;
  g_autoptr(Failure) failure = raft_core_snapshot_meta(node->core, index, &meta);
  if (failure) {
    violated(simulation, failure_message(failure), index, node->id);
    return;
  }
  g_ptr_array_remove_range(node->entries, 0, (guint)(index - node->snapshot.index));
  g_clear_pointer(&node->snapshot_bytes, g_bytes_unref);
  node->snapshot_bytes = snapshot_of(index);
  gsize size;
  const void *data = g_bytes_get_data(node->snapshot_bytes, &size);
  meta.size_bytes = size;
  meta.crc32c = log_crc32c(data, size);
  node->snapshot = meta;
  raft_core_compact(node->core, &meta);
}

static void propose(Simulation *simulation, Node *node, double loss) {
  guint64 number = ++simulation->proposals, index = 0;
  g_autoptr(GBytes) data = g_bytes_new(&number, sizeof number);
  failure_free(raft_core_propose(node->core, data, &index)); /* a follower refuses: fine */
  work(simulation, node, loss);
}

static void deliver(Simulation *simulation, guint place, double loss) {
  RaftMessage *message = g_ptr_array_steal_index_fast(simulation->net, place);
  Node *node = &simulation->nodes[message->to - 1];
  if (!node->cut && !simulation->nodes[message->from - 1].cut) {
    g_autoptr(Failure) failure = raft_core_step(node->core, message);
    if (failure)
      violated(simulation, failure_message(failure), node->id, 0);
    work(simulation, node, loss);
  }
  raft_message_free(message);
}

/* ---- The run ---- */

static void begin(Simulation *simulation, guint64 seed) {
  simulation->rand = g_rand_new_with_seed((guint32)seed);
  simulation->net = g_ptr_array_new_with_free_func(message_free);
  simulation->leaders = g_hash_table_new(NULL, NULL);
  simulation->history = g_array_new(FALSE, FALSE, sizeof(guint64));
  RaftConfiguration configuration = {.members = {{.id = 1}, {.id = 2}, {.id = 3}}, .member_count = NODES};
  for (guint i = 0; i < NODES; i++) {
    Node *node = &simulation->nodes[i];
    node->id = i + 1;
    node->state = (RaftHardState){.term = 1, .commit = 1};
    node->entries = raft_entries_new();
    g_ptr_array_add(node->entries,
                    raft_entry_new(1, 1, RAFT_ENTRY_KIND(CONFIGURATION), raft_configuration_encode(&configuration)));
    node_start(simulation, node);
    work(simulation, node, 0);
  }
}

static void step(Simulation *simulation, double loss) {
  Node *node = &simulation->nodes[g_rand_int_range(simulation->rand, 0, NODES)];
  double what = g_rand_double(simulation->rand);
  if (what < 0.40 && simulation->net->len > 0) {
    deliver(simulation, (guint)g_rand_int_range(simulation->rand, 0, (gint32)simulation->net->len), loss);
  } else if (what < 0.65) {
    write_one(simulation, node, loss);
  } else if (what < 0.88) {
    raft_core_tick(node->core);
    work(simulation, node, loss);
  } else if (what < 0.97) {
    propose(simulation, node, loss);
  } else if (what < 0.98) {
    crash(simulation, node);
  } else if (what < 0.99) {
    node->cut = !node->cut && chance(simulation, 0.3);
  } else {
    compact(simulation, node);
  }
}

/* All faults end: within some election timeouts there is one leader, and everybody has applied what it has. */
static void heal(Simulation *simulation) {
  for (guint i = 0; i < NODES; i++)
    simulation->nodes[i].cut = FALSE;
  for (guint round = 0; round < HEAL_ROUNDS && !*simulation->result.violation; round++) {
    for (guint i = 0; i < NODES; i++) {
      raft_core_tick(simulation->nodes[i].core);
      work(simulation, &simulation->nodes[i], 0);
      while (simulation->nodes[i].writes.length > 0)
        write_one(simulation, &simulation->nodes[i], 0);
    }
    for (guint budget = 1000; simulation->net->len > 0 && budget > 0; budget--)
      deliver(simulation, 0, 0);
  }
  guint leaders = 0;
  for (guint i = 0; i < NODES; i++) {
    leaders += raft_core_is_active(simulation->nodes[i].core) ? 1 : 0;
    if (simulation->nodes[i].applied != simulation->history->len)
      violated(simulation, "did not catch up", simulation->nodes[i].id, simulation->nodes[i].applied);
  }
  if (leaders != 1)
    violated(simulation, "not one active leader after all faults ended", leaders, 0);
}

SimulationResult simulation_run(guint64 seed, guint steps) {
  Simulation simulation = {0};
  begin(&simulation, seed);
  double loss = (double)(seed % 5) * 0.05;
  for (guint i = 0; i < steps && !*simulation.result.violation; i++)
    step(&simulation, loss);
  if (!*simulation.result.violation)
    heal(&simulation);
  for (guint i = 0; i < NODES; i++) {
    node_stop(&simulation.nodes[i]);
    g_ptr_array_unref(simulation.nodes[i].entries);
    g_clear_pointer(&simulation.nodes[i].snapshot_bytes, g_bytes_unref);
  }
  g_ptr_array_unref(simulation.net);
  g_hash_table_unref(simulation.leaders);
  g_array_unref(simulation.history);
  g_rand_free(simulation.rand);
  return simulation.result;
}
