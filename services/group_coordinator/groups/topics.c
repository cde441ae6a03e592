/* Topics that groups read or have committed, as numbers that stand for one incarnation each; and what happens to groups
 * when topics come, go or grow.
 *
 * Invariants: a number is never given twice, so what is left of one in an old list means nothing else later; a topic
 * leaves the table only when no group holds, shall hold or has committed anything of it.
 * Owner: the host's loop. What a record names and the metadata does not have is `unknown`: our metadata may be behind
 * the log, so it stays for GROUPS_UNKNOWN_TOPIC_MS after loading. */
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

static void topic_free(gpointer data) {
  GroupsKnownTopic *topic = data;
  g_free(topic->name);
  g_free(topic->id);
  g_free(topic);
}

GroupsKnownTopic *groups_topic_number(const Groups *groups, guint32 number) {
  return g_hash_table_lookup(groups->topics, GUINT_TO_POINTER(number));
}

GroupsKnownTopic *groups_topic_intern(Groups *groups, const char *name, const char *id, gint32 at_least_partitions) {
  GroupsKnownTopic *topic = g_hash_table_lookup(groups->topics_by_id, id);
  if (!topic) {
    topic = g_new0(GroupsKnownTopic, 1);
    topic->number = ++groups->last_topic_number;
    topic->name = g_strdup(name);
    topic->id = g_strdup(id);
    g_hash_table_insert(groups->topics_by_id, topic->id, topic);
    g_hash_table_insert(groups->topics, GUINT_TO_POINTER(topic->number), topic);
  }
  topic->partition_count = MAX(topic->partition_count, at_least_partitions);
  return topic;
}

GroupsKnownTopic *groups_topic_current(Groups *groups, const char *name) {
  GroupsTopic found;
  if (!groups->host.find_topic(name, &found, groups->host.data))
    return NULL;
  GroupsKnownTopic *topic = groups_topic_intern(groups, found.name, found.id, 0);
  topic->partition_count = found.partition_count;
  topic->known = TRUE;
  return topic;
}

Failure *groups_topic_pinned(Groups *groups, const char *name, const char *id, GroupsKnownTopic **ret_topic) {
  GroupsKnownTopic *topic = *name ? groups_topic_current(groups, name) : g_hash_table_lookup(groups->topics_by_id, id);
  if (!topic || !topic->known) {
    const char *what = *name ? name : id;
    return failure_set_resource(failure_new(FAILURE(UNKNOWN_TOPIC), "There is no topic \"%s\".", what), "topic", what);
  }
  if (*id && !g_str_equal(id, topic->id))
    return failure_new(FAILURE(TOPIC_ID_MISMATCH),
                       "The topic \"%s\" has the id %s, not %s: it was made anew, and its offsets begin anew.",
                       topic->name, topic->id, id);
  *ret_topic = topic;
  return NULL;
}

static void look_up(Groups *groups, GroupsKnownTopic *topic) {
  GroupsTopic found;
  topic->known = groups->host.find_topic(topic->name, &found, groups->host.data) && g_str_equal(found.id, topic->id);
  if (topic->known)
    topic->partition_count = found.partition_count;
}

void groups_topics_refresh(Groups *groups) {
  GHashTableIter iter;
  gpointer topic;
  g_hash_table_iter_init(&iter, groups->topics);
  while (g_hash_table_iter_next(&iter, NULL, &topic))
    look_up(groups, topic);
}

void groups_topics_free(Groups *groups) {
  GHashTableIter iter;
  gpointer topic;
  g_hash_table_iter_init(&iter, groups->topics);
  while (g_hash_table_iter_next(&iter, NULL, &topic))
    topic_free(topic);
  g_hash_table_unref(groups->topics);
  g_hash_table_unref(groups->topics_by_id);
  INVARIANT(g_hash_table_size(groups->patterns) == 0, "patterns belong to subscriptions, and these to members");
  g_hash_table_unref(groups->patterns);
}

/* ---- topics that are gone ---- */

typedef struct {
  Groups *groups;
  GPtrArray *gone; /* GroupsKnownTopic */
} Gone;

static void drop_from_members(Group *group, const GroupsKnownTopic *topic) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsMember *member = data;
    groups_reconcile_drop_topic(member, topic);
  }
}

static gboolean drop_from_group(G_GNUC_UNUSED gpointer name, gpointer value, gpointer data) {
  Group *group = value;
  const Gone *gone = data;
  for (guint i = 0; i < gone->gone->len; i++) {
    const GroupsKnownTopic *topic = gone->gone->pdata[i];
    gboolean read = FALSE;
    for (gint32 p = 0; p < topic->partition_count; p++) {
      GroupsPart part = groups_part(topic->number, p);
      read |= groups_part_table_get(group->owners, part) || groups_part_table_get(group->wanted, part);
      if (groups_part_table_get(group->offsets, part))
        groups_offset_delete(group, part);
    }
    if (!read)
      continue;
    drop_from_members(group, topic);
    groups_target_dirty(group, FALSE, "the topic \"%s\" was deleted", topic->name);
  }
  return FALSE;
}

static int compare_numbers(gconstpointer a, gconstpointer b) {
  const GroupsKnownTopic *one = *(GroupsKnownTopic *const *)a, *other = *(GroupsKnownTopic *const *)b;
  return one->number < other->number ? -1 : one->number > other->number;
}

static void drop_gone(Groups *groups, GPtrArray *gone) {
  if (gone->len == 0)
    return;
  g_ptr_array_sort(gone, compare_numbers);
  Gone all = {groups, gone};
  g_tree_foreach(groups->by_name, drop_from_group, &all);
  for (guint i = 0; i < gone->len; i++) {
    GroupsKnownTopic *topic = gone->pdata[i];
    g_hash_table_remove(groups->topics_by_id, topic->id);
    g_hash_table_remove(groups->topics, GUINT_TO_POINTER(topic->number));
    topic_free(topic);
  }
}

void groups_topics_forget_unknown(Groups *groups) {
  g_autoptr(GPtrArray) gone = g_ptr_array_new();
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, groups->topics);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsKnownTopic *topic = data;
    if (!topic->known)
      g_ptr_array_add(gone, topic);
  }
  drop_gone(groups, gone);
}

/* ---- topics that changed ---- */

typedef struct {
  const char *const *names;
  gsize count;
} Changes;

static gboolean check_group(G_GNUC_UNUSED gpointer name, gpointer value, gpointer data) {
  Group *group = value;
  const Changes *changes = data;
  GHashTableIter iter;
  gpointer subscription;
  g_hash_table_iter_init(&iter, group->subscriptions);
  while (g_hash_table_iter_next(&iter, NULL, &subscription)) {
    const GroupsPattern *pattern = ((const GroupsSubscription *)subscription)->pattern;
    if (pattern && pattern->exceeded)
      groups_target_check(group, group->all->time.now_ms, "the pattern \"%s\" needs too many steps", pattern->text);
    for (gsize i = 0; i < changes->count; i++) {
      GroupsTopic found;
      if (!groups_subscription_wants(subscription, changes->names[i]) ||
          !group->all->host.find_topic(changes->names[i], &found, group->all->host.data))
        continue;
      groups_target_check(group, group->all->time.now_ms, "the topic \"%s\" has %d %s now", found.name,
                          found.partition_count, found.partition_count == 1 ? "partition" : "partitions");
      return FALSE;
    }
  }
  return FALSE;
}

void groups_topics_changed(Groups *groups, const char *const *names, gsize count, GroupsTime time) {
  groups->time = time;
  groups_patterns_update(groups, names, count);
  g_autoptr(GHashTable) changed = g_hash_table_new(g_str_hash, g_str_equal);
  for (gsize i = 0; i < count; i++)
    g_hash_table_add(changed, (gpointer)names[i]);
  g_autoptr(GPtrArray) gone = g_ptr_array_new();
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, groups->topics);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsKnownTopic *topic = data;
    if (!g_hash_table_contains(changed, topic->name))
      continue;
    look_up(groups, topic);
    if (!topic->known)
      g_ptr_array_add(gone, topic);
  }
  drop_gone(groups, gone);
  Changes changes = {names, count};
  g_tree_foreach(groups->by_name, check_group, &changes);
}
