/* What waits to be sent: whose turn it is. Bounds and flushes are tested with producers. */
#include "client/libmilena/accumulator.h"

#include "tests/shim/shim.h"

#define PARTITIONS 4

static void nothing(gpointer data) {
  (void)data;
}

/* A view of topic "t" with some partitions. */
static View *view_of_topic(void) {
  Milena__V1__Partition partitions[PARTITIONS];
  Milena__V1__Partition *pointers[PARTITIONS];
  for (guint i = 0; i < PARTITIONS; i++) {
    milena__v1__partition__init(&partitions[i]);
    partitions[i].partition = (gint32)i;
    partitions[i].leader_id = 1;
    pointers[i] = &partitions[i];
  }
  Milena__V1__Topic topic = MILENA__V1__TOPIC__INIT;
  topic.name = (char *)"t";
  topic.id = (char *)"id";
  topic.n_partitions = PARTITIONS;
  topic.partitions = pointers;
  Milena__V1__Topic *topics[] = {&topic};
  Milena__V1__ClusterMetadata cluster = MILENA__V1__CLUSTER_METADATA__INIT;
  cluster.n_topics = 1;
  cluster.topics = topics;
  View *view = NULL;
  EXPECT_NULL(view_new_from_image(&cluster, &view));
  return view;
}

/* Each record is a batch of its own. */
static void append(Accumulator *accumulator, gint32 partition) {
  AppendRecord record = {.partition = partition, .urgent = TRUE};
  EXPECT_NULL(accumulator_append(accumulator, "t", &record, 0));
}

/* The partitions whose turn it is, in order: "2 0 1". */
static void expect_turns(Accumulator *accumulator, const char *want) {
  g_autoptr(GPtrArray) lanes = accumulator_active(accumulator);
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < lanes->len; i++)
    g_string_append_printf(got, "%s%d", i > 0 ? " " : "", ((const Lane *)lanes->pdata[i])->partition);
  EXPECT_EQ_STR(want, got->str);
}

/* Have the first lane send its first batch. */
static void send_first(Accumulator *accumulator) {
  g_autoptr(GPtrArray) lanes = accumulator_active(accumulator);
  accumulator_finish(accumulator, accumulator_take(accumulator, lanes->pdata[0]), TRUE, FALSE);
}

/* A link with room for few takes from those that waited longest: nobody starves behind lanes that always have more. */
TEST(accumulator, lanes_take_turns) {
  MilenaProducerOptions options = {.buffer_bytes = 1 << 20, .batch_bytes = 1 << 16, .timeout_ms = 1000};
  g_autoptr(View) view = view_of_topic();
  Accumulator *accumulator = accumulator_new(&options, nothing, NULL);
  accumulator_learn(accumulator, view, "t");
  for (guint i = 0; i < 3; i++)
    append(accumulator, 2);
  append(accumulator, 0);
  append(accumulator, 1);
  expect_turns(accumulator, "2 0 1");
  send_first(accumulator);
  expect_turns(accumulator, "0 1 2");
  send_first(accumulator); /* 0 has no more */
  append(accumulator, 3);
  append(accumulator, 0);
  expect_turns(accumulator, "1 2 3 0");
  for (guint i = 0; i < 5; i++)
    send_first(accumulator);
  expect_turns(accumulator, "");
  accumulator_free(accumulator);
}
