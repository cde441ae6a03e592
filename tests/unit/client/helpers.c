/* See helpers.h. */
#include "tests/unit/client/helpers.h"

World world_new(guint broker_count, guint partition_count) {
  World world = {.cluster = fake_cluster_new(broker_count)};
  if (partition_count > 0)
    fake_cluster_add_topic(world.cluster, "t", partition_count);
  g_autofree char *bootstrap = fake_cluster_bootstrap(world.cluster);
  MilenaClientOptions options;
  milena_client_options_init(&options);
  options.backoff_ms = 5;
  options.backoff_max_ms = 50;
  options.attempt_timeout_ms = 2000;
  MilenaError *error = milena_client_new(bootstrap, &options, &world.client);
  EXPECT_NULL(error);
  milena_error_free(error);
  return world;
}

void world_clear(World *world) {
  milena_client_free(world->client);
  fake_cluster_free(world->cluster);
}

MilenaRecord record_of(const char *key, const char *value, gint32 partition) {
  MilenaRecord record = MILENA_RECORD_INIT;
  record.topic = "t";
  record.key = milena_bytes_text(key);
  record.value = milena_bytes_text(value);
  record.partition = partition;
  return record;
}

gboolean wait_for(gboolean (*condition)(gpointer data), gpointer data) {
  for (guint i = 0; i < 10000; i++) {
    if (condition(data))
      return TRUE;
    g_usleep(1000);
  }
  return FALSE;
}

void count_delivery(const MilenaDelivery *delivery, void *user_data) {
  Deliveries *deliveries = user_data;
  if (delivery->error == NULL) {
    if (delivery->offset >= 0 && delivery->offset <= deliveries->last_offset)
      deliveries->out_of_order++;
    deliveries->last_offset = delivery->offset;
    __atomic_add_fetch(&deliveries->delivered, 1, __ATOMIC_SEQ_CST);
    return;
  }
  g_strlcpy(deliveries->reason, milena_error_reason(delivery->error), sizeof deliveries->reason);
  if (milena_error_is_outcome_unknown(delivery->error))
    __atomic_add_fetch(&deliveries->unknown, 1, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&deliveries->failed, 1, __ATOMIC_SEQ_CST);
}

const char *reason_of(MilenaError *error) {
  static char reason[64];
  g_strlcpy(reason, error != NULL ? milena_error_reason(error) : "OK", sizeof reason);
  milena_error_free(error);
  return reason;
}
