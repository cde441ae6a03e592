/* Who leads a partition, and who counts as in sync: the rules of replication on the controllers' side.
 *
 * A PartitionState is one partition's record as plain arrays. Each event changes it, or refuses; the caller writes the
 * record when it differs (partition_state_changed). Pure; no allocation but failures. REPLICATION.md numbers the rules.
 *
 *   in_sync      replicas that every acknowledged record is on (while they are at least the minimum)
 *   eligible     out of `in_sync` since that fell below the minimum: the high watermark stands still from then on
 *                (rule 11), so they have all that is committed, and may lead
 *   leader       a member of in_sync that is not gone; else of eligible; else none
 *
 * in_sync and eligible share no member. The last member is never forgotten: it stays eligible. */
#pragma once

#include "controller/metadata/image.h"

G_BEGIN_DECLS

/* Replicas of one partition, those that come and go with a reassignment among them. */
#define METADATA_REPLICAS_MAX 32

/* Ids of brokers, each once, in order. */
typedef struct {
  guint count;
  gint32 ids[METADATA_REPLICAS_MAX];
} BrokerIds;

gboolean broker_ids_has(const BrokerIds *ids, gint32 id);
void broker_ids_add(BrokerIds *ids, gint32 id); /* nothing when it is there */
gboolean broker_ids_remove(BrokerIds *ids, gint32 id);
void broker_ids_keep(BrokerIds *ids, const BrokerIds *others); /* those that are in @others */
gboolean broker_ids_equal(const BrokerIds *a, const BrokerIds *b);

typedef struct {
  gint32 leader_id; /* -1: none */
  gint32 leader_epoch;
  guint64 partition_epoch;
  BrokerIds replicas; /* the first is the preferred leader */
  BrokerIds in_sync, eligible;
  /* Of a reassignment under way, else empty: where it goes, and the replicas from before. While it lasts, `replicas`
   * are those of both, the target's first. */
  BrokerIds target, before;
  guint64 throttle_bytes; /* of that reassignment: a second, for replicas that are not in sync; 0: no bound */
  /* May have records from before the topic's flush mode became "always" that are not on their disks yet: after a stop
   * that was not in order they count as they did under the mode before. */
  BrokerIds unsynced;
  /* Of this change: */
  gboolean elected_unclean; /* its leader may lack what was acknowledged */
  gboolean leads_anew;      /* .. gets another epoch, though it may be the same, and cuts damage in it */
} PartitionState;

/* How a broker stands. */
typedef enum {
  BROKER_GONE,   /* unknown or fenced: leads nothing */
  BROKER_YIELDS, /* drained, about to stop, or low on disk space: leads only what nobody else can */
  BROKER_READY,
} BrokerStanding;

/* What the rules ask about the world. */
typedef struct {
  BrokerStanding (*standing)(gint32 broker_id, gpointer data);
  gpointer data;
  guint min_in_sync;
  gboolean unclean; /* the topic lets a replica lead that lacks acknowledged records (rule 13) */
} PartitionRules;

void partition_state_load(PartitionState *state, const MetadataPartition *partition);
/* A PartitionRecord of @partition with this state; owned by the caller. */
MetadataRecord *partition_state_record(const PartitionState *state, const MetadataPartition *partition);
/* Anything differs, epochs apart. */
gboolean partition_state_changed(const PartitionState *state, const MetadataPartition *partition);

/* How a leader was found. */
typedef enum {
  ELECTION_NONE,    /* nobody may lead: it has no leader now */
  ELECTION_SAME,    /* the one before stays */
  ELECTION_CLEAN,   /* a replica that was in sync, or eligible */
  ELECTION_UNCLEAN, /* one that may lack acknowledged records: they are lost */
} ElectionKind;

/* Find the leader anew: the one before if it is ready, else by preference. */
ElectionKind partition_elect(PartitionState *state, const PartitionRules *rules);
/* The first of the replicas leads, if it is in sync and ready. Returns TRUE when that is a change. */
gboolean partition_elect_preferred(PartitionState *state, const PartitionRules *rules);
/* Asked for by name (rule 13): any replica that is not gone. ELECTION_SAME when there is a leader already. */
ElectionKind partition_elect_unclean(PartitionState *state, const PartitionRules *rules);
/* The same, and a leader that alone counts begins another epoch, in which it cuts its log in front of damage: what lies
 * behind is given up. Where another replica counts there is nothing to give up: a damaged leader stands back for it. */
ElectionKind partition_elect_cutting(PartitionState *state, const PartitionRules *rules);

/* The broker is gone (fenced): out of `in_sync`; eligible when that falls below the minimum. Elects. */
ElectionKind partition_lose_broker(PartitionState *state, const PartitionRules *rules, gint32 broker_id);
/* The broker's replica is not what it was.
 *
 * @last_counts: it may lead all the same when nobody else may: its log is there, without a proof of its end (rule 10).
 * FALSE: the log is gone or damaged (rules 8, 16). */
ElectionKind partition_lose_replica(PartitionState *state, const PartitionRules *rules, gint32 broker_id,
                                    gboolean last_counts);
/* The minimum changed: who was eligible under the old one may lack what is acknowledged under the new one. */
void partition_set_min_in_sync(PartitionState *state, const PartitionRules *rules);

/* The topic's flush mode became "always": nobody who counts is known to have on disk what it acknowledged before. */
void partition_flush_always(PartitionState *state);

/* The leader's proposal (rule 7), checked already against epochs and brokers: all of @in_sync are replicas, the leader
 * among them. Ends a reassignment when it may end.
 *
 * @synced: of them, those that have on disk all that was acknowledged before the flush mode became "always" */
ElectionKind partition_set_in_sync(PartitionState *state, const PartitionRules *rules, const BrokerIds *in_sync,
                                   const BrokerIds *synced);

/* Begin to move to these replicas, or, when a reassignment is under way already, to these instead (rule 14). Ends at
 * once what has nothing to wait for. Returns FALSE, and changes nothing, when no replica that remains would be in sync
 * or eligible. @ret_election: may be NULL */
gboolean partition_reassign(PartitionState *state, const PartitionRules *rules, const BrokerIds *target,
                            ElectionKind *ret_election);
/* Go back to the replicas from before; as partition_reassign. */
gboolean partition_cancel_reassignment(PartitionState *state, const PartitionRules *rules, ElectionKind *ret_election);

G_END_DECLS
