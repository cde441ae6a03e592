/* A partition on its shard: the host of its replica state machine. All of it belongs to the shard's loop. */
#pragma once

#include "services/broker/partition.h"
#include "services/broker/replica/replica.h"
#include "services/broker/replication/following.h"
#include "services/broker/shard_internal.h"

G_BEGIN_DECLS

/* How the cleaner treats a partition: settings of its topic, and where it stands. */
typedef struct {
  gboolean is_on;
  double min_dirty_ratio;
  gint64 min_lag_ms, delete_retention_ms;
  guint cuts;      /* of the log, so far: what was planned before one is void */
  gint64 again_us; /* monotonic: left alone until then */
} PartitionCompaction;

struct Partition {
  guint64 log_id;
  Shard *shard;
  char *name; /* "orders/3", or the log's id while it is in no topic: for sentences */
  Replica *replica;
  GQueue waiting;   /* of PartitionReadState, by wait_link: until the high watermark moves */
  GQueue followers; /* of PartitionReadState, for followers: until the log's end or the high watermark moves */
  char topic_id[METADATA_ID_BYTES]; /* "" while it is in no topic */
  gint32 number;
  gboolean is_internal; /* of one of Milena's own topics */
  Following following;
  gboolean exists;                      /* in the store */
  gint64 sync_within_ms;                /* of writes that nobody waits to be synced: LogWrite */
  gint64 retention_ms, retention_bytes; /* as the topic says: log_retention_start; LOG_RETENTION_NONE: for ever */
  gint64 saved_start;                   /* the log's start as it is durable */
  gboolean saving_start;                /* .. a higher one is on its way */
  GQueue trims;                         /* of PartitionTrimState, by wait_link: until enough replicas have that start */
  guint writes_in_flight;
  gboolean doomed;   /* in no topic any more: dropped when drop_timer fires */
  gboolean dropping; /* the drop is on its way to the store */
  Timer drop_timer;
  Timer sync_timer; /* the next try of a sync that the store had no room for */
  PartitionCompaction compaction;
  GArray *forgotten; /* of gint64: producers whose records are still in the store; NULL: none */
};

/* The partition's place in the metadata: what a proposal names. FALSE: it is in none. */
gboolean partition_metadata(const Partition *partition, const MetadataPartition **ret_metadata);

/* @recovered, @damage: as the storage found it; NULL: a log that is not in the store */
Partition *partition_new(Shard *shard, guint64 log_id, const LogHot *recovered, const Failure *damage);
void partition_free(gpointer partition);
Partition *partition_lookup(Shard *shard, guint64 log_id);

/* The metadata gives the partition to this broker. @may_lead: this broker is registered and not fenced. */
void partition_assign(Partition *partition, const MetadataTopic *topic, const MetadataPartition *metadata,
                      gboolean may_lead);
/* It is in no topic, or not on this broker: dropped after the broker's grace time. */
void partition_doom(Partition *partition);
/* Lead no more: whoever waits is told. */
void partition_retire(Partition *partition);

/* Forget the producers that were idle since @before_ms. */
void partition_expire_producers(Partition *partition, gint64 before_ms);

/* Act on what an event of the replica came to: answers, waiting reads. */
void partition_settle(Partition *partition, ReplicaOut *out);
PartitionBounds partition_bounds(const Partition *partition);
/* Try again (or give up on) all reads that wait. partition_read.c. */
void partition_wake_reads(Partition *partition);
/* The same for what waits for followers. */
void partition_wake_followers(Partition *partition);
/* The log's first record in the store, in front of its first batch. Returns FALSE when the store is full. */
gboolean partition_submit_create(Partition *partition);
/* Whether the disk has room for a batch of the leader's. */
gboolean partition_has_room_to_follow(const Partition *partition);
/* The replica lets go of an append that came from the leader. */
void partition_release_followed(ReplicaAppend *append);
/* Append batches that the leader sent, in order; @batches: of LogBatch, borrowed. Returns FALSE at the first that does
 * not follow, or when the store is full: ask the leader anew. */
gboolean partition_follow(Partition *partition, gint32 leader_epoch, const GArray *batches);
/* The leader has less of its epoch @epoch: cut what is behind. Returns FALSE when the store is full: ask anew. */
gboolean partition_cut(Partition *partition, gint32 epoch, gint64 end_offset);
/* The leader's log begins at @start, behind all of this one: drop that, and go on there. Returns FALSE when the store
 * is full: ask anew. */
gboolean partition_begin_anew(Partition *partition, gint64 start);
/* Give up what is below @start, as far as it is committed: stored soon, and told to followers. partition_start.c. */
void partition_advance_start(Partition *partition, gint64 start);
/* Store the log's start, if it has moved since it was stored. */
void partition_save_start(Partition *partition);
/* Answer the deletions that are done, or can't be any more. */
void partition_look_at_trims(Partition *partition);
/* A read failed: where it was for damage, and another replica counts, this one stands back, and the controllers are
 * told. Returns what to answer. @failure: taken; NULL is fine */
Failure *partition_read_failure(Partition *partition, Failure *failure);
/* Sync the log where its replica wants it. partition_sync.c. */
void partition_sync(Partition *partition);
/* Is this replica in sync, or eligible to lead, as far as is known? @ret_others_count: is another one? */
gboolean partition_counts(const Partition *partition, gboolean *ret_others_count);
/* Cut a damaged log: one that is followed and does not count, so that it can be fetched anew; or one that leads and is
 * to go on with what is good of it. Returns TRUE when that was done. */
gboolean partition_mend(Partition *partition);
/* Answer an append; @append is the ReplicaAppend inside. partition_append.c. */
void partition_answer_append(ReplicaAppend *append);
/* The replica lets go of an append that was answered before. */
void partition_release_append(ReplicaAppend *append);
/* NOT_LEADER, for whoever asks with @leader_epoch. */
Failure *partition_not_leader(guint64 log_id, gint32 leader_epoch);
/* The partition, when it is led here with that epoch. */
Partition *partition_find_led(Shard *shard, guint64 log_id, gint32 leader_epoch);

G_END_DECLS
