/* What members want to read: names, and patterns of names. Members of a group who want the same share one subscription,
 * groups whose members use the same pattern share what it matches.
 *
 * A pattern comes from a stranger: its length, and the steps that matching a name may take, are bounded (PCRE's own
 * limits, put in front of it), so it can't hold up everybody else's groups.
 * Invariants: `matched` is right for the metadata that the host told of last; a pattern that met its limit once matches
 * nothing any more, instead of costing that much for each topic. Owner: the host's loop. */
#include <stdlib.h>
#include <string.h>

#include "services/group_coordinator/groups/groups_internal.h"

/* A name has at most 249 characters: honest patterns need a few hundred steps. */
#define MATCH_LIMITS "(*LIMIT_MATCH=20000)(*LIMIT_DEPTH=2000)"

/* ---- patterns ---- */

static void pattern_try(GroupsPattern *pattern, const GroupsTopic *topic) {
  if (pattern->exceeded || topic->internal)
    return;
  g_autoptr(GError) error = NULL;
  if (g_regex_match_full(pattern->regex, topic->name, -1, 0, 0, NULL, &error))
    g_hash_table_add(pattern->matched, g_strdup(topic->name));
  pattern->exceeded = error != NULL;
  if (pattern->exceeded)
    g_hash_table_remove_all(pattern->matched);
}

static void pattern_try_each(const GroupsTopic *topic, gpointer pattern) {
  pattern_try(pattern, topic);
}

void groups_patterns_update(Groups *groups, const char *const *names, gsize count) {
  GHashTableIter iter;
  gpointer data;
  g_hash_table_iter_init(&iter, groups->patterns);
  while (g_hash_table_iter_next(&iter, NULL, &data)) {
    GroupsPattern *pattern = data;
    for (gsize i = 0; i < count; i++) {
      GroupsTopic topic;
      g_hash_table_remove(pattern->matched, names[i]);
      if (groups->host.find_topic(names[i], &topic, groups->host.data))
        pattern_try(pattern, &topic);
    }
  }
}

static GRegex *compile(const char *text, GError **error) {
  /* Alone first: what is no expression by itself could be one within the brackets. */
  g_autoptr(GRegex) alone = g_regex_new(text, 0, 0, error);
  if (!alone)
    return NULL;
  g_autofree char *whole = g_strdup_printf(MATCH_LIMITS "\\A(?:%s)\\z", text);
  return g_regex_new(whole, 0, 0, error);
}

static Failure *bad_pattern(const char *why) {
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", why), "subscription.topic_pattern", why);
}

/* Returns a reference, or NULL when it does not compile. */
static GroupsPattern *pattern_get(Groups *groups, const char *text, Failure **ret_failure) {
  GroupsPattern *pattern = g_hash_table_lookup(groups->patterns, text);
  if (pattern) {
    pattern->refs++;
    return pattern;
  }
  g_autoptr(GError) error = NULL;
  GRegex *regex = compile(text, &error);
  if (!regex) {
    g_autofree char *why = g_strdup_printf("The topic pattern is no regular expression: %s", error->message);
    *ret_failure = bad_pattern(why);
    return NULL;
  }
  pattern = g_new0(GroupsPattern, 1);
  pattern->text = g_strdup(text);
  pattern->regex = regex;
  pattern->matched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  pattern->refs = 1;
  g_hash_table_insert(groups->patterns, pattern->text, pattern);
  groups->host.each_topic(pattern_try_each, pattern, groups->host.data);
  return pattern;
}

static void pattern_unref(Groups *groups, GroupsPattern *pattern) {
  if (!pattern || --pattern->refs > 0)
    return;
  g_hash_table_remove(groups->patterns, pattern->text);
  g_hash_table_unref(pattern->matched);
  g_regex_unref(pattern->regex);
  g_free(pattern->text);
  g_free(pattern);
}

/* ---- subscriptions ---- */

static int compare_names(gconstpointer a, gconstpointer b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Copies, sorted, none twice. */
static char **names_copy(char *const *names, gsize count) {
  g_autofree const char **sorted = g_new(const char *, count + 1);
  for (gsize i = 0; i < count; i++)
    sorted[i] = names[i];
  qsort(sorted, count, sizeof *sorted, compare_names);
  char **copy = g_new0(char *, count + 1);
  gsize kept = 0;
  for (gsize i = 0; i < count; i++)
    if (kept == 0 || !g_str_equal(copy[kept - 1], sorted[i]))
      copy[kept++] = g_strdup(sorted[i]);
  return copy;
}

/* @names, @pattern: taken */
static GroupsSubscription *subscription_for(Group *group, char **names, GroupsPattern *pattern) {
  g_autofree char *joined = g_strjoinv("\n", names);
  g_autofree char *key = g_strconcat(joined, "\n\n", pattern ? pattern->text : "", NULL);
  GroupsSubscription *subscription = g_hash_table_lookup(group->subscriptions, key);
  if (subscription) {
    subscription->refs++;
    g_strfreev(names);
    pattern_unref(group->all, pattern);
    return subscription;
  }
  subscription = g_new0(GroupsSubscription, 1);
  *subscription = (GroupsSubscription){g_steal_pointer(&key), names, pattern, 1};
  g_hash_table_insert(group->subscriptions, subscription->key, subscription);
  return subscription;
}

static Failure *check(const Milena__V1__GroupSubscription *request) {
  const char *field = "subscription.topics", *what = NULL;
  if (request->n_topics == 0 && !*request->topic_pattern)
    what = "A subscription names topics, or has a pattern of their names, or both.";
  else if (request->n_topics > GROUPS_TOPICS_MAX)
    what = "A subscription names at most 1,000 topics; a pattern can match more.";
  for (gsize i = 0; !what && i < request->n_topics; i++)
    if (!groups_topic_name_is_valid(request->topics[i]))
      what = "The name of a topic is 1 to 249 characters of a-z A-Z 0-9 . _ -";
  if (!what && strlen(request->topic_pattern) > GROUPS_PATTERN_BYTES_MAX) {
    field = "subscription.topic_pattern";
    what = "A topic pattern has at most 1,024 bytes.";
  }
  return what ? failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", what), field, what) : NULL;
}

Failure *groups_subscription_get(Group *group, const Milena__V1__GroupSubscription *request,
                                 GroupsSubscription **ret_subscription) {
  Failure *failure = check(request);
  if (failure)
    return failure;
  GroupsPattern *pattern = NULL;
  if (*request->topic_pattern) {
    pattern = pattern_get(group->all, request->topic_pattern, &failure);
    if (!pattern)
      return failure;
    if (pattern->exceeded) {
      pattern_unref(group->all, pattern);
      return bad_pattern("The topic pattern needs too many steps to match a name: make it simpler, without repetitions "
                         "within repetitions.");
    }
  }
  *ret_subscription = subscription_for(group, names_copy(request->topics, request->n_topics), pattern);
  return NULL;
}

GroupsSubscription *groups_subscription_restore(Group *group, char **names, gsize name_count, const char *pattern) {
  g_autoptr(Failure) ignored = NULL; /* it compiled when it was written; else it matches nothing */
  GroupsPattern *found = *pattern ? pattern_get(group->all, pattern, &ignored) : NULL;
  return subscription_for(group, names_copy(names, name_count), found);
}

void groups_subscription_unref(Group *group, GroupsSubscription *subscription) {
  if (!subscription || --subscription->refs > 0)
    return;
  g_hash_table_remove(group->subscriptions, subscription->key);
  pattern_unref(group->all, subscription->pattern);
  g_strfreev(subscription->names);
  g_free(subscription->key);
  g_free(subscription);
}

gboolean groups_subscription_wants(const GroupsSubscription *subscription, const char *topic) {
  guint count = g_strv_length(subscription->names);
  if (bsearch(&topic, subscription->names, count, sizeof topic, compare_names))
    return TRUE;
  return subscription->pattern && g_hash_table_contains(subscription->pattern->matched, topic);
}
