/* Where partitions go: what a command line says of it, and plans for a whole topic. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* One partition's new replicas. */
typedef struct {
  gint32 partition;
  GArray *replicas; /* of gint32, the preferred leader first */
} PlannedMove;

typedef GArray MovePlan; /* of PlannedMove */

MovePlan *move_plan_new(void);
void move_plan_free(MovePlan *plan); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MovePlan, move_plan_free)

/* Add "PARTITION=BROKER,BROKER,...". Returns NULL, or INVALID_FIELD: malformed, or a partition or a broker twice. */
Failure *move_plan_add_words(MovePlan *plan, const char *words);

/* What a plan shall reach. */
typedef struct {
  gint32 away_from;           /* a broker that shall hold nothing of the topic; -1: none */
  guint32 replication_factor; /* 0: as it is */
} MoveWish;

/* Plan as few moves as the wish needs, and none for partitions that are so already (or on their way there).
 *
 * Replicas keep their places; one that is added stands in a rack that the partition is not in yet, while there is one,
 * and holds the fewest replicas of those. Of several too many the last one in a rack that others stand in as well goes,
 * fenced brokers first.
 * @brokers: all of the cluster
 *
 * Returns NULL, or NOT_ENOUGH_BROKERS. */
Failure *move_plan_make(const MilenaTopic *topic, const MilenaBrokerList *brokers, const MoveWish *wish,
                        MovePlan *plan);

/* Would one rack's loss take two replicas of a partition, though a broker that could hold one stands in a rack without?
 * Brokers without a rack stand alone.
 *
 * Returns NULL, or INVALID_FIELD that names them. */
Failure *move_plan_check_racks(const MovePlan *plan, const MilenaBrokerList *brokers);

G_END_DECLS
