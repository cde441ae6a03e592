/* What a topic's configuration may be, and how fields of it are replaced. Pure; stateless. */
#pragma once

#include "milena/v1/admin_service.pb-c.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

/* The fields that an update_mask may name. */
#define TOPIC_CONFIG_PATHS                                                                                             \
  "flush, flush_interval, max_message_bytes, min_insync_replicas, unclean_leader_election, cleanup_policy, "           \
  "retention, retention_bytes, delete_retention, min_compaction_lag, min_cleanable_dirty_ratio"

/* Whether a topic may have it. Returns NULL or INVALID_FIELD. */
Failure *topic_config_check(const Milena__V1__TopicConfig *config, guint32 replication_factor);

/* Replace the field that @path names by what it is in @from: a shallow copy. Returns NULL or INVALID_FIELD. */
Failure *topic_config_take(const char *path, Milena__V1__TopicConfig *config, const Milena__V1__TopicConfig *from);

G_END_DECLS
