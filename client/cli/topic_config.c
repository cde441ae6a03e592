#include "client/cli/topic_config.h"

#include <string.h>

#include "client/cli/text.h"

/* One key: its field in the API, and how it is read and shown. */
typedef struct {
  const char *key, *field, *help;
  Failure *(*set)(TopicConfigChange *change, const char *value);
  char *(*get)(const Milena__V1__TopicConfig *config);
} ConfigKey;

static const struct {
  const char *name;
  Milena__V1__Flush flush;
} FLUSHES[] = {
    {"always", MILENA__V1__FLUSH__FLUSH_ALWAYS},
    {"interval", MILENA__V1__FLUSH__FLUSH_INTERVAL},
    {"os", MILENA__V1__FLUSH__FLUSH_OS},
};

static Failure *set_flush(TopicConfigChange *change, const char *value) {
  for (guint i = 0; i < G_N_ELEMENTS(FLUSHES); i++) {
    if (strcmp(value, FLUSHES[i].name) != 0)
      continue;
    change->config.flush = FLUSHES[i].flush;
    return NULL;
  }
  return failure_new(FAILURE(INVALID_FIELD), "flush is '%s', but must be always, interval or os.", value);
}

static char *get_flush(const Milena__V1__TopicConfig *config) {
  for (guint i = 0; i < G_N_ELEMENTS(FLUSHES); i++)
    if (config->flush == FLUSHES[i].flush)
      return g_strdup(FLUSHES[i].name);
  return NULL;
}

static Failure *set_flush_interval(TopicConfigChange *change, const char *value) {
  gint64 ms;
  Failure *failure = text_number("flush.interval.ms", value, 1, G_GINT64_CONSTANT(86400000), &ms);
  if (failure)
    return failure;
  change->flush_interval.seconds = ms / 1000;
  change->flush_interval.nanos = (gint32)(ms % 1000) * 1000000;
  change->config.flush_interval = &change->flush_interval;
  return NULL;
}

static char *get_flush_interval(const Milena__V1__TopicConfig *config) {
  const Google__Protobuf__Duration *interval = config->flush_interval;
  return interval ? g_strdup_printf("%" G_GINT64_FORMAT, interval->seconds * 1000 + interval->nanos / 1000000) : NULL;
}

static Failure *set_max_message_bytes(TopicConfigChange *change, const char *value) {
  gint64 bytes;
  Failure *failure = text_number("max.message.bytes", value, 1 << 10, 64 << 20, &bytes);
  if (failure)
    return failure;
  change->config.max_message_bytes_presence_case =
      MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES;
  change->config.max_message_bytes = (guint32)bytes;
  return NULL;
}

static char *get_max_message_bytes(const Milena__V1__TopicConfig *config) {
  return config->max_message_bytes_presence_case ==
                 MILENA__V1__TOPIC_CONFIG__MAX_MESSAGE_BYTES_PRESENCE_MAX_MESSAGE_BYTES
             ? g_strdup_printf("%u", config->max_message_bytes)
             : NULL;
}

static Failure *set_min_insync(TopicConfigChange *change, const char *value) {
  gint64 replicas;
  Failure *failure = text_number("min.insync.replicas", value, 1, 1000, &replicas);
  if (failure)
    return failure;
  change->config.min_insync_replicas_presence_case =
      MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS;
  change->config.min_insync_replicas = (guint32)replicas;
  return NULL;
}

static char *get_min_insync(const Milena__V1__TopicConfig *config) {
  return config->min_insync_replicas_presence_case ==
                 MILENA__V1__TOPIC_CONFIG__MIN_INSYNC_REPLICAS_PRESENCE_MIN_INSYNC_REPLICAS
             ? g_strdup_printf("%u", config->min_insync_replicas)
             : NULL;
}

static const ConfigKey KEYS[] = {
    {"flush", "flush", "always, interval or os: when a write goes to the disk (default always, before the answer)",
     set_flush, get_flush},
    {"flush.interval.ms", "flush_interval", "for flush=interval (default 1000)", set_flush_interval,
     get_flush_interval},
    {"max.message.bytes", "max_message_bytes", "bound of a batch of records, 1024 to 67108864 (default 1048576)",
     set_max_message_bytes, get_max_message_bytes},
    {"min.insync.replicas", "min_insync_replicas",
     "in-sync replicas that acks=all needs (default half the replication factor, rounded up)", set_min_insync,
     get_min_insync},
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

static Failure *parse_setting(const char *setting, TopicConfigChange *change, GPtrArray *mask) {
  g_autofree char *key = NULL, *value = NULL;
  Failure *failure = text_pair("--config", setting, &key, &value);
  for (guint i = 0; !failure && i < G_N_ELEMENTS(KEYS); i++) {
    if (strcmp(key, KEYS[i].key) != 0)
      continue;
    g_ptr_array_add(mask, (gpointer)KEYS[i].field);
    return *value ? KEYS[i].set(change, value) : NULL;
  }
  return failure ? failure : unknown_key(key);
}

Failure *topic_config_parse(char *const *settings, TopicConfigChange *change) {
  *change =
      (TopicConfigChange){.config = MILENA__V1__TOPIC_CONFIG__INIT, .flush_interval = GOOGLE__PROTOBUF__DURATION__INIT};
  g_autoptr(GPtrArray) mask = g_ptr_array_new();
  Failure *failure = NULL;
  for (; !failure && settings && *settings; settings++)
    failure = parse_setting(*settings, change, mask);
  g_ptr_array_add(mask, NULL);
  change->mask = (char **)g_ptr_array_free(g_steal_pointer(&mask), FALSE);
  return failure;
}

void topic_config_change_clear(TopicConfigChange *change) {
  g_clear_pointer(&change->mask, g_free);
}

guint topic_config_count(void) {
  return G_N_ELEMENTS(KEYS);
}

const char *topic_config_key(guint index) {
  return KEYS[index].key;
}

char *topic_config_value(const Milena__V1__TopicConfig *config, guint index) {
  return config ? KEYS[index].get(config) : NULL;
}

char *topic_config_help(void) {
  GString *out = g_string_new("Configuration keys:\n");
  for (guint i = 0; i < G_N_ELEMENTS(KEYS); i++)
    g_string_append_printf(out, "  %-20s %s\n", KEYS[i].key, KEYS[i].help);
  return g_string_free(out, FALSE);
}
