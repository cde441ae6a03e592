/* The replica's parts, for replica.c and following.c alone. */
#pragma once

#include "services/broker/replica/followers.h"
#include "services/broker/replica/replica.h"

G_BEGIN_DECLS

struct Replica {
  LogHot hot; /* log_end_offset is behind what was accepted */
  Failure *damage;
  gboolean producers_damaged;
  gint64 damaged_from;   /* what is below is good, as far as is known; with `damage`, or read where no other counts */
  gboolean cutting;      /* it leads, and its damage is to be cut: with `damage` */
  gboolean others_count; /* another replica is in sync, or eligible */
  gint64 local_end;
  gint64 synced_end;  /* what is below survives a power cut */
  gboolean syncing;   /* replica_sync_begun, and not over */
  gint64 syncing_end; /* what that will have synced */
  gint64 epoch_start; /* log end when this leadership began */
  gint64 sync_mark;   /* log end when this leadership began, or later, when the flush mode became "always" */
  gboolean unsynced;  /* the metadata does not know this replica to have all on its disk up to there */

  gboolean leads;
  gint32 leader_id; /* -1: none that is known */
  gint32 leader_epoch;
  guint64 partition_epoch;
  guint isr_count, min_insync_replicas;
  Milena__V1__Flush flush;

  Followers followers;     /* while leading */
  gint64 leader_watermark; /* while following: what the leader said; ours is that as far as we have it */
  gint64 leader_start;     /* .. of its log's start; likewise */

  GQueue local;  /* of ReplicaAppend: accepted, waiting for the storage */
  GQueue commit; /* of ReplicaAppend: here (or duplicates), waiting for the high watermark */
  GQueue echoes; /* of ReplicaAppend: duplicates that wait for the local end */

  guint duplicates; /* of those in the two */

  LogProducers *producers;
};

void replica_check(const Replica *replica);
/* What every in-sync replica has, or, while following, what the leader says that they have. */
void replica_advance_high_watermark(Replica *replica, ReplicaOut *out);

G_END_DECLS
