/* The parts of an image, for image.c and image_apply.c alone. */
#pragma once

#include "controller/metadata/image.h"
#include "controller/metadata/tree.h"

G_BEGIN_DECLS

struct MetadataImage {
  gint refs;
  guint64 version;
  char cluster_id[METADATA_ID_BYTES]; /* "" before the bootstrap */
  gint64 created_ms;
  guint64 next_log_id;
  gint64 next_producer_id;
  guint partition_count;
  MetadataTree *topics_by_name; /* of MetadataTopic; each topic is in both trees */
  MetadataTree *topics_by_id;
  MetadataTree *brokers;
  MetadataTree *coordinators;
  MetadataTree *controllers;
  MetadataTree *leases;
};

extern const MetadataTreeType METADATA_TOPICS_BY_NAME, METADATA_TOPICS_BY_ID, METADATA_BROKERS, METADATA_COORDINATORS,
    METADATA_CONTROLLERS, METADATA_LEASES;

/* An image that shares everything with @base. */
MetadataImage *metadata_image_share(const MetadataImage *base);

MetadataPartition *metadata_partition_new(const Milena__Internal__V1__PartitionRecord *record);
MetadataPartition *metadata_partition_ref(const MetadataPartition *partition);
void metadata_partition_unref(const MetadataPartition *partition);

/* @config: taken. Without partitions; metadata_topic_set_partition adds them while the topic is not shared yet. */
MetadataTopic *metadata_topic_new(const char *id, const char *name, const char *request_id, guint32 replication_factor,
                                  Milena__V1__TopicConfig *config);
/* A copy that is not shared yet, with the same partitions. */
MetadataTopic *metadata_topic_copy(const MetadataTopic *topic);
/* @config: taken; @topic is not shared yet. */
void metadata_topic_set_config(MetadataTopic *topic, Milena__V1__TopicConfig *config);
/* @partition: taken; @topic is not shared yet. Its number is at most partition_count. */
void metadata_topic_set_partition(MetadataTopic *topic, MetadataPartition *partition);
void metadata_topic_unref(gpointer topic);

MetadataBroker *metadata_broker_copy(const MetadataBroker *broker);
void metadata_broker_unref(gpointer broker);
MetadataCoordinator *metadata_coordinator_copy(const MetadataCoordinator *coordinator);
void metadata_coordinator_unref(gpointer coordinator);
void metadata_controller_unref(gpointer controller);

/* A deep copy; of an empty configuration when NULL. Owned by the caller. */
Milena__V1__TopicConfig *metadata_config_copy(const Milena__V1__TopicConfig *config);

G_END_DECLS
