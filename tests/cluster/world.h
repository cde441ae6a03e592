/* A cluster of real processes and a client of it: what the tests of replication share. Short sessions, so a broker that
 * freezes is missed soon; leaderships stay where they are until the test moves them. */
#pragma once

#include "tests/cluster/load.h"
#include "tests/shim/shim.h"

G_BEGIN_DECLS

#define WORLD_CALL_MS 20000
#define WORLD_WAIT_MS 60000
#define WORLD_SESSION_MS 2000

typedef struct {
  Cluster *cluster;
  MilenaClient *client;
  guint brokers, controllers;
} World;

/* @world: zeroed before. Returns FALSE, after a test failure, when the cluster does not come up. */
gboolean world_init(World *world, guint controllers, guint brokers);
void world_clear(World *world);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* A failure of the test where @error is one; taken. Returns whether it is none. */
gboolean world_expect_none(MilenaError *error, const char *file, int line);
#define ASSERT_NO_ERROR(error)                                                                                         \
  do {                                                                                                                 \
    if (!world_expect_none((error), __FILE__, __LINE__))                                                               \
      return;                                                                                                          \
  } while (0)

MilenaError *world_create(World *world, const char *name, guint partitions, guint factor, guint minimum,
                          MilenaFlush flush);
/* -1: nobody, or the topic can't be described. */
gint32 world_leader(World *world, const char *name, guint partition);

/* ---- brokers ---- */

/* "broker-1"; owned by the caller. */
char *world_broker_name(gint32 id);
/* `milena local VERB broker-ID [FLAG]`. @flag: NULL for none */
void world_change_broker(World *world, const char *verb, gint32 id, const char *flag, int line);
#define KILL(world, id) world_change_broker(world, "stop", id, "--kill", __LINE__)
#define STOP(world, id) world_change_broker(world, "stop", id, NULL, __LINE__)
#define START(world, id) world_change_broker(world, "start", id, NULL, __LINE__)
/* `milena local VERB PROCESS [FLAG]`. */
void world_local(World *world, const char *verb, const char *process, const char *flag, int line);

/* ---- waiting ---- */

/* What is waited for of all partitions. */
typedef struct {
  World *world;
  const char *name;
  gint32 not_by;       /* another broker leads; 0: any does */
  gsize least_in_sync; /* so many at least */
  gsize most_in_sync;  /* and at most */
} Wanted;
void world_until(Wanted wanted, int line);
#define UNTIL_LED(world, name, not_by) world_until((Wanted){world, name, not_by, 1, 99}, __LINE__)
#define UNTIL_IN_SYNC(world, name, count) world_until((Wanted){world, name, 0, count, count}, __LINE__)

G_END_DECLS
