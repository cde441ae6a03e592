/* The parts of replication on a shard, for the files of this folder. */
#pragma once

#include "milena/internal/v1/replication_service.pb-c.h"
#include "services/broker/partition_internal.h"
#include "services/broker/replication/replication.h"

G_BEGIN_DECLS

/* Wire format of ReplicationService. */
#define REPLICATION_FORMAT 1
/* A follower that has not had everything for so long is out of sync. */
#define REPLICATION_LAG_MAX_MS 10000

typedef struct InSync InSync;
typedef struct Damage Damage;
typedef struct Progress Progress;

struct Replication {
  Shard *shard;
  GHashTable *links; /* leader's id → ReplicationLink */
  InSync *in_sync;
  Damage *damage;
  Progress *progress;
  gboolean stopped;
};

/* ---- link.c ---- */

/* The link to a broker, made when there is none. */
ReplicationLink *replication_link_get(Replication *replication, gint32 leader_id);
/* The partition joins the link's, or leaves: the last one takes the link along. */
void replication_link_add(ReplicationLink *link, Partition *partition);
void replication_link_remove(ReplicationLink *link, Partition *partition);
/* Tell the leader to send no more of the partition, which stays among the link's. */
void replication_link_end(ReplicationLink *link, Partition *partition);
gboolean replication_link_is_ready(const ReplicationLink *link);
/* Tell the leader where the partition's log ends. */
void replication_link_begin(ReplicationLink *link, Partition *partition, const ReplicaPosition *position);
/* Tell it soon how far the partition has come. */
void replication_link_progress(ReplicationLink *link, Partition *partition);
/* Where the broker is, or this broker's registration, has changed: open it anew. */
void replication_link_look(ReplicationLink *link);
void replication_link_free(gpointer link);

/* ---- following.c ---- */

/* Something has changed that it may have waited for. */
void following_look(Partition *partition);
/* The link is open: its partitions tell their positions. */
void following_link_opened(Partition *partition);
/* The link broke. */
void following_link_lost(Partition *partition);
void following_take_match(Partition *partition, const Milena__Internal__V1__FollowMatch *match);
/* @batches: of LogBatch, checked */
void following_take_records(Partition *partition, const Milena__Internal__V1__FollowedLog *log, const GArray *batches);

/* ---- in_sync.c ---- */

InSync *in_sync_new(Shard *shard);
void in_sync_free(InSync *in_sync);
void in_sync_look_soon(InSync *in_sync);
void in_sync_stop(InSync *in_sync);

/* ---- damage.c ---- */

Damage *damage_new(Shard *shard);
void damage_free(Damage *damage);
/* The metadata has changed: is something damaged that still counts? */
void damage_look(Damage *damage);
void damage_stop(Damage *damage);

/* ---- progress.c ---- */

Progress *progress_new(Shard *shard);
void progress_free(Progress *progress);
/* The metadata has changed: does something move? */
void progress_look_soon(Progress *progress);
void progress_stop(Progress *progress);

G_END_DECLS
