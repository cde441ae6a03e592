/* A controller of a scenario: a core, its disk, its network. See scenario.h. */
#include <string.h>

#include "storage/log/crc32c.h"
#include "tests/unit/raft/scenario_internal.h"

#define ELECTION_TICKS 10
#define HEARTBEAT_TICKS 3
#define CHUNK_BYTES 8

static void message_free(gpointer message) {
  raft_message_free(message);
}

static void write_free(gpointer data) {
  ScenarioWrite *write = data;
  g_ptr_array_unref(write->entries);
  if (write->install)
    g_bytes_unref(write->install->bytes);
  g_free(write->install);
  g_free(write);
}

RaftDirectory scenario_directory(guint64 id, guint incarnation) {
  return (RaftDirectory){{(guint8)id, (guint8)incarnation, 0xd1}};
}

ScenarioNode *scenario_node(Scenario *scenario, guint64 id) {
  return id >= 1 && id <= scenario->count ? &scenario->nodes[id - 1] : NULL;
}

/* ---- Life ---- */

void scenario_node_start(Scenario *scenario, ScenarioNode *node) {
  RaftOptions options = {
      .id = node->id,
      .directory = scenario_directory(node->id, node->incarnation),
      .election_ticks = ELECTION_TICKS,
      .heartbeat_ticks = HEARTBEAT_TICKS,
      .seed = node->id,
      .append_bytes_max = scenario->append_bytes_max,
      .inflight_max = 4,
      .inflight_bytes_max = 64,
      .uncommitted_max = 100,
      .reads_max = 4,
      .chunk_bytes_max = CHUNK_BYTES,
      .chunks_max = 2,
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

void scenario_node_stop(ScenarioNode *node) {
  g_clear_pointer(&node->core, raft_core_free);
  g_queue_clear_full(&node->writes, write_free);
  g_clear_pointer(&node->waiting, g_ptr_array_unref);
}

void scenario_node_free(ScenarioNode *node) {
  scenario_node_stop(node);
  g_clear_pointer(&node->entries, g_ptr_array_unref);
  g_clear_pointer(&node->snapshot_bytes, g_bytes_unref);
}

void scenario_node_wipe(ScenarioNode *node) {
  scenario_node_free(node);
  node->incarnation++;
  node->state = (RaftHardState){0};
  node->snapshot = (RaftSnapshotMeta){0};
  node->entries = raft_entries_new();
}

/* ---- Disk ---- */

static void persist(ScenarioNode *node, const ScenarioWrite *write) {
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
}

void scenario_node_compact(const Scenario *scenario, ScenarioNode *node, guint64 index) {
  RaftSnapshotMeta meta;
  g_autoptr(Failure) failure = raft_core_snapshot_meta(node->core, index, &meta);
  if (failure)
    return;
  g_autofree char *padding = g_strnfill(scenario->snapshot_padding, '.');
  char *text = g_strdup_printf("the state up to %" G_GUINT64_FORMAT "%s", index, padding);
  meta.size_bytes = strlen(text);
  meta.crc32c = log_crc32c(text, strlen(text));
  g_clear_pointer(&node->snapshot_bytes, g_bytes_unref);
  node->snapshot_bytes = g_bytes_new_take(text, meta.size_bytes);
  g_ptr_array_remove_range(node->entries, 0, (guint)(index - node->snapshot.index));
  node->snapshot = meta;
  raft_core_compact(node->core, &meta);
}

/* ---- Network ---- */

/* FALSE: the snapshot of which a part is asked for is no more. */
static gboolean fill_chunk(const ScenarioNode *node, RaftMessage *message) {
  if (message->kind != RAFT_SNAPSHOT)
    return TRUE;
  if (message->snapshot->index != node->snapshot.index)
    return FALSE;
  message->chunk = g_bytes_new_from_bytes(node->snapshot_bytes, message->offset, message->length);
  return TRUE;
}

static void put_on_net(Scenario *scenario, RaftMessage *message) {
  ScenarioNode *from = scenario_node(scenario, message->from), *to = scenario_node(scenario, message->to);
  if (!fill_chunk(from, message)) {
    raft_message_free(message);
    return;
  }
  if (!to || from->cut || to->cut) {
    scenario_tell_message(scenario->out, "loses to", message);
    raft_message_free(message);
    return;
  }
  scenario_tell_message(scenario->out, "sends", message);
  g_queue_push_tail(&scenario->net, message);
}

void scenario_deliver(Scenario *scenario, RaftMessage *message) {
  g_autoptr(RaftMessage) mine = message;
  ScenarioNode *node = scenario_node(scenario, mine->to);
  if (node->cut || scenario_node(scenario, mine->from)->cut)
    return;
  g_autoptr(Failure) failure = raft_core_step(node->core, mine);
  if (failure)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " ends: %s\n", node->id, failure_message(failure));
  scenario_work(scenario, node);
}

/* ---- Work ---- */

static void take_write(Scenario *scenario, ScenarioNode *node, RaftReady *ready) {
  if (!ready->write_id)
    return;
  scenario_tell_write(scenario->out, node, ready);
  ScenarioWrite *write = g_new(ScenarioWrite, 1);
  *write = (ScenarioWrite){ready->write_id, ready->hard_state, g_ptr_array_ref(ready->entries),
                           g_steal_pointer(&ready->install)};
  g_queue_push_tail(&node->writes, write);
}

static void take_messages(Scenario *scenario, ScenarioNode *node, RaftReady *ready) {
  while (ready->messages->len > 0) {
    RaftMessage *message = g_ptr_array_steal_index(ready->messages, 0);
    if (message->after_write)
      g_ptr_array_add(node->waiting, message);
    else
      put_on_net(scenario, message);
  }
}

static void take_applied(Scenario *scenario, const ScenarioNode *node, const RaftReady *ready) {
  if (ready->restore)
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " restores \"%.*s\"\n", node->id,
                           (int)g_bytes_get_size(ready->restore->bytes),
                           (const char *)g_bytes_get_data(ready->restore->bytes, NULL));
  for (guint i = 0; i < ready->committed->len; i++) {
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " applies", node->id);
    scenario_tell_entry(scenario->out, ready->committed->pdata[i]);
    g_string_append_c(scenario->out, '\n');
  }
  for (guint i = 0; i < ready->reads->len; i++) {
    const RaftRead *read = &g_array_index(ready->reads, RaftRead, i);
    g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " %s read %" G_GUINT64_FORMAT "\n", node->id,
                           read->lost ? "loses" : "answers", read->context);
  }
}

void scenario_work(Scenario *scenario, ScenarioNode *node) {
  RaftReady ready;
  scenario_tell_role(scenario->out, node);
  while (raft_core_ready(node->core, &ready)) {
    take_write(scenario, node, &ready);
    take_messages(scenario, node, &ready);
    take_applied(scenario, node, &ready);
    raft_ready_clear(&ready);
  }
  scenario_tell_role(scenario->out, node);
}

gboolean scenario_write_one(Scenario *scenario, ScenarioNode *node) {
  ScenarioWrite *write = g_queue_pop_head(&node->writes);
  if (!write)
    return FALSE;
  g_string_append_printf(scenario->out, "%" G_GUINT64_FORMAT " wrote #%" G_GUINT64_FORMAT "\n", node->id, write->id);
  persist(node, write);
  raft_core_written(node->core, write->id);
  for (guint i = 0; i < node->waiting->len;) {
    RaftMessage *message = node->waiting->pdata[i];
    if (message->after_write <= write->id)
      put_on_net(scenario, g_ptr_array_steal_index(node->waiting, i));
    else
      i++;
  }
  write_free(write);
  scenario_work(scenario, node);
  return TRUE;
}
