/* Shared by the client library's tests. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "tests/shim/shim.h"
#include "tests/unit/client/fake_cluster.h"

/* What every test works with. */
typedef struct {
  FakeCluster *cluster;
  MilenaClient *client;
} World;

/* @broker_count brokers, topic "t" with @partition_count partitions, and a client with short pauses. */
World world_new(guint broker_count, guint partition_count);
void world_clear(World *world);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* A record for topic "t". @key: NULL for none. */
MilenaRecord record_of(const char *key, const char *value, gint32 partition);
/* Wait up to 10 s until @condition(data) holds. */
gboolean wait_for(gboolean (*condition)(gpointer data), gpointer data);

/* What deliveries said; the callback takes a Deliveries *. */
typedef struct {
  gint delivered, failed, unknown; /* atomic */
  gint64 last_offset;              /* of a single partition; -1 at first */
  gint out_of_order;
  char reason[64]; /* of the latest error */
} Deliveries;
#define DELIVERIES_INIT                                                                                                \
  { .last_offset = -1 }
void count_delivery(const MilenaDelivery *delivery, void *user_data);

/* The reason's name of @error, which is freed; "OK" for NULL. Valid until the next call. */
const char *reason_of(MilenaError *error);
