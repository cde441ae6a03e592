#include "client/cli/topic_config.h"

#include <string.h>

#include "client/cli/text.h"

/* One key: its field in the API, and how it is read and shown. 0 stands for the default everywhere. */
typedef struct {
  const char *key, *field, *help;
  const char *zero; /* what 0 means where all defaults are filled in; NULL: there it is never 0 */
  Failure *(*set)(MilenaTopicConfig *config, const char *value);
  char *(*get)(const MilenaTopicConfig *config);
} ConfigKey;

static const struct {
  const char *name;
  MilenaFlush flush;
} FLUSHES[] = {
    {"always", MILENA_FLUSH_ALWAYS},
    {"interval", MILENA_FLUSH_INTERVAL},
    {"os", MILENA_FLUSH_OS},
};

static Failure *set_flush(MilenaTopicConfig *config, const char *value) {
  for (guint i = 0; i < G_N_ELEMENTS(FLUSHES); i++) {
    if (strcmp(value, FLUSHES[i].name) != 0)
      continue;
    config->flush = FLUSHES[i].flush;
    return NULL;
  }
  return failure_new(FAILURE(INVALID_FIELD), "flush is '%s', but must be always, interval or os.", value);
}

static char *get_flush(const MilenaTopicConfig *config) {
  for (guint i = 0; i < G_N_ELEMENTS(FLUSHES); i++)
    if (config->flush == FLUSHES[i].flush)
      return g_strdup(FLUSHES[i].name);
  return NULL;
}

static Failure *set_flush_interval(MilenaTopicConfig *config, const char *value) {
  return text_number("flush.interval.ms", value, 1, G_GINT64_CONSTANT(86400000), &config->flush_interval_ms);
}

static char *number_or_null(gint64 number) {
  return number ? g_strdup_printf("%" G_GINT64_FORMAT, number) : NULL;
}

static char *get_flush_interval(const MilenaTopicConfig *config) {
  return number_or_null(config->flush_interval_ms);
}

static Failure *set_max_message_bytes(MilenaTopicConfig *config, const char *value) {
  gint64 bytes = 0;
  Failure *failure = text_number("max.message.bytes", value, 1 << 10, 64 << 20, &bytes);
  config->max_message_bytes = (guint32)bytes;
  return failure;
}

static char *get_max_message_bytes(const MilenaTopicConfig *config) {
  return number_or_null(config->max_message_bytes);
}

static Failure *set_min_insync(MilenaTopicConfig *config, const char *value) {
  gint64 replicas = 0;
  Failure *failure = text_number("min.insync.replicas", value, 1, 1000, &replicas);
  config->min_insync_replicas = (guint32)replicas;
  return failure;
}

static char *get_min_insync(const MilenaTopicConfig *config) {
  return number_or_null(config->min_insync_replicas);
}

static Failure *set_unclean(MilenaTopicConfig *config, const char *value) {
  if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
    return failure_new(FAILURE(INVALID_FIELD), "unclean.leader.election is '%s', but must be true or false.", value);
  config->unclean_leader_election = *value == 't';
  return NULL;
}

static char *get_unclean(const MilenaTopicConfig *config) {
  return config->unclean_leader_election ? g_strdup("true") : NULL;
}

static const char *const POLICIES[] = {[MILENA_CLEANUP_DELETE] = "delete", [MILENA_CLEANUP_COMPACT] = "compact"};

static Failure *set_cleanup_policy(MilenaTopicConfig *config, const char *value) {
  for (guint i = MILENA_CLEANUP_DELETE; i < G_N_ELEMENTS(POLICIES); i++) {
    if (strcmp(value, POLICIES[i]) != 0)
      continue;
    config->cleanup_policy = (MilenaCleanupPolicy)i;
    return NULL;
  }
  return failure_new(FAILURE(INVALID_FIELD), "cleanup.policy is '%s', but must be delete or compact.", value);
}

static char *get_cleanup_policy(const MilenaTopicConfig *config) {
  guint policy = (guint)config->cleanup_policy;
  return policy != 0 && policy < G_N_ELEMENTS(POLICIES) ? g_strdup(POLICIES[policy]) : NULL;
}

/* 100,000 days. */
#define TIME_MOST_MS (G_GINT64_CONSTANT(100000) * 24 * 60 * 60 * 1000)

static Failure *set_retention(MilenaTopicConfig *config, const char *value) {
  config->retention_ms = MILENA_FOR_EVER;
  return strcmp(value, "-1") == 0 ? NULL
                                  : text_number("retention.ms", value, 1000, TIME_MOST_MS, &config->retention_ms);
}

static char *get_retention(const MilenaTopicConfig *config) {
  return number_or_null(config->retention_ms);
}

static Failure *set_retention_bytes(MilenaTopicConfig *config, const char *value) {
  config->retention_bytes = MILENA_FOR_EVER;
  return strcmp(value, "-1") == 0 ? NULL
                                  : text_number("retention.bytes", value, 1, G_MAXINT64, &config->retention_bytes);
}

static char *get_retention_bytes(const MilenaTopicConfig *config) {
  return number_or_null(config->retention_bytes);
}

static Failure *set_delete_retention(MilenaTopicConfig *config, const char *value) {
  gint64 ms = 0;
  Failure *failure = text_number("delete.retention.ms", value, 0, TIME_MOST_MS, &ms);
  config->delete_retention_ms = ms ? ms : MILENA_ZERO;
  return failure;
}

static char *get_delete_retention(const MilenaTopicConfig *config) {
  return config->delete_retention_ms == MILENA_ZERO ? g_strdup("0") : number_or_null(config->delete_retention_ms);
}

static Failure *set_compaction_lag(MilenaTopicConfig *config, const char *value) {
  return text_number("min.compaction.lag.ms", value, 0, TIME_MOST_MS, &config->min_compaction_lag_ms);
}

static char *get_compaction_lag(const MilenaTopicConfig *config) {
  return number_or_null(config->min_compaction_lag_ms);
}

static Failure *set_dirty_ratio(MilenaTopicConfig *config, const char *value) {
  char *end;
  double ratio = g_ascii_strtod(value, &end);
  if (*end || !(ratio >= 0 && ratio <= 1))
    return failure_new(FAILURE(INVALID_FIELD), "min.cleanable.dirty.ratio is '%s', but must be a number from 0 to 1.",
                       value);
  config->min_cleanable_dirty_ratio = ratio == 0 ? MILENA_ZERO : ratio;
  return NULL;
}

static char *get_dirty_ratio(const MilenaTopicConfig *config) {
  double ratio = config->min_cleanable_dirty_ratio;
  if (ratio == 0)
    return NULL;
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  return g_strdup(g_ascii_formatd(text, sizeof text, "%g", ratio == MILENA_ZERO ? 0 : ratio));
}

static const ConfigKey KEYS[] = {
    {"flush", "flush", "always, interval or os: when a write goes to the disk (default always, before the answer)",
     NULL, set_flush, get_flush},
    {"flush.interval.ms", "flush_interval", "for flush=interval (default 1000)", NULL, set_flush_interval,
     get_flush_interval},
    {"max.message.bytes", "max_message_bytes", "bound of a batch of records, 1024 to 67108864 (default 1048576)", NULL,
     set_max_message_bytes, get_max_message_bytes},
    {"min.insync.replicas", "min_insync_replicas",
     "in-sync replicas that acks=all needs (default half the replication factor, rounded up)", NULL, set_min_insync,
     get_min_insync},
    {"unclean.leader.election", "unclean_leader_election",
     "true or false: whether a replica may lead that lacks acknowledged records, when no other can; they are lost then "
     "(default false)",
     "false", set_unclean, get_unclean},
    {"cleanup.policy", "cleanup_policy",
     "delete or compact: old records go by age and size, or the last of each key stays (default delete)", NULL,
     set_cleanup_policy, get_cleanup_policy},
    {"retention.ms", "retention", "records go when they are older, 1000 or more; -1: never (default 604800000, 7 days)",
     NULL, set_retention, get_retention},
    {"retention.bytes", "retention_bytes",
     "a partition's oldest records go while more is left without them; -1: no bound (default -1)", NULL,
     set_retention_bytes, get_retention_bytes},
    {"delete.retention.ms", "delete_retention", "compact: so long tombstones stay (default 86400000, 1 day)", NULL,
     set_delete_retention, get_delete_retention},
    {"min.compaction.lag.ms", "min_compaction_lag", "compact: younger records are left alone (default 0)", "0",
     set_compaction_lag, get_compaction_lag},
    {"min.cleanable.dirty.ratio", "min_cleanable_dirty_ratio",
     "compact: when so much of the log is new, 0 to 1 (default 0.5)", NULL, set_dirty_ratio, get_dirty_ratio},
};

static Failure *unknown_key(const char *key) {
  g_autoptr(GString) known = g_string_new(NULL);
  const char *names[G_N_ELEMENTS(KEYS) + 1] = {NULL};
  for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++) {
    names[i] = KEYS[i].key;
    g_string_append_printf(known, "%s%s", i ? ", " : "", KEYS[i].key);
  }
  const char *nearest = text_nearest(key, names);
  if (nearest)
    return failure_new(FAILURE(INVALID_FIELD), "'%s' is no configuration of a topic; did you mean %s? Known are: %s.",
                       key, nearest, known->str);
  return failure_new(FAILURE(INVALID_FIELD), "'%s' is no configuration of a topic. Known are: %s.", key, known->str);
}

static Failure *parse_setting(const char *setting, TopicConfigChange *change) {
  g_autofree char *key = NULL, *value = NULL;
  Failure *failure = text_pair("--config", setting, &key, &value);
  for (guint i = 0; !failure && i < G_N_ELEMENTS(KEYS); i++) {
    if (strcmp(key, KEYS[i].key) != 0)
      continue;
    g_ptr_array_add(change->fields, (gpointer)KEYS[i].field);
    return *value ? KEYS[i].set(&change->config, value) : NULL;
  }
  return failure ? failure : unknown_key(key);
}

Failure *topic_config_parse(char *const *settings, TopicConfigChange *change) {
  *change = (TopicConfigChange){.fields = g_ptr_array_new()};
  Failure *failure = NULL;
  for (; !failure && settings && *settings; settings++)
    failure = parse_setting(*settings, change);
  return failure;
}

void topic_config_change_clear(TopicConfigChange *change) {
  g_clear_pointer(&change->fields, g_ptr_array_unref);
}

guint topic_config_count(void) {
  return G_N_ELEMENTS(KEYS);
}

const char *topic_config_key(guint index) {
  return KEYS[index].key;
}

char *topic_config_value(const MilenaTopicConfig *config, guint index) {
  return KEYS[index].get(config);
}

char *topic_config_effective_value(const MilenaTopicConfig *effective, guint index) {
  char *value = topic_config_value(effective, index);
  return value ? value : g_strdup(KEYS[index].zero);
}

char *topic_config_help(void) {
  GString *out = g_string_new("Configuration keys:\n");
  for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
    g_string_append_printf(out, "  %-25s %s\n", KEYS[i].key, KEYS[i].help);
  return g_string_free(out, FALSE);
}
