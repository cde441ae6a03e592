#include "client/cli/topic_config.h"

#include <string.h>

#include "tests/shim/shim.h"

TEST(topic_config, takes_what_it_names) {
  char *settings[] = {(char *)"flush=interval", (char *)"flush.interval.ms=1500", (char *)"max.message.bytes=2048",
                      (char *)"min.insync.replicas=2", NULL};
  g_auto(TopicConfigChange) change = {0};
  ASSERT_NULL(topic_config_parse(settings, &change));
  EXPECT_EQ_INT(MILENA_FLUSH_INTERVAL, change.config.flush);
  EXPECT_EQ_INT(1500, change.config.flush_interval_ms);
  EXPECT_EQ_INT(2048, change.config.max_message_bytes);
  EXPECT_EQ_INT(2, change.config.min_insync_replicas);
  ASSERT_EQ_INT(4, change.fields->len);
  EXPECT_EQ_STR("flush", change.fields->pdata[0]);
  EXPECT_EQ_STR("flush_interval", change.fields->pdata[1]);
}

TEST(topic_config, shows_what_it_took) {
  char *settings[] = {(char *)"flush=os",
                      (char *)"max.message.bytes=2048",
                      (char *)"retention.ms=120000",
                      (char *)"retention.bytes=-1",
                      (char *)"delete.retention.ms=0",
                      (char *)"min.cleanable.dirty.ratio=0.25",
                      NULL};
  g_auto(TopicConfigChange) change = {0};
  ASSERT_NULL(topic_config_parse(settings, &change));
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < topic_config_count(); i++) {
    g_autofree char *value = topic_config_value(&change.config, i);
    g_string_append_printf(got, "%s=%s;", topic_config_key(i), value ? value : "");
  }
  EXPECT_EQ_STR("flush=os;flush.interval.ms=;max.message.bytes=2048;min.insync.replicas=;unclean.leader.election=;"
                "cleanup.policy=;retention.ms=120000;retention.bytes=-1;delete.retention.ms=0;"
                "min.compaction.lag.ms=;min.cleanable.dirty.ratio=0.25;",
                got->str);
}

TEST(topic_config, an_empty_value_goes_back_to_the_default) {
  char *settings[] = {(char *)"flush=", NULL};
  g_auto(TopicConfigChange) change = {0};
  ASSERT_NULL(topic_config_parse(settings, &change));
  EXPECT_EQ_INT(MILENA_FLUSH_DEFAULT, change.config.flush);
  ASSERT_EQ_INT(1, change.fields->len);
}

TEST(topic_config, unclean_elections_are_off_until_told) {
  char *settings[] = {(char *)"unclean.leader.election=true", NULL};
  g_auto(TopicConfigChange) change = {0};
  ASSERT_NULL(topic_config_parse(settings, &change));
  EXPECT_TRUE(change.config.unclean_leader_election);
  guint index = 0;
  while (strcmp(topic_config_key(index), "unclean.leader.election") != 0)
    index++;
  g_autofree char *on = topic_config_effective_value(&change.config, index);
  g_autofree char *off = topic_config_effective_value(&(MilenaTopicConfig){0}, index);
  EXPECT_EQ_STR("true", on);
  EXPECT_EQ_STR("false", off);
}

TEST(topic_config, may_be_missing) {
  g_auto(TopicConfigChange) change = {0};
  ASSERT_NULL(topic_config_parse(NULL, &change));
  EXPECT_EQ_INT(0, change.fields->len);
}

static const struct {
  const char *name, *setting, *says;
} REFUSED[] = {
    {"unknown_key", "colour=blue",
     "flush, flush.interval.ms, max.message.bytes, min.insync.replicas, unclean.leader.election"},
    {"near_key", "flush.intervall.ms=5", "did you mean flush.interval.ms"},
    {"no_value", "flush", "name=value"},
    {"bad_word", "flush=never", "always, interval or os"},
    {"bad_number", "max.message.bytes=big", "'big'"},
    {"bad_truth", "unclean.leader.election=yes", "true or false"},
    {"too_small", "max.message.bytes=10", "1024"},
    {"unknown_policy", "cleanup.policy=forget", "delete or compact"},
    {"retention_too_short", "retention.ms=999", "1000"},
    {"retention_of_no_bytes", "retention.bytes=0", "'0'"},
    {"ratio_above_one", "min.cleanable.dirty.ratio=1.01", "0 to 1"},
    {"ratio_of_nothing", "min.cleanable.dirty.ratio=nan", "0 to 1"},
    {"too_large", "max.message.bytes=99999999999", "67108864"},
};

TEST_ROWS(topic_config_refuses, REFUSED) {
  char *settings[] = {(char *)REFUSED[row].setting, NULL};
  g_auto(TopicConfigChange) change = {0};
  g_autoptr(Failure) failure = topic_config_parse(settings, &change);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), REFUSED[row].says);
}
