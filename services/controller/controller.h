/* One controller in one process: its folder, its host, its two listeners. What main() and the tests start.
 *
 *   controller_start: listening ──► folder opened ──► waits for a cluster, or takes part in one: `ready` is called
 *   controller_stop:  handed over ──► drained ──► stopped ──► folder closed
 *
 * Threads: start and stop from one thread, outside of any loop; they block. */
#pragma once

#include "services/base/failure.h"

G_BEGIN_DECLS

typedef struct Controller Controller;

typedef struct {
  gint32 id;                              /* from 1 */
  const char *listen, *peer_listen;       /* host:port; port 0 for any */
  const char *advertise, *peer_advertise; /* "": where it listens */
  const char *data_dir;
  gboolean create_data_dir; /* make the folder when it is missing */
  const char *controllers;  /* "2=host:port,3=host:port": more addresses of the others; "" for none; NULL likewise */
  gboolean bootstrap;       /* begin a new cluster of this controller alone when the folder is empty */
  const char *cluster_id;   /* "" for any */
  gint64 session_timeout_ms, heartbeat_interval_ms;
  gint64 balance_interval_ms; /* how often leaderships go back to preferred replicas; 0: never by themselves */
  guint election_timeout_ms;  /* see HostOptions; 0: the default */
  guint snapshot_entries;     /* a snapshot after so many entries of the log */
  guint group_partitions;     /* of __consumer_offsets, when it is made; 0: 50 */
  guint drain_grace_ms;       /* for calls in progress, at the stop */
  /* It waits for its cluster, or it takes part and there is an active one (itself, when it is the only one). Once, on
   * the controller's loop. */
  void (*ready)(Controller *controller, gpointer data);
  gpointer data;
} ControllerOptions;

/* @options: copied; its strings are borrowed until controller_stop
 * Returns NULL, or why it can't start: then nothing is left behind. */
Failure *controller_start(const ControllerOptions *options, Controller **ret_controller);
void controller_stop(Controller *controller); /* frees it; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Controller, controller_stop)

/* As advertised: host:port; borrowed. */
const char *controller_address(const Controller *controller);
const char *controller_peer_address(const Controller *controller);
/* It belongs to no cluster yet. Not on the controller's loop. */
gboolean controller_is_waiting(const Controller *controller);

G_END_DECLS
