/* A whole controller in the test's process, and a client of it. pthread's locks, since ThreadSanitizer can't see into
 * glib's. */
#pragma once

#include <pthread.h>
#include <time.h>

#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "services/controller/controller.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct {
  Controller *controller;
  RpcClient *client;
  ControllerOptions options;
  char *folder;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  gboolean ready;
} Fixture;

/* When a wait is given up, for pthread_cond_timedwait. */
struct timespec fixture_deadline(void);
void fixture_init(Fixture *fixture, gint64 session_timeout_ms);
void fixture_start(Fixture *fixture); /* and wait until it is ready */
void fixture_stop(Fixture *fixture);
void fixture_clear(Fixture *fixture);

/* Call a method. @peer: on the peers' listener. @ret_response: may be NULL. */
Failure *fixture_call(Fixture *fixture, gboolean peer, const ProtobufCServiceDescriptor *service, const char *method,
                      const ProtobufCMessage *request, RpcMessage **ret_response);

Milena__Internal__V1__RegisterNodeRequest fixture_registration(gint32 id, guint8 folder, guint8 process);
Failure *fixture_register(Fixture *fixture, const Milena__Internal__V1__RegisterNodeRequest *request,
                          guint64 *ret_epoch);
Failure *fixture_heartbeat(Fixture *fixture, gint32 id, guint64 epoch, gboolean shutting_down, gboolean *ret_fenced,
                           gboolean *ret_may_stop);
/* Register broker @id and unfence it; returns its epoch. */
guint64 fixture_add_broker(Fixture *fixture, gint32 id);
Failure *fixture_create_topic(Fixture *fixture, const char *name, guint32 partitions);
/* One partition's leader as GetTopic tells it; -2 when the topic is not there. */
gint32 fixture_leader(Fixture *fixture, const char *topic, guint partition);

G_END_DECLS
