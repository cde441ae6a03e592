/* The processes of a cluster under test, its nodes: controllers, each on a host of the network, then brokers, each on a
 * host too, or one outside of it all, then group coordinators, each on a host. Each can be killed, frozen, robbed of
 * what it did not sync or of its whole disk, and started again.
 *
 * A process that ends by itself is noted: expected (a disk that refuses, damage that was found) or not. All processes
 * die with this one. Threads: any; the processes are started by a thread that must live as long as they do. */
#pragma once

#include "tests/chaos/net.h"

G_BEGIN_DECLS

typedef struct Fleet Fleet;

typedef enum { FLEET_DOWN, FLEET_RUNNING, FLEET_FROZEN } FleetState;

typedef struct {
  Net *net;               /* node i is on host i, but for a broker outside; borrowed */
  const char *programs;   /* folder of milena-controller and milena-broker; copied */
  const char *preload;    /* lose_unsynced.so, or NULL: then nothing unsynced can be lost; copied */
  const char *folder;     /* for data and logs; copied */
  guint controllers;      /* nodes 0 to controllers - 1; their ids are one higher */
  guint brokers;          /* the nodes behind them, with ids from 1; 0: one broker, outside */
  guint coordinators;     /* the nodes behind those, with ids from 1; only with brokers on hosts */
  guint snapshot_entries; /* a snapshot after so many entries; 0: 400, so that they are taken and sent all the time */
  guint64 seed;           /* of what is lost and damaged */
} FleetOptions;

Fleet *fleet_new(const FleetOptions *options);
/* Kills what runs. NULL is fine. */
void fleet_free(Fleet *fleet);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fleet, fleet_free)

guint fleet_controllers(const Fleet *fleet);
/* Brokers on hosts of their own; 0 when there is one outside. */
guint fleet_brokers(const Fleet *fleet);
/* The nodes behind the brokers. */
guint fleet_coordinators(const Fleet *fleet);
/* All processes: controllers, then brokers, the one outside too, then coordinators. */
guint fleet_nodes(const Fleet *fleet);
/* "controller-1", "broker-1", "coordinator-1"; borrowed. */
const char *fleet_name(const Fleet *fleet, guint node);
/* Addresses, host:port; borrowed. */
const char *fleet_client_address(const Fleet *fleet, guint node);
const char *fleet_peer_address(const Fleet *fleet, guint node);
/* Paths; owned by the caller. */
char *fleet_data_path(const Fleet *fleet, guint node);
char *fleet_log_path(const Fleet *fleet, guint node);
FleetState fleet_state(Fleet *fleet, guint node);

/* ---- What happens to a node; all do nothing when it is so already ---- */

void fleet_start(Fleet *fleet, guint node);
/* A controller, as a cluster of its own, in an empty folder: for a run with one. */
void fleet_start_alone(Fleet *fleet, guint controller);
/* Its @syncs-th fsync from the start on fails, and it must end with status 74. */
void fleet_start_failing(Fleet *fleet, guint node, guint syncs);
/* It was started so, and its disk has not refused yet. */
gboolean fleet_is_failing(Fleet *fleet, guint node);
/* kill -9. @loses: and what was not synced is taken away, as by a power cut; returns how many bytes */
guint64 fleet_kill(Fleet *fleet, guint node, gboolean loses);
void fleet_freeze(Fleet *fleet, guint node);
void fleet_thaw(Fleet *fleet, guint node);
/* SIGTERM, and wait. Returns its exit status, or -1 when it does not end in time or was not running. */
int fleet_terminate(Fleet *fleet, guint node);
/* Killed, and its folder is empty again. */
void fleet_wipe(Fleet *fleet, guint node);
/* Killed, and one bit of one file of its folder is another. Returns what was changed, owned by the caller. From then on
 * it may refuse to start. */
char *fleet_damage(Fleet *fleet, guint node);
/* It may refuse to start, and did. */
gboolean fleet_has_refused(Fleet *fleet, guint node);

/* Look who has ended. Returns a sentence for one that should not have, owned by the caller, or NULL; call it until
 * then. */
char *fleet_look(Fleet *fleet);
/* How many ended with status 74 after their disk refused. */
guint fleet_disk_refusals(Fleet *fleet);

/* With all that is in it: for what a run leaves behind. */
void fleet_remove_folder(const char *path);

G_END_DECLS
