/* The commands of scenario.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/raft/scenario_internal.h"

static void message_free(gpointer message) {
  raft_message_free(message);
}

Scenario *scenario_new(void) {
  Scenario *scenario = g_new0(Scenario, 1);
  g_queue_init(&scenario->net);
  return scenario;
}

void scenario_free(Scenario *scenario) {
  for (guint i = 0; i < scenario->count; i++)
    scenario_node_free(&scenario->nodes[i]);
  g_queue_clear_full(&scenario->net, message_free);
  g_free(scenario);
}

/* ---- Making ---- */

static ScenarioNode *add_node(Scenario *scenario) {
  ScenarioNode *node = &scenario->nodes[scenario->count++];
  node->id = scenario->count;
  node->incarnation = 1;
  node->entries = raft_entries_new();
  return node;
}

static void begin(Scenario *scenario, ScenarioNode *node) {
  scenario_node_start(scenario, node);
  scenario_work(scenario, node);
}

static void run_empty(Scenario *scenario, guint count) {
  for (guint i = 0; i < count; i++)
    begin(scenario, add_node(scenario));
}

static RaftConfiguration voters(guint count) {
  RaftConfiguration configuration = {.member_count = count};
  for (guint i = 0; i < count; i++)
    configuration.members[i] = (RaftMember){.id = i + 1, .directory = scenario_directory(i + 1, 1)};
  return configuration;
}

/* @knowing: the first so many have the first entry */
static void run_nodes(Scenario *scenario, guint count, guint knowing) {
  RaftConfiguration configuration = voters(count);
  for (guint i = 0; i < knowing; i++) {
    ScenarioNode *node = add_node(scenario);
    node->state = (RaftHardState){.term = 1, .commit = knowing == count ? 1 : 0};
    g_ptr_array_add(node->entries, raft_entry_new_bootstrap(&configuration, 1));
    begin(scenario, node);
  }
  run_empty(scenario, count - knowing);
}

/* The first two each begin the cluster, with something of their own behind the first entry. */
static void run_twice(Scenario *scenario, guint count) {
  RaftConfiguration configuration = voters(count);
  for (guint64 id = 1; id <= 2; id++) {
    ScenarioNode *node = add_node(scenario);
    RaftEntry *first = raft_entry_new_bootstrap(&configuration, id);
    g_ptr_array_add(node->entries, first);
    g_ptr_array_add(node->entries, raft_entry_new(2, first->term, RAFT_ENTRY_KIND(METADATA),
                                                  g_bytes_new(id == 1 ? "of 1" : "of 2", 4)));
    node->state.term = raft_bootstrap_term(&configuration);
    begin(scenario, node);
  }
  run_empty(scenario, count - 2);
}

/* The configuration of format 1: {voters: [ID]}. */
static void run_old(Scenario *scenario, guint64 id) {
  while (scenario->count + 1 < id)
    run_empty(scenario, 1);
  ScenarioNode *node = add_node(scenario);
  guint8 bytes[] = {0x0a, 0x01, (guint8)id};
  node->state = (RaftHardState){.term = 1, .commit = 1};
  g_ptr_array_add(node->entries,
                  raft_entry_new(1, 1, RAFT_ENTRY_KIND(CONFIGURATION), g_bytes_new(bytes, sizeof bytes)));
  begin(scenario, node);
}

/* ---- Events ---- */

static void run_settle(Scenario *scenario) {
  gboolean more = TRUE;
  for (guint step = 0; more && step < 10000; step++) {
    more = FALSE;
    for (guint i = 0; i < scenario->count; i++)
      more |= scenario_write_one(scenario, &scenario->nodes[i]);
    RaftMessage *message = g_queue_pop_head(&scenario->net);
    if (message) {
      more = TRUE;
      scenario_deliver(scenario, message);
    }
  }
}

static void run_tick(Scenario *scenario, ScenarioNode *node, guint64 times) {
  for (guint64 i = 0; i < MAX(times, 1); i++) {
    raft_core_tick(node->core);
    scenario_work(scenario, node);
  }
}

static void run_elect(Scenario *scenario, ScenarioNode *node) {
  GString *told = scenario->out;
  scenario->out = g_string_new(NULL);
  for (guint i = 0; i < 1000 && !raft_core_is_active(node->core); i++) {
    run_tick(scenario, node, 1);
    run_settle(scenario);
  }
  g_string_free(scenario->out, TRUE);
  scenario->out = told;
  g_string_append_printf(
      told, "%" G_GUINT64_FORMAT " is %s of term %" G_GUINT64_FORMAT ", commit %" G_GUINT64_FORMAT "\n", node->id,
      raft_role_name(raft_core_role(node->core)), raft_core_term(node->core), raft_core_commit_index(node->core));
}

/* The end of something that may be refused. */
static void tell_end(Scenario *scenario, ScenarioNode *node, Failure *failure) {
  g_autoptr(Failure) mine = failure;
  if (mine)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " refuses, %s: %s\n", node->id,
                           failure_reason_name(failure_reason(mine)), failure_message(mine));
  scenario_work(scenario, node);
}

static Failure *run_propose(ScenarioNode *node, const char *text) {
  g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));
  guint64 index = 0;
  return raft_core_propose(node->core, data, &index);
}

static Failure *run_change(Scenario *scenario, ScenarioNode *node, const char *kind, guint64 target) {
  static const char *const KINDS[] = {"add", "promote", "remove", "update"};
  const ScenarioNode *other = scenario_node(scenario, target);
  RaftChange change = {
      .member = {.id = target, .directory = scenario_directory(target, other ? other->incarnation : 1)}};
  for (guint i = 0; i < G_N_ELEMENTS(KINDS); i++)
    if (strcmp(kind, KINDS[i]) == 0)
      change.kind = i;
  if (change.kind == RAFT_CHANGE_PROMOTE || change.kind == RAFT_CHANGE_REMOVE)
    change.member.directory = (RaftDirectory){0};
  guint64 index = 0;
  return raft_core_propose_change(node->core, &change, &index);
}

/* ---- Network ---- */

/* The oldest (or newest) one between the two. */
static GList *find_message(Scenario *scenario, guint64 from, guint64 to, gboolean newest) {
  GList *link = newest ? scenario->net.tail : scenario->net.head;
  for (; link; link = newest ? link->prev : link->next) {
    const RaftMessage *message = link->data;
    if (message->from == from && message->to == to)
      return link;
  }
  return NULL;
}

static void run_network(Scenario *scenario, const char *command, guint64 from, guint64 to) {
  GList *link = find_message(scenario, from, to, strcmp(command, "newest") == 0);
  if (!link) {
    g_string_append(scenario->out, "no message\n");
    return;
  }
  RaftMessage *message = link->data;
  if (strcmp(command, "repeat") == 0) {
    scenario_deliver(scenario, raft_message_copy(message));
    return;
  }
  g_queue_delete_link(&scenario->net, link);
  if (strcmp(command, "drop") == 0)
    raft_message_free(message);
  else
    scenario_deliver(scenario, message);
}

/* ---- Commands ---- */

typedef struct {
  Scenario *scenario;
  char **words;
  const char *rest; /* behind the second word */
  guint64 a, b, c;  /* the words behind the command, as numbers */
} Command;

static gboolean is(const Command *command, const char *name) {
  return strcmp(command->words[0], name) == 0;
}

/* Commands that make controllers, or are for all. */
static gboolean run_for_all(const Command *command) {
  if (is(command, "nodes")) {
    command->scenario->append_bytes_max = command->b;
    run_nodes(command->scenario, (guint)command->a, (guint)command->a);
  } else if (is(command, "bootstrap")) {
    run_nodes(command->scenario, (guint)command->a, 1);
  } else if (is(command, "twice")) {
    run_twice(command->scenario, (guint)command->a);
  } else if (is(command, "old")) {
    run_old(command->scenario, command->a);
  } else if (is(command, "empty")) {
    run_empty(command->scenario, (guint)command->a);
  } else if (is(command, "padding")) {
    command->scenario->snapshot_padding = (guint)command->a;
  } else if (is(command, "settle")) {
    run_settle(command->scenario);
  } else if (is(command, "deliver") || is(command, "newest") || is(command, "repeat") || is(command, "drop")) {
    run_network(command->scenario, command->words[0], command->a, command->b);
  } else {
    return FALSE;
  }
  return TRUE;
}

static gboolean run_event(const Command *command, ScenarioNode *node) {
  if (is(command, "elect"))
    run_elect(command->scenario, node);
  else if (is(command, "tick"))
    run_tick(command->scenario, node, command->b);
  else if (is(command, "propose"))
    tell_end(command->scenario, node, run_propose(node, command->rest));
  else if (is(command, "change"))
    tell_end(command->scenario, node, run_change(command->scenario, node, command->words[2], command->c));
  else if (is(command, "transfer"))
    tell_end(command->scenario, node, raft_core_transfer(node->core, command->b));
  else if (is(command, "read"))
    tell_end(command->scenario, node, raft_core_read(node->core, command->b));
  else
    return FALSE;
  return TRUE;
}

static gboolean run_life(const Command *command, ScenarioNode *node) {
  if (is(command, "write")) {
    if (!scenario_write_one(command->scenario, node))
      g_string_append(command->scenario->out, "nothing to write\n");
  } else if (is(command, "cut") || is(command, "heal")) {
    node->cut = is(command, "cut");
  } else if (is(command, "crash")) {
    scenario_node_stop(node);
    begin(command->scenario, node);
  } else if (is(command, "wipe")) {
    scenario_node_wipe(node);
    begin(command->scenario, node);
  } else if (is(command, "compact")) {
    scenario_node_compact(command->scenario, node, command->b);
    if (!command->words[3])
      scenario_work(command->scenario, node);
  } else {
    return FALSE;
  }
  return TRUE;
}

static gboolean run_show(const Command *command, const ScenarioNode *node) {
  if (is(command, "show"))
    scenario_tell_state(command->scenario->out, node);
  else if (is(command, "members"))
    scenario_tell_members(command->scenario->out, node);
  else if (is(command, "peers"))
    scenario_tell_peers(command->scenario->out, node);
  else
    return FALSE;
  return TRUE;
}

char *scenario_run(Scenario *scenario, const char *line) {
  g_auto(GStrv) words = g_strsplit(line, " ", -1);
  guint count = g_strv_length(words);
  g_autofree char *rest = count > 2 ? g_strjoinv(" ", words + 2) : g_strdup("");
  Command command = {.scenario = scenario, .words = words, .rest = rest};
  guint64 *numbers[] = {&command.a, &command.b, &command.c};
  for (guint i = 1; i < count && i <= G_N_ELEMENTS(numbers); i++)
    *numbers[i - 1] = g_ascii_strtoull(words[i], NULL, 10);
  scenario->out = g_string_new(NULL);
  ScenarioNode *node = scenario_node(scenario, command.a);
  if (!run_for_all(&command) &&
      (!node || !(run_event(&command, node) || run_life(&command, node) || run_show(&command, node))))
    g_string_append(scenario->out, "no such command or controller\n");
  return g_string_free(g_steal_pointer(&scenario->out), FALSE);
}
