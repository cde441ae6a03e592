/* A small cluster to try commands on: what each test of the metadata begins with. */
#pragma once

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "tests/shim/shim.h"

/* One image that commands change, as the host would. */
typedef struct {
  MetadataImage *image;
  guint64 version;
  guint32 random; /* counts up: ids of topics differ, and are the same in each run */
} Cluster;

static inline MetadataContext cluster_context(Cluster *cluster) {
  MetadataContext context = {.version = cluster->version + 1, .now_ms = 1700000000000};
  context.random[15] = (guint8)++cluster->random;
  return context;
}

/* Apply a command's records, or free them with its failure. Returns FALSE when it failed. */
static inline gboolean cluster_apply(Cluster *cluster, Failure *failure, GPtrArray *records) {
  if (!failure) {
    MetadataImage *image = NULL;
    failure = metadata_image_apply(cluster->image, (MetadataRecord **)records->pdata, records->len, ++cluster->version,
                                   &image);
    if (!failure) {
      metadata_image_unref(cluster->image);
      cluster->image = image;
    }
  }
  if (failure)
    shim_fail(__FILE__, __LINE__, "refused: %s", failure_message(failure));
  g_ptr_array_unref(records);
  gboolean ok = failure == NULL;
  failure_free(failure);
  return ok;
}

static inline void cluster_init(Cluster *cluster) {
  *cluster = (Cluster){.image = metadata_image_new()};
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  MetadataController controller = {.id = 1, .address = (char *)"c:7700", .peer_address = (char *)"c:7750"};
  cluster_apply(cluster, metadata_command_bootstrap(cluster->image, &context, "", &controller, records), records);
}

static inline void cluster_clear(Cluster *cluster) {
  metadata_image_unref(cluster->image);
}

static inline char *fake_uuid(guint8 number) {
  guint8 random[16] = {number};
  static char ids[4][METADATA_ID_BYTES];
  static guint turn;
  char *id = ids[turn++ % 4];
  metadata_uuid(random, id);
  return id;
}

static inline Milena__Internal__V1__RegisterNodeRequest broker_request(gint32 id, const char *rack, guint8 folder,
                                                                       guint8 process) {
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  request.id = id;
  request.rack = (char *)rack;
  request.incarnation = fake_uuid(folder);
  request.process_id = fake_uuid(process);
  request.address = (char *)"b:7600";
  request.peer_address = (char *)"b:7650";
  return request;
}

static inline void cluster_fence(Cluster *cluster, gint32 id, gboolean fenced) {
  GPtrArray *records = metadata_records_new();
  const MetadataBroker *broker = metadata_image_broker(cluster->image, id);
  cluster_apply(cluster,
                metadata_command_fence_node(cluster->image, MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER, id,
                                            broker ? broker->epoch : 0, fenced, records),
                records);
}

/* Register and unfence. */
static inline void cluster_add_broker(Cluster *cluster, gint32 id, const char *rack) {
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  Milena__Internal__V1__RegisterNodeRequest request = broker_request(id, rack, (guint8)id, (guint8)(100 + id));
  guint64 epoch = 0;
  cluster_apply(cluster, metadata_command_register_node(cluster->image, &context, &request, FALSE, records, &epoch),
                records);
  cluster_fence(cluster, id, FALSE);
}

static inline void cluster_create_replicated(Cluster *cluster, const char *name, guint32 partitions, guint32 factor) {
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  Milena__V1__CreateTopicRequest request = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  request.name = (char *)name;
  request.partitions = partitions;
  request.replication_factor = factor;
  cluster_apply(cluster, metadata_command_create_topic(cluster->image, &context, &request, records), records);
}

/* One replica of each partition. */
static inline void cluster_create_topic(Cluster *cluster, const char *name, guint32 partitions) {
  cluster_create_replicated(cluster, name, partitions, 1);
}
