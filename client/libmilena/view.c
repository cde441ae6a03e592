/* Views of the cluster: see view.h.
 *
 * Invariant: `topics` and `topics_by_id` hold the same topics; a topic's partitions are numbered from 0 without a gap.
 * Reference counts are C11 atomics, which ThreadSanitizer understands. */
#include "client/libmilena/view.h"

#include <string.h>

#include "services/base/invariant.h"

typedef struct {
  gint32 id;
  char *address;
  gboolean fenced;
} ViewBroker;

struct View {
  atomic_uint refs;
  gboolean known;
  guint64 version;
  char *gateway;            /* through which all brokers are reached, or NULL */
  GHashTable *topics;       /* name (the topic's) → ViewTopic, a reference */
  GHashTable *topics_by_id; /* id (the topic's) → ViewTopic, borrowed from topics */
  GHashTable *brokers;      /* id (the broker's) → ViewBroker, owned */
};

/* ---- topics and brokers ---- */

static ViewTopic *topic_ref(ViewTopic *topic) {
  atomic_fetch_add(&topic->refs, 1);
  return topic;
}

static void topic_unref(gpointer data) {
  ViewTopic *topic = data;
  if (atomic_fetch_sub(&topic->refs, 1) > 1)
    return;
  g_free(topic->name);
  g_free(topic->id);
  g_free(topic);
}

static guint32 topic_max_message_bytes(const Milena__V1__Topic *proto) {
  const Milena__V1__TopicConfig *config = proto->effective_config != NULL ? proto->effective_config : proto->config;
  if (config == NULL ||
      config->max_message_bytes_presence_case != MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES)
    return 0;
  return config->max_message_bytes;
}

static ViewTopic *topic_new(const Milena__V1__Topic *proto, Failure **ret_failure) {
  for (gsize i = 0; i < proto->n_partitions; i++)
    if (proto->partitions[i]->partition < 0 || (gsize)proto->partitions[i]->partition != i) {
      *ret_failure = failure_new(FAILURE(MALFORMED_MESSAGE),
                                 "the broker's metadata lists partition %d of topic %s in place %" G_GSIZE_FORMAT
                                 ": ask for its version",
                                 proto->partitions[i]->partition, proto->name, i);
      return NULL;
    }
  ViewTopic *topic = g_malloc0(sizeof *topic + proto->n_partitions * sizeof(ViewPartition));
  atomic_init(&topic->refs, 1);
  topic->name = g_strdup(proto->name);
  topic->id = g_strdup(proto->id);
  topic->max_message_bytes = topic_max_message_bytes(proto);
  topic->partition_count = (guint32)proto->n_partitions;
  for (gsize i = 0; i < proto->n_partitions; i++)
    topic->partitions[i] = (ViewPartition){proto->partitions[i]->leader_id, proto->partitions[i]->leader_epoch};
  return topic;
}

static void broker_free(gpointer data) {
  ViewBroker *broker = data;
  g_free(broker->address);
  g_free(broker);
}

/* ---- building ---- */

View *view_new_empty(void) {
  View *view = g_new0(View, 1);
  atomic_init(&view->refs, 1);
  view->topics = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, topic_unref);
  view->topics_by_id = g_hash_table_new(g_str_hash, g_str_equal);
  view->brokers = g_hash_table_new_full(g_int_hash, g_int_equal, NULL, broker_free);
  return view;
}

static void view_put_broker(View *view, gint32 id, const char *address, gboolean fenced) {
  ViewBroker *broker = g_new0(ViewBroker, 1);
  *broker = (ViewBroker){id, g_strdup(address), fenced};
  g_hash_table_replace(view->brokers, &broker->id, broker);
}

static void view_remove_topic(View *view, ViewTopic *topic) {
  g_hash_table_remove(view->topics_by_id, topic->id);
  g_hash_table_remove(view->topics, topic->name); /* frees it */
}

/* Replaces one of the same id, and one of the same name: a topic that was deleted and created again. */
static void view_put_topic(View *view, ViewTopic *topic) {
  ViewTopic *same_id = g_hash_table_lookup(view->topics_by_id, topic->id);
  if (same_id != NULL)
    view_remove_topic(view, same_id);
  ViewTopic *same_name = g_hash_table_lookup(view->topics, topic->name);
  if (same_name != NULL)
    view_remove_topic(view, same_name);
  g_hash_table_insert(view->topics, topic->name, topic);
  g_hash_table_insert(view->topics_by_id, topic->id, topic);
}

static Failure *view_put_topics(View *view, Milena__V1__Topic *const *topics, gsize count) {
  for (gsize i = 0; i < count; i++) {
    Failure *failure = NULL;
    ViewTopic *topic = topic_new(topics[i], &failure);
    if (topic == NULL)
      return failure;
    view_put_topic(view, topic);
  }
  return NULL;
}

Failure *view_new_from_image(const Milena__V1__ClusterMetadata *cluster, View **ret_view) {
  g_autoptr(View) view = view_new_empty();
  view->known = TRUE;
  view->version = cluster->version;
  for (gsize i = 0; i < cluster->n_brokers; i++)
    view_put_broker(view, cluster->brokers[i]->id, cluster->brokers[i]->address, cluster->brokers[i]->fenced);
  Failure *failure = view_put_topics(view, cluster->topics, cluster->n_topics);
  if (failure == NULL)
    *ret_view = g_steal_pointer(&view);
  return failure;
}

static View *view_copy(const View *from) {
  View *view = view_new_empty();
  view->known = from->known;
  view->version = from->version;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, from->brokers);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    ViewBroker *broker = value;
    view_put_broker(view, broker->id, broker->address, broker->fenced);
  }
  g_hash_table_iter_init(&iter, from->topics);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    view_put_topic(view, topic_ref(value));
  return view;
}

Failure *view_new_from_change(const View *from, const Milena__V1__MetadataChange *change, View **ret_view) {
  g_autoptr(View) view = view_copy(from);
  view->version = change->version;
  for (gsize i = 0; i < change->n_brokers; i++)
    view_put_broker(view, change->brokers[i]->id, change->brokers[i]->address, change->brokers[i]->fenced);
  for (gsize i = 0; i < change->n_removed_broker_ids; i++)
    g_hash_table_remove(view->brokers, &change->removed_broker_ids[i]);
  for (gsize i = 0; i < change->n_removed_topic_ids; i++) {
    ViewTopic *gone = g_hash_table_lookup(view->topics_by_id, change->removed_topic_ids[i]);
    if (gone != NULL)
      view_remove_topic(view, gone);
  }
  Failure *failure = view_put_topics(view, change->topics, change->n_topics);
  if (failure == NULL)
    *ret_view = g_steal_pointer(&view);
  return failure;
}

void view_set_gateway(View *view, const char *address) {
  g_free(view->gateway);
  view->gateway = g_strdup(address);
}

View *view_ref(View *view) {
  atomic_fetch_add(&view->refs, 1);
  return view;
}

void view_unref(View *view) {
  if (view == NULL || atomic_fetch_sub(&view->refs, 1) > 1)
    return;
  g_hash_table_unref(view->topics_by_id);
  g_hash_table_unref(view->topics);
  g_hash_table_unref(view->brokers);
  g_free(view->gateway);
  g_free(view);
}

/* ---- reading ---- */

static const char *address_of(const View *view, const ViewBroker *broker) {
  return view->gateway != NULL ? view->gateway : broker->address;
}

gboolean view_is_known(const View *view) {
  return view->known;
}

guint64 view_version(const View *view) {
  return view->version;
}

const ViewTopic *view_topic(const View *view, const char *name) {
  return g_hash_table_lookup(view->topics, name);
}

Failure *view_leader(const View *view, const char *topic_name, gint32 partition, gint32 *ret_leader_id,
                     const char **ret_address) {
  const ViewTopic *topic = view_topic(view, topic_name);
  if (topic == NULL)
    return failure_set_resource(
        failure_new(FAILURE(UNKNOWN_TOPIC), "topic %s does not exist: create it, or check its name", topic_name),
        "topic", topic_name);
  if (partition < 0 || (guint32)partition >= topic->partition_count)
    return failure_new(FAILURE(UNKNOWN_PARTITION), "topic %s has no partition %d: it has %u, counted from 0",
                       topic_name, partition, topic->partition_count);
  gint32 leader_id = topic->partitions[partition].leader_id;
  if (leader_id < 0)
    return failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                       "partition %d of topic %s has no leader now: one of its brokers must come back", partition,
                       topic_name);
  const ViewBroker *broker = g_hash_table_lookup(view->brokers, &leader_id);
  if (broker == NULL)
    return failure_new(FAILURE(LEADER_NOT_AVAILABLE),
                       "partition %d of topic %s is led by broker %d, which the metadata does not know yet", partition,
                       topic_name, leader_id);
  *ret_leader_id = leader_id;
  *ret_address = address_of(view, broker);
  return NULL;
}

gboolean view_broker_serves(const View *view, gint32 broker_id, const char *address) {
  const ViewBroker *broker = g_hash_table_lookup(view->brokers, &broker_id);
  return !view->known || (broker != NULL && !broker->fenced && strcmp(address_of(view, broker), address) == 0);
}

void view_add_addresses(const View *view, GPtrArray *addresses) {
  for (int fenced = 0; fenced <= 1; fenced++) {
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, view->brokers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
      ViewBroker *broker = value;
      if (broker->fenced == fenced && broker->address[0] != '\0')
        g_ptr_array_add(addresses, broker->address);
    }
  }
}
