/* Subscribe over loopback, with partitions in memory; and the arithmetic of credits. */
#include "services/broker/read/credit.h"
#include "tests/shim/shim.h"
#include "tests/unit/read/read_fixture.h"

#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE
#define ZSTD MILENA__V1__COMPRESSION__COMPRESSION_ZSTD

/* ---- credits ---- */

static const struct {
  const char *name;
  gboolean metered;
  guint64 given[2][2]; /* records, bytes */
  guint64 taken[2];
  gboolean open;
  guint64 records, bytes; /* G_MAXUINT64: no limit */
} CREDIT_ROWS[] = {
    {"not_metered", FALSE, {{0, 0}, {0, 0}}, {5, 5}, TRUE, G_MAXUINT64, G_MAXUINT64},
    {"not_metered_stays_so", FALSE, {{1, 1}, {0, 0}}, {5, 5}, TRUE, G_MAXUINT64, G_MAXUINT64},
    {"nothing_given", TRUE, {{0, 0}, {0, 0}}, {0, 0}, FALSE, G_MAXUINT64, G_MAXUINT64},
    {"records_alone", TRUE, {{10, 0}, {0, 0}}, {4, 4000}, TRUE, 6, G_MAXUINT64},
    {"bytes_alone", TRUE, {{0, 100}, {0, 0}}, {4, 40}, TRUE, G_MAXUINT64, 60},
    {"they_add", TRUE, {{10, 0}, {5, 0}}, {4, 0}, TRUE, 11, G_MAXUINT64},
    {"both_when_both_were_given", TRUE, {{10, 0}, {0, 50}}, {4, 20}, TRUE, 6, 30},
    {"spent", TRUE, {{10, 0}, {0, 0}}, {10, 1}, FALSE, 0, G_MAXUINT64},
    {"passed_by_one_frame", TRUE, {{0, 10}, {0, 0}}, {1, 5000}, FALSE, G_MAXUINT64, 0},
    {"one_unit_spent", TRUE, {{10, 10}, {0, 0}}, {1, 10}, FALSE, 9, 0},
    {"sums_stop", TRUE, {{G_MAXUINT64, 0}, {5, 0}}, {1, 0}, TRUE, G_MAXUINT64 - 1, G_MAXUINT64},
};

TEST_ROWS(credit, CREDIT_ROWS) {
  ReadCredit credit = {.metered = CREDIT_ROWS[row].metered};
  for (guint i = 0; i < 2; i++)
    read_credit_add(&credit, CREDIT_ROWS[row].given[i][0], CREDIT_ROWS[row].given[i][1]);
  read_credit_take(&credit, CREDIT_ROWS[row].taken[0], CREDIT_ROWS[row].taken[1]);
  EXPECT_EQ_INT(CREDIT_ROWS[row].open, read_credit_is_open(&credit));
  EXPECT_EQ_INT(CREDIT_ROWS[row].records, read_credit_records(&credit));
  EXPECT_EQ_INT(CREDIT_ROWS[row].bytes, read_credit_bytes(&credit));
}

/* ---- streams ---- */

/* An init frame for the first @count partitions from the earliest offset; points into itself. */
typedef struct {
  Milena__V1__Position start;
  Milena__V1__SubscribePartition parts[FAKE_PARTITIONS];
  Milena__V1__SubscribePartition *pointers[FAKE_PARTITIONS];
  Milena__V1__Credit credit;
  Milena__V1__SubscribeInit init;
  Milena__V1__SubscribeRequest request;
} Init;

static void init_fill(Init *init, guint count) {
  milena__v1__position__init(&init->start);
  init->start.kind_case = MILENA__V1__POSITION__KIND_END;
  init->start.end = MILENA__V1__LOG_END__LOG_END_EARLIEST;
  milena__v1__subscribe_init__init(&init->init);
  milena__v1__credit__init(&init->credit);
  for (guint i = 0; i < count; i++) {
    milena__v1__subscribe_partition__init(&init->parts[i]);
    init->parts[i].topic = (char *)FAKE_TOPIC;
    init->parts[i].partition = (gint32)i;
    init->parts[i].start = &init->start;
    init->pointers[i] = &init->parts[i];
  }
  init->init.n_partitions = count;
  init->init.partitions = init->pointers;
  milena__v1__subscribe_request__init(&init->request);
  init->request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_INIT;
  init->request.init = &init->init;
}

static void send_credit(Recorder *recorder, guint64 records, guint64 bytes) {
  Milena__V1__Credit credit = MILENA__V1__CREDIT__INIT;
  credit.records = records;
  credit.bytes = bytes;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT;
  request.credit = &credit;
  recorder_send(recorder, &request.base);
}

static void send_seek(Recorder *recorder, const char *topic, gint32 partition, gint64 offset, guint64 seek_id) {
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = MILENA__V1__POSITION__KIND_OFFSET;
  position.offset = offset;
  Milena__V1__Seek seek = MILENA__V1__SEEK__INIT;
  seek.topic = (char *)topic;
  seek.partition = partition;
  seek.position = &position;
  seek.seek_id = seek_id;
  Milena__V1__SubscribeRequest request = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_SEEK;
  request.seek = &seek;
  recorder_send(recorder, &request.base);
}

typedef struct {
  Recorder *recorder;
  char *text;
} Story;

static void story_tell(gpointer data) {
  Story *story = data;
  Recorder *recorder = story->recorder;
  GString *text = g_string_new(NULL);
  for (gint i = 0; i < recorder->messages; i++) {
    const Milena__V1__SubscribeResponse *body = recorder_body(recorder, (guint)i);
    if (body->frame_case == MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY) {
      g_string_append(text, " ready");
    } else if (body->frame_case == MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DRAINING) {
      g_string_append(text, " draining");
    } else if (body->frame_case == MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_SEEK_DONE) {
      g_string_append_printf(text, " %s%d@%d", body->seek_done->status != NULL ? "noseek" : "seek",
                             (int)body->seek_done->seek_id, (int)body->seek_done->offset);
    } else if (body->data->status != NULL) {
      g_string_append_printf(text, " error%d", body->data->partition);
    } else {
      g_autofree char *records = read_fixture_records(body->data);
      g_string_append_printf(text, " %s", records);
    }
  }
  if (text->len > 0)
    g_string_erase(text, 0, 1);
  story->text = g_string_free(text, FALSE);
}

/* All frames so far as words: "ready 0:0 0:1 seek5@3 error1". */
static char *story(Recorder *recorder) {
  Story story = {.recorder = recorder};
  read_fixture_look(recorder, story_tell, &story);
  return story.text;
}

/* Wait until the story is @want; reports the difference after some seconds. */
static gboolean expect_story(Recorder *recorder, const char *want) {
  for (guint i = 0; i < 5000; i++) {
    g_autofree char *got = story(recorder);
    if (g_str_equal(want, got))
      return TRUE;
    g_usleep(1000);
  }
  g_autofree char *got = story(recorder);
  return EXPECT_EQ_STR(want, got);
}

/* Nothing more comes than @want. */
static gboolean expect_still(Recorder *recorder, const char *want) {
  if (!expect_story(recorder, want))
    return FALSE;
  g_usleep(80000);
  g_autofree char *got = story(recorder);
  return EXPECT_EQ_STR(want, got);
}

static Recorder *open_stream(ReadFixture *fixture, const Init *init) {
  return read_fixture_open(fixture, "Subscribe", &init->request.base, TRUE);
}

TEST(subscribe, credits_in_records_are_exact) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 10, 0, ZSTD);
  Init init;
  init_fill(&init, 1);
  init.credit.records = 2;
  init.init.initial_credit = &init.credit;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  expect_still(recorder, "ready 0:0 0:1");
  send_credit(recorder, 3, 0);
  expect_still(recorder, "ready 0:0 0:1 0:2 0:3 0:4");
  send_credit(recorder, 0, 1); /* from here on both units count, and one record passes one byte */
  expect_still(recorder, "ready 0:0 0:1 0:2 0:3 0:4");
  send_credit(recorder, 5, 0);
  expect_still(recorder, "ready 0:0 0:1 0:2 0:3 0:4 0:5");
}

TEST(subscribe, no_credit_sends_nothing_but_failures) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 10, 0, NONE);
  fake_append(fixture->front, 1, 10, 0, NONE);
  Init init;
  init_fill(&init, 2);
  Milena__V1__Position beyond = MILENA__V1__POSITION__INIT;
  beyond.kind_case = MILENA__V1__POSITION__KIND_OFFSET;
  beyond.offset = 99;
  init.parts[1].start = &beyond;
  init.init.initial_credit = &init.credit;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  expect_still(recorder, "ready error1");
  send_seek(recorder, FAKE_TOPIC, 1, 9, 4); /* a seek brings it back */
  expect_still(recorder, "ready error1 seek4@9");
  recorder_half_close(recorder); /* no credit can come any more */
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
}

TEST(subscribe, starts_at_latest_and_without_credit_flows) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 10, 0, NONE);
  Init init;
  init_fill(&init, 1);
  init.parts[0].start = NULL;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  expect_still(recorder, "ready");
  const Milena__V1__SubscribeResponse *ready = recorder_body(recorder, 0);
  EXPECT_EQ_INT(10, ready->ready->starts[0]->offset);
  fake_append(fixture->front, 0, 2, 0, NONE);
  expect_still(recorder, "ready 0:10 0:11");
}

TEST(subscribe, seeks_are_answered_in_order) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 10, 0, ZSTD);
  Init init;
  init_fill(&init, 1);
  init.credit.records = 2;
  init.init.initial_credit = &init.credit;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  expect_still(recorder, "ready 0:0 0:1");
  send_seek(recorder, FAKE_TOPIC, 0, 7, 1);
  send_seek(recorder, FAKE_TOPIC, 0, 5, 2);
  send_seek(recorder, FAKE_TOPIC, 0, 50, 3); /* out of range: goes on where it was */
  send_seek(recorder, FAKE_TOPIC, 3, 5, 4);  /* not subscribed */
  send_seek(recorder, FAKE_TOPIC, 0, -5, 5);
  send_credit(recorder, 2, 0);
  expect_still(recorder, "ready 0:0 0:1 seek1@7 seek2@5 noseek3@5 noseek4@0 noseek5@5 0:5 0:6");
}

/* A decompressed batch may take 64 MiB: not one for each partition at once. */
TEST(subscribe, a_compressed_batch_is_given_whole_before_the_next_is_opened) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 3, 0, ZSTD);
  fake_append(fixture->front, 1, 3, 0, ZSTD);
  Init init;
  init_fill(&init, 2);
  init.init.max_bytes = 1; /* one record a frame */
  init.credit.records = 1;
  init.init.initial_credit = &init.credit;
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  expect_still(recorder, "ready 0:0"); /* both partitions have something to give now */
  send_credit(recorder, 5, 0);
  expect_story(recorder, "ready 0:0 0:1 0:2 1:0 1:1 1:2");
}

TEST(subscribe, half_close_gives_what_is_there_and_ends) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 3, 0, NONE);
  fake_append(fixture->front, 2, 1, 0, NONE);
  Init init;
  init_fill(&init, 3);
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  gint64 records = 0;
  for (gint i = 1; i < recorder->messages; i++)
    records += (gint64)((Milena__V1__SubscribeResponse *)recorder_body(recorder, (guint)i))->data->n_records;
  EXPECT_EQ_INT(4, records);
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

/* Until nothing has been read from the source for a while, however slow the machine is now. */
static void wait_still(const gint *reads) {
  gint seen = -1;
  for (gint64 until = fixture_deadline_us(10000); g_get_monotonic_time() < until; g_usleep(300000)) {
    if (g_atomic_int_get(reads) == seen)
      return;
    seen = g_atomic_int_get(reads);
  }
}

TEST(subscribe, a_seek_flood_without_reading_is_held_back) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  /* More than the connection's window takes, which gRPC widens on a slow machine. */
  fake_append(fixture->front, 0, 500, 60000, NONE);
  Init init;
  init_fill(&init, 1);
  g_autoptr(Recorder) recorder = read_fixture_open(fixture, "Subscribe", &init.request.base, FALSE);
  ASSERT_TRUE(fixture_wait(&fixture->front->reads, 1));
  wait_still(&fixture->front->reads);
  for (guint i = 0; i < 100; i++)
    send_seek(recorder, FAKE_TOPIC, 0, 0, i);
  wait_still(&fixture->front->finds);
  EXPECT_TRUE(g_atomic_int_get(&fixture->front->finds) < 50);
  recorder_half_close(recorder);
  recorder_read(recorder, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
}

TEST(subscribe, says_that_the_broker_drains) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Init init;
  init_fill(&init, 1);
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  rpc_server_drain(fixture->rpc->server, 5000);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  expect_story(recorder, "ready draining");
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(FAILURE(DRAINING), failure_reason(recorder->failure));
}

TEST(subscribe, a_client_that_goes_ends_its_reads) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Init init;
  init_fill(&init, 3);
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, 3));
  rpc_client_call_cancel(recorder->call);
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

/* ---- refused ---- */

typedef enum { GROUP, NO_PARTITIONS, TWICE, NO_TOPIC, UNKNOWN, FORMAT, CREDIT_FIRST, EMPTY_FRAME, INIT_TWICE } Wrong;
static const struct {
  const char *name;
  Wrong wrong;
  FailureReason reason;
  const char *says;
} REFUSED_ROWS[] = {
    {"group", GROUP, FAILURE(INVALID_FIELD), "init.partitions"},
    {"no_partitions", NO_PARTITIONS, FAILURE(INVALID_FIELD), "init.partitions"},
    {"twice", TWICE, FAILURE(INVALID_FIELD), "init.partitions[1]"},
    {"no_topic", NO_TOPIC, FAILURE(INVALID_FIELD), "init.partitions[1].topic"},
    {"unknown", UNKNOWN, FAILURE(UNKNOWN_TOPIC), "nope"},
    {"format", FORMAT, FAILURE(INVALID_FIELD), "init.format"},
    {"credit_first", CREDIT_FIRST, FAILURE(INVALID_FIELD), "first frame"},
    {"empty_frame", EMPTY_FRAME, FAILURE(INVALID_FIELD), "empty frame"},
    {"init_twice", INIT_TWICE, FAILURE(INVALID_FIELD), "only the first"},
};

TEST_ROWS(subscribe_refused, REFUSED_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Init init;
  init_fill(&init, 2);
  switch (REFUSED_ROWS[row].wrong) {
  case GROUP:
    init.init.group = (char *)"g";
    break;
  case NO_PARTITIONS:
    init.init.n_partitions = 0;
    break;
  case TWICE:
    init.parts[1].partition = 0;
    break;
  case NO_TOPIC:
    init.parts[1].topic = (char *)"";
    break;
  case UNKNOWN:
    init.parts[1].topic = (char *)"nope";
    break;
  case FORMAT:
    init.init.format = (Milena__V1__Format)44;
    break;
  case CREDIT_FIRST:
    init.request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT;
    init.request.credit = &init.credit;
    break;
  case EMPTY_FRAME:
    init.request.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME__NOT_SET;
    break;
  case INIT_TWICE:
    break;
  }
  g_autoptr(Recorder) recorder = open_stream(fixture, &init);
  if (REFUSED_ROWS[row].wrong == INIT_TWICE)
    recorder_send(recorder, &init.request.base);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(REFUSED_ROWS[row].reason, failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), REFUSED_ROWS[row].says);
}

TEST(subscribe, an_end_without_init_is_refused) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  g_autoptr(Recorder) recorder =
      recorder_open(fixture->rpc, fixture->rpc->address, CONSUMER, "Subscribe", G_MAXINT64, TRUE);
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(recorder->failure));
}
