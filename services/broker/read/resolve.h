/* Many finds at once, a bounded number in flight: where streams start and end, and ListOffsets. Thread: the front's
 * loop. */
#pragma once

#include "services/broker/read/source.h"

G_BEGIN_DECLS

typedef struct Resolver Resolver;

/* Run all finds.
 *
 * @finds: of SourceFind *, at least one, filled in but for done and user_data; borrowed, must outlive the resolver
 * @done: called once, when each has ended, well or not; later than this returns */
Resolver *resolver_new(Front *front, GPtrArray *finds, void (*done)(gpointer user_data), gpointer user_data);
/* `done` is not called any more. Finds in flight stay so until they are freed: free them next. NULL is fine. */
void resolver_free(Resolver *resolver);
/* The first failure among the finds, borrowed; NULL when there is none. */
const Failure *resolver_failure(const Resolver *resolver);

/* A filled-in find; owned by the caller. @topic and @topic_id: borrowed until it has started. */
SourceFind *resolver_find_new(const char *topic, const char *topic_id, gint32 partition, Place place,
                              gint64 deadline_us);

G_END_DECLS
