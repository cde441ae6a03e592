/* Between protos and the structs of milena.h. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "milena/v1/common.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"

G_BEGIN_DECLS

/* A position as a message; points into itself: must stay put. */
typedef struct {
  Milena__V1__Position position;
  Google__Protobuf__Timestamp time;
} PositionProto;
/* Returns FALSE for an unknown kind or a negative offset. */
gboolean convert_to_position(MilenaPosition position, PositionProto *ret_proto);

/* A configuration as a message; points into itself: must stay put. */
typedef struct {
  Milena__V1__TopicConfig config;
  Google__Protobuf__Duration flush_interval, retention, delete_retention, min_compaction_lag;
} TopicConfigProto;
void convert_to_config(const MilenaTopicConfig *config, TopicConfigProto *ret_proto);

/* All owned by the caller, and freed by the functions of milena.h. */
MilenaTopic *convert_topic(const Milena__V1__Topic *proto);
MilenaBroker *convert_broker(const Milena__V1__Broker *proto);
/* Into arrays. */
void convert_topic_into(const Milena__V1__Topic *proto, MilenaTopic *ret_topic);
void convert_broker_into(const Milena__V1__Broker *proto, MilenaBroker *ret_broker);
MilenaCluster *convert_cluster(const Milena__V1__ClusterMetadata *proto);

G_END_DECLS
