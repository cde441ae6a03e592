#include "client/cli/partition_health.h"

#include "tests/shim/shim.h"

static const struct {
  const char *name;
  int32_t leader;
  int32_t replicas[5], in_sync[5], target[5]; /* end with 0 */
  guint min_insync;
  const char *says;
  gboolean under_replicated;
  guint moved;
} HEALTHS[] = {
    {"all_well", 1, {1, 2, 3}, {1, 2, 3}, {0}, 2, "ok", FALSE, 0},
    {"one_is_away", 1, {1, 2, 3}, {1, 3}, {0}, 2, "under-replicated", TRUE, 0},
    {"two_are_away", 1, {1, 2, 3}, {1}, {0}, 2, "below minimum", TRUE, 0},
    {"nobody_leads", -1, {1, 2, 3}, {1}, {0}, 2, "no leader", TRUE, 0},
    {"new_replicas_catch_up", 1, {3, 4, 1, 2}, {1, 2}, {3, 4}, 2, "moving", FALSE, 0},
    {"one_has_caught_up", 1, {3, 4, 1, 2}, {1, 2, 4}, {3, 4}, 2, "moving", FALSE, 1},
    {"an_old_one_is_away", 1, {3, 4, 1, 2}, {1, 4}, {3, 4}, 2, "under-replicated", TRUE, 1},
};

static gsize count_ids(const int32_t *ids) {
  gsize count = 0;
  while (ids[count])
    count++;
  return count;
}

TEST_ROWS(partition_health, HEALTHS) {
  MilenaPartition partition = {
      .leader_id = HEALTHS[row].leader,
      .replicas = (int32_t *)HEALTHS[row].replicas,
      .replica_count = count_ids(HEALTHS[row].replicas),
      .in_sync_replicas = (int32_t *)HEALTHS[row].in_sync,
      .in_sync_replica_count = count_ids(HEALTHS[row].in_sync),
      .target_replicas = (int32_t *)HEALTHS[row].target,
      .target_replica_count = count_ids(HEALTHS[row].target),
  };
  EXPECT_EQ_STR(HEALTHS[row].says, partition_health_name(partition_health(&partition, HEALTHS[row].min_insync)));
  EXPECT_EQ_INT(HEALTHS[row].under_replicated, partition_is_under_replicated(&partition));
  EXPECT_EQ_INT(HEALTHS[row].moved, partition_moved(&partition));
}
