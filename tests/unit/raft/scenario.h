/* Controllers that never were: several Raft cores with disks and a network of memory, driven by commands, telling all
 * that happens. For scenario files and random runs. */
#pragma once

#include "controller/raft/raft.h"

G_BEGIN_DECLS

typedef struct Scenario Scenario;

Scenario *scenario_new(void);
void scenario_free(Scenario *scenario);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scenario, scenario_free)

/* Run one line, and return what happened as text; owned by the caller. Commands:
 *
 *   nodes COUNT [BYTES]    make COUNT controllers that vote, 1..COUNT; at most BYTES of entries in a message
 *   tick ID [TIMES]        time passes at ID
 *   propose ID TEXT        a proposal at ID
 *   write ID               the oldest write of ID becomes durable
 *   deliver FROM TO        the oldest message on its way from FROM to TO arrives
 *   drop FROM TO           it is lost
 *   cut ID / heal ID       messages from and to ID are lost from now on / no more
 *   settle                 writes and messages go on until nothing is left
 *   crash ID               ID ends: writes that were not durable are lost; and starts again from its disk
 *   compact ID INDEX       a snapshot of ID up to INDEX is durable
 *   show ID                role, term, marks and log of ID */
char *scenario_run(Scenario *scenario, const char *line);

G_END_DECLS
