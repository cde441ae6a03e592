/* Ways to the brokers that lead partitions of __consumer_offsets: one ProduceStream to each, for the batches of all
 * partitions that it leads. What is sent to one broker arrives there in its order.
 *
 * Thread: the loop given at the start. */
#pragma once

#include "services/base/loop.h"
#include "services/rpc/client.h"
#include "storage/log/batch.h"

G_BEGIN_DECLS

typedef struct BrokerLinks BrokerLinks;
typedef struct BrokerAppend BrokerAppend; /* a batch on its way */

/* Where a batch is to go. All borrowed for the call. */
typedef struct {
  const char *address; /* the leader's peer address */
  const char *topic, *topic_id;
  gint32 partition;
} BrokerTarget;

typedef struct {
  gint64 base_offset;
  gint64 log_start_offset;
} BrokerReceipt;

/* What became of a batch. Exactly one of the two is set; both borrowed. UNKNOWN_OUTCOME when the link broke under it.
 */
typedef void (*BrokerAppendDone)(const BrokerReceipt *receipt, const Failure *failure, gpointer data);

/* @timeout_ms: how long a leader waits for the other replicas, before it says that it does not know */
BrokerLinks *broker_links_new(RpcClient *client, Loop *loop, gint64 timeout_ms);
/* No append is under way. NULL is fine. */
void broker_links_free(BrokerLinks *links);

/* Send a batch.
 *
 * @batch: borrowed; its bytes are referenced
 * @done: called once, later, unless it is abandoned before; then the append is gone
 *
 * Returns the append, to abandon it. */
BrokerAppend *broker_links_append(BrokerLinks *links, const BrokerTarget *target, const LogBatch *batch,
                                  BrokerAppendDone done, gpointer data);
/* Hear no more of it: what was sent may be written all the same. */
void broker_append_abandon(BrokerAppend *append);

G_END_DECLS
