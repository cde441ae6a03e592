/* Commands: what somebody asks of the cluster's metadata, turned into records, or refused.
 *
 * Each command looks at an image (with everything that was proposed before it) and appends the records that do what was
 * asked; when they have been committed and applied, it is done. A command that finds its work done already (a retry)
 * appends none. Pure: the version that the records will have, time and randomness come as arguments. */
#pragma once

#include "controller/metadata/image.h"
#include "milena/internal/v1/controller_service.pb-c.h"
#include "milena/v1/admin_service.pb-c.h"

G_BEGIN_DECLS

#define METADATA_TOPIC_NAME_BYTES_MAX 249
#define METADATA_PARTITIONS_MAX 10000
#define METADATA_REQUEST_ID_BYTES_MAX 128
#define METADATA_REPLICATION_FACTOR_MAX 16
/* Of a topic that does not say, if there are so many brokers. */
#define METADATA_REPLICATION_FACTOR_DEFAULT 3
/* Producer ids that a broker gets at once. */
#define METADATA_PRODUCER_ID_BLOCK 1000

/* What a command may not find out by itself. */
typedef struct {
  guint64 version;   /* that the metadata will have with the command's records */
  gint64 now_ms;     /* milliseconds since 1970 in UTC */
  guint8 random[16]; /* fresh random bytes */
} MetadataContext;

/* A UUID (version 4) of random bytes, as text. */
void metadata_uuid(const guint8 random[16], char ret_id[METADATA_ID_BYTES]);
/* @text is a UUID as metadata_uuid writes it, in either case. */
gboolean metadata_uuid_valid(const char *text);

/* All: @image is borrowed; @records is a GPtrArray of metadata_records_new, appended to only on success. Return NULL or
 * why the command is refused; the failures are those that the public API documents. */

/* The cluster is born, with its first controller. @cluster_id: "" to make one. */
Failure *metadata_command_bootstrap(const MetadataImage *image, const MetadataContext *context, const char *cluster_id,
                                    const MetadataController *controller, GPtrArray *records);
/* A controller tells its addresses: a record when they changed. */
Failure *metadata_command_controller(const MetadataImage *image, const MetadataController *controller,
                                     GPtrArray *records);
/* A controller was removed: nobody is sent to its addresses any more. Nothing when it is so already. */
Failure *metadata_command_remove_controller(const MetadataImage *image, gint32 id, GPtrArray *records);

/* A broker or coordinator registers; its epoch will be the context's version.
 *
 * @session_alive: the process that holds this id has sent heartbeats within its session
 * @ret_epoch: the registration's epoch, also for a retry of the same process, which appends no records */
Failure *metadata_command_register_node(const MetadataImage *image, const MetadataContext *context,
                                        const Milena__Internal__V1__RegisterNodeRequest *request,
                                        gboolean session_alive, GPtrArray *records, guint64 *ret_epoch);
/* Fence or unfence a broker or coordinator, with elections for its partitions. Nothing when it is so already.
 * FENCED when @epoch is not that of its registration. */
Failure *metadata_command_fence_node(const MetadataImage *image, Milena__Internal__V1__NodeKind kind, gint32 id,
                                     guint64 epoch, gboolean fenced, GPtrArray *records);

/* A broker is about to stop: its leaderships go to others that are in sync; it goes on following until it is fenced.
 * FENCED when @epoch is not that of its registration. */
Failure *metadata_command_stop_broker(const MetadataImage *image, gint32 id, guint64 epoch, GPtrArray *records);
/* Drain a broker for maintenance, or take it back. UNKNOWN_BROKER. */
Failure *metadata_command_drain_broker(const MetadataImage *image, gint32 id, gboolean drained, GPtrArray *records);

/* A broker's disk is nearly full: its leaderships go to others that are in sync and have room; or it has room again.
 * Nothing when it is so already. FENCED when @epoch is not that of its registration. */
Failure *metadata_command_set_disk_low(const MetadataImage *image, gint32 id, guint64 epoch, gboolean low,
                                       GPtrArray *records);

/* ---- Leases of coordinators ---- */

/* The topic that groups are kept in, with leases for the coordinators that are there; nothing when it is there.
 *
 * @partitions: of a new one
 *
 * NOT_ENOUGH_BROKERS when there is none that could hold it. */
Failure *metadata_command_ensure_group_topic(const MetadataImage *image, const MetadataContext *context,
                                             guint32 partitions, GPtrArray *records);
/* Lease what has no living owner, and give everybody a fair share. Registrations, fencing and the topic's creation do
 * so by themselves; nothing when it is so already. */
void metadata_command_balance_leases(const MetadataImage *image, GPtrArray *records);
/* A coordinator can't use leases of its: others get them where there are others, in any case with a higher epoch. What
 * it does not hold in that epoch is passed over. FENCED when its epoch is not that of its registration. */
Failure *metadata_command_yield_leases(const MetadataImage *image,
                                       const Milena__Internal__V1__YieldLeasesRequest *request, GPtrArray *records);

/* ---- Partitions ---- */

/* A leader's proposal of who is in sync (REPLICATION.md, rules 6 to 8), compared and set.
 *
 * Returns NULL; FENCED when the broker has registered anew since, another leads by now, or the partition has changed
 * since: the metadata tells the leader; INELIGIBLE_REPLICA for a new member that is fenced, about to stop, or has
 * registered anew since: the proposal had no effect and never will, also a copy of it that arrives late, once @records
 * are committed, which move the partition's epoch on then too; UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_FIELD. */
Failure *metadata_command_alter_in_sync(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch,
                                        const Milena__Internal__V1__InSyncProposal *proposal, GPtrArray *records);
/* Several proposals of one leader, in one transaction. Each is of another partition, so that one image may decide them
 * all; of two of one partition the first counts.
 *
 * @ret_refusals: gets for each proposal NULL, or why it is refused, as above; owned by the caller
 *
 * Returns NULL, or CORRUPT_LOG. */
Failure *metadata_command_alter_all_in_sync(const MetadataImage *image,
                                            const Milena__Internal__V1__AlterInSyncRequest *request, GPtrArray *records,
                                            Failure **ret_refusals);
/* These replicas of the broker are damaged: they count for nothing until the leader calls them in sync again
 * (rule 16). Unknown ones are passed over. FENCED when @broker_epoch is not that of its registration. */
Failure *metadata_command_report_damage(const MetadataImage *image,
                                        const Milena__Internal__V1__ReportDamageRequest *request, GPtrArray *records);
/* Elect by hand. The records tell what was elected. UNKNOWN_TOPIC, UNKNOWN_PARTITION, INVALID_FIELD. */
Failure *metadata_command_elect_leaders(const MetadataImage *image, const Milena__V1__ElectLeadersRequest *request,
                                        GPtrArray *records);
/* The record makes a replica lead that was neither in sync nor eligible in the image before, or has a leader cut damage
 * out of its log: acknowledged records may be lost (rule 13). */
gboolean metadata_is_unclean(const MetadataImage *before, const MetadataRecord *record);
/* .. of the two, the second: the leader of its leader epoch cuts damage. */
gboolean metadata_cuts_damage(const MetadataRecord *record);
/* Give leaderships back to preferred replicas, at most @count_max of them: what the controller does by itself from time
 * to time. */
void metadata_command_balance_leaders(const MetadataImage *image, guint count_max, GPtrArray *records);
/* Move partitions to other brokers. All or none: UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNKNOWN_BROKER, INVALID_FIELD,
 * NOT_ENOUGH_BROKERS for a new replica on a broker that is fenced, drained or about to stop, NOT_ENOUGH_REPLICAS when
 * no replica with the committed records would remain. */
Failure *metadata_command_reassign_partitions(const MetadataImage *image,
                                              const Milena__V1__ReassignPartitionsRequest *request, GPtrArray *records);
/* Take reassignments back. @ret_count: how many. Errors as above. */
Failure *metadata_command_cancel_reassignments(const MetadataImage *image,
                                               const Milena__V1__CancelReassignmentsRequest *request,
                                               GPtrArray *records, guint *ret_count);
/* For the end of a transaction that may end reassignments: where a topic's replication factor follows its partitions,
 * its minimum may change with it. Appends what that means for who may lead. The two commands above do it themselves.
 *
 * @records: of the whole transaction so far. Returns NULL, or CORRUPT_LOG when they do not fit @image. */
Failure *metadata_command_follow_factors(const MetadataImage *image, GPtrArray *records);

/* Give a broker METADATA_PRODUCER_ID_BLOCK producer ids that nobody had before. Each call gives others: what a lost
 * answer wastes is not missed. FENCED when @broker_epoch is not that of its registration.
 *
 * @ret_first: the first of them; untouched on failure */
Failure *metadata_command_allocate_producer_ids(const MetadataImage *image, gint32 broker_id, guint64 broker_epoch,
                                                GPtrArray *records, gint64 *ret_first);

/* The topic of the request's name is the answer once the records are applied, also where there are none. With
 * validate_only the caller drops the records, and shows the topic as it would be; so for the others. */
Failure *metadata_command_create_topic(const MetadataImage *image, const MetadataContext *context,
                                       const Milena__V1__CreateTopicRequest *request, GPtrArray *records);
/* @ret_topic: the topic as it is before; borrowed from the image. */
Failure *metadata_command_update_topic(const MetadataImage *image, const Milena__V1__UpdateTopicRequest *request,
                                       GPtrArray *records, const MetadataTopic **ret_topic);
Failure *metadata_command_delete_topic(const MetadataImage *image, const Milena__V1__DeleteTopicRequest *request,
                                       GPtrArray *records, const MetadataTopic **ret_topic);
Failure *metadata_command_add_partitions(const MetadataImage *image, const Milena__V1__AddPartitionsRequest *request,
                                         GPtrArray *records, const MetadataTopic **ret_topic);

G_END_DECLS
