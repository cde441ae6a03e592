/* Images as the public API shows them; see view.h. No state.
 *
 * Messages are allocated piece by piece as protobuf-c would, so that their free_unpacked frees them. */
#include "controller/metadata/view_internal.h"

#include "services/base/times.h"

#include <string.h>

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
/* A page with more partitions than this tells only number and leader of each: it would not fit a stock client's 4 MiB.
 */
#define PAGE_PARTITIONS_MAX 1000

#define DEFAULT_FLUSH MILENA__V1__FLUSH__FLUSH_ALWAYS
#define DEFAULT_FLUSH_INTERVAL_MS 1000
#define DEFAULT_MAX_MESSAGE_BYTES (1024 * 1024)
#define DEFAULT_DELETE_RETENTION_MS (G_GINT64_CONSTANT(24) * 60 * 60 * 1000)
#define DEFAULT_MIN_CLEANABLE_DIRTY_RATIO 0.5

static gpointer message_new(gsize size, void (*init)(gpointer message)) {
  gpointer message = g_malloc(size);
  init(message);
  return message;
}
#define MESSAGE_NEW(Type, type)                                                                                        \
  ((Milena__V1__##Type *)message_new(sizeof(Milena__V1__##Type), (void (*)(gpointer))milena__v1__##type##__init))

/* ---- Configuration ---- */

guint32 metadata_topic_max_message_bytes(const MetadataTopic *topic) {
  return topic->config->max_message_bytes_presence_case ? topic->config->max_message_bytes : DEFAULT_MAX_MESSAGE_BYTES;
}

static guint32 min_insync(const Milena__V1__TopicConfig *config, guint32 replication_factor) {
  return config->min_insync_replicas_presence_case ? config->min_insync_replicas : (replication_factor + 1) / 2;
}

guint32 metadata_topic_min_insync_replicas(const MetadataTopic *topic) {
  return min_insync(topic->config, topic->replication_factor);
}

Milena__V1__Flush metadata_topic_flush(const MetadataTopic *topic) {
  return topic->config->flush ? topic->config->flush : DEFAULT_FLUSH;
}

static gint64 flush_interval_ms(const Milena__V1__TopicConfig *config) {
  return times_duration_ms(config->flush_interval, DEFAULT_FLUSH_INTERVAL_MS);
}

gint64 metadata_topic_flush_interval_ms(const MetadataTopic *topic) {
  return flush_interval_ms(topic->config);
}

/* ---- How old records go ---- */

gboolean metadata_topic_is_compacted(const MetadataTopic *topic) {
  return topic->config->cleanup_policy == MILENA__V1__CLEANUP_POLICY__CLEANUP_POLICY_COMPACT;
}

static gint64 retention_ms(const Milena__V1__TopicConfig *config) {
  return MAX(times_duration_ms(config->retention, METADATA_RETENTION_MS_DEFAULT), -1);
}

static gint64 retention_bytes(const Milena__V1__TopicConfig *config) {
  return config->retention_bytes_presence_case ? config->retention_bytes : -1;
}

static gint64 delete_retention_ms(const Milena__V1__TopicConfig *config) {
  return times_duration_ms(config->delete_retention, DEFAULT_DELETE_RETENTION_MS);
}

static double min_cleanable_dirty_ratio(const Milena__V1__TopicConfig *config) {
  return config->min_cleanable_dirty_ratio_presence_case ? config->min_cleanable_dirty_ratio
                                                         : DEFAULT_MIN_CLEANABLE_DIRTY_RATIO;
}

gint64 metadata_topic_retention_ms(const MetadataTopic *topic) {
  return metadata_topic_is_compacted(topic) ? -1 : retention_ms(topic->config);
}

gint64 metadata_topic_retention_bytes(const MetadataTopic *topic) {
  return metadata_topic_is_compacted(topic) ? -1 : retention_bytes(topic->config);
}

gint64 metadata_topic_delete_retention_ms(const MetadataTopic *topic) {
  return delete_retention_ms(topic->config);
}

gint64 metadata_topic_min_compaction_lag_ms(const MetadataTopic *topic) {
  return times_duration_ms(topic->config->min_compaction_lag, 0);
}

double metadata_topic_min_cleanable_dirty_ratio(const MetadataTopic *topic) {
  return min_cleanable_dirty_ratio(topic->config);
}

static Google__Protobuf__Duration *duration_new(gint64 ms) {
  Google__Protobuf__Duration *duration = g_new(Google__Protobuf__Duration, 1);
  times_duration_set(duration, ms);
  return duration;
}

static Google__Protobuf__Duration *duration_copy(const Google__Protobuf__Duration *duration) {
  if (!duration)
    return NULL;
  Google__Protobuf__Duration *copy = g_new(Google__Protobuf__Duration, 1);
  google__protobuf__duration__init(copy);
  copy->seconds = duration->seconds;
  copy->nanos = duration->nanos;
  return copy;
}

static Milena__V1__TopicConfig *config_copy(const Milena__V1__TopicConfig *config) {
  Milena__V1__TopicConfig *copy = MESSAGE_NEW(TopicConfig, topic_config);
  copy->flush = config->flush;
  copy->flush_interval = duration_copy(config->flush_interval);
  copy->max_message_bytes_presence_case = config->max_message_bytes_presence_case;
  copy->max_message_bytes = config->max_message_bytes;
  copy->min_insync_replicas_presence_case = config->min_insync_replicas_presence_case;
  copy->min_insync_replicas = config->min_insync_replicas;
  copy->unclean_leader_election = config->unclean_leader_election;
  copy->cleanup_policy = config->cleanup_policy;
  copy->retention = duration_copy(config->retention);
  copy->retention_bytes_presence_case = config->retention_bytes_presence_case;
  copy->retention_bytes = config->retention_bytes;
  copy->delete_retention = duration_copy(config->delete_retention);
  copy->min_compaction_lag = duration_copy(config->min_compaction_lag);
  copy->min_cleanable_dirty_ratio_presence_case = config->min_cleanable_dirty_ratio_presence_case;
  copy->min_cleanable_dirty_ratio = config->min_cleanable_dirty_ratio;
  return copy;
}

/* The settings of cleanup that are missing. */
static void fill_cleanup(Milena__V1__TopicConfig *effective) {
  if (!effective->cleanup_policy)
    effective->cleanup_policy = MILENA__V1__CLEANUP_POLICY__CLEANUP_POLICY_DELETE;
  if (!effective->retention)
    effective->retention = duration_new(METADATA_RETENTION_MS_DEFAULT);
  effective->retention_bytes = retention_bytes(effective);
  effective->retention_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__RETENTION_BYTES_PRESENCE_RETENTION_BYTES;
  if (!effective->delete_retention)
    effective->delete_retention = duration_new(DEFAULT_DELETE_RETENTION_MS);
  if (!effective->min_compaction_lag)
    effective->min_compaction_lag = duration_new(0);
  effective->min_cleanable_dirty_ratio = min_cleanable_dirty_ratio(effective);
  effective->min_cleanable_dirty_ratio_presence_case =
      MILENA__V1__TOPIC_CONFIG__MIN_CLEANABLE_DIRTY_RATIO_PRESENCE_MIN_CLEANABLE_DIRTY_RATIO;
}

Milena__V1__TopicConfig *metadata_view_effective_config(const Milena__V1__TopicConfig *config,
                                                        guint32 replication_factor) {
  Milena__V1__TopicConfig *effective = config_copy(config);
  if (!effective->flush)
    effective->flush = DEFAULT_FLUSH;
  if (!effective->flush_interval)
    effective->flush_interval = duration_new(DEFAULT_FLUSH_INTERVAL_MS);
  if (!effective->max_message_bytes_presence_case) {
    effective->max_message_bytes_presence_case = MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
    effective->max_message_bytes = DEFAULT_MAX_MESSAGE_BYTES;
  }
  fill_cleanup(effective);
  effective->min_insync_replicas = min_insync(config, replication_factor);
  effective->min_insync_replicas_presence_case =
      MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
  return effective;
}

/* ---- Topics and processes ---- */

static gint32 *copy_ids(const gint32 *ids, guint count) {
  return count ? g_memdup2(ids, count * sizeof *ids) : NULL;
}

static Milena__V1__Partition *view_partition(const MetadataPartition *partition, gboolean detailed) {
  Milena__V1__Partition *message = MESSAGE_NEW(Partition, partition);
  message->partition = partition->partition;
  message->leader_id = partition->leader_id;
  message->leader_epoch = partition->leader_epoch;
  if (!detailed)
    return message;
  message->n_replicas = partition->replica_count;
  message->replicas = copy_ids(partition->replicas, partition->replica_count);
  message->n_in_sync_replicas = partition->isr_count;
  message->in_sync_replicas = copy_ids(partition->isr, partition->isr_count);
  message->n_eligible_replicas = partition->eligible_count;
  message->eligible_replicas = copy_ids(partition->eligible, partition->eligible_count);
  message->n_target_replicas = partition->target_count;
  message->target_replicas = copy_ids(partition->target, partition->target_count);
  message->log_id = partition->log_id;
  return message;
}

static Milena__V1__Topic *view_topic(const MetadataTopic *topic, gboolean detailed) {
  Milena__V1__Topic *message = MESSAGE_NEW(Topic, topic);
  message->name = g_strdup(topic->name);
  message->id = g_strdup(topic->id);
  message->replication_factor = topic->replication_factor;
  message->config = config_copy(topic->config);
  message->effective_config = metadata_view_effective_config(topic->config, topic->replication_factor);
  message->n_partitions = topic->partition_count;
  message->partitions = g_new(Milena__V1__Partition *, MAX(topic->partition_count, 1));
  for (guint i = 0; i < topic->partition_count; i++)
    message->partitions[i] = view_partition(topic->partitions[i], detailed);
  return message;
}

Milena__V1__Topic *metadata_view_topic(const MetadataTopic *topic) {
  return view_topic(topic, TRUE);
}

Milena__V1__Broker *metadata_view_broker(const MetadataBroker *broker) {
  Milena__V1__Broker *message = MESSAGE_NEW(Broker, broker);
  message->id = broker->id;
  message->rack = g_strdup(broker->rack);
  message->address = g_strdup(broker->address);
  message->epoch = broker->epoch;
  message->fenced = broker->fenced;
  message->leader_count = broker->leader_count;
  message->replica_count = broker->replica_count;
  message->drained = broker->drained;
  message->stopping = broker->stopping;
  message->disk_low = broker->disk_low;
  return message;
}

/* Hand the array's elements over to a repeated field. */
static gpointer take_repeated(GPtrArray *array, gsize *ret_count) {
  *ret_count = array->len;
  return g_ptr_array_free(array, FALSE);
}

static Milena__V1__Coordinator *view_coordinator(const MetadataImage *image, const MetadataCoordinator *coordinator) {
  Milena__V1__Coordinator *message = MESSAGE_NEW(Coordinator, coordinator);
  message->id = coordinator->id;
  message->address = g_strdup(coordinator->address);
  message->fenced = coordinator->fenced;
  GPtrArray *leases = g_ptr_array_new();
  MetadataIter iter;
  metadata_iter_leases(&iter, image);
  for (const MetadataLease *lease; (lease = metadata_iter_next_lease(&iter));) {
    if (lease->coordinator_id != coordinator->id)
      continue;
    Milena__V1__CoordinatorLease *held = MESSAGE_NEW(CoordinatorLease, coordinator_lease);
    held->partition = lease->partition;
    held->lease_epoch = lease->lease_epoch;
    g_ptr_array_add(leases, held);
  }
  message->leases = take_repeated(leases, &message->n_leases);
  return message;
}

static Milena__V1__Controller *view_controller(const MetadataController *controller) {
  Milena__V1__Controller *message = MESSAGE_NEW(Controller, controller);
  message->id = controller->id;
  message->address = g_strdup(controller->address);
  return message;
}

/* ---- The cluster ---- */

static Failure *add_topics(const MetadataImage *image, char *const *names, gsize name_count, gboolean skip_unknown,
                           GPtrArray *topics) {
  MetadataIter iter;
  if (name_count == 0) {
    metadata_iter_topics(&iter, image, NULL);
    for (const MetadataTopic *topic; (topic = metadata_iter_next_topic(&iter));)
      g_ptr_array_add(topics, metadata_view_topic(topic));
  }
  for (gsize i = 0; i < name_count; i++) {
    const MetadataTopic *topic = NULL;
    Failure *failure = metadata_image_find_topic(image, names[i], NULL, &topic);
    if (failure && !skip_unknown)
      return failure;
    failure_free(failure);
    if (topic)
      g_ptr_array_add(topics, metadata_view_topic(topic));
  }
  return NULL;
}

static void add_processes(const MetadataImage *image, Milena__V1__ClusterMetadata *cluster) {
  GPtrArray *brokers = g_ptr_array_new(), *coordinators = g_ptr_array_new(), *controllers = g_ptr_array_new();
  MetadataIter iter;
  metadata_iter_brokers(&iter, image, G_MININT32);
  for (const MetadataBroker *broker; (broker = metadata_iter_next_broker(&iter));)
    g_ptr_array_add(brokers, metadata_view_broker(broker));
  metadata_iter_coordinators(&iter, image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    g_ptr_array_add(coordinators, view_coordinator(image, coordinator));
  metadata_iter_controllers(&iter, image);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    g_ptr_array_add(controllers, view_controller(controller));
  cluster->brokers = take_repeated(brokers, &cluster->n_brokers);
  cluster->coordinators = take_repeated(coordinators, &cluster->n_coordinators);
  cluster->controllers = take_repeated(controllers, &cluster->n_controllers);
}

Failure *metadata_view_cluster(const MetadataImage *image, gint32 active_controller_id, char *const *names,
                               gsize name_count, gboolean skip_unknown, Milena__V1__ClusterMetadata **ret_cluster) {
  GPtrArray *topics = g_ptr_array_new();
  Failure *failure = add_topics(image, names, name_count, skip_unknown, topics);
  Milena__V1__ClusterMetadata *cluster = MESSAGE_NEW(ClusterMetadata, cluster_metadata);
  cluster->topics = take_repeated(topics, &cluster->n_topics);
  if (failure) {
    milena__v1__cluster_metadata__free_unpacked(cluster, NULL);
    return failure;
  }
  cluster->cluster_id = g_strdup(metadata_image_cluster_id(image));
  cluster->version = metadata_image_version(image);
  cluster->active_controller_id = active_controller_id;
  add_processes(image, cluster);
  *ret_cluster = cluster;
  return NULL;
}

/* ---- Changes ---- */

typedef struct {
  GHashTable *names; /* topics that are wanted; NULL for all */
  GPtrArray *topics, *removed_topics, *brokers;
  GHashTable *coordinators; /* set of ids: changed, or their leases are */
  GArray *removed_brokers;
} Change;

static void change_topic(const MetadataTopic *before, const MetadataTopic *after, gpointer user_data) {
  Change *change = user_data;
  if (change->names && !g_hash_table_contains(change->names, after ? after->name : before->name))
    return;
  /* A topic that was re-created under its name: the old id is gone. */
  if (before && (!after || strcmp(before->id, after->id) != 0))
    g_ptr_array_add(change->removed_topics, g_strdup(before->id));
  if (after)
    g_ptr_array_add(change->topics, metadata_view_topic(after));
}

static void change_broker(const MetadataBroker *before, const MetadataBroker *after, gpointer user_data) {
  Change *change = user_data;
  if (after)
    g_ptr_array_add(change->brokers, metadata_view_broker(after));
  else
    g_array_append_val(change->removed_brokers, before->id);
}

static void change_coordinator(const MetadataCoordinator *before, const MetadataCoordinator *after,
                               gpointer user_data) {
  Change *change = user_data;
  (void)before; /* coordinators are never removed, only fenced */
  if (after)
    g_hash_table_add(change->coordinators, GINT_TO_POINTER(after->id));
}

static void change_lease(const MetadataLease *before, const MetadataLease *after, gpointer user_data) {
  Change *change = user_data;
  if (before)
    g_hash_table_add(change->coordinators, GINT_TO_POINTER(before->coordinator_id));
  if (after)
    g_hash_table_add(change->coordinators, GINT_TO_POINTER(after->coordinator_id));
}

/* In the order of their ids. */
static gpointer changed_coordinators(const MetadataImage *image, const Change *change, gsize *ret_count) {
  GPtrArray *coordinators = g_ptr_array_new();
  MetadataIter iter;
  metadata_iter_coordinators(&iter, image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    if (g_hash_table_contains(change->coordinators, GINT_TO_POINTER(coordinator->id)))
      g_ptr_array_add(coordinators, view_coordinator(image, coordinator));
  return take_repeated(coordinators, ret_count);
}

Milena__V1__MetadataChange *metadata_view_change(const MetadataImage *from, const MetadataImage *to,
                                                 gint32 active_controller_id, char *const *names, gsize name_count) {
  g_autoptr(GHashTable) wanted = name_count ? g_hash_table_new(g_str_hash, g_str_equal) : NULL;
  for (gsize i = 0; i < name_count; i++)
    g_hash_table_add(wanted, names[i]);
  Change change = {
      .names = wanted,
      .topics = g_ptr_array_new(),
      .removed_topics = g_ptr_array_new(),
      .brokers = g_ptr_array_new(),
      .coordinators = g_hash_table_new(NULL, NULL),
      .removed_brokers = g_array_new(FALSE, FALSE, sizeof(gint32)),
  };
  metadata_image_diff(from, to, change_topic, change_broker, change_coordinator, &change);
  metadata_image_diff_leases(from, to, change_lease, &change);
  Milena__V1__MetadataChange *message = MESSAGE_NEW(MetadataChange, metadata_change);
  message->version = metadata_image_version(to);
  message->active_controller_id = active_controller_id;
  message->topics = take_repeated(change.topics, &message->n_topics);
  message->removed_topic_ids = take_repeated(change.removed_topics, &message->n_removed_topic_ids);
  message->brokers = take_repeated(change.brokers, &message->n_brokers);
  message->coordinators = changed_coordinators(to, &change, &message->n_coordinators);
  g_hash_table_unref(change.coordinators);
  message->n_removed_broker_ids = change.removed_brokers->len;
  message->removed_broker_ids = (gint32 *)g_array_free(change.removed_brokers, FALSE);
  return message;
}

/* ---- Answers of AdminService ---- */

Failure *metadata_view_get_topic(const MetadataImage *image, const Milena__V1__GetTopicRequest *request,
                                 Milena__V1__GetTopicResponse **ret_response) {
  const MetadataTopic *topic = NULL;
  Failure *failure = metadata_image_find_topic(image, request->name, request->id, &topic);
  if (failure)
    return failure;
  Milena__V1__GetTopicResponse *response = MESSAGE_NEW(GetTopicResponse, get_topic_response);
  response->topic = metadata_view_topic(topic);
  *ret_response = response;
  return NULL;
}

Failure *metadata_view_page_limit(guint32 page_size, guint *ret_limit) {
  if (page_size > PAGE_MAX)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD),
                                             "A page holds at most %d items, and %u were asked for: ask for less, and "
                                             "take the rest from the next pages.",
                                             PAGE_MAX, page_size),
                                 "page_size", "at most 1,000");
  *ret_limit = page_size ? page_size : PAGE_DEFAULT;
  return NULL;
}

/* The token of a page of topics is "topic:" and the first name that is on it: it holds when topics come and go. */
static Failure *topic_token(const char *token, const char **ret_from) {
  if (!*token) {
    *ret_from = NULL;
    return NULL;
  }
  if (!g_str_has_prefix(token, "topic:"))
    return failure_new(FAILURE(STALE_PAGE_TOKEN), "The page token is not from a listing of topics. Start again without "
                                                  "a token.");
  *ret_from = token + strlen("topic:");
  return NULL;
}

Failure *metadata_view_list_topics(const MetadataImage *image, const Milena__V1__ListTopicsRequest *request,
                                   Milena__V1__ListTopicsResponse **ret_response) {
  guint limit = 0, partitions = 0;
  const char *from = NULL;
  Failure *failure = metadata_view_page_limit(request->page_size, &limit);
  if (!failure)
    failure = topic_token(request->page_token, &from);
  if (failure)
    return failure;
  g_autoptr(GPtrArray) page = g_ptr_array_new();
  MetadataIter iter;
  const MetadataTopic *topic;
  metadata_iter_topics(&iter, image, from);
  while ((topic = metadata_iter_next_topic(&iter)) && page->len < limit) {
    g_ptr_array_add(page, (gpointer)topic);
    partitions += topic->partition_count;
  }
  Milena__V1__ListTopicsResponse *response = MESSAGE_NEW(ListTopicsResponse, list_topics_response);
  response->n_topics = page->len;
  response->topics = g_new(Milena__V1__Topic *, MAX(page->len, 1));
  for (guint i = 0; i < page->len; i++)
    response->topics[i] = view_topic(page->pdata[i], partitions <= PAGE_PARTITIONS_MAX);
  if (topic)
    response->next_page_token = g_strconcat("topic:", topic->name, NULL);
  *ret_response = response;
  return NULL;
}

/* Names of a page of topics; borrowed from the image. */
static Failure *page_names(const MetadataImage *image, const Milena__V1__GetMetadataRequest *request, GPtrArray *names,
                           char **ret_token) {
  guint limit = 0;
  const char *from = NULL;
  Failure *failure = metadata_view_page_limit(request->page_size, &limit);
  if (!failure)
    failure = topic_token(request->page_token, &from);
  if (failure)
    return failure;
  MetadataIter iter;
  const MetadataTopic *topic;
  metadata_iter_topics(&iter, image, from);
  while ((topic = metadata_iter_next_topic(&iter)) && names->len < limit)
    g_ptr_array_add(names, topic->name);
  if (topic)
    *ret_token = g_strconcat("topic:", topic->name, NULL);
  return NULL;
}

Failure *metadata_view_get_metadata(const MetadataImage *image, gint32 active_controller_id,
                                    const Milena__V1__GetMetadataRequest *request,
                                    Milena__V1__GetMetadataResponse **ret_response) {
  gboolean paged = request->n_topics == 0 && (request->page_size > 0 || *request->page_token);
  g_autoptr(GPtrArray) names = g_ptr_array_new();
  g_autofree char *token = NULL;
  Failure *failure = paged ? page_names(image, request, names, &token) : NULL;
  if (paged && names->len == 0) /* behind the last; no name at all would mean all of them */
    g_ptr_array_add(names, (gpointer) "");
  Milena__V1__ClusterMetadata *cluster = NULL;
  if (!failure && paged)
    failure = metadata_view_cluster(image, active_controller_id, (char **)names->pdata, names->len, TRUE, &cluster);
  else if (!failure)
    failure = metadata_view_cluster(image, active_controller_id, request->topics, request->n_topics, FALSE, &cluster);
  if (failure)
    return failure;
  Milena__V1__GetMetadataResponse *response = MESSAGE_NEW(GetMetadataResponse, get_metadata_response);
  response->cluster = cluster;
  if (token)
    response->next_page_token = g_steal_pointer(&token);
  *ret_response = response;
  return NULL;
}

Failure *metadata_view_get_broker(const MetadataImage *image, const Milena__V1__GetBrokerRequest *request,
                                  Milena__V1__GetBrokerResponse **ret_response) {
  const MetadataBroker *broker = metadata_image_broker(image, request->id);
  if (!broker) {
    g_autofree char *name = g_strdup_printf("%d", request->id);
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_BROKER), "No broker with the id %d ever registered.", request->id), "broker", name);
  }
  Milena__V1__GetBrokerResponse *response = MESSAGE_NEW(GetBrokerResponse, get_broker_response);
  response->broker = metadata_view_broker(broker);
  *ret_response = response;
  return NULL;
}

static Failure *broker_token(const char *token, gint32 *ret_from) {
  if (!*token) {
    *ret_from = G_MININT32;
    return NULL;
  }
  gint64 from = 0;
  if (!g_str_has_prefix(token, "broker:") ||
      !g_ascii_string_to_signed(token + strlen("broker:"), 10, G_MININT32, G_MAXINT32, &from, NULL))
    return failure_new(FAILURE(STALE_PAGE_TOKEN), "The page token is not from a listing of brokers. Start again "
                                                  "without a token.");
  *ret_from = (gint32)from;
  return NULL;
}

Failure *metadata_view_list_brokers(const MetadataImage *image, const Milena__V1__ListBrokersRequest *request,
                                    Milena__V1__ListBrokersResponse **ret_response) {
  guint limit = 0;
  gint32 from = 0;
  Failure *failure = metadata_view_page_limit(request->page_size, &limit);
  if (!failure)
    failure = broker_token(request->page_token, &from);
  if (failure)
    return failure;
  GPtrArray *brokers = g_ptr_array_new();
  MetadataIter iter;
  const MetadataBroker *broker;
  metadata_iter_brokers(&iter, image, from);
  while ((broker = metadata_iter_next_broker(&iter)) && brokers->len < limit)
    g_ptr_array_add(brokers, metadata_view_broker(broker));
  Milena__V1__ListBrokersResponse *response = MESSAGE_NEW(ListBrokersResponse, list_brokers_response);
  response->brokers = take_repeated(brokers, &response->n_brokers);
  if (broker)
    response->next_page_token = g_strdup_printf("broker:%d", broker->id);
  *ret_response = response;
  return NULL;
}
