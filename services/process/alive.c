/* See alive.h. A thread of its own hands each loop a task every few seconds and looks how long the last one waits: a
 * loop that hangs, in a deadlock or in a call that never returns, can't say so itself.
 *
 * State: a probe for each loop, under a mutex that is held for moments. */
#include "services/process/alive.h"

#include <pthread.h>

#include "services/base/cond.h"
#include "services/base/slog.h"

/* So often it looks while a loop may hang. */
#define LOOKS 15

typedef struct {
  LoopTask task;
  Alive *alive;
  Loop *loop;
  gint64 posted_us; /* 0: it has run */
} Probe;

struct Alive {
  RpcServer **servers;
  guint server_count;
  Probe *probes;
  guint probe_count;
  gint64 hangs_us;
  GThread *thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  gboolean stops;
  gboolean serving;
};

static void on_probe(LoopTask *task) {
  Probe *probe = (Probe *)((char *)task - G_STRUCT_OFFSET(Probe, task));
  pthread_mutex_lock(&probe->alive->mutex);
  probe->posted_us = 0;
  pthread_cond_broadcast(&probe->alive->changed);
  pthread_mutex_unlock(&probe->alive->mutex);
}

/* Returns whether all loops ran lately. The mutex is held. */
static gboolean look(Alive *alive, gint64 now_us) {
  gboolean serving = TRUE;
  for (guint i = 0; i < alive->probe_count; i++) {
    Probe *probe = &alive->probes[i];
    if (probe->posted_us == 0) {
      probe->posted_us = now_us;
      loop_post_completion(probe->loop, &probe->task);
    } else if (now_us - probe->posted_us > alive->hangs_us) {
      serving = FALSE;
    }
  }
  return serving;
}

static void tell(Alive *alive, gboolean serving) {
  if (!serving)
    slog_error("a loop hangs: this process should be restarted", NULL);
  for (guint i = 0; i < alive->server_count; i++)
    rpc_server_set_health(alive->servers[i], ALIVE_SERVICE, serving);
}

static gpointer run(gpointer data) {
  Alive *alive = data;
  pthread_mutex_lock(&alive->mutex);
  while (!alive->stops) {
    gint64 now_us = g_get_monotonic_time();
    gboolean serving = look(alive, now_us);
    if (serving != alive->serving) {
      alive->serving = serving;
      tell(alive, serving);
    }
    while (!alive->stops && cond_wait_until(&alive->changed, &alive->mutex, now_us + alive->hangs_us / LOOKS))
      ;
  }
  pthread_mutex_unlock(&alive->mutex);
  return NULL;
}

Alive *alive_new(RpcServer *const *servers, guint server_count, Loop *const *loops, guint loop_count, guint hangs_ms) {
  Alive *alive = g_new0(Alive, 1);
  alive->servers = g_memdup2(servers, server_count * sizeof *servers);
  alive->server_count = server_count;
  alive->hangs_us = hangs_ms * (gint64)G_TIME_SPAN_MILLISECOND;
  alive->probes = g_new0(Probe, loop_count);
  alive->probe_count = loop_count;
  for (guint i = 0; i < loop_count; i++)
    alive->probes[i] = (Probe){.task.run = on_probe, .alive = alive, .loop = loops[i]};
  pthread_mutex_init(&alive->mutex, NULL);
  cond_init_monotonic(&alive->changed);
  alive->serving = TRUE;
  tell(alive, TRUE);
  alive->thread = g_thread_new("alive", run, alive);
  return alive;
}

static gboolean probes_are_out(const Alive *alive) {
  for (guint i = 0; i < alive->probe_count; i++)
    if (alive->probes[i].posted_us != 0)
      return TRUE;
  return FALSE;
}

void alive_free(Alive *alive) {
  if (!alive)
    return;
  pthread_mutex_lock(&alive->mutex);
  alive->stops = TRUE;
  pthread_cond_broadcast(&alive->changed);
  pthread_mutex_unlock(&alive->mutex);
  g_thread_join(alive->thread);
  pthread_mutex_lock(&alive->mutex);
  while (probes_are_out(alive)) /* they point into this */
    cond_wait_until(&alive->changed, &alive->mutex, G_MAXINT64);
  pthread_mutex_unlock(&alive->mutex);
  pthread_cond_destroy(&alive->changed);
  pthread_mutex_destroy(&alive->mutex);
  g_free(alive->probes);
  g_free(alive->servers);
  g_free(alive);
}
