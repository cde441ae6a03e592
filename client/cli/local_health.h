/* Whether a process of a local cluster serves: grpc.health.v1. Blocking; one thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* From the best to the worst. */
typedef enum {
  HEALTH_SERVING,
  HEALTH_NOT_SERVING, /* it answers, and does not take calls yet, or no more */
  HEALTH_SILENT,      /* nobody answers there */
} Health;

typedef struct HealthClient HealthClient;

HealthClient *health_client_new(void);
void health_client_free(HealthClient *client); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HealthClient, health_client_free)

/* Somebody listens on this port of 127.0.0.1. */
gboolean health_is_listening(guint16 port);
/* Ask the process at this port of 127.0.0.1, once. */
Health health_check(HealthClient *client, guint16 port, guint timeout_ms);

G_END_DECLS
