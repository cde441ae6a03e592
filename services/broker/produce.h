/* milena.v1.ProducerService, as a broker serves it: on clients' and on brokers' listeners alike. One Producer for each
 * front, on the front's loop. README.md draws the way of a batch. */
#pragma once

#include "services/broker/front.h"
#include "services/rpc/server.h"

G_BEGIN_DECLS

typedef struct Producer Producer;

/* user_data: the Producer of the loop. Ends with a NULL name. */
extern const RpcMethodHandler PRODUCER_SERVICE_HANDLERS[];

/* @front: borrowed; outlives it. Any thread, before the server starts.
 * @of_peers: it serves other processes of the cluster, which may write Milena's own topics */
Producer *producer_new(Front *front, gboolean of_peers);
/* The broker stops: give back what waits for a leader. On the front's loop. */
void producer_drain(Producer *producer);
/* After the server was drained and everything that it began has ended; on the front's loop. NULL is fine. */
void producer_free(Producer *producer);

G_END_DECLS
