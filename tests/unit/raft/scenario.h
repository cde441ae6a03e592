/* Controllers that never were: several Raft cores with disks and a network of memory, driven by commands, telling all
 * that happens. For scenario files. */
#pragma once

#include "controller/raft/raft.h"

G_BEGIN_DECLS

typedef struct Scenario Scenario;

Scenario *scenario_new(void);
void scenario_free(Scenario *scenario);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scenario, scenario_free)

/* Run one line, and return what happened as text; owned by the caller. A controller is told as its id, and one with its
 * second folder as id#2. Commands:
 *
 *   nodes COUNT [BYTES]    make COUNT controllers that vote, 1..COUNT, each with the first entry; at most BYTES of
 *                          entries in a message
 *   bootstrap COUNT        the same, but only 1 has the first entry, and the others' disks are empty
 *   twice COUNT            the same, but 1 and 2 have each begun the cluster
 *   old ID                 make ID with a log of format 1, in which it is the only voter
 *   empty COUNT            make COUNT more, whose disks are empty and whom nobody knows
 *   elect ID               time passes at ID and everything settles, until it leads; told in one line
 *   tick ID [TIMES]        time passes at ID
 *   propose ID TEXT        a proposal at ID
 *   change ID KIND TARGET  a change of the members at ID: add, promote, remove, update
 *   transfer ID TARGET     ID hands leadership over
 *   read ID CONTEXT        a read at ID
 *   write ID               the oldest write of ID becomes durable
 *   deliver FROM TO        the oldest message on its way from FROM to TO arrives
 *   newest FROM TO         the newest one arrives
 *   repeat FROM TO         a copy of the oldest one arrives
 *   drop FROM TO           it is lost
 *   cut ID / heal ID       messages from and to ID are lost from now on / no more
 *   settle                 writes and messages go on until nothing is left
 *   crash ID               ID ends: writes that were not durable are lost; and starts again from its disk
 *   wipe ID                ID ends, and starts with an empty disk: its next folder
 *   compact ID INDEX       a snapshot of ID up to INDEX is durable
 *   compact ID INDEX later the same, and another event comes before ID's work is taken
 *   padding BYTES          snapshots are so much longer from now on
 *   show ID                role, term, marks and log of ID
 *   members ID             the configuration in force at ID
 *   peers ID               what the leader ID knows of the others */
char *scenario_run(Scenario *scenario, const char *line);

G_END_DECLS
