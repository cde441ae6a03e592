/* A shard's inside: for the files of the broker's core. Everything but the constants belongs to the shard's loop. */
#pragma once

#include "services/broker/broker.h"
#include "services/broker/replication/replication.h"
#include "services/broker/shard.h"
#include "storage/log/producers.h"
#include "storage/log/tail_cache.h"

G_BEGIN_DECLS

struct Shard {
  /* Constant. */
  Broker *broker;
  guint index;
  Loop *loop;

  Timers *timers;
  GHashTable *partitions; /* guint64 * in the Partition → Partition, owned */
  LogTailCache *cache;
  MetadataImage *image; /* that the partitions follow: a reference; NULL before the first */
  guint64 broker_epoch; /* of this process's registration, that came with the image */
  Front *front;
  Replication *replication;
  struct Retention *retention;
  /* Of the shard's partitions, as the latest look found it, for all shards' looks; or LOG_RETENTION_NONE. */
  _Atomic gint64 shortest_retention_ms, shortest_retention_bytes;
  Timer producers_timer; /* the next sweep for idle producers */
};

/* @mailbox_max, @cache_bytes: of this shard. Its loop is not started yet. */
Shard *shard_new(Broker *broker, guint index, guint mailbox_max, gsize cache_bytes);
void shard_start(Shard *shard);
/* End its loop, after what is in its mailbox. */
void shard_stop(Shard *shard);
/* Its loop was stopped by this thread, or never started. NULL is fine. */
void shard_free(Shard *shard);
/* Make, change and doom partitions after @image. @broker_epoch: epoch of this process's registration; 0: none yet. */
void shard_apply_image(Shard *shard, MetadataImage *image, guint64 broker_epoch);
/* Take a log over that the store has; before the loop starts. @damage: NULL, or why it can't be written */
void shard_recover(Shard *shard, guint64 log_id, const LogHot *hot, const Failure *damage);
/* What a log of the store remembers of a producer; behind shard_recover. @failure: that it can't be read, then
 * @producer is NULL */
void shard_recover_producer(Shard *shard, guint64 log_id, const LogProducer *producer, const Failure *failure);
/* Lead nothing any more: whoever waits is told. */
void shard_retire(Shard *shard);

G_END_DECLS
