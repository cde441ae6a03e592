/* Groups driven by commands, telling all that happens: for scenario files. Members remember what they were told last,
 * and say it with the next heartbeat, as a real one does. */
#pragma once

#include "tests/unit/groups/fake_host.h"

G_BEGIN_DECLS

typedef struct Scenario Scenario;

Scenario *scenario_new(void);
void scenario_free(Scenario *scenario);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scenario, scenario_free)

/* Run one line, and return what happened as text; owned by the caller. A group is named G, a member M. Commands:
 *
 *   topic NAME COUNT            it is made, or grows; `topic NAME gone`: it is deleted; the groups hear of it
 *   silent topic NAME COUNT     the same, and the groups do not hear of it
 *   racks COUNT                 leaders are in so many racks
 *   end OFFSET                  the end of every partition, as far as the host knows
 *   join G M WORDS              topics=a,b pattern=P instance=I rack=R wait=MS rebalance=MS reset=none client=C
 *   beat G M WORDS              the same words; epoch=N version=N (0: it does not say), owned=t:0,1;u:2 or owned=all
 *                               (what it was told last) or owned=none, tell
 *   leave G M [return]          epoch=N
 *   commit G M T:P=OFFSET ...   M is - for nobody; epoch=N, leader=N, metadata=TEXT or metadata=*N (so many bytes)
 *   fetch G [T:P,P ...]         list [after=G] [limit=N] [empty|stable|reconciling]        get G
 *   update G WORDS              session=MS interval=MS assignor=range retention=MS members=N, check
 *   reset G [T:P,P ...] WORDS   to=earliest|latest|N|time, shift=N, offsets T:P=OFFSET ..., check
 *   forget-offsets G T:P,P ...  delete G
 *   abandon M                   nobody waits any more for the heartbeat that M holds
 *   hold                        inputs from now on come together, until `go`
 *   pass MS                     time passes, turn by turn
 *   reload [CUT]                another coordinator takes over, from the log without its last CUT records
 *   compact                     of each key the last record stays in the log, and no tombstone
 *
 * What happens: "+" a record, "M:" an answer. */
char *scenario_run(Scenario *scenario, const char *line);

G_END_DECLS
