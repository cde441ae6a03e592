/* Asks the leaders of partitions for offsets: ends, starts, times. One ListOffsets for each leader, or some.
 *
 * Thread: the coordinator's loop. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/loop.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct {
  char *topic, *topic_id; /* owned by the array; topic_id may be "" */
  gint32 partition;
  gboolean is_time;
  Milena__V1__LogEnd end; /* unless is_time */
  gint64 time_ms;
  guint user; /* the asker's own */

  gint64 offset;    /* the answer */
  Failure *failure; /* or why there is none; owned by the array */
} EndsQuery;

/* An array of EndsQuery that owns what is in them. */
GArray *ends_queries_new(void);
void ends_query_end(GArray *queries, const char *topic, const char *topic_id, gint32 partition, Milena__V1__LogEnd end,
                    guint user);
void ends_query_time(GArray *queries, const char *topic, const char *topic_id, gint32 partition, gint64 time_ms,
                     guint user);

typedef struct EndsAsk EndsAsk;
/* Every query has its answer. The ask is gone after this. */
typedef void (*EndsDone)(const GArray *queries, gpointer data);

/* Ask.
 *
 * @image: who leads what
 * @queries: taken
 * @timeout_ms: what was not answered by then has a failure
 * @done: called once, later
 *
 * Returns the ask, to abandon it. */
EndsAsk *ends_ask(RpcClient *client, Loop *loop, const MetadataImage *image, GArray *queries, gint64 timeout_ms,
                  EndsDone done, gpointer data);
/* NULL is fine. */
void ends_abandon(EndsAsk *ask);

G_END_DECLS
