/* Several clients in one process, of the same cluster and of others: they share nothing, and end in any order. */
#include "tests/unit/client/helpers.h"

#define CLIENTS 4
#define RECORDS 500

/* One client's work, on a thread of its own. */
typedef struct {
  World *world; /* its cluster */
  MilenaClient *client;
  gint32 partition;
  guint received;
  GThread *thread;
} Work;

static void read_back(Work *work) {
  MilenaConsumer *consumer = milena_consumer_new(work->client, NULL);
  MilenaAssignment assignment = {"t", work->partition, MILENA_BEGINNING};
  EXPECT_NULL(milena_consumer_assign(consumer, &assignment, 1)); /* reason_of is for one thread */
  while (work->received < RECORDS) {
    const MilenaRecordBatch *batch = NULL;
    MilenaError *error = milena_consumer_poll(consumer, 10000, &batch);
    EXPECT_NULL(error);
    if (error != NULL || batch == NULL)
      break;
    work->received += batch->count;
  }
  milena_consumer_free(consumer);
}

static gpointer work_run(gpointer data) {
  Work *work = data;
  MilenaProducer *producer = milena_producer_new(work->client, NULL);
  MilenaRecord record = record_of(NULL, "v", work->partition);
  for (guint i = 0; i < RECORDS; i++)
    EXPECT_NULL(milena_producer_send(producer, &record, NULL, NULL));
  MilenaError *error = milena_producer_flush(producer, 10000);
  EXPECT_NULL(error);
  milena_error_free(error);
  read_back(work);
  milena_producer_free(producer, 0);
  return NULL;
}

TEST(several, clients_work_side_by_side) {
  g_auto(World) here = world_new(2, CLIENTS), there = world_new(1, CLIENTS);
  Work works[CLIENTS];
  for (guint i = 0; i < CLIENTS; i++) {
    works[i] = (Work){.world = i % 2 ? &there : &here, .partition = (gint32)i};
    g_autofree char *bootstrap = fake_cluster_bootstrap(works[i].world->cluster);
    EXPECT_EQ_STR("OK", reason_of(milena_client_new(bootstrap, NULL, &works[i].client)));
    works[i].thread = g_thread_new("client", work_run, &works[i]);
  }
  for (guint i = 0; i < CLIENTS; i++)
    g_thread_join(works[i].thread);
  for (guint i = 0; i < CLIENTS; i++) {
    EXPECT_EQ_INT(RECORDS, works[i].received);
    milena_client_free(works[(i + 1) % CLIENTS].client);
  }
  EXPECT_EQ_INT(CLIENTS / 2 * RECORDS, fake_cluster_counters(here.cluster).records);
  EXPECT_EQ_INT(CLIENTS / 2 * RECORDS, fake_cluster_counters(there.cluster).records);
}

TEST(several, producers_of_one_client_have_ids_of_their_own) {
  g_auto(World) world = world_new(1, 1);
  MilenaProducer *producers[3];
  MilenaRecord record = record_of(NULL, "v", 0);
  for (guint i = 0; i < G_N_ELEMENTS(producers); i++)
    producers[i] = milena_producer_new(world.client, NULL);
  for (guint turn = 0; turn < 10; turn++)
    for (guint i = 0; i < G_N_ELEMENTS(producers); i++)
      EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producers[i], &record, 10000, NULL)));
  EXPECT_EQ_INT(3, fake_cluster_counters(world.cluster).ids);
  EXPECT_EQ_INT(30, fake_cluster_log_end(world.cluster, "t", 0));
  for (guint i = 0; i < G_N_ELEMENTS(producers); i++)
    milena_producer_free(producers[i], 0);
}

TEST(several, clients_come_and_go) {
  g_auto(World) world = world_new(1, 1);
  g_autofree char *bootstrap = fake_cluster_bootstrap(world.cluster);
  for (guint i = 0; i < 20; i++) {
    MilenaClient *client = NULL;
    EXPECT_EQ_STR("OK", reason_of(milena_client_new(bootstrap, NULL, &client)));
    MilenaProducer *producer = milena_producer_new(client, NULL);
    MilenaRecord record = record_of(NULL, "v", 0);
    if (i % 2)
      EXPECT_EQ_STR("OK", reason_of(milena_producer_send_sync(producer, &record, 10000, NULL)));
    milena_producer_free(producer, 0);
    milena_client_free(client);
  }
  EXPECT_EQ_INT(10, fake_cluster_log_end(world.cluster, "t", 0));
}
