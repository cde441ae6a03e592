/* Shared by the commands alone. */
#pragma once

#include "controller/metadata/commands.h"
#include "controller/metadata/partition_rules.h"

G_BEGIN_DECLS

/* INVALID_FIELD with a violation of one field: @sentence is the message, @rule what the field must be. */
Failure *metadata_invalid_field(const char *path, const char *rule, const char *sentence, ...) G_GNUC_PRINTF(3, 4);

/* The id's registration is not (any more) the one of @expected. */
Failure *metadata_stale_epoch(const char *kind, gint32 id, guint64 expected, guint64 actual);

/* UNKNOWN_BROKER, UNKNOWN_PARTITION. */
Failure *metadata_unknown_broker(gint32 id);
Failure *metadata_find_partition(const MetadataTopic *topic, gint32 number, const MetadataPartition **ret_partition);

/* Rules of partitions by an image, with one broker's standing as it is about to be. */
typedef struct {
  const MetadataImage *image;
  gint32 broker_id; /* -1: as the image says */
  BrokerStanding broker_standing;
} StandingView;
/* @view: outlives the rules */
PartitionRules metadata_rules(const StandingView *view, const MetadataTopic *topic);
BrokerStanding metadata_broker_standing(const MetadataBroker *broker); /* NULL is fine */
/* New topics may have replicas there. NULL is fine. */
gboolean metadata_broker_takes_replicas(const MetadataBroker *broker);

/* Append the partition's record when its state differs. */
void metadata_put_partition(const PartitionState *state, const MetadataPartition *partition, GPtrArray *records);

/* For each partition that has a replica on @broker_id: let @change change it, and append what differs. Looks at every
 * partition of the cluster. */
void metadata_change_partitions_of(const StandingView *view, gint32 broker_id,
                                   void (*change)(PartitionState *state, const PartitionRules *rules,
                                                  const MetadataTopic *topic, const MetadataPartition *partition,
                                                  gpointer data),
                                   gpointer data, GPtrArray *records);

/* Append what @records, which are to be applied to @image, mean for the leases. */
Failure *metadata_follow_leases(const MetadataImage *image, GPtrArray *records);

/* Refuse a list that has a number twice. @path: of the field */
Failure *metadata_check_once(const char *path, const gint32 *numbers, gsize count);

/* Append what a new configuration (or replication factor) of the topic means for who may lead: under another minimum,
 * others; and where nobody may, but the topic now lets one lead that lacks records, that one. In the same transaction,
 * so that no leader sees the one without the other. */
void metadata_apply_config(const MetadataImage *image, const MetadataTopic *topic,
                           const Milena__V1__TopicConfig *config, GPtrArray *records);

G_END_DECLS
