/* Groups in sentences: how each member is doing, why the last rebalance happened, and what it waits for since when.
 * Everything is for people; no state. */
#include <stdlib.h>
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

/* More partitions of one topic are counted, not listed. */
#define LISTED_MAX 5

char *groups_describe_duration(gint64 ms) {
  if (ms < 1000)
    return g_strdup_printf("%" G_GINT64_FORMAT " ms", MAX(ms, 0));
  if (ms < G_GINT64_CONSTANT(120) * 1000)
    return g_strdup_printf("%" G_GINT64_FORMAT " s", ms / 1000);
  if (ms < G_GINT64_CONSTANT(120) * 60 * 1000)
    return g_strdup_printf("%" G_GINT64_FORMAT " min", ms / 60 / 1000);
  return g_strdup_printf("%" G_GINT64_FORMAT " h", ms / 3600 / 1000);
}

static void describe_topic(GString *text, const Milena__V1__TopicPartitions *topic) {
  g_string_append_printf(text, "%s\"%s\" ", text->len > 0 ? ", " : "", topic->topic);
  if (topic->n_partitions > LISTED_MAX) {
    g_string_append_printf(text, "%" G_GSIZE_FORMAT " partitions", topic->n_partitions);
    return;
  }
  g_string_append(text, topic->n_partitions == 1 ? "partition" : "partitions");
  for (gsize i = 0; i < topic->n_partitions; i++)
    g_string_append_printf(text, "%s%d", i > 0 ? ", " : " ", topic->partitions[i]);
}

char *groups_describe_parts(const Groups *groups, const GArray *parts) {
  gsize count;
  Milena__V1__TopicPartitions **topics = groups_tell_parts(groups, parts, &count);
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < count; i++) {
    describe_topic(text, topics[i]);
    milena__v1__topic_partitions__free_unpacked(topics[i], NULL);
  }
  g_free(topics);
  return g_string_free(text, FALSE);
}

/* ", for 12 s"; nothing when it is not known. */
static char *describe_wait(const GroupsMember *member) {
  if (member->waits_since_ms == 0)
    return g_strdup("");
  g_autofree char *time = groups_describe_duration(member->group->all->time.wall_ms - member->waits_since_ms);
  return g_strdup_printf(", for %s", time);
}

/* ---- a member ---- */

static char *describe_revoking(const GroupsMember *member) {
  g_autoptr(GArray) parts = groups_holds_parts(member->revoking);
  g_autofree char *what = groups_describe_parts(member->group->all, parts);
  g_autofree char *wait = describe_wait(member);
  if (member->revoke.place == 0)
    return g_strdup_printf("It shall give up %s, and is told so with its next heartbeat%s.", what, wait);
  g_autofree char *left = groups_describe_duration(member->revoke.at_ms - member->group->all->time.now_ms);
  return g_strdup_printf("It was asked to give up %s%s; in %s it is fenced unless it says that it did.", what, wait,
                         left);
}

static const char *noun(guint partitions) {
  return partitions == 1 ? "partition" : "partitions";
}

/* Whom it waits for: the owners of what it shall have. */
static char *describe_waiting(const GroupsMember *member) {
  guint pending = groups_member_pending(member), owned_by_others = 0;
  const GroupsMember *other = NULL;
  for (guint i = 0; i < member->target->len; i++) {
    const GroupsMember *owner = groups_part_table_get(member->group->owners, groups_parts_at(member->target, i));
    if (!owner || owner == member)
      continue;
    owned_by_others++;
    if (!other || strcmp(owner->id, other->id) < 0)
      other = owner;
  }
  g_autofree char *wait = describe_wait(member);
  if (!other)
    return g_strdup_printf("It gets %u %s with its next heartbeat%s.", pending, noun(pending), wait);
  return g_strdup_printf("It waits for %u %s that others still read, first of all \"%s\"%s.", owned_by_others,
                         noun(owned_by_others), other->id, wait);
}

char *groups_describe_member(const GroupsMember *member) {
  if (member->away) {
    g_autofree char *left = groups_describe_duration(member->session.at_ms - member->group->all->time.now_ms);
    return g_strdup_printf("It left to return: what it had is kept for it for %s.", left);
  }
  if (!member->placed)
    return g_strdup("It joined, and gets its assignment in a moment.");
  if (member->revoking->len > 0)
    return describe_revoking(member);
  if (!member->settled && groups_member_pending(member) == 0)
    return g_strdup("It shall give partitions up, and is told so with its next heartbeat.");
  if (!member->settled)
    return describe_waiting(member);
  if (member->target->len == 0)
    return g_strdup("It is idle: there is no partition left for it to read.");
  return g_strdup("It reads all that it shall.");
}

/* ---- a group ---- */

static int compare_ids(gconstpointer a, gconstpointer b) {
  return strcmp((*(GroupsMember *const *)a)->id, (*(GroupsMember *const *)b)->id);
}

GPtrArray *groups_members_sorted(const Group *group) {
  GPtrArray *members = g_ptr_array_new();
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->members);
  while (g_hash_table_iter_next(&iter, NULL, &data))
    g_ptr_array_add(members, data);
  g_ptr_array_sort(members, compare_ids);
  return members;
}

static void describe_last(const Group *group, GPtrArray *sentences) {
  if (!group->reason)
    return;
  g_autofree char *time = groups_describe_duration(group->all->time.wall_ms - group->assigned_ms);
  g_ptr_array_add(sentences, g_strdup_printf("The last rebalance, %s ago, to epoch %u, happened because %s.", time,
                                             group->assignment_epoch, group->reason));
}

static void describe_patterns(const Group *group, GPtrArray *sentences) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, group->subscriptions);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    const GroupsSubscription *subscription = data;
    if (subscription->pattern && subscription->pattern->exceeded)
      g_ptr_array_add(sentences,
                      g_strdup_printf("The pattern \"%s\" needs too many steps to match a name, so it matches none.",
                                      subscription->pattern->text));
  }
}

static void describe_waits(const Group *group, GPtrArray *sentences) {
  if (group->changed)
    g_ptr_array_add(sentences, g_strdup_printf("A new assignment is made in a moment, because %s.",
                                               group->next_reason ? group->next_reason : "something changed"));
  g_autoptr(GPtrArray) members = groups_members_sorted(group);
  guint waiting = 0;
  for (guint i = 0; i < members->len; i++) {
    const GroupsMember *member = members->pdata[i];
    if (member->settled || member->away)
      continue;
    if (waiting++ >= LISTED_MAX)
      continue;
    g_autofree char *how = groups_describe_member(member);
    g_ptr_array_add(sentences, g_strdup_printf("Member \"%s\": %s", member->id, how));
  }
  if (waiting > LISTED_MAX)
    g_ptr_array_add(sentences, g_strdup_printf("So do %u more members.", waiting - LISTED_MAX));
}

static void describe_end(const Group *group, GPtrArray *sentences) {
  if (group->expiry_timer.place == 0)
    return;
  gint64 last_ms = MAX(group->empty_since_ms, group->last_commit_ms);
  gint64 wall_ms = group->all->time.wall_ms;
  g_autofree char *since = groups_describe_duration(wall_ms - last_ms);
  g_autofree char *left = groups_describe_duration(last_ms + group->settings.offsets_retention_ms - wall_ms);
  g_ptr_array_add(sentences, g_strdup_printf("Nobody is in it, or committed, for %s; its offsets are forgotten in %s.",
                                             since, left));
}

GPtrArray *groups_describe_group(const Group *group) {
  GPtrArray *sentences = g_ptr_array_new();
  describe_last(group, sentences);
  describe_waits(group, sentences);
  describe_patterns(group, sentences);
  describe_end(group, sentences);
  return sentences;
}
