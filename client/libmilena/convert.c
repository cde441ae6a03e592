/* Between protos and the structs of milena.h: see convert.h. Pure; every free function takes NULL. */
#include "client/libmilena/convert.h"

#include "services/base/times.h"

/* ---- positions ---- */

gboolean convert_to_position(MilenaPosition position, PositionProto *ret_proto) {
  Milena__V1__Position *proto = &ret_proto->position;
  milena__v1__position__init(proto);
  switch (position.kind) {
  case MILENA_POSITION_BEGINNING:
  case MILENA_POSITION_END:
    proto->kind_case = MILENA__V1__POSITION__KIND_END;
    proto->end = position.kind == MILENA_POSITION_END ? MILENA__V1__LOG_END__LOG_END_LATEST
                                                      : MILENA__V1__LOG_END__LOG_END_EARLIEST;
    return TRUE;
  case MILENA_POSITION_OFFSET:
    proto->kind_case = MILENA__V1__POSITION__KIND_OFFSET;
    proto->offset = position.value;
    return position.value >= 0;
  case MILENA_POSITION_TIME:
    proto->kind_case = MILENA__V1__POSITION__KIND_TIME;
    times_timestamp_set(&ret_proto->time, position.value);
    proto->time = &ret_proto->time;
    return TRUE;
  default:
    return FALSE;
  }
}

/* ---- configuration ---- */

/* @zero: what stands for zero, or below it, where 0 stands for the default */
static void set_time(gint64 ms, gint64 zero, Google__Protobuf__Duration *room, Google__Protobuf__Duration **place) {
  if (ms == 0)
    return;
  times_duration_set(room, ms == zero ? 0 : ms);
  *place = room;
}

static void set_cleanup(const MilenaTopicConfig *config, TopicConfigProto *ret_proto) {
  Milena__V1__TopicConfig *proto = &ret_proto->config;
  proto->cleanup_policy = (Milena__V1__CleanupPolicy)config->cleanup_policy;
  set_time(config->retention_ms, G_MININT64, &ret_proto->retention, &proto->retention);
  if (config->retention_bytes != 0) {
    proto->retention_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__RETENTION_BYTES_PRESENCE_RETENTION_BYTES;
    proto->retention_bytes = config->retention_bytes;
  }
  set_time(config->delete_retention_ms, MILENA_ZERO, &ret_proto->delete_retention, &proto->delete_retention);
  set_time(config->min_compaction_lag_ms, G_MININT64, &ret_proto->min_compaction_lag, &proto->min_compaction_lag);
  if (config->min_cleanable_dirty_ratio != 0) {
    proto->min_cleanable_dirty_ratio_presence_case =
        MILENA__V1__TOPIC_CONFIG__MIN_CLEANABLE_DIRTY_RATIO_PRESENCE_MIN_CLEANABLE_DIRTY_RATIO;
    proto->min_cleanable_dirty_ratio =
        config->min_cleanable_dirty_ratio == MILENA_ZERO ? 0 : config->min_cleanable_dirty_ratio;
  }
}

void convert_to_config(const MilenaTopicConfig *config, TopicConfigProto *ret_proto) {
  Milena__V1__TopicConfig *proto = &ret_proto->config;
  milena__v1__topic_config__init(proto);
  proto->flush = (Milena__V1__Flush)config->flush;
  if (config->flush_interval_ms != 0) {
    times_duration_set(&ret_proto->flush_interval, config->flush_interval_ms);
    proto->flush_interval = &ret_proto->flush_interval;
  }
  if (config->max_message_bytes != 0) {
    proto->max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
    proto->max_message_bytes = config->max_message_bytes;
  }
  if (config->min_insync_replicas != 0) {
    proto->min_insync_replicas_presence_case =
        MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
    proto->min_insync_replicas = config->min_insync_replicas;
  }
  proto->unclean_leader_election = config->unclean_leader_election;
  set_cleanup(config, ret_proto);
}

/* What is there and zero is told apart from what is missing. */
static gint64 get_time(const Google__Protobuf__Duration *duration) {
  gint64 ms = times_duration_ms(duration, 0);
  return duration && ms == 0 ? MILENA_ZERO : ms;
}

static void get_cleanup(const Milena__V1__TopicConfig *proto, MilenaTopicConfig *config) {
  config->cleanup_policy = (MilenaCleanupPolicy)proto->cleanup_policy;
  config->retention_ms = MAX(get_time(proto->retention), MILENA_FOR_EVER);
  if (proto->retention_bytes_presence_case == MILENA__V1__TOPIC_CONFIG__RETENTION_BYTES_PRESENCE_RETENTION_BYTES)
    config->retention_bytes = proto->retention_bytes;
  config->delete_retention_ms = get_time(proto->delete_retention);
  config->min_compaction_lag_ms = times_duration_ms(proto->min_compaction_lag, 0);
  if (proto->min_cleanable_dirty_ratio_presence_case ==
      MILENA__V1__TOPIC_CONFIG__MIN_CLEANABLE_DIRTY_RATIO_PRESENCE_MIN_CLEANABLE_DIRTY_RATIO)
    config->min_cleanable_dirty_ratio =
        proto->min_cleanable_dirty_ratio == 0 ? MILENA_ZERO : proto->min_cleanable_dirty_ratio;
}

static MilenaTopicConfig convert_config(const Milena__V1__TopicConfig *proto) {
  MilenaTopicConfig config = {0};
  if (proto == NULL)
    return config;
  config.flush = (MilenaFlush)proto->flush;
  config.flush_interval_ms = times_duration_ms(proto->flush_interval, 0);
  if (proto->max_message_bytes_presence_case == MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES)
    config.max_message_bytes = proto->max_message_bytes;
  if (proto->min_insync_replicas_presence_case ==
      MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS)
    config.min_insync_replicas = proto->min_insync_replicas;
  config.unclean_leader_election = proto->unclean_leader_election;
  get_cleanup(proto, &config);
  return config;
}

/* ---- topics ---- */

static void convert_partition_into(const Milena__V1__Partition *proto, MilenaPartition *ret_partition) {
  *ret_partition = (MilenaPartition){
      .partition = proto->partition,
      .leader_id = proto->leader_id,
      .leader_epoch = proto->leader_epoch,
      .replicas = g_memdup2(proto->replicas, proto->n_replicas * sizeof(gint32)),
      .replica_count = proto->n_replicas,
      .in_sync_replicas = g_memdup2(proto->in_sync_replicas, proto->n_in_sync_replicas * sizeof(gint32)),
      .in_sync_replica_count = proto->n_in_sync_replicas,
      .log_id = proto->log_id,
      .eligible_replicas = g_memdup2(proto->eligible_replicas, proto->n_eligible_replicas * sizeof(gint32)),
      .eligible_replica_count = proto->n_eligible_replicas,
      .target_replicas = g_memdup2(proto->target_replicas, proto->n_target_replicas * sizeof(gint32)),
      .target_replica_count = proto->n_target_replicas,
  };
}

void convert_topic_into(const Milena__V1__Topic *proto, MilenaTopic *ret_topic) {
  *ret_topic = (MilenaTopic){
      .name = g_strdup(proto->name),
      .id = g_strdup(proto->id),
      .replication_factor = proto->replication_factor,
      .config = convert_config(proto->config),
      .effective_config = convert_config(proto->effective_config),
      .partitions = g_new0(MilenaPartition, proto->n_partitions),
      .partition_count = proto->n_partitions,
  };
  for (gsize i = 0; i < proto->n_partitions; i++)
    convert_partition_into(proto->partitions[i], &ret_topic->partitions[i]);
}

MilenaTopic *convert_topic(const Milena__V1__Topic *proto) {
  MilenaTopic *topic = g_new0(MilenaTopic, 1);
  convert_topic_into(proto, topic);
  return topic;
}

static void topic_clear(MilenaTopic *topic) {
  for (size_t i = 0; i < topic->partition_count; i++) {
    g_free(topic->partitions[i].replicas);
    g_free(topic->partitions[i].in_sync_replicas);
    g_free(topic->partitions[i].eligible_replicas);
    g_free(topic->partitions[i].target_replicas);
  }
  g_free(topic->partitions);
  g_free(topic->name);
  g_free(topic->id);
}

void milena_topic_free(MilenaTopic *topic) {
  if (topic == NULL)
    return;
  topic_clear(topic);
  g_free(topic);
}

static void topics_clear(MilenaTopicList *list) {
  for (size_t i = 0; i < list->count; i++)
    topic_clear(&list->topics[i]);
  g_free(list->topics);
}

void milena_topic_list_free(MilenaTopicList *list) {
  if (list == NULL)
    return;
  topics_clear(list);
  g_free(list);
}

/* ---- brokers, the cluster ---- */

void convert_broker_into(const Milena__V1__Broker *proto, MilenaBroker *ret_broker) {
  *ret_broker = (MilenaBroker){
      .id = proto->id,
      .rack = g_strdup(proto->rack),
      .address = g_strdup(proto->address),
      .epoch = proto->epoch,
      .fenced = proto->fenced,
      .leader_count = proto->leader_count,
      .replica_count = proto->replica_count,
      .drained = proto->drained,
      .stopping = proto->stopping,
      .disk_low = proto->disk_low,
  };
}

MilenaBroker *convert_broker(const Milena__V1__Broker *proto) {
  MilenaBroker *broker = g_new0(MilenaBroker, 1);
  convert_broker_into(proto, broker);
  return broker;
}

static void broker_clear(MilenaBroker *broker) {
  g_free(broker->rack);
  g_free(broker->address);
}

void milena_broker_free(MilenaBroker *broker) {
  if (broker == NULL)
    return;
  broker_clear(broker);
  g_free(broker);
}

static void brokers_clear(MilenaBrokerList *list) {
  for (size_t i = 0; i < list->count; i++)
    broker_clear(&list->brokers[i]);
  g_free(list->brokers);
}

void milena_broker_list_free(MilenaBrokerList *list) {
  if (list == NULL)
    return;
  brokers_clear(list);
  g_free(list);
}

MilenaCluster *convert_cluster(const Milena__V1__ClusterMetadata *proto) {
  MilenaCluster *cluster = g_new0(MilenaCluster, 1);
  *cluster = (MilenaCluster){
      .cluster_id = g_strdup(proto->cluster_id),
      .version = proto->version,
      .brokers = {g_new0(MilenaBroker, proto->n_brokers), proto->n_brokers},
      .controllers = g_new0(MilenaNode, proto->n_controllers),
      .controller_count = proto->n_controllers,
      .active_controller_id = proto->active_controller_id,
      .coordinators = g_new0(MilenaNode, proto->n_coordinators),
      .coordinator_count = proto->n_coordinators,
      .topics = {g_new0(MilenaTopic, proto->n_topics), proto->n_topics},
  };
  for (gsize i = 0; i < proto->n_brokers; i++)
    convert_broker_into(proto->brokers[i], &cluster->brokers.brokers[i]);
  for (gsize i = 0; i < proto->n_controllers; i++)
    cluster->controllers[i] = (MilenaNode){proto->controllers[i]->id, g_strdup(proto->controllers[i]->address), false};
  for (gsize i = 0; i < proto->n_coordinators; i++)
    cluster->coordinators[i] = (MilenaNode){proto->coordinators[i]->id, g_strdup(proto->coordinators[i]->address),
                                            proto->coordinators[i]->fenced};
  for (gsize i = 0; i < proto->n_topics; i++)
    convert_topic_into(proto->topics[i], &cluster->topics.topics[i]);
  return cluster;
}

static void nodes_free(MilenaNode *nodes, size_t count) {
  for (size_t i = 0; i < count; i++)
    g_free(nodes[i].address);
  g_free(nodes);
}

void milena_cluster_free(MilenaCluster *cluster) {
  if (cluster == NULL)
    return;
  g_free(cluster->cluster_id);
  brokers_clear(&cluster->brokers);
  nodes_free(cluster->controllers, cluster->controller_count);
  nodes_free(cluster->coordinators, cluster->coordinator_count);
  topics_clear(&cluster->topics);
  g_free(cluster);
}
