/* A topic's configuration as Kafka users write it: flush=always, max.message.bytes=2097152. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* A configuration that is being filled in, and which fields were named. */
typedef struct {
  MilenaTopicConfig config;
  GPtrArray *fields; /* names as milena_admin_alter_topic takes them; static strings */
} TopicConfigChange;

/* @settings: "key=value" each, ends with NULL; NULL is fine. "key=" puts a value back to its default.
 * @change: overwritten; end with topic_config_change_clear also on failure
 *
 * Returns NULL, or INVALID_FIELD: an unknown key with the list of known ones, a bad value with what it must be. */
Failure *topic_config_parse(char *const *settings, TopicConfigChange *change);
void topic_config_change_clear(TopicConfigChange *change);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TopicConfigChange, topic_config_change_clear)

/* All keys: the number of them, the name of one, and its value as text, or NULL when @config says
 * nothing of it; the value is owned by the caller. */
guint topic_config_count(void);
const char *topic_config_key(guint index);
char *topic_config_value(const MilenaTopicConfig *config, guint index);
/* The same of a configuration with all defaults filled in. */
char *topic_config_effective_value(const MilenaTopicConfig *effective, guint index);
/* Lines for --help; owned by the caller. */
char *topic_config_help(void);

G_END_DECLS
