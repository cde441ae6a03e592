/* Many finds: see resolve.h. State: finds before `started` were started, `ended` of them have ended. */
#include "services/broker/read/resolve.h"

#include "services/base/invariant.h"

#define IN_FLIGHT_MAX 64

struct Resolver {
  Front *front;
  GPtrArray *finds;
  guint started, ended;
  void (*done)(gpointer user_data);
  gpointer user_data;
};

static void find_done(SourceFind *find, gpointer data);

static void start_more(Resolver *resolver) {
  while (resolver->started < resolver->finds->len && resolver->started - resolver->ended < IN_FLIGHT_MAX) {
    SourceFind *find = g_ptr_array_index(resolver->finds, resolver->started++);
    find->done = find_done;
    find->user_data = resolver;
    source_find_start(find, resolver->front);
  }
}

static void find_done(SourceFind *find, gpointer data) {
  (void)find;
  Resolver *resolver = data;
  resolver->ended++;
  if (resolver->ended == resolver->finds->len)
    resolver->done(resolver->user_data);
  else
    start_more(resolver);
}

Resolver *resolver_new(Front *front, GPtrArray *finds, void (*done)(gpointer user_data), gpointer user_data) {
  INVARIANT(finds->len > 0, "done comes from the last find");
  Resolver *resolver = g_new0(Resolver, 1);
  resolver->front = front;
  resolver->finds = finds;
  resolver->done = done;
  resolver->user_data = user_data;
  start_more(resolver);
  return resolver;
}

void resolver_free(Resolver *resolver) {
  g_free(resolver);
}

const Failure *resolver_failure(const Resolver *resolver) {
  for (guint i = 0; i < resolver->finds->len; i++) {
    const SourceFind *find = g_ptr_array_index(resolver->finds, i);
    if (find->failure != NULL)
      return find->failure;
  }
  return NULL;
}

SourceFind *resolver_find_new(const char *topic, const char *topic_id, gint32 partition, Place place,
                              gint64 deadline_us) {
  SourceFind *find = source_find_new();
  find->target =
      (SourceTarget){.topic = topic, .topic_id = topic_id, .partition = partition, .deadline_us = deadline_us};
  find->place = place;
  return find;
}
