/* Open calls: see registry.h. A list of embedded links under a mutex, and a condition for "none is left". */
#include "services/rpc/registry.h"

#include <pthread.h>

#include "services/base/cond.h"

struct RpcRegistry {
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t empty;
  GQueue calls;
};

RpcRegistry *rpc_registry_new(void) {
  RpcRegistry *registry = g_new0(RpcRegistry, 1);
  pthread_mutex_init(&registry->mutex, NULL);
  cond_init_monotonic(&registry->empty);
  g_queue_init(&registry->calls);
  return registry;
}

void rpc_registry_free(RpcRegistry *registry) {
  pthread_cond_destroy(&registry->empty);
  pthread_mutex_destroy(&registry->mutex);
  g_free(registry);
}

void rpc_registry_add(RpcRegistry *registry, GList *link) {
  pthread_mutex_lock(&registry->mutex);
  g_queue_push_tail_link(&registry->calls, link);
  pthread_mutex_unlock(&registry->mutex);
}

void rpc_registry_remove(RpcRegistry *registry, GList *link) {
  pthread_mutex_lock(&registry->mutex);
  g_queue_unlink(&registry->calls, link);
  if (!registry->calls.length)
    pthread_cond_broadcast(&registry->empty);
  pthread_mutex_unlock(&registry->mutex);
}

void rpc_registry_visit(RpcRegistry *registry, void (*visit)(gpointer call, gpointer data), gpointer data) {
  pthread_mutex_lock(&registry->mutex);
  for (GList *link = registry->calls.head; link; link = link->next)
    visit(link->data, data);
  pthread_mutex_unlock(&registry->mutex);
}

guint rpc_registry_wait_empty(RpcRegistry *registry, guint64 timeout_ms) {
  gint64 deadline_us = g_get_monotonic_time() + (gint64)MIN(timeout_ms, G_MAXINT32) * G_TIME_SPAN_MILLISECOND;
  pthread_mutex_lock(&registry->mutex);
  gboolean in_time = TRUE;
  while (registry->calls.length && in_time)
    in_time = cond_wait_until(&registry->empty, &registry->mutex, deadline_us);
  guint left = registry->calls.length;
  pthread_mutex_unlock(&registry->mutex);
  return left;
}
