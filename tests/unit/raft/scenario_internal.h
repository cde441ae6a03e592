/* The parts of scenario.h, for its .c files alone. */
#pragma once

#include "tests/unit/raft/scenario.h"

G_BEGIN_DECLS

#define SCENARIO_NODES_MAX 7

/* A write that is not durable yet. */
typedef struct {
  guint64 id;
  RaftHardState state;
  GPtrArray *entries;
  RaftInstall *install; /* NULL: none */
} ScenarioWrite;

typedef struct {
  guint64 id;
  guint incarnation; /* of its folder, from 1 */
  RaftCore *core;
  GQueue writes;       /* of ScenarioWrite */
  GPtrArray *waiting;  /* of RaftMessage that wait for a write */
  RaftHardState state; /* durable */
  GPtrArray *entries;  /* durable */
  RaftSnapshotMeta snapshot;
  GBytes *snapshot_bytes;
  gboolean cut;
  RaftRole role; /* as told last */
} ScenarioNode;

struct Scenario {
  ScenarioNode nodes[SCENARIO_NODES_MAX];
  guint count;
  gsize append_bytes_max;
  guint snapshot_padding;
  GQueue net; /* of RaftMessage on their way */
  GString *out;
};

/* scenario_tell.c */
void scenario_tell_entry(GString *out, const RaftEntry *entry);
void scenario_tell_entries(GString *out, const char *label, const GPtrArray *entries);
void scenario_tell_message(GString *out, const char *what, const RaftMessage *message);
void scenario_tell_write(GString *out, const ScenarioNode *node, const RaftReady *ready);
void scenario_tell_role(GString *out, ScenarioNode *node);
void scenario_tell_state(GString *out, const ScenarioNode *node);
void scenario_tell_members(GString *out, const ScenarioNode *node);
void scenario_tell_peers(GString *out, const ScenarioNode *node);

/* scenario_node.c */
RaftDirectory scenario_directory(guint64 id, guint incarnation);
ScenarioNode *scenario_node(Scenario *scenario, guint64 id);
void scenario_node_start(Scenario *scenario, ScenarioNode *node);
void scenario_node_stop(ScenarioNode *node);
void scenario_node_free(ScenarioNode *node);
void scenario_node_wipe(ScenarioNode *node);
void scenario_node_compact(const Scenario *scenario, ScenarioNode *node, guint64 index);
/* Take the core's work, as a host would. */
void scenario_work(Scenario *scenario, ScenarioNode *node);
gboolean scenario_write_one(Scenario *scenario, ScenarioNode *node);
/* @message: taken */
void scenario_deliver(Scenario *scenario, RaftMessage *message);

G_END_DECLS
