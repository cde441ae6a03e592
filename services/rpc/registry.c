/* Open calls: see registry.h. A list of embedded links under a mutex, and a condition for "none is left". */
#include "services/rpc/registry.h"

#include <pthread.h>
#include <time.h>

struct RpcRegistry {
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t empty;
  GQueue calls;
};

RpcRegistry *rpc_registry_new(void) {
  RpcRegistry *registry = g_new0(RpcRegistry, 1);
  pthread_mutex_init(&registry->mutex, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&registry->empty, &attributes);
  pthread_condattr_destroy(&attributes);
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
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  guint64 nanoseconds = until.tv_nsec + (timeout_ms % 1000) * 1000000;
  until.tv_sec += timeout_ms / 1000 + nanoseconds / 1000000000;
  until.tv_nsec = nanoseconds % 1000000000;
  pthread_mutex_lock(&registry->mutex);
  int rc = 0;
  while (registry->calls.length && rc == 0)
    rc = pthread_cond_timedwait(&registry->empty, &registry->mutex, &until);
  guint left = registry->calls.length;
  pthread_mutex_unlock(&registry->mutex);
  return left;
}
