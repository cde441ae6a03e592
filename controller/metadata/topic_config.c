/* A topic's configuration: see topic_config.h. No state. */
#include "controller/metadata/topic_config.h"

#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "services/base/times.h"

#define MAX_MESSAGE_BYTES_LEAST 1024
#define MAX_MESSAGE_BYTES_MOST (64 * 1024 * 1024)
#define FLUSH_INTERVAL_MOST_S 3600
#define RETENTION_LEAST_MS 1000
/* 100,000 days: what is added to a time never overflows, and "for ever" has a word of its own. */
#define TIME_MOST_MS (G_GINT64_CONSTANT(100000) * 24 * 60 * 60 * 1000)

typedef Milena__V1__TopicConfig TopicConfig;

/* ---- Checks ---- */

static Failure *check_flush_interval(const Google__Protobuf__Duration *interval) {
  gboolean whole = interval->seconds >= 0 && interval->nanos >= 0 && interval->nanos < 1000000000;
  gboolean some = interval->seconds > 0 || interval->nanos >= 1000000;
  if (whole && some && interval->seconds <= FLUSH_INTERVAL_MOST_S)
    return NULL;
  return metadata_invalid_field("config.flush_interval", "1 ms to 1 h",
                                "The flush interval must be between 1 ms and 1 hour.");
}

static gboolean is_sound(const Google__Protobuf__Duration *duration) {
  gint32 nanos = duration->nanos;
  return ABS((gint64)nanos) < 1000000000 && !(duration->seconds > 0 && nanos < 0) &&
         !(duration->seconds < 0 && nanos > 0);
}

/* A time of the cleanup settings: whole, and between @least_ms and @most_ms. */
static Failure *check_time(const char *path, const char *name, const Google__Protobuf__Duration *duration,
                           gint64 least_ms, const char *range) {
  if (!duration)
    return NULL;
  gint64 ms = times_duration_ms(duration, 0);
  if (is_sound(duration) && ms >= least_ms && ms <= TIME_MOST_MS)
    return NULL;
  return metadata_invalid_field(path, range, "%s must be %s.", name, range);
}

static Failure *check_retention(const TopicConfig *config) {
  const Google__Protobuf__Duration *retention = config->retention;
  gboolean for_ever = retention && is_sound(retention) && (retention->seconds < 0 || retention->nanos < 0);
  Failure *failure = for_ever ? NULL
                              : check_time("config.retention", "The retention", retention, RETENTION_LEAST_MS,
                                           "1 s to 100,000 days, or negative: for ever");
  if (failure)
    return failure;
  gint64 bytes = config->retention_bytes;
  if (!config->retention_bytes_presence_case || bytes > 0 || bytes == -1)
    return NULL;
  return metadata_invalid_field(
      "config.retention_bytes", "1 or more, or -1: no bound",
      "retention_bytes is %" G_GINT64_FORMAT ", and must be 1 or more, or -1: records of any size stay.", bytes);
}

static Failure *check_cleanup(const TopicConfig *config) {
  Failure *failure = check_retention(config);
  if (!failure)
    failure = check_time("config.delete_retention", "The time that tombstones stay", config->delete_retention, 0,
                         "0 to 100,000 days");
  if (!failure)
    failure = check_time("config.min_compaction_lag", "The time that records are not compacted",
                         config->min_compaction_lag, 0, "0 to 100,000 days");
  double ratio = config->min_cleanable_dirty_ratio;
  if (failure || !config->min_cleanable_dirty_ratio_presence_case || (ratio >= 0 && ratio <= 1))
    return failure;
  return metadata_invalid_field("config.min_cleanable_dirty_ratio", "0 to 1",
                                "min_cleanable_dirty_ratio is %g, and must be between 0 and 1.", ratio);
}

Failure *topic_config_check(const TopicConfig *config, guint32 replication_factor) {
  if ((guint)config->flush > MILENA__V1__FLUSH__FLUSH_OS)
    return metadata_invalid_field("config.flush", "a value of Flush", "The flush mode %d is none that Milena has.",
                                  (int)config->flush);
  if ((guint)config->cleanup_policy > MILENA__V1__CLEANUP_POLICY__CLEANUP_POLICY_COMPACT)
    return metadata_invalid_field("config.cleanup_policy", "a value of CleanupPolicy",
                                  "The cleanup policy %d is none that Milena has.", (int)config->cleanup_policy);
  Failure *failure = config->flush_interval ? check_flush_interval(config->flush_interval) : NULL;
  if (!failure)
    failure = check_cleanup(config);
  if (failure)
    return failure;
  if (config->max_message_bytes_presence_case &&
      (config->max_message_bytes < MAX_MESSAGE_BYTES_LEAST || config->max_message_bytes > MAX_MESSAGE_BYTES_MOST))
    return metadata_invalid_field("config.max_message_bytes", "1,024 to 67,108,864",
                                  "max_message_bytes is %u, and must be between 1 KiB and 64 MiB.",
                                  config->max_message_bytes);
  if (config->min_insync_replicas_presence_case &&
      (config->min_insync_replicas < 1 || config->min_insync_replicas > replication_factor))
    return metadata_invalid_field("config.min_insync_replicas", "1 to the replication factor",
                                  "min_insync_replicas is %u, and must be between 1 and the replication factor, %u: "
                                  "nothing could be written with acks=all.",
                                  config->min_insync_replicas, replication_factor);
  return NULL;
}

/* ---- Changes ---- */

static void take_flush(TopicConfig *config, const TopicConfig *from) {
  config->flush = from->flush;
}

/* The configuration is a shallow copy: durations stay the request's. */
static void take_flush_interval(TopicConfig *config, const TopicConfig *from) {
  config->flush_interval = from->flush_interval;
}

static void take_max_message_bytes(TopicConfig *config, const TopicConfig *from) {
  config->max_message_bytes_presence_case = from->max_message_bytes_presence_case;
  config->max_message_bytes = from->max_message_bytes;
}

static void take_min_insync_replicas(TopicConfig *config, const TopicConfig *from) {
  config->min_insync_replicas_presence_case = from->min_insync_replicas_presence_case;
  config->min_insync_replicas = from->min_insync_replicas;
}

static void take_unclean_leader_election(TopicConfig *config, const TopicConfig *from) {
  config->unclean_leader_election = from->unclean_leader_election;
}

static void take_cleanup_policy(TopicConfig *config, const TopicConfig *from) {
  config->cleanup_policy = from->cleanup_policy;
}

static void take_retention(TopicConfig *config, const TopicConfig *from) {
  config->retention = from->retention;
}

static void take_retention_bytes(TopicConfig *config, const TopicConfig *from) {
  config->retention_bytes_presence_case = from->retention_bytes_presence_case;
  config->retention_bytes = from->retention_bytes;
}

static void take_delete_retention(TopicConfig *config, const TopicConfig *from) {
  config->delete_retention = from->delete_retention;
}

static void take_min_compaction_lag(TopicConfig *config, const TopicConfig *from) {
  config->min_compaction_lag = from->min_compaction_lag;
}

static void take_min_cleanable_dirty_ratio(TopicConfig *config, const TopicConfig *from) {
  config->min_cleanable_dirty_ratio_presence_case = from->min_cleanable_dirty_ratio_presence_case;
  config->min_cleanable_dirty_ratio = from->min_cleanable_dirty_ratio;
}

static const struct {
  const char *path;
  void (*take)(TopicConfig *config, const TopicConfig *from);
} FIELDS[] = {
    {"flush", take_flush},
    {"flush_interval", take_flush_interval},
    {"max_message_bytes", take_max_message_bytes},
    {"min_insync_replicas", take_min_insync_replicas},
    {"unclean_leader_election", take_unclean_leader_election},
    {"cleanup_policy", take_cleanup_policy},
    {"retention", take_retention},
    {"retention_bytes", take_retention_bytes},
    {"delete_retention", take_delete_retention},
    {"min_compaction_lag", take_min_compaction_lag},
    {"min_cleanable_dirty_ratio", take_min_cleanable_dirty_ratio},
};

Failure *topic_config_take(const char *path, TopicConfig *config, const TopicConfig *from) {
  for (guint i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
    if (strcmp(path, FIELDS[i].path) != 0)
      continue;
    FIELDS[i].take(config, from);
    return NULL;
  }
  return metadata_invalid_field("update_mask", "one of " TOPIC_CONFIG_PATHS,
                                "A topic's configuration has no \"%s\": it has " TOPIC_CONFIG_PATHS ".", path);
}
