/* The soak's traffic: one producer at a bounded rate, and members of a group that read along and commit. Each has a
 * client and a thread of its own. */
#pragma once

#include <milena/group.h>

#include "tests/cluster/load.h"

G_BEGIN_DECLS

typedef struct {
  const Cluster *cluster;
  guint brokers;
  const char *topic, *group; /* live as long as the traffic */
  guint members;
  guint bytes_per_s;
  guint commit_ms;
} TrafficOptions;

typedef struct Traffic Traffic;

Traffic *traffic_start(const TrafficOptions *options);
/* Any thread. */
guint64 traffic_written(Traffic *traffic);  /* records that were acknowledged */
guint64 traffic_read(Traffic *traffic);     /* by all members together */
guint64 traffic_troubles(Traffic *traffic); /* records that failed, and polls */
/* The first of them; borrowed until traffic_free; NULL: there was none. */
const char *traffic_first_trouble(Traffic *traffic);
/* No more is written; what was sent is answered. The members read on. */
void traffic_stop_writing(Traffic *traffic);
/* Stops all. NULL is fine. */
void traffic_free(Traffic *traffic);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Traffic, traffic_free)

G_END_DECLS
