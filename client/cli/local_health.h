/* Whether a process of a local cluster serves: grpc.health.v1. Blocking; one thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  HEALTH_SERVING,
  HEALTH_NOT_SERVING, /* it answers, and does not take calls yet, or no more */
  HEALTH_SILENT,      /* nobody answers there */
} Health;

typedef struct HealthClient HealthClient;

HealthClient *health_client_new(void);
void health_client_free(HealthClient *client); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HealthClient, health_client_free)

/* Ask once. @address: host:port on this machine. */
Health health_check(HealthClient *client, const char *address, guint timeout_ms);

G_END_DECLS
