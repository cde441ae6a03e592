/* The broker of this process: what all its shards share. Made before the shards' loops start, constant while they run.
 */
#pragma once

#include <stdatomic.h>

#include "services/broker/disk.h"
#include "services/broker/replica/pacer.h"
#include "services/broker/shard.h"
#include "storage/rocks/log_store.h"

G_BEGIN_DECLS

#define BROKER_ROTATIONS 256

struct Broker {
  gint32 id;
  gint64 orphan_grace_ms;    /* data that the metadata does not know is dropped after so long */
  gint64 producer_expiry_ms; /* a producer that has not written to a partition for so long is forgotten by it */
  gint64 catch_up_rate;      /* bytes a second to replicas that are not in sync; 0: no bound */
  Pacer catch_up;            /* of all that is sent so, on all loops */
  LogStore *store;
  Disk *disk;           /* that the store is on; NULL: nobody looks at it, and there is always room */
  GArray *damaged_logs; /* of guint64: ids of those that were found damaged when the store was opened; NULL: none */
  RpcPollers *pollers;  /* of the client and both servers */
  RpcClient *client;
  guint shard_count;
  Shard **shards;
  gint draining;                    /* atomic flag */
  _Atomic gint64 session_until_us;  /* the controllers do not give its leaderships to others before; monotonic */
  gint appends_in_flight;           /* atomic: begun and not answered, on all loops */
  gint rotations[BROKER_ROTATIONS]; /* atomic: next partition for records without a key, by hash of the topic's id */
};

/* The shard that owns a log. */
static inline Shard *broker_owner(const Broker *broker, guint64 log_id) {
  return broker->shards[log_id % broker->shard_count];
}

G_END_DECLS
