/* A coordinator: the leases that it has, and the groups in them, behind GroupService.
 *
 *   started ──image: leases are ours──► tenures ──► calls are served ──coordinator_drain──► appends end ──► drained
 *
 * Thread: its loop, unless it says otherwise. */
#pragma once

#include "controller/metadata/image.h"
#include "services/base/loop.h"
#include "services/membership/membership.h"
#include "services/rpc/client.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Coordinator Coordinator;

typedef struct {
  Loop *loop;
  RpcClient *client;
  gint64 append_timeout_ms; /* how long a record is tried to be written, before its partition is given back */
} CoordinatorOptions;

/* What it borrows outlives it. Any thread, before the loop runs. */
Coordinator *coordinator_new(const CoordinatorOptions *options);
/* NULL is fine. */
void coordinator_free(Coordinator *coordinator);
/* GroupService. Before the server starts; any thread. */
void coordinator_serve(Coordinator *coordinator, RpcServer *server);

/* What the membership says; @membership is asked whether the session goes on. */
void coordinator_set_membership(Coordinator *coordinator, const Membership *membership);
void coordinator_set_registered(Coordinator *coordinator, gint32 id, guint64 epoch);
void coordinator_set_image(Coordinator *coordinator, MetadataImage *image);
void coordinator_set_controller(Coordinator *coordinator, const char *peer_address);

/* Take no more calls, answer those that are held, and call @drained once all that was decided is written, or after
 * @timeout_ms. The leases go to others when the membership leaves. */
void coordinator_drain(Coordinator *coordinator, guint timeout_ms, void (*drained)(gpointer data), gpointer data);

G_END_DECLS
