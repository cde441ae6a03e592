/* Every process of a cluster loses its power in the same instant, with all that it had not synced, under load; then
 * they are started in any order. Nothing that was acknowledged is missing, and all partitions are led again. */
#include "tests/chaos/fleet.h"
#include "tests/chaos/programs.h"
#include "tests/chaos/records/anomalies.h"
#include "tests/chaos/surgeon.h"
#include "tests/chaos/traffic/traffic.h"
#include "tests/shim/shim.h"

#define CONTROLLERS 3
#define BROKERS 3
#define NODES (CONTROLLERS + BROKERS)
#define WAIT_S 90
#define BETWEEN_MS 300 /* from one start to the next, so that the first ones find themselves alone */

static const struct {
  const char *name;
  guint order[NODES]; /* controllers are 0 to 2, brokers 3 to 5 */
} ORDERS[] = {
    {"brokers_first", {5, 3, 4, 2, 0, 1}},
    {"controllers_first", {1, 2, 0, 4, 5, 3}},
    {"in_turns", {3, 0, 5, 2, 4, 1}},
};

typedef struct {
  Net *net;
  Fleet *fleet;
  Traffic *traffic;
} World;

static void world_clear(World *world) {
  if (world->traffic)
    traffic_stop(world->traffic);
  traffic_free(world->traffic);
  fleet_free(world->fleet);
  net_free(world->net);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* Returns NULL or what is wrong; owned by the caller. */
static char *world_init(World *world) {
  g_autofree char *programs = programs_folder(shim_temp_dir());
  g_autofree char *preload = g_canonicalize_filename(shim_source_path("tests/crash/liblose_unsynced.so"), NULL);
  world->net = net_new_loopback(NODES);
  FleetOptions options = {.net = world->net,
                          .programs = programs,
                          .preload = preload,
                          .folder = shim_temp_dir(),
                          .controllers = CONTROLLERS,
                          .brokers = BROKERS,
                          .seed = 1};
  world->fleet = fleet_new(&options);
  for (guint i = 0; i < NODES; i++)
    fleet_start(world->fleet, i);
  char *wrong = surgeon_bootstrap(world->fleet, CONTROLLERS);
  if (wrong)
    return wrong;
  const char *addresses[BROKERS];
  for (guint i = 0; i < BROKERS; i++)
    addresses[i] = fleet_client_address(world->fleet, CONTROLLERS + i);
  TrafficOptions traffic = {addresses, BROKERS, "always", 1};
  world->traffic = traffic_new(&traffic);
  return traffic_start(world->traffic);
}

/* Every partition takes a record that is sent from now on. */
static gboolean writes_go_on(World *world) {
  gint64 since_us = g_get_monotonic_time();
  while (g_get_monotonic_time() - since_us < WAIT_S * G_USEC_PER_SEC) {
    if (traffic_is_acknowledged(world->traffic, TRAFFIC_ALL, since_us))
      return TRUE;
    g_usleep(10000);
  }
  return FALSE;
}

#define ASSERT_NOTHING_WRONG(wrong)                                                                                    \
  do {                                                                                                                 \
    g_autofree char *wrong_ = (wrong);                                                                                 \
    if (wrong_)                                                                                                        \
      FAIL("%s", wrong_);                                                                                              \
  } while (0)

TEST_ROWS(power_cut_of_everything_then_started, ORDERS) {
  g_auto(World) world = {0};
  ASSERT_NOTHING_WRONG(world_init(&world));
  ASSERT_TRUE(writes_go_on(&world));
  guint64 lost_bytes = 0;
  for (guint i = 0; i < NODES; i++)
    fleet_freeze(world.fleet, i);
  for (guint i = 0; i < NODES; i++)
    lost_bytes += fleet_kill(world.fleet, i, TRUE);
  EXPECT_TRUE(lost_bytes > 0);
  for (guint i = 0; i < NODES; i++) {
    fleet_start(world.fleet, ORDERS[row].order[i]);
    g_usleep(BETWEEN_MS * 1000);
  }
  if (!EXPECT_TRUE(writes_go_on(&world))) {
    g_autofree char *silent = traffic_silent_partitions(world.traffic, 0);
    FAIL("partitions that never took anything: %s", silent);
  }
  ASSERT_NOTHING_WRONG(fleet_look(world.fleet));
  traffic_stop_writing(world.traffic, TRAFFIC_FLUSH_MS);
  ASSERT_NOTHING_WRONG(traffic_settle(world.traffic, WAIT_S));
  traffic_stop(world.traffic);
  ASSERT_NOTHING_WRONG(traffic_read_all(world.traffic));
  g_autoptr(GString) explain = g_string_new(NULL);
  AnomalyReport report;
  if (anomalies_find(traffic_ledger(world.traffic), explain, &report) > 0)
    FAIL("%s", explain->str);
  EXPECT_TRUE(report.acknowledged > 0);
  EXPECT_TRUE(traffic_trouble(world.traffic) == NULL);
}
