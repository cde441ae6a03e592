/* Runs that a test decides step by step: no clock ticks by itself, no fault comes by chance. The rules are checked all
 * the same. */
#pragma once

#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/node.h"

G_BEGIN_DECLS

#define SCRIPT_ELECTION_TICKS 10

/* Controllers 1 to @voters, started, with the first entry on the disk of 1; nothing has happened yet. */
World *script_new(guint voters, RaftSimResult *result);
/* Returns what was broken, or NULL; owned by the caller. */
char *script_end(World *world);

/* Messages and disks go on until nothing is left. */
void script_settle(World *world);
/* The shortest time passes. */
void script_step(World *world);
/* Time passes at @id alone, and after each tick all settles. */
void script_tick(World *world, guint64 id, guint ticks);
/* Time passes everywhere. */
void script_tick_all(World *world, guint ticks);
/* Time passes at @id until it leads; it is then active, when it can be. */
void script_elect(World *world, guint64 id);
/* Nothing gets through between @id and the others; or all gets through again. */
void script_isolate(World *world, guint64 id, gboolean cut);
void script_cut(World *world, guint64 from, guint64 to, gboolean cut);
void script_crash(World *world, guint64 id, SimCrash crash);
void script_start(World *world, guint64 id);
/* An empty entry of metadata at a leader. Returns its index, or 0. */
guint64 script_propose(World *world, guint64 id);
/* Returns FALSE when it was refused. The member's directory is that of its disk. */
gboolean script_change(World *world, guint64 leader, RaftChangeKind kind, guint64 id);
/* What is held back leaves; the last first, if so wanted. */
void script_release(World *world, gboolean last_first);

RaftState script_state(const World *world, guint64 id);

G_END_DECLS
