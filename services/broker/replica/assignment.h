/* What an image of the metadata means for one broker's replicas: may it lead, does its copy count, who may join it.
 *
 * Pure. An image that a broker follows is committed, but perhaps long out of date: each answer here is safe all the
 * same, since leaders act within their leader epoch, and the controllers compare what is proposed with the latest. */
#pragma once

#include "controller/metadata/image.h"
#include "services/broker/replica/replica.h"

G_BEGIN_DECLS

/* The image is from before this registration (@broker_epoch; 0: none yet). A controller that has just started may tell
 * of times long ago, in which this broker led; the registration is younger than all that was acknowledged before it. */
gboolean replica_assignment_is_of_the_past(const MetadataImage *image, guint64 broker_epoch);
/* This registration of the broker may lead what the image says that it leads (REPLICATION.md, rules 8 and 9). */
gboolean replica_assignment_may_lead(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch);
/* What the replica is to be given. Borrows from @topic and @metadata.
 *
 * @may_lead: as replica_assignment_may_lead says */
ReplicaAssignment replica_assignment_of(const MetadataTopic *topic, const MetadataPartition *metadata, gint32 broker_id,
                                        gboolean may_lead, gint64 now_ms);
/* The broker's replica is in sync or eligible. @ret_others_count: another one is */
gboolean replica_assignment_counts(const MetadataPartition *metadata, gint32 broker_id, gboolean *ret_others_count);
/* What the controllers would say of a new member in sync, as far as the image knows: they are not asked in vain again
 * and again. */
gboolean replica_assignment_may_join(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch);

G_END_DECLS
