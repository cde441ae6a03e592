/* Metadata records made from the image's own structs, and the two formats that hold them: the transaction of a log
 * entry and the snapshot. Pure. Everything returned is owned by the caller; what is passed in is borrowed. */
#pragma once

#include "controller/metadata/image.h"

G_BEGIN_DECLS

MetadataRecord *metadata_record_cluster(const char *cluster_id, gint64 created_ms);
MetadataRecord *metadata_record_controller(const MetadataController *controller);
MetadataRecord *metadata_record_remove_controller(gint32 id);
MetadataRecord *metadata_record_register_broker(const MetadataBroker *broker);
MetadataRecord *metadata_record_fence_broker(gint32 id, guint64 epoch, gboolean fenced);
MetadataRecord *metadata_record_drain_broker(gint32 id, gboolean drained);
MetadataRecord *metadata_record_broker_disk(gint32 id, guint64 epoch, gboolean low);
MetadataRecord *metadata_record_stop_broker(gint32 id, guint64 epoch);
MetadataRecord *metadata_record_register_coordinator(const MetadataCoordinator *coordinator);
MetadataRecord *metadata_record_fence_coordinator(gint32 id, guint64 epoch, gboolean fenced);
MetadataRecord *metadata_record_lease(gint32 partition, gint32 coordinator_id, guint32 lease_epoch);
/* Without the partitions: each has a record of its own. */
MetadataRecord *metadata_record_topic(const MetadataTopic *topic);
MetadataRecord *metadata_record_partition(const MetadataPartition *partition);
MetadataRecord *metadata_record_topic_config(const char *topic_id, const Milena__V1__TopicConfig *config);
MetadataRecord *metadata_record_remove_topic(const char *topic_id);
MetadataRecord *metadata_record_next_log_id(guint64 next_log_id);
MetadataRecord *metadata_record_producer_id_block(gint32 broker_id, gint64 next_producer_id);

/* A MetadataTransaction as bytes: the data of a log entry. */
GBytes *metadata_transaction_encode(MetadataRecord *const *records, gsize record_count);
/* Returns NULL, or CORRUPT_LOG, or UNSUPPORTED for a newer format. @ret_records: a GPtrArray that owns its records. */
Failure *metadata_transaction_decode(const void *data, gsize size, GPtrArray **ret_records);

/* The image as a MetadataSnapshot. */
GBytes *metadata_snapshot_encode(const MetadataImage *image);
/* Returns NULL, or CORRUPT_LOG, or UNSUPPORTED for a newer format. */
Failure *metadata_snapshot_decode(const void *data, gsize size, MetadataImage **ret_image);

G_END_DECLS
