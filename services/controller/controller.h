/* One controller in one process: its folder, its host, its two listeners. What main() and the tests start.
 *
 *   controller_start: listening ──► folder opened, or bootstrapped ──► elects itself ──► active: `ready` is called
 *   controller_stop:  drained ──► stopped ──► folder closed
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
  gboolean bootstrap;     /* begin a new cluster when the folder is empty */
  const char *cluster_id; /* "" for any */
  gint64 session_timeout_ms, heartbeat_interval_ms;
  guint snapshot_entries; /* a snapshot after so many entries of the log */
  guint drain_grace_ms;   /* for calls in progress, at the stop */
  /* It is active and its addresses are known to the cluster: it serves. Once, on the controller's loop. */
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

G_END_DECLS
