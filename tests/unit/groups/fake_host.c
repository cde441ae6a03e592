/* See fake_host.h. */
#include "tests/unit/groups/fake_host.h"

#include <string.h>

#include "services/base/invariant.h"

typedef struct {
  char *name, *id;
  gint32 partition_count;
} FakeTopic;

static void topic_free(gpointer data) {
  FakeTopic *topic = data;
  g_free(topic->name);
  g_free(topic->id);
  g_free(topic);
}

static int compare_names(gconstpointer a, gconstpointer b, G_GNUC_UNUSED gpointer data) {
  return strcmp(a, b);
}

static void clear_record(gpointer data) {
  GroupsRecord *record = data;
  g_clear_pointer(&record->key, g_bytes_unref);
  g_clear_pointer(&record->value, g_bytes_unref);
}

static GArray *log_new(void) {
  GArray *log = g_array_new(FALSE, FALSE, sizeof(GroupsRecord));
  g_array_set_clear_func(log, clear_record);
  return log;
}

FakeHost *fake_host_new(void) {
  FakeHost *host = g_new0(FakeHost, 1);
  host->topics = g_tree_new_full(compare_names, NULL, NULL, topic_free);
  host->records = log_new();
  host->high_watermark = -1;
  return host;
}

void fake_host_free(FakeHost *host) {
  if (!host)
    return;
  g_tree_unref(host->topics);
  g_array_unref(host->records);
  g_free(host);
}

/* ---- topics ---- */

void fake_host_set_topic(FakeHost *host, const char *name, gint32 partition_count) {
  FakeTopic *topic = g_tree_lookup(host->topics, name);
  if (!topic) {
    topic = g_new0(FakeTopic, 1);
    topic->name = g_strdup(name);
    topic->id = g_strdup_printf("%s-id%u", name, ++host->next_id);
    g_tree_insert(host->topics, topic->name, topic);
  }
  topic->partition_count = partition_count;
}

void fake_host_remove_topic(FakeHost *host, const char *name) {
  g_tree_remove(host->topics, name);
}

const char *fake_host_topic_id(const FakeHost *host, const char *name) {
  const FakeTopic *topic = g_tree_lookup(host->topics, name);
  return topic ? topic->id : NULL;
}

static GroupsTopic describe(const FakeTopic *topic) {
  return (GroupsTopic){topic->name, topic->id, topic->partition_count, g_str_has_prefix(topic->name, "__")};
}

static gboolean find_topic(const char *name, GroupsTopic *ret_topic, gpointer data) {
  const FakeHost *host = data;
  const FakeTopic *topic = g_tree_lookup(host->topics, name);
  if (topic)
    *ret_topic = describe(topic);
  return topic != NULL;
}

static void each_topic(void (*func)(const GroupsTopic *topic, gpointer func_data), gpointer func_data, gpointer data) {
  const FakeHost *host = data;
  for (GTreeNode *node = g_tree_node_first(host->topics); node; node = g_tree_node_next(node)) {
    GroupsTopic topic = describe(g_tree_node_value(node));
    func(&topic, func_data);
  }
}

static const char *leader_rack(G_GNUC_UNUSED const char *topic, gint32 partition, gpointer data) {
  static const char *const RACKS[] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"};
  const FakeHost *host = data;
  return host->racks > 0 ? RACKS[(guint)partition % MIN(host->racks, G_N_ELEMENTS(RACKS))] : NULL;
}

static gboolean high_watermark(G_GNUC_UNUSED const char *topic_id, G_GNUC_UNUSED gint32 partition, gint64 *ret_offset,
                               gpointer data) {
  const FakeHost *host = data;
  *ret_offset = host->high_watermark;
  return host->high_watermark >= 0;
}

static char *new_id(gpointer data) {
  FakeHost *host = data;
  return g_strdup_printf("made-%u", ++host->next_id);
}

GroupsHost fake_host_table(FakeHost *host) {
  return (GroupsHost){find_topic, each_topic, leader_rack, high_watermark, new_id, host};
}

/* ---- the log ---- */

void fake_host_append(FakeHost *host, GArray *records) {
  if (records->len == 0)
    return;
  g_array_append_vals(host->records, records->data, records->len);
  memset(records->data, 0, records->len * sizeof(GroupsRecord));
  g_array_set_size(records, 0);
}

void fake_host_cut(FakeHost *host, guint count) {
  g_array_set_size(host->records, MIN(count, host->records->len));
}

void fake_host_compact(FakeHost *host, guint count, gboolean tombstones) {
  g_autoptr(GHashTable) last = g_hash_table_new(g_bytes_hash, g_bytes_equal);
  for (guint i = 0; i < MIN(count, host->records->len); i++)
    g_hash_table_insert(last, g_array_index(host->records, GroupsRecord, i).key, GUINT_TO_POINTER(i));
  GArray *log = log_new();
  for (guint i = 0; i < host->records->len; i++) {
    GroupsRecord *record = &g_array_index(host->records, GroupsRecord, i);
    gboolean old = i < count && GPOINTER_TO_UINT(g_hash_table_lookup(last, record->key)) != i;
    if (old || (i < count && tombstones && !record->value))
      continue;
    GroupsRecord kept = {record->number, g_bytes_ref(record->key), record->value ? g_bytes_ref(record->value) : NULL};
    g_array_append_val(log, kept);
  }
  g_hash_table_remove_all(last);
  g_array_unref(host->records);
  host->records = log;
}

Groups *fake_host_load(FakeHost *host, GroupsTime time) {
  GroupsHost table = fake_host_table(host);
  Groups *groups = groups_new(&table);
  for (guint i = 0; i < host->records->len; i++) {
    const GroupsRecord *record = &g_array_index(host->records, GroupsRecord, i);
    g_autoptr(Failure) failure = groups_replay(groups, record->key, record->value, i, NULL);
    INVARIANT(failure == NULL, "what the groups wrote they can read");
  }
  groups_start(groups, time);
  return groups;
}
