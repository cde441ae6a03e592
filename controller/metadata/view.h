/* The metadata as the public API shows it: images in, protobuf messages out. Used by controllers and brokers. Pure.
 *
 * Every message is owned by the caller: free it with its free_unpacked(message, NULL). */
#pragma once

#include "controller/metadata/image.h"
#include "milena/v1/admin_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"

G_BEGIN_DECLS

/* The configuration with all defaults filled in. */
Milena__V1__TopicConfig *metadata_view_effective_config(const Milena__V1__TopicConfig *config,
                                                        guint32 replication_factor);
/* The same for the topic's values that the hot path needs, without a message. */
guint32 metadata_topic_max_message_bytes(const MetadataTopic *topic);
guint32 metadata_topic_min_insync_replicas(const MetadataTopic *topic);
Milena__V1__Flush metadata_topic_flush(const MetadataTopic *topic);
gint64 metadata_topic_flush_interval_ms(const MetadataTopic *topic);

#define METADATA_RETENTION_MS_DEFAULT (G_GINT64_CONSTANT(7) * 24 * 60 * 60 * 1000)
/* How old records go: whether the last of each key stays; else how long and how many they stay, -1: no bound. A
 * compacted topic has no bound of these two kinds. */
gboolean metadata_topic_is_compacted(const MetadataTopic *topic);
gint64 metadata_topic_retention_ms(const MetadataTopic *topic);
gint64 metadata_topic_retention_bytes(const MetadataTopic *topic);
/* Of a compacted topic. */
gint64 metadata_topic_delete_retention_ms(const MetadataTopic *topic);
gint64 metadata_topic_min_compaction_lag_ms(const MetadataTopic *topic);
double metadata_topic_min_cleanable_dirty_ratio(const MetadataTopic *topic);

Milena__V1__Topic *metadata_view_topic(const MetadataTopic *topic);
Milena__V1__Broker *metadata_view_broker(const MetadataBroker *broker);

/* The cluster.
 *
 * @names: topics that are wanted; all when @name_count is 0
 * @active_controller_id: -1 when unknown
 *
 * Returns NULL, or UNKNOWN_TOPIC when a name does not exist (never with @skip_unknown). */
Failure *metadata_view_cluster(const MetadataImage *image, gint32 active_controller_id, char *const *names,
                               gsize name_count, gboolean skip_unknown, Milena__V1__ClusterMetadata **ret_cluster);

/* What changed from @from to @to, for WatchMetadata: brokers and topics that are new, changed or gone. Costs
 * O(changes), not O(cluster), where the images share their parts.
 *
 * @names: as above */
Milena__V1__MetadataChange *metadata_view_change(const MetadataImage *from, const MetadataImage *to,
                                                 gint32 active_controller_id, char *const *names, gsize name_count);

/* Hand out an image, or a change, as frames of WatchMetadata: large ones in parts that stock clients take, each with
 * `more` but the last. The messages are as they were when this returns. */
typedef void (*MetadataFrameFunc)(const Milena__V1__WatchMetadataResponse *frame, gpointer user_data);
void metadata_view_image_frames(Milena__V1__ClusterMetadata *image, MetadataFrameFunc func, gpointer user_data);
void metadata_view_change_frames(Milena__V1__MetadataChange *change, MetadataFrameFunc func, gpointer user_data);

/* GetMetadata: the topics that are named, a page of all, or all. Returns NULL, or UNKNOWN_TOPIC, STALE_PAGE_TOKEN,
 * INVALID_FIELD. */
Failure *metadata_view_get_metadata(const MetadataImage *image, gint32 active_controller_id,
                                    const Milena__V1__GetMetadataRequest *request,
                                    Milena__V1__GetMetadataResponse **ret_response);

/* Answers of the read-only calls of AdminService. Each returns NULL and sets the response, or a failure. */
Failure *metadata_view_get_topic(const MetadataImage *image, const Milena__V1__GetTopicRequest *request,
                                 Milena__V1__GetTopicResponse **ret_response);
Failure *metadata_view_list_topics(const MetadataImage *image, const Milena__V1__ListTopicsRequest *request,
                                   Milena__V1__ListTopicsResponse **ret_response);
Failure *metadata_view_get_broker(const MetadataImage *image, const Milena__V1__GetBrokerRequest *request,
                                  Milena__V1__GetBrokerResponse **ret_response);
Failure *metadata_view_list_brokers(const MetadataImage *image, const Milena__V1__ListBrokersRequest *request,
                                    Milena__V1__ListBrokersResponse **ret_response);

/* A reassignment under way; owned by the caller, who frees it with metadata_view_reassignment_free. */
Milena__V1__Reassignment *metadata_view_reassignment(const MetadataTopic *topic, const MetadataPartition *partition);
void metadata_view_reassignment_free(Milena__V1__Reassignment *reassignment);
Failure *metadata_view_list_reassignments(const MetadataImage *image,
                                          const Milena__V1__ListReassignmentsRequest *request,
                                          Milena__V1__ListReassignmentsResponse **ret_response);

G_END_DECLS
