/* Fetch and ListOffsets over loopback, with partitions in memory. */
#include "milena/v1/error.pb-c.h"
#include "tests/shim/shim.h"
#include "tests/unit/read/read_fixture.h"

#define NONE MILENA__V1__COMPRESSION__COMPRESSION_NONE
#define ZSTD MILENA__V1__COMPRESSION__COMPRESSION_ZSTD

/* A request for the first @count partitions from offset 0; points into itself. */
typedef struct {
  Milena__V1__FetchPartition parts[FAKE_PARTITIONS];
  Milena__V1__FetchPartition *pointers[FAKE_PARTITIONS];
  Google__Protobuf__Duration wait;
  Milena__V1__FetchRequest request;
} Request;

static void request_init(Request *request, guint count, gint64 wait_ms) {
  milena__v1__fetch_request__init(&request->request);
  for (guint i = 0; i < count; i++) {
    milena__v1__fetch_partition__init(&request->parts[i]);
    request->parts[i].topic = (char *)FAKE_TOPIC;
    request->parts[i].partition = (gint32)i;
    request->pointers[i] = &request->parts[i];
  }
  google__protobuf__duration__init(&request->wait);
  request->wait.seconds = wait_ms / 1000;
  request->wait.nanos = (gint32)(wait_ms % 1000) * 1000000;
  request->request.n_partitions = count;
  request->request.partitions = request->pointers;
  if (wait_ms > 0)
    request->request.max_wait = &request->wait;
}

static RpcMessage *fetch(ReadFixture *fixture, const Request *request) {
  g_autoptr(Failure) failure = NULL;
  RpcMessage *message = read_fixture_call(fixture, "Fetch", &request->request.base, &failure);
  EXPECT_NULL(failure);
  return message;
}

static Milena__V1__FetchedPartition *part_of(RpcMessage *message, guint index) {
  return ((Milena__V1__FetchResponse *)rpc_message_body(message))->partitions[index];
}

TEST(fetch, keeps_the_order_and_trims) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 3, 0, ZSTD);
  fake_append(fixture->front, 2, 2, 0, NONE);
  Request request;
  request_init(&request, 3, 0);
  request.parts[0].partition = 2;
  request.parts[2].partition = 0;
  request.parts[2].offset = 1;
  request.request.format = MILENA__V1__FORMAT__FORMAT_TEXT;
  g_autoptr(RpcMessage) message = fetch(fixture, &request);
  ASSERT_TRUE(message != NULL);
  g_autofree char *first = read_fixture_records(part_of(message, 0));
  g_autofree char *second = read_fixture_records(part_of(message, 1));
  g_autofree char *third = read_fixture_records(part_of(message, 2));
  EXPECT_EQ_STR("2:0 2:1", first);
  EXPECT_EQ_STR("", second);
  EXPECT_EQ_STR("0:1 0:2", third);
  EXPECT_EQ_STR("v1", part_of(message, 2)->records[0]->value_text);
  EXPECT_EQ_INT(3, part_of(message, 2)->next_offset);
  EXPECT_EQ_INT(3, part_of(message, 2)->high_watermark);
  EXPECT_EQ_STR(FAKE_TOPIC_ID, part_of(message, 2)->topic_id);
  EXPECT_EQ_INT(1, part_of(message, 2)->route->leader_id);
}

static const struct {
  const char *name;
  const char *path;
  guint count;
  gint32 partition;
  gint64 offset;
  const char *topic;
  guint32 max_bytes;
  int format;
  gint64 wait_ms;
} INVALID_ROWS[] = {
    {"no_partitions", "partitions", 0, 0, 0, "t", 0, 0, 0},
    {"no_topic", "partitions[1].topic", 2, 0, 0, "", 0, 0, 0},
    {"negative_partition", "partitions[1].partition", 2, -1, 0, "t", 0, 0, 0},
    {"negative_offset", "partitions[1].offset", 2, 0, -5, "t", 0, 0, 0},
    {"too_many_bytes", "max_bytes", 2, 0, 0, "t", (64u << 20) + 1, 0, 0},
    {"unknown_format", "format", 2, 0, 0, "t", 0, 9, 0},
    {"negative_wait", "max_wait", 2, 0, 0, "t", 0, 0, -1000},
};

TEST_ROWS(fetch_invalid, INVALID_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Request request;
  request_init(&request, INVALID_ROWS[row].count, INVALID_ROWS[row].wait_ms);
  request.parts[1].topic = (char *)INVALID_ROWS[row].topic;
  request.parts[1].partition = INVALID_ROWS[row].partition;
  request.parts[1].offset = INVALID_ROWS[row].offset;
  request.request.max_bytes = INVALID_ROWS[row].max_bytes;
  request.request.format = (Milena__V1__Format)INVALID_ROWS[row].format;
  request.request.max_wait = INVALID_ROWS[row].wait_ms != 0 ? &request.wait : NULL;
  g_autoptr(Failure) failure = NULL;
  g_autoptr(RpcMessage) message = read_fixture_call(fixture, "Fetch", &request.request.base, &failure);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(failure));
  EXPECT_CONTAINS(failure_message(failure), INVALID_ROWS[row].path);
}

TEST(fetch, says_for_each_partition_why_not) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 0, 3, 0, NONE);
  fake_set_log_start(fixture->front, 0, 1);
  Request request;
  request_init(&request, 3, 5000); /* an error ends the wait */
  request.parts[1].topic = (char *)"nope";
  request.parts[2].partition = 77;
  gint64 before_us = g_get_monotonic_time();
  g_autoptr(RpcMessage) message = fetch(fixture, &request);
  ASSERT_TRUE(message != NULL);
  EXPECT_TRUE(g_get_monotonic_time() - before_us < 3000000);
  g_autoptr(Failure) out_of_range = failure_from_status(part_of(message, 0)->status);
  g_autoptr(Failure) unknown_topic = failure_from_status(part_of(message, 1)->status);
  g_autoptr(Failure) unknown_partition = failure_from_status(part_of(message, 2)->status);
  EXPECT_EQ_INT(FAILURE(OFFSET_OUT_OF_RANGE), failure_reason(out_of_range));
  EXPECT_EQ_STR("1", failure_get(out_of_range, "earliest"));
  EXPECT_EQ_INT(1, part_of(message, 0)->log_start_offset);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_TOPIC), failure_reason(unknown_topic));
  EXPECT_EQ_INT(FAILURE(UNKNOWN_PARTITION), failure_reason(unknown_partition));
}

/* ---- waiting ---- */

static gpointer append_later(gpointer data) {
  ReadFixture *fixture = data;
  for (gint32 partition = 0; partition < 3; partition++) {
    g_usleep(60000);
    fake_append(fixture->front, partition, 1, 1000, NONE);
  }
  return NULL;
}

static const struct {
  const char *name;
  guint partitions;
  guint32 min_bytes;
  gint64 wait_ms, least_ms, most_ms;
  gint64 records;
} WAIT_ROWS[] = {
    {"no_wait", 3, 0, 0, 0, 2000, 0}, /* nothing is appended: a wait would last until the deadline */
    {"one_partition_one_record", 1, 0, 5000, 50, 2000, 1},
    {"the_sum_of_two", 3, 1500, 5000, 100, 2000, 2},
    {"the_sum_of_three", 3, 2500, 5000, 160, 2000, 3},
    {"time_is_up", 3, 100000, 400, 390, 3000, 3},
    {"time_is_up_for_one", 1, 100000, 400, 390, 3000, 1},
};

TEST_ROWS(fetch_wait, WAIT_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Request request;
  request_init(&request, WAIT_ROWS[row].partitions, WAIT_ROWS[row].wait_ms);
  request.request.min_bytes = WAIT_ROWS[row].min_bytes;
  GThread *appender = WAIT_ROWS[row].wait_ms > 0 ? g_thread_new("append", append_later, fixture) : NULL;
  gint64 before_us = g_get_monotonic_time();
  g_autoptr(RpcMessage) message = fetch(fixture, &request);
  gint64 took_ms = (g_get_monotonic_time() - before_us) / 1000;
  if (appender)
    g_thread_join(appender);
  ASSERT_TRUE(message != NULL);
  EXPECT_TRUE(took_ms >= WAIT_ROWS[row].least_ms);
  EXPECT_TRUE(took_ms <= WAIT_ROWS[row].most_ms);
  gint64 records = 0;
  for (guint i = 0; i < WAIT_ROWS[row].partitions; i++)
    records += (gint64)part_of(message, i)->n_records;
  EXPECT_EQ_INT(WAIT_ROWS[row].records, records);
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

TEST(fetch, a_client_that_goes_ends_its_reads) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Request request;
  request_init(&request, 3, 30000);
  g_autoptr(Recorder) recorder = read_fixture_open(fixture, "Fetch", &request.request.base, TRUE);
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, 3));
  rpc_client_call_cancel(recorder->call);
  EXPECT_TRUE(read_fixture_wait_most(&fixture->front->reads_in_flight, 0));
}

TEST(fetch, a_drain_ends_the_wait_with_an_answer) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Request request;
  request_init(&request, 1, 30000);
  g_autoptr(Recorder) recorder = read_fixture_open(fixture, "Fetch", &request.request.base, TRUE);
  recorder_half_close(recorder);
  ASSERT_TRUE(fixture_wait(&fixture->front->waiting_reads, 1));
  rpc_server_drain(fixture->rpc->server, 5000);
  ASSERT_TRUE(fixture_wait(&recorder->closed, 1));
  EXPECT_NULL(recorder->failure);
  EXPECT_EQ_INT(1, recorder->messages);
}

/* ---- bounds ---- */

static gsize bytes_of(const Milena__V1__FetchedPartition *part) {
  gsize bytes = 0;
  for (gsize i = 0; i < part->n_records; i++)
    bytes += part->records[i]->value.len;
  for (gsize i = 0; i < part->n_batches; i++)
    bytes += part->batches[i]->records.len;
  return bytes;
}

static const struct {
  const char *name;
  Milena__V1__Format format;
  Milena__V1__Compression compression;
} FORMAT_ROWS[] = {{"batches", MILENA__V1__FORMAT__FORMAT_BATCHES, NONE},
                   {"records", MILENA__V1__FORMAT__FORMAT_RECORDS, NONE},
                   {"compressed_records", MILENA__V1__FORMAT__FORMAT_RECORDS, ZSTD}};

TEST_ROWS(fetch_bounds, FORMAT_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    for (guint i = 0; i < 40; i++)
      fake_append(fixture->front, partition, 10, 2000, FORMAT_ROWS[row].compression);
  Request request;
  request_init(&request, FAKE_PARTITIONS, 0);
  request.request.max_bytes = 400000;
  request.request.format = FORMAT_ROWS[row].format;
  g_autoptr(RpcMessage) message = fetch(fixture, &request);
  ASSERT_TRUE(message != NULL);
  gsize sum = 0;
  for (guint i = 0; i < FAKE_PARTITIONS; i++) {
    gsize bytes = bytes_of(part_of(message, i));
    EXPECT_TRUE(bytes >= 60000); /* a fair share of 100,000 */
    sum += bytes;
  }
  EXPECT_TRUE(sum <= 410000);
  EXPECT_TRUE(sum >= 300000);
}

TEST(fetch, a_batch_that_is_larger_comes_alone_and_each_gets_its_turn) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  for (gint32 partition = 0; partition < FAKE_PARTITIONS; partition++)
    fake_append(fixture->front, partition, 1, 500000, NONE);
  gboolean served[FAKE_PARTITIONS] = {FALSE};
  for (guint turn = 0; turn < FAKE_PARTITIONS; turn++) {
    Request request;
    request_init(&request, FAKE_PARTITIONS, 0);
    request.request.max_bytes = 100000;
    g_autoptr(RpcMessage) message = fetch(fixture, &request);
    ASSERT_TRUE(message != NULL);
    guint count = 0;
    for (guint i = 0; i < FAKE_PARTITIONS; i++) {
      served[i] |= part_of(message, i)->n_records > 0;
      count += (guint)part_of(message, i)->n_records;
      EXPECT_EQ_INT((gint64)part_of(message, i)->n_records, part_of(message, i)->next_offset);
      EXPECT_NULL(part_of(message, i)->status);
    }
    EXPECT_EQ_INT(1, count);
  }
  for (guint i = 0; i < FAKE_PARTITIONS; i++)
    EXPECT_TRUE(served[i]);
}

/* ---- ListOffsets ---- */

static const struct {
  const char *name;
  Milena__V1__Position__KindCase kind;
  gint64 value; /* end, offset, or time in ms */
  gint64 offset;
  gint64 timestamp_ms; /* 0: none */
  FailureReason reason;
} OFFSET_ROWS[] = {
    {"missing_is_latest", MILENA__V1__POSITION__KIND__NOT_SET, 0, 10, 0, 0},
    {"unspecified_is_latest", MILENA__V1__POSITION__KIND_END, 0, 10, 0, 0},
    {"earliest", MILENA__V1__POSITION__KIND_END, MILENA__V1__LOG_END__LOG_END_EARLIEST, 2, 0, 0},
    {"last_stable", MILENA__V1__POSITION__KIND_END, MILENA__V1__LOG_END__LOG_END_LAST_STABLE, 10, 0, 0},
    {"offset", MILENA__V1__POSITION__KIND_OFFSET, 5, 5, 0, 0},
    {"offset_beyond", MILENA__V1__POSITION__KIND_OFFSET, 50, -1, 0, FAILURE(OFFSET_OUT_OF_RANGE)},
    {"time", MILENA__V1__POSITION__KIND_TIME, 1007, 7, 1007, 0},
    {"time_before_all", MILENA__V1__POSITION__KIND_TIME, -5000, 2, 1002, 0},
    {"time_after_all", MILENA__V1__POSITION__KIND_TIME, 99000, 10, 0, 0},
};

TEST_ROWS(list_offsets, OFFSET_ROWS) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  fake_append(fixture->front, 1, 10, 0, NONE);
  fake_set_log_start(fixture->front, 1, 2);
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = OFFSET_ROWS[row].kind;
  if (position.kind_case == MILENA__V1__POSITION__KIND_END) {
    position.end = (Milena__V1__LogEnd)OFFSET_ROWS[row].value;
  } else if (position.kind_case == MILENA__V1__POSITION__KIND_OFFSET) {
    position.offset = OFFSET_ROWS[row].value;
  } else if (position.kind_case == MILENA__V1__POSITION__KIND_TIME) {
    time.seconds = OFFSET_ROWS[row].value / 1000;
    time.nanos = (gint32)(OFFSET_ROWS[row].value % 1000) * 1000000;
    position.time = &time;
  }
  Milena__V1__OffsetQuery query = MILENA__V1__OFFSET_QUERY__INIT;
  query.topic = (char *)FAKE_TOPIC;
  query.partition = 1;
  query.position = &position;
  Milena__V1__OffsetQuery *queries[] = {&query};
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = 1;
  request.queries = queries;
  g_autoptr(Failure) failure = NULL;
  g_autoptr(RpcMessage) message = read_fixture_call(fixture, "ListOffsets", &request.base, &failure);
  ASSERT_TRUE(message != NULL);
  const Milena__V1__OffsetResult *result = ((Milena__V1__ListOffsetsResponse *)rpc_message_body(message))->results[0];
  g_autoptr(Failure) status = failure_from_status(result->status);
  EXPECT_EQ_INT(OFFSET_ROWS[row].reason, status != NULL ? failure_reason(status) : 0);
  EXPECT_EQ_INT(OFFSET_ROWS[row].offset, result->offset);
  gint64 timestamp_ms =
      result->timestamp != NULL ? result->timestamp->seconds * 1000 + result->timestamp->nanos / 1000000 : 0;
  EXPECT_EQ_INT(OFFSET_ROWS[row].timestamp_ms, timestamp_ms);
}

TEST(list_offsets, names_the_field) {
  g_autoptr(ReadFixture) fixture = read_fixture_new();
  Milena__V1__Position position = MILENA__V1__POSITION__INIT;
  position.kind_case = MILENA__V1__POSITION__KIND_OFFSET;
  position.offset = -3;
  Milena__V1__OffsetQuery query = MILENA__V1__OFFSET_QUERY__INIT;
  query.topic = (char *)FAKE_TOPIC;
  query.position = &position;
  Milena__V1__OffsetQuery *queries[] = {&query};
  Milena__V1__ListOffsetsRequest request = MILENA__V1__LIST_OFFSETS_REQUEST__INIT;
  request.n_queries = 1;
  request.queries = queries;
  g_autoptr(Failure) failure = NULL;
  g_autoptr(RpcMessage) message = read_fixture_call(fixture, "ListOffsets", &request.base, &failure);
  ASSERT_TRUE(failure != NULL);
  EXPECT_CONTAINS(failure_message(failure), "queries[0].position.offset");
}
