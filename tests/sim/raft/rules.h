/* What must hold, checked after each step of each controller, against the cores and against what is on their disks:
 *
 *  - election safety: a term has one leader, in one life of one process
 *  - leader append-only: a leader's log only grows while it leads
 *  - log matching: equal index and term mean an equal entry with an equal one before it
 *  - leader completeness: who is elected has all that was committed; whoever leads a later term has what is committed
 * now
 *  - committed entries stay: nobody ever takes another entry for committed at the same index, in any life
 *  - a commit is as safe as it says: a majority of the voters has it on a disk, synced
 *  - state machine safety: entries are applied in order, the same at each index everywhere; images are equal at equal
 *    versions, however they came to be
 *  - nothing leaves too early: votes, answers and a leader's messages stand for what is on the sender's disk
 *  - one change of the configuration in flight, of one voter, in a term whose leader has committed an entry of its own
 *  - the configuration in force is the last one in the log
 *  - nobody stands for election but one whom a majority would vote for, or whom its leader asked; and nobody gives up a
 *    leader that it hears
 *  - what is on its way to one peer is bounded, in messages and in bytes
 *  - no leader without a quorum for more than three election timeouts of its own clock
 *
 * Reads and writes of clients are checked by history.h, and that all goes on once the faults end by world.c. */
#pragma once

#include "tests/sim/raft/node.h"

G_BEGIN_DECLS

Rules *rules_new(World *world);
void rules_free(Rules *rules); /* NULL is fine */

/* The configuration that the cluster begins with: it comes to nobody's disk by a core. */
void rules_know_entry(World *world, const RaftEntry *entry);
void rules_node_starts(Node *node);
void rules_node_ticks(Node *node);
/* It is a candidate. */
void rules_node_stands(Node *node);
/* Its core has been given a message. @term_before: its term until then */
void rules_message_taken(Node *node, const RaftMessage *message, guint64 term_before);
void rules_message_leaves(Node *node, const RaftMessage *message);
/* It gives this write to its disk. */
void rules_entries_written(Node *node, const RaftReady *ready);
void rules_entry_applied(Node *node, const RaftEntry *entry);
/* It has put this snapshot in the place of all that it had applied. */
void rules_snapshot_restored(Node *node, const RaftSnapshotMeta *meta);
/* Its metadata are at this version now, and may be compared: @bytes is what they are as a snapshot. */
void rules_image_at(Node *node, guint64 version, GBytes *bytes);
void rules_node_stepped(Node *node);

/* A block of producer ids was given to a client, which had called when @floor was the highest that anybody had. */
void rules_block_given(World *world, guint64 floor, guint64 first);
guint64 rules_highest_block(const Rules *rules);

guint64 rules_committed(const Rules *rules);
/* Configurations from the last committed one on, the others not committed yet or given up; each borrowed. */
guint rules_configurations(const Rules *rules);
const RaftConfiguration *rules_configuration(const Rules *rules, guint place);

G_END_DECLS
