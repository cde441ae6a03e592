/* Consume over loopback, with partitions in memory. */
#include "tests/shim/shim.h"
#include "tests/unit/read/read_fixture.h"

#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE
#define ZSTD MILENA__V1__COMPRESSION__COMPRESSION_ZSTD

static Recorder *consume(ReadFixture *fixture, const Milena__V1__ConsumeRequest *request, gboolean reads_on) {
  Recorder *recorder = read_fixture_open(fixture, "Consume", &request->base, reads_on);
  recorder_half_close(recorder);
  return recorder;
}

static Milena__V1__ConsumeRequest request_new(void) {
  Milena__V1__ConsumeRequest request = MILENA__V1__CONSUME_REQUEST__INIT;
  request.topic = (char *)FAKE_TOPIC;
  return request;
}

static Milena__V1__Position end_new(Milena__V1__LogEnd end) {
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = MILENA__V1__POSITION__KIND_END;
  position.end = end;
  return position;
}

static Milena__V1__Position offset_new(gint64 offset) {
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = MILENA__V1__POSITION__KIND_OFFSET;
  position.offset = offset;
  return position;
}

/* What came of one partition, after the end: checks that its offsets rise one by one from @from. Returns how many. */
static gint64 count_in_order(Recorder *recorder, gint32 partition, gint64 from) {
  gint64 next = from;
  for (gint i = 0; i < g_atomic_int_get(&recorder->messages); i++) {
    const Milena__V1__ConsumeResponse *body = recorder_body(recorder, (guint)i);
    if (body->frame_case != MILENA__V1__CONSUME_RESPONSE__FRAME_DATA || body->data->partition != partition)
      continue;
    for (gsize j = 0; j < body->data->n_records; j++)
      EXPECT_EQ_INT(next++, body->data->records[j]->offset);
    EXPECT_EQ_INT(next, body->data->next_offset);
  }
  return next - from;
}

typedef struct {
  Recorder *recorder;
  gint64 records, failures;
} Sums;

static void sum_up(gpointer data) {
  Sums *sums = data;
  for (gint i = 0; i < sums->recorder->messages; i++) {
    const Milena__V1__ConsumeResponse *body = recorder_body(sums->recorder, (guint)i);
    if (body->frame_case != MILENA__V1__CONSUME_RESPONSE__FRAME_DATA)
      continue;
    sums->records += (gint64)body->data->n_records;
    sums->failures += body->data->status != NULL;
  }
}

static Sums sums_of(Recorder *recorder) {
  Sums sums = {.recorder = recorder};
  read_fixture_look(recorder, sum_up, &sums);
  return sums;
}

TEST(consume, gives_all_and_ends_at_latest) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < 3; partition++)
    for (guint i = 0; i < 20; i++)
      fake_append(fixture->front, partition, 50, 200, i % 2 == 0 ? ZSTD : NONE);
  Milena__V1__ConsumeRequest request = request_new();
  Milena__V1__Position stop = end_new(MILENA__V1__LOG_END__LOG_END_LATEST);
  request.stop = &stop;
  request.max_bytes = 10000;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  const Milena__V1__ConsumeResponse *first = recorder_body(recorder, 0);
  ASSERT_EQ_INT(MILENA__V1__CONSUME_RESPONSE__FRAME_READY, first->frame_case);
  ASSERT_EQ_INT(FAKE_PARTITIONS, first->ready->n_ranges);
  EXPECT_EQ_INT(0, first->ready->ranges[1]->start_offset);
  EXPECT_EQ_INT(1000, first->ready->ranges[1]->stop_offset);
  for (gint32 partition = 0; partition < 3; partition++)
    EXPECT_EQ_INT(1000, count_in_order(recorder, partition, 0));
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

TEST(consume, turns_go_round_the_partitions) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    for (guint i = 0; i < 100; i++)
      fake_append(fixture->front, partition, 10, 100, NONE);
  Milena__V1__ConsumeRequest request = request_new();
  request.max_bytes = 5000;
  request.limit = 1000; /* of 4,000 */
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  EXPECT_EQ_INT(1000, sums_of(recorder).records);
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    EXPECT_TRUE(count_in_order(recorder, partition, 0) >= 150);
}

static const struct {
  const char *name;
  gint64 start, stop;
  const char *records;
} RANGE_ROWS[] = {
    {"inside", 3, 6, "1:3 1:4 1:5"},  {"one", 3, 4, "1:3"}, {"nothing", 3, 3, ""}, {"backwards", 6, 3, ""},
    {"to_the_end", 8, 10, "1:8 1:9"},
};

TEST_ROWS(consume_range, RANGE_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 1, 10, 0, ZSTD);
  Milena__V1__ConsumeRequest request = request_new();
  gint32 partitions[] = {1};
  Milena__V1__Position start = offset_new(RANGE_ROWS[row].start), stop = offset_new(RANGE_ROWS[row].stop);
  request.n_partitions = 1;
  request.partitions = partitions;
  request.start = &start;
  request.stop = &stop;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  const Milena__V1__ConsumeResponse *last = recorder_body(recorder, (guint)recorder->messages - 1);
  g_autofree char *records =
      last->frame_case == MILENA__V1__CONSUME_RESPONSE__FRAME_DATA ? read_fixture_records(last->data) : g_strdup("");
  EXPECT_EQ_STR(RANGE_ROWS[row].records, records);
}

TEST(consume, times_are_places) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 1, 10, 0, NONE);
  Google__Protobuf__Timestamp from = GOOGLE__PROTOBUF__TIMESTAMP__INIT, to = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  from.seconds = 1;
  from.nanos = 1500000; /* 1001.5 ms: the first at or after it is 1002 */
  to.seconds = 1;
  to.nanos = 5000000;
  Milena__V1__Position start = MILENA__V1__POSITION__INIT, stop = MILENA__V1__POSITION__INIT;
  start.kind_case = stop.kind_case = MILENA__V1__POSITION__KIND_TIME;
  start.time = &from;
  stop.time = &to;
  Milena__V1__ConsumeRequest request = request_new();
  request.start = &start;
  request.stop = &stop;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  EXPECT_EQ_INT(3, count_in_order(recorder, 1, 2));
}

TEST(consume, follows_until_the_client_goes) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Milena__V1__ConsumeRequest request = request_new();
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, FAKE_PARTITIONS));
  for (gint i = 0; i < 5; i++) {
    fake_append(fixture->front, i % 3, 1, 0, NONE);
    ASSERT_TRUE(fixture_wait(&recorder->messages, 2 + i));
  }
  EXPECT_EQ_INT(5, sums_of(recorder).records);
  EXPECT_EQ_INT(0, g_atomic_int_get(&recorder->closed));
  rpc_client_call_cancel(recorder->call);
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

TEST(consume, a_slow_reader_is_not_read_ahead_for) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    for (guint i = 0; i < 16; i++)
      fake_append(fixture->front, partition, 8, 128 << 10, NONE); /* 16 MiB each */
  Milena__V1__ConsumeRequest request = request_new();
  Milena__V1__Position stop = end_new(MILENA__V1__LOG_END__LOG_END_LATEST);
  request.stop = &stop;
  g_autoptr(Recorder) recorder = consume(fixture, &request, FALSE);
  g_usleep(400000);
  gint reads = g_atomic_int_get(&fixture->front->reads);
  EXPECT_TRUE(reads < 24); /* of 64: some MiB in queues, and what is kept */
  g_usleep(300000);
  EXPECT_EQ_INT(reads, g_atomic_int_get(&fixture->front->reads));
  recorder_read(recorder, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    EXPECT_EQ_INT(128, count_in_order(recorder, partition, 0));
}

static void make_hasty(gpointer front) {
  ((Front *)front)->hasty = TRUE;
}

TEST(consume, does_not_ask_a_draining_leader_without_pause) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_on_loop(fixture->front, make_hasty);
  Milena__V1__ConsumeRequest request = request_new();
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  g_usleep(500000);
  EXPECT_TRUE(g_atomic_int_get(&fixture->front->reads) <= 5 * FAKE_PARTITIONS);
  fake_append(fixture->front, 1, 1, 0, NONE);
  EXPECT_TRUE(fixture_wait(&recorder->messages, 2));
}

TEST(consume, rides_through_changes_of_leader) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 10, 0, NONE);
  fake_append(fixture->front, 1, 10, 0, NONE);
  Milena__V1__ConsumeRequest request = request_new();
  request.limit = 30;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 3));
  fake_fail(fixture->front, 1, FAILURE(PEER_UNREACHABLE), 3);
  fake_append(fixture->front, 1, 10, 0, NONE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  EXPECT_EQ_INT(10, count_in_order(recorder, 0, 0));
  EXPECT_EQ_INT(20, count_in_order(recorder, 1, 0));
  EXPECT_EQ_INT(0, sums_of(recorder).failures);
}

TEST(consume, tells_that_a_partition_stays_unavailable) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Milena__V1__ConsumeRequest request = request_new();
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, FAKE_PARTITIONS));
  fake_fail(fixture->front, 1, FAILURE(LEADER_NOT_AVAILABLE), 24); /* 6 s, at 4 tries a second */
  fake_append(fixture->front, 1, 1, 0, NONE);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 2));
  EXPECT_EQ_INT(1, sums_of(recorder).failures);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 3)); /* told once; then it is back */
  EXPECT_EQ_INT(1, sums_of(recorder).records);
  EXPECT_EQ_INT(1, sums_of(recorder).failures);
}

TEST(consume, ends_with_the_failure_of_a_partition_when_the_others_are_through) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    fake_append(fixture->front, partition, 10, 0, NONE);
  fake_set_log_start(fixture->front, 2, 8);
  Milena__V1__ConsumeRequest request = request_new();
  Milena__V1__Position start = offset_new(5), stop = end_new(MILENA__V1__LOG_END__LOG_END_LATEST);
  request.start = &start;
  request.stop = &stop;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(FAILURE(OFFSET_OUT_OF_RANGE), failure_reason(recorder->failure));
  EXPECT_EQ_STR("8", failure_get(recorder->failure, "earliest"));
  EXPECT_EQ_INT(15, sums_of(recorder).records);
  EXPECT_EQ_INT(1, sums_of(recorder).failures);
}

TEST(consume, says_that_the_broker_drains) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Milena__V1__ConsumeRequest request = request_new();
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->messages, 1));
  rpc_server_drain(fixture->rpc->server, 5000);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  const Milena__V1__ConsumeResponse *last = recorder_body(recorder, (guint)recorder->messages - 1);
  EXPECT_EQ_INT(MILENA__V1__CONSUME_RESPONSE__FRAME_DRAINING, last->frame_case);
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(FAILURE(DRAINING), failure_reason(recorder->failure));
}

static const struct {
  const char *name;
  const char *topic;
  gint32 partitions[2];
  gint64 start;
  guint32 max_bytes;
  FailureReason reason;
  const char *says;
} REFUSED_ROWS[] = {
    {"no_topic", "", {0, 1}, 0, 0, FAILURE(INVALID_FIELD), "topic"},
    {"unknown_topic", "nope", {0, 1}, 0, 0, FAILURE(UNKNOWN_TOPIC), "nope"},
    {"unknown_partition", "t", {0, 9}, 0, 0, FAILURE(UNKNOWN_PARTITION), "9"},
    {"negative_partition", "t", {0, -1}, 0, 0, FAILURE(INVALID_FIELD), "partitions[1]"},
    {"twice", "t", {2, 2}, 0, 0, FAILURE(INVALID_FIELD), "partitions[1]"},
    {"negative_start", "t", {0, 1}, -1, 0, FAILURE(INVALID_FIELD), "start.offset"},
    {"too_large", "t", {0, 1}, 0, G_MAXUINT32, FAILURE(INVALID_FIELD), "max_bytes"},
};

TEST_ROWS(consume_refused, REFUSED_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Milena__V1__ConsumeRequest request = request_new();
  gint32 partitions[] = {REFUSED_ROWS[row].partitions[0], REFUSED_ROWS[row].partitions[1]};
  Milena__V1__Position start = offset_new(REFUSED_ROWS[row].start), stop = end_new(MILENA__V1__LOG_END__LOG_END_LATEST);
  request.topic = (char *)REFUSED_ROWS[row].topic;
  request.n_partitions = 2;
  request.partitions = partitions;
  request.start = &start;
  request.stop = &stop;
  request.max_bytes = REFUSED_ROWS[row].max_bytes;
  g_autoptr(Recorder) recorder = consume(fixture, &request, TRUE);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  ASSERT_TRUE(recorder->failure != NULL);
  EXPECT_EQ_INT(REFUSED_ROWS[row].reason, failure_reason(recorder->failure));
  EXPECT_CONTAINS(failure_message(recorder->failure), REFUSED_ROWS[row].says);
  EXPECT_EQ_INT(0, recorder->messages);
}
