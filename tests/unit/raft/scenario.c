/* See scenario.h. */
#include "tests/unit/raft/scenario.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX 5
#define ELECTION_TICKS 10
#define HEARTBEAT_TICKS 3

/* A write that is not durable yet. */
typedef struct {
  guint64 id;
  RaftHardState state;
  GPtrArray *entries;
} Write;

typedef struct {
  guint64 id;
  RaftCore *core;
  GQueue writes;       /* of Write */
  GPtrArray *waiting;  /* of RaftMessage that wait for a write */
  RaftHardState state; /* durable */
  GPtrArray *entries;  /* durable */
  RaftSnapshotMeta snapshot;
  gboolean cut;
  RaftRole role; /* as told last */
} Node;

struct Scenario {
  Node nodes[NODES_MAX];
  guint count;
  gsize append_bytes_max;
  GQueue net; /* of RaftMessage on their way */
  GString *out;
};

static void message_free(gpointer message) {
  raft_message_free(message);
}

static void write_free(gpointer data) {
  Write *write = data;
  g_ptr_array_unref(write->entries);
  g_free(write);
}

Scenario *scenario_new(void) {
  Scenario *scenario = g_new0(Scenario, 1);
  g_queue_init(&scenario->net);
  return scenario;
}

static void node_stop(Node *node) {
  g_clear_pointer(&node->core, raft_core_free);
  g_queue_clear_full(&node->writes, write_free);
  g_clear_pointer(&node->waiting, g_ptr_array_unref);
}

void scenario_free(Scenario *scenario) {
  for (guint i = 0; i < scenario->count; i++) {
    node_stop(&scenario->nodes[i]);
    g_ptr_array_unref(scenario->nodes[i].entries);
  }
  g_queue_clear_full(&scenario->net, message_free);
  g_free(scenario);
}

/* ---- Telling ---- */

static const char *message_name(RaftMessageKind kind) {
  static const char *const NAMES[] = {"", "pre-vote", "pre-vote-reply", "vote", "vote-reply", "append", "append-reply"};
  return NAMES[kind];
}

static void tell_entry(GString *out, const RaftEntry *entry) {
  g_string_append_printf(out, " %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, entry->index, entry->term);
  gsize size;
  const char *data = g_bytes_get_data(entry->data, &size);
  if (entry->kind == RAFT_ENTRY_KIND(METADATA))
    g_string_append_printf(out, "\"%.*s\"", (int)size, data);
  else
    g_string_append(out, entry->kind == RAFT_ENTRY_KIND(EMPTY) ? "empty" : "configuration");
}

static void tell_entries(GString *out, const char *label, const GPtrArray *entries) {
  if (!entries || entries->len == 0)
    return;
  g_string_append_printf(out, " %s", label);
  for (guint i = 0; i < entries->len; i++)
    tell_entry(out, entries->pdata[i]);
}

static void tell_message(GString *out, const char *what, const RaftMessage *message) {
  g_string_append_printf(out, "%" G_GUINT64_FORMAT " %s %" G_GUINT64_FORMAT ": %s term %" G_GUINT64_FORMAT,
                         message->from, what, message->to, message_name(message->kind), message->term);
  if (message->reject)
    g_string_append(out, " no");
  if (message->kind == RAFT_APPEND_REPLY && message->reject)
    g_string_append_printf(out, " after %" G_GUINT64_FORMAT " hint %" G_GUINT64_FORMAT, message->index, message->hint);
  else if (message->kind == RAFT_APPEND_REPLY)
    g_string_append_printf(out, " has %" G_GUINT64_FORMAT, message->index);
  else if (message->kind == RAFT_APPEND)
    g_string_append_printf(out, " after %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT,
                           message->index, message->log_term, message->commit);
  else if (message->kind == RAFT_VOTE || message->kind == RAFT_PRE_VOTE)
    g_string_append_printf(out, " last %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, message->index, message->log_term);
  tell_entries(out, "entries", message->entries);
  g_string_append_c(out, '\n');
}

static void tell_write(GString *out, const Node *node, const RaftReady *ready) {
  g_string_append_printf(out,
                         "%" G_GUINT64_FORMAT " writes #%" G_GUINT64_FORMAT ": term %" G_GUINT64_FORMAT
                         " vote %" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT,
                         node->id, ready->write_id, ready->hard_state.term, ready->hard_state.vote,
                         ready->hard_state.commit);
  tell_entries(out, "entries", ready->entries);
  g_string_append_c(out, '\n');
}

static void tell_role(Scenario *scenario, Node *node) {
  RaftRole role = raft_core_role(node->core);
  if (role == node->role)
    return;
  node->role = role;
  g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " is %s of term %" G_GUINT64_FORMAT "\n", node->id,
                         raft_role_name(role), raft_core_term(node->core));
}

/* ---- Nodes ---- */

static void node_start(Scenario *scenario, Node *node) {
  RaftOptions options = {
      .id = node->id,
      .election_ticks = ELECTION_TICKS,
      .heartbeat_ticks = HEARTBEAT_TICKS,
      .seed = node->id,
      .append_bytes_max = scenario->append_bytes_max,
      .inflight_max = 4,
      .uncommitted_max = 100,
  };
  RaftStart start = {.hard_state = node->state, .snapshot = node->snapshot, .entries = node->entries};
  g_autoptr(Failure) failure = raft_core_new(&options, &start, &node->core);
  if (failure)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " can't start: %s\n", node->id,
                           failure_message(failure));
  node->waiting = g_ptr_array_new_with_free_func(message_free);
  g_queue_init(&node->writes);
  node->role = RAFT_FOLLOWER;
}

static Node *find_node(Scenario *scenario, guint64 id) {
  return id >= 1 && id <= scenario->count ? &scenario->nodes[id - 1] : NULL;
}

static void put_on_net(Scenario *scenario, RaftMessage *message) {
  if (find_node(scenario, message->from)->cut || find_node(scenario, message->to)->cut) {
    tell_message(scenario->out, "loses to", message);
    raft_message_free(message);
    return;
  }
  tell_message(scenario->out, "sends", message);
  g_queue_push_tail(&scenario->net, message);
}

/* Take the core's work, as a host would. */
static void work(Scenario *scenario, Node *node) {
  RaftReady ready;
  tell_role(scenario, node);
  while (raft_core_ready(node->core, &ready)) {
    if (ready.write_id) {
      tell_write(scenario->out, node, &ready);
      Write *write = g_new(Write, 1);
      *write = (Write){ready.write_id, ready.hard_state, g_ptr_array_ref(ready.entries)};
      g_queue_push_tail(&node->writes, write);
    }
    while (ready.messages->len > 0) {
      RaftMessage *message = g_ptr_array_steal_index(ready.messages, 0);
      if (message->after_write)
        g_ptr_array_add(node->waiting, message);
      else
        put_on_net(scenario, message);
    }
    for (guint i = 0; i < ready.committed->len; i++) {
      g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " applies", node->id);
      tell_entry(scenario->out, ready.committed->pdata[i]);
      g_string_append_c(scenario->out, '\n');
    }
    raft_ready_clear(&ready);
  }
}

/* Put one write on the disk. */
static void persist(Node *node, const Write *write) {
  node->state = write->state;
  for (guint i = 0; i < write->entries->len; i++) {
    RaftEntry *entry = write->entries->pdata[i];
    g_ptr_array_set_size(node->entries, (gint)(entry->index - node->snapshot.index - 1));
    g_ptr_array_add(node->entries, raft_entry_ref(entry));
  }
}

static gboolean write_one(Scenario *scenario, Node *node) {
  Write *write = g_queue_pop_head(&node->writes);
  if (!write)
    return FALSE;
  g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " wrote #%" G_GUINT64_FORMAT "\n", node->id, write->id);
  persist(node, write);
  raft_core_written(node->core, write->id);
  while (node->waiting->len > 0 && ((RaftMessage *)node->waiting->pdata[0])->after_write <= write->id)
    put_on_net(scenario, g_ptr_array_steal_index(node->waiting, 0));
  write_free(write);
  work(scenario, node);
  return TRUE;
}

/* ---- Network ---- */

static RaftMessage *take_message(Scenario *scenario, guint64 from, guint64 to) {
  for (GList *link = scenario->net.head; link; link = link->next) {
    RaftMessage *message = link->data;
    if (message->from != from || message->to != to)
      continue;
    g_queue_delete_link(&scenario->net, link);
    return message;
  }
  return NULL;
}

static void deliver(Scenario *scenario, RaftMessage *message) {
  Node *node = find_node(scenario, message->to);
  if (node->cut || find_node(scenario, message->from)->cut) {
    raft_message_free(message);
    return;
  }
  g_autoptr(Failure) failure = raft_core_step(node->core, message);
  if (failure)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " ends: %s\n", node->id, failure_message(failure));
  raft_message_free(message);
  work(scenario, node);
}

/* ---- Commands ---- */

static void run_nodes(Scenario *scenario, guint count, gsize append_bytes_max) {
  scenario->append_bytes_max = append_bytes_max;
  RaftConfiguration configuration = {.member_count = count};
  for (guint i = 0; i < count; i++)
    configuration.members[i].id = i + 1;
  scenario->count = count;
  for (guint i = 0; i < count; i++) {
    Node *node = &scenario->nodes[i];
    node->id = i + 1;
    node->state = (RaftHardState){.term = 1, .commit = 1};
    node->entries = raft_entries_new();
    g_ptr_array_add(node->entries,
                    raft_entry_new(1, 1, RAFT_ENTRY_KIND(CONFIGURATION), raft_configuration_encode(&configuration)));
    node_start(scenario, node);
    work(scenario, node);
  }
}

static void run_settle(Scenario *scenario) {
  gboolean more = TRUE;
  for (guint step = 0; more && step < 10000; step++) {
    more = FALSE;
    for (guint i = 0; i < scenario->count; i++)
      more |= write_one(scenario, &scenario->nodes[i]);
    RaftMessage *message = g_queue_pop_head(&scenario->net);
    if (message) {
      more = TRUE;
      deliver(scenario, message);
    }
  }
}

static void run_propose(Scenario *scenario, Node *node, const char *text) {
  g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));
  guint64 index = 0;
  g_autoptr(Failure) failure = raft_core_propose(node->core, data, &index);
  if (failure)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " refuses: %s\n", node->id, failure_message(failure));
  work(scenario, node);
}

static void run_compact(Scenario *scenario, Node *node, guint64 index) {
  RaftSnapshotMeta meta;
  g_autoptr(Failure) failure = raft_core_snapshot_meta(node->core, index, &meta);
  if (failure)
    return;
  g_ptr_array_remove_range(node->entries, 0, (guint)(index - node->snapshot.index));
  node->snapshot = meta;
  raft_core_compact(node->core, &meta);
  work(scenario, node);
}

static void run_show(Scenario *scenario, const Node *node) {
  const RaftCore *core = node->core;
  g_string_append_printf(scenario->out,
                         "%s term %" G_GUINT64_FORMAT " leader %" G_GUINT64_FORMAT " log %" G_GUINT64_FORMAT
                         "..%" G_GUINT64_FORMAT " commit %" G_GUINT64_FORMAT " applied %" G_GUINT64_FORMAT "%s\n",
                         raft_role_name(raft_core_role(core)), raft_core_term(core), raft_core_leader(core),
                         raft_core_first_index(core), raft_core_last_index(core), raft_core_commit_index(core),
                         raft_core_applied_index(core), raft_core_is_active(core) ? " active" : "");
  tell_entries(scenario->out, "disk", node->entries);
  g_string_append_c(scenario->out, '\n');
}

static void run_one(Scenario *scenario, char **words, guint count, const char *rest) {
  const char *command = words[0];
  guint64 a = count > 1 ? g_ascii_strtoull(words[1], NULL, 10) : 0;
  guint64 b = count > 2 ? g_ascii_strtoull(words[2], NULL, 10) : 0;
  if (strcmp(command, "nodes") == 0) {
    run_nodes(scenario, (guint)a, b);
    return;
  }
  if (strcmp(command, "settle") == 0) {
    run_settle(scenario);
    return;
  }
  Node *node = find_node(scenario, a);
  if (!node) {
    g_string_append(scenario->out, "no such node\n");
    return;
  }
  if (strcmp(command, "tick") == 0) {
    for (guint64 i = 0; i < MAX(b, 1); i++) {
      raft_core_tick(node->core);
      work(scenario, node);
    }
  } else if (strcmp(command, "propose") == 0) {
    run_propose(scenario, node, rest);
  } else if (strcmp(command, "write") == 0) {
    if (!write_one(scenario, node))
      g_string_append(scenario->out, "nothing to write\n");
  } else if (strcmp(command, "deliver") == 0 || strcmp(command, "drop") == 0) {
    RaftMessage *message = take_message(scenario, a, b);
    if (!message)
      g_string_append(scenario->out, "no message\n");
    else if (strcmp(command, "drop") == 0)
      raft_message_free(message);
    else
      deliver(scenario, message);
  } else if (strcmp(command, "cut") == 0 || strcmp(command, "heal") == 0) {
    node->cut = strcmp(command, "cut") == 0;
  } else if (strcmp(command, "crash") == 0) {
    node_stop(node);
    node_start(scenario, node);
    work(scenario, node);
  } else if (strcmp(command, "compact") == 0) {
    run_compact(scenario, node, b);
  } else if (strcmp(command, "show") == 0) {
    run_show(scenario, node);
  } else {
    g_string_append(scenario->out, "no such command\n");
  }
}

char *scenario_run(Scenario *scenario, const char *line) {
  g_auto(GStrv) words = g_strsplit(line, " ", -1);
  guint count = g_strv_length(words);
  g_autofree char *rest = count > 2 ? g_strjoinv(" ", words + 2) : g_strdup("");
  scenario->out = g_string_new(NULL);
  run_one(scenario, words, count, rest);
  return g_string_free(g_steal_pointer(&scenario->out), FALSE);
}
