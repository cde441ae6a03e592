/* What the commands' words mean; see scenario.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/groups/scenario_internal.h"

const char *scenario_word(char *const *words, const char *key) {
  gsize length = strlen(key);
  for (; *words; words++) {
    if (!g_str_has_prefix(*words, key))
      continue;
    if ((*words)[length] == '=')
      return *words + length + 1;
    if ((*words)[length] == '\0')
      return "";
  }
  return NULL;
}

gint64 scenario_number(char *const *words, const char *key, gint64 missing) {
  const char *text = scenario_word(words, key);
  return text && *text ? g_ascii_strtoll(text, NULL, 10) : missing;
}

Milena__V1__TopicPartitions *scenario_parts(const char *text) {
  g_auto(GStrv) halves = g_strsplit(text, ":", 2);
  Milena__V1__TopicPartitions *parts = g_new(Milena__V1__TopicPartitions, 1);
  milena__v1__topic_partitions__init(parts);
  parts->topic = g_strdup(halves[0]);
  if (!halves[1])
    return parts;
  g_auto(GStrv) numbers = g_strsplit(halves[1], ",", -1);
  parts->partitions = g_new0(gint32, g_strv_length(numbers) + 1);
  for (guint i = 0; numbers[i]; i++)
    parts->partitions[parts->n_partitions++] = atoi(numbers[i]);
  return parts;
}

Milena__V1__OffsetCommit *scenario_offset(const char *text, char *const *words) {
  Milena__V1__OffsetCommit *commit = g_new(Milena__V1__OffsetCommit, 1);
  milena__v1__offset_commit__init(commit);
  g_auto(GStrv) halves = g_strsplit(text, "=", 2);
  Milena__V1__TopicPartitions *parts = scenario_parts(halves[0]);
  commit->topic = g_strdup(parts->topic);
  commit->partition = parts->n_partitions > 0 ? parts->partitions[0] : 0;
  milena__v1__topic_partitions__free_unpacked(parts, NULL);
  commit->offset = g_ascii_strtoll(halves[1] ? halves[1] : "0", NULL, 10);
  if (scenario_word(words, "leader")) {
    commit->leader_epoch_presence_case = MILENA__V1__OFFSET_COMMIT__LEADER_EPOCH_PRESENCE_LEADER_EPOCH;
    commit->leader_epoch = (gint32)scenario_number(words, "leader", -1);
  }
  if (scenario_word(words, "topic_id"))
    commit->topic_id = g_strdup(scenario_word(words, "topic_id"));
  const char *metadata = scenario_word(words, "metadata");
  if (metadata && *metadata == '*')
    commit->metadata = g_strnfill((gsize)atoi(metadata + 1), 'm');
  else if (metadata)
    commit->metadata = g_strdup(metadata);
  return commit;
}

gboolean scenario_is_parts(const char *word) {
  return strchr(word, '=') == NULL && (strchr(word, ':') != NULL || g_str_has_prefix(word, "topic"));
}
