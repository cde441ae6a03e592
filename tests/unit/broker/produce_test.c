/* ProducerService's jobs on a broker's core: what is refused, how, and where records go. */
#include "storage/log/partitioner.h"
#include "tests/shim/shim.h"
#include "tests/unit/broker/fixture.h"

/* A request with room for what the rows need; everything in it points into it. */
typedef struct {
  Milena__V1__ProduceRequest request;
  Milena__V1__Record records[8];
  Milena__V1__Record *record_pointers[8];
  Milena__V1__Header header;
  Milena__V1__Header *header_pointers[1];
  Google__Protobuf__Duration timeout;
  Milena__V1__PartitionBatch batch;
  Milena__V1__PartitionBatch *batch_pointers[1];
  LogBatch log_batch;
  LogBatchProto proto;
} Asked;

static void asked_init(Asked *asked) {
  *asked = (Asked){0};
  milena__v1__produce_request__init(&asked->request);
  asked->request.topic = (char *)"orders";
}

static Milena__V1__Record *add_record(Asked *asked, const char *value) {
  size_t i = asked->request.n_records++;
  Milena__V1__Record *record = &asked->records[i];
  milena__v1__record__init(record);
  record->value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT;
  record->value_text = (char *)value;
  asked->record_pointers[i] = record;
  asked->request.records = asked->record_pointers;
  return record;
}

static void set_partition(Milena__V1__Record *record, gint32 partition) {
  record->partition_choice_case = MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION;
  record->partition = partition;
}

static void add_batch(Asked *asked, gint32 partition) {
  fixture_batch(3, &asked->log_batch);
  log_batch_to_proto(&asked->log_batch, &asked->proto);
  milena__v1__partition_batch__init(&asked->batch);
  asked->batch.topic = (char *)"orders";
  asked->batch.partition = partition;
  asked->batch.batch = &asked->proto.batch;
  asked->batch_pointers[0] = &asked->batch;
  asked->request.n_batches = 1;
  asked->request.batches = asked->batch_pointers;
}

/* ---- refusals ---- */

static void nothing(Asked *asked) {
  (void)asked;
}

static void no_topic(Asked *asked) {
  add_record(asked, "v");
  asked->request.topic = (char *)"";
}

static void unknown_acks(Asked *asked) {
  add_record(asked, "v");
  asked->request.acks = (Milena__V1__Acks)9;
}

static void negative_timeout(Asked *asked) {
  add_record(asked, "v");
  google__protobuf__duration__init(&asked->timeout);
  asked->timeout.seconds = -1;
  asked->request.timeout = &asked->timeout;
}

static void negative_partition(Asked *asked) {
  add_record(asked, "v");
  set_partition(add_record(asked, "v"), -1);
}

static void unknown_partition(Asked *asked) {
  set_partition(add_record(asked, "v"), 6);
}

static void unknown_topic(Asked *asked) {
  add_record(asked, "v");
  asked->request.topic = (char *)"nope";
}

static void other_topic_id(Asked *asked) {
  add_record(asked, "v");
  asked->request.topic_id = (char *)LOOSE_ID;
}

static void empty_header_name(Asked *asked) {
  Milena__V1__Record *record = add_record(asked, "v");
  milena__v1__header__init(&asked->header);
  asked->header_pointers[0] = &asked->header;
  record->n_headers = 1;
  record->headers = asked->header_pointers;
}

static char huge[4096];

static void too_large(Asked *asked) {
  memset(huge, 'x', sizeof huge - 1);
  add_record(asked, huge);
}

/* ---- of producers with a sequence ---- */

static Milena__V1__ProducerSequence sequence_of(gint64 id, guint32 first) {
  Milena__V1__ProducerSequence sequence = MILENA__V1__PRODUCER_SEQUENCE__INIT;
  sequence.producer_id = id;
  sequence.first_sequence = first;
  return sequence;
}

static Milena__V1__ProducerSequence sequence;

static Milena__V1__Record *add_sequenced(Asked *asked, const char *value) {
  sequence = sequence_of(77, 0);
  asked->request.producer = &sequence;
  return add_record(asked, value);
}

static void sequence_without_key(Asked *asked) {
  set_partition(add_sequenced(asked, "v"), 0);
  add_record(asked, "v");
}

static void sequence_over_partitions(Asked *asked) {
  set_partition(add_sequenced(asked, "v"), 0);
  set_partition(add_record(asked, "v"), 1);
}

static void sequence_without_id(Asked *asked) {
  set_partition(add_sequenced(asked, "v"), 0);
  sequence.producer_id = 0;
}

static void sequence_of_batches(Asked *asked) {
  add_batch(asked, 0);
  sequence = sequence_of(77, 0);
  asked->request.producer = &sequence;
}

static void sequence_too_large(Asked *asked) {
  static char part[1200];
  memset(part, 'x', sizeof part - 1);
  set_partition(add_sequenced(asked, part), 0);
  set_partition(add_record(asked, part), 0);
}

/* The call as a whole fails. Unknown topics end as CONTROLLER_NOT_AVAILABLE: the fixture has no
 * controller to ask whether they exist. */
static const struct {
  const char *name;
  void (*make)(Asked *asked);
  FailureReason reason;
  const char *says;
} REFUSED[] = {
    {"empty", nothing, FAILURE(INVALID_FIELD), "nothing to write"},
    {"no_topic", no_topic, FAILURE(INVALID_FIELD), "topic"},
    {"unknown_acks", unknown_acks, FAILURE(INVALID_FIELD), "acks"},
    {"negative_timeout", negative_timeout, FAILURE(INVALID_FIELD), "timeout"},
    {"negative_partition", negative_partition, FAILURE(INVALID_FIELD), "partition"},
    {"unknown_partition", unknown_partition, FAILURE(CONTROLLER_NOT_AVAILABLE), "controller"},
    {"unknown_topic", unknown_topic, FAILURE(CONTROLLER_NOT_AVAILABLE), "controller"},
    {"other_topic_id", other_topic_id, FAILURE(CONTROLLER_NOT_AVAILABLE), "controller"},
    {"empty_header_name", empty_header_name, FAILURE(INVALID_FIELD), "name"},
    {"sequence_without_key", sequence_without_key, FAILURE(INVALID_FIELD), "neither a key nor a partition"},
    {"sequence_over_partitions", sequence_over_partitions, FAILURE(INVALID_FIELD), "one partition"},
    {"sequence_without_id", sequence_without_id, FAILURE(INVALID_FIELD), "producer.producer_id"},
    {"sequence_of_batches", sequence_of_batches, FAILURE(INVALID_FIELD), "producer"},
    {"sequence_too_large", sequence_too_large, FAILURE(RECORD_TOO_LARGE), "one batch"},
    {"too_large", too_large, FAILURE(RECORD_TOO_LARGE), "max_message_bytes"},
};

TEST_ROWS(refused, REFUSED) {
  g_autoptr(Fixture) fixture = fixture_new();
  Asked asked;
  asked_init(&asked);
  REFUSED[row].make(&asked);
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_TRUE(outcome.failure != NULL);
  if (outcome.failure) {
    EXPECT_EQ_STR(failure_reason_name(REFUSED[row].reason), failure_reason_name(failure_reason(outcome.failure)));
    EXPECT_CONTAINS(failure_message(outcome.failure), REFUSED[row].says);
  }
  EXPECT_EQ_INT(0, outcome.response ? outcome.response->n_results : 0);
  fixture_outcome_clear(&outcome);
}

/* ---- batches that are refused one by one ---- */

static void flipped(Asked *asked) {
  asked->proto.header.crc32c ^= 1;
}

static void no_header(Asked *asked) {
  asked->proto.batch.header = NULL;
}

static void no_batch_topic(Asked *asked) {
  asked->batch.topic = (char *)"";
}

static void below_zero(Asked *asked) {
  asked->batch.partition = -3;
}

static void no_records(Asked *asked) {
  asked->proto.header.record_count = 0;
}

static void remote(Asked *asked) {
  asked->request.no_proxy = TRUE;
  asked->batch.partition = 4;
}

static void leaderless(Asked *asked) {
  asked->request.no_proxy = TRUE;
  asked->batch.partition = 5;
}

static void unreachable(Asked *asked) {
  asked->batch.partition = 4; /* nobody listens at that leader's address */
  google__protobuf__duration__init(&asked->timeout);
  asked->timeout.nanos = 300000000;
  asked->request.timeout = &asked->timeout;
}

static void expects_another_offset(Asked *asked) {
  asked->log_batch.expected_offset = 7;
  log_batch_seal(&asked->log_batch);
  log_batch_to_proto(&asked->log_batch, &asked->proto);
}

static const struct {
  const char *name;
  void (*spoil)(Asked *asked);
  FailureReason reason;
  const char *field; /* that a violation names; NULL: none */
} BATCHES[] = {
    {"flipped_crc", flipped, FAILURE(CORRUPT_BATCH), NULL},
    {"no_header", no_header, FAILURE(INVALID_FIELD), "batches[0].batch.header"},
    {"no_topic", no_batch_topic, FAILURE(INVALID_FIELD), "batches[0].topic"},
    {"negative_partition", below_zero, FAILURE(INVALID_FIELD), "batches[0].partition"},
    {"no_records", no_records, FAILURE(INVALID_FIELD), "batches[0].batch.header.record_count"},
    {"remote_no_proxy", remote, FAILURE(NOT_LEADER), NULL},
    {"leaderless_no_proxy", leaderless, FAILURE(LEADER_NOT_AVAILABLE), NULL},
    {"leader_unreachable", unreachable, FAILURE(LEADER_NOT_AVAILABLE), NULL},
    {"expected_offset", expects_another_offset, FAILURE(EXPECTED_OFFSET_MISMATCH), NULL},
};

TEST_ROWS(batch_refused, BATCHES) {
  g_autoptr(Fixture) fixture = fixture_new();
  Asked asked;
  asked_init(&asked);
  add_batch(&asked, 0);
  BATCHES[row].spoil(&asked);
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_NULL(outcome.failure);
  if (outcome.response && outcome.response->n_results == 1) {
    const Milena__V1__ProduceResult *result = outcome.response->results[0];
    EXPECT_EQ_INT(-1, result->base_offset);
    g_autoptr(Failure) failure = failure_from_status(result->status);
    EXPECT_EQ_STR(failure_reason_name(BATCHES[row].reason),
                  failure ? failure_reason_name(failure_reason(failure)) : "");
    g_autoptr(GBytes) details = failure ? failure_to_bytes(failure) : NULL;
    if (BATCHES[row].field && details) {
      gsize len;
      const void *bytes = g_bytes_get_data(details, &len);
      EXPECT_TRUE(memmem(bytes, len, BATCHES[row].field, strlen(BATCHES[row].field)) != NULL);
    }
  } else {
    EXPECT_EQ_INT(1, outcome.response ? outcome.response->n_results : 0);
  }
  fixture_outcome_clear(&outcome);
  log_batch_clear(&asked.log_batch);
}

/* ---- what is written ---- */

TEST(produce, an_encoded_batch_is_stored_as_it_came) {
  g_autoptr(Fixture) fixture = fixture_new();
  for (guint index = 0; index < 2; index++) {
    Asked asked;
    asked_init(&asked);
    add_batch(&asked, 1);
    Outcome outcome = fixture_produce(fixture, index, &asked.request);
    EXPECT_NULL(outcome.failure);
    ASSERT_EQ_INT(1, outcome.response->n_results);
    const Milena__V1__ProduceResult *result = outcome.response->results[0];
    EXPECT_NULL(result->status);
    EXPECT_EQ_INT(3 * index, result->base_offset);
    EXPECT_EQ_INT(3, result->record_count);
    EXPECT_EQ_INT(1, result->synced_replicas);
    EXPECT_EQ_STR(ORDERS_ID, result->topic_id);
    EXPECT_EQ_INT(1, result->route->leader_id);
    fixture_outcome_clear(&outcome);
    log_batch_clear(&asked.log_batch);
  }
}

TEST(produce, keys_go_where_kafkas_partitioner_sends_them) {
  g_autoptr(Fixture) fixture = fixture_new();
  Asked asked;
  asked_init(&asked);
  const char *keys[] = {"k0", "k1", "k2", "k3", "k4", "k5"};
  guint here = 0;
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
    /* Only those that this broker leads: the others have nobody to answer. */
    if (log_partitioner_for_key(keys[i], 2, 6) >= 4)
      continue;
    Milena__V1__Record *record = add_record(&asked, "v");
    record->key_kind_case = MILENA__V1__RECORD__KEY_KIND_KEY_TEXT;
    record->key_text = (char *)keys[i];
    here++;
  }
  ASSERT_TRUE(here > 0);
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_NULL(outcome.failure);
  guint seen = 0;
  for (size_t i = 0; i < outcome.response->n_results; i++) {
    const Milena__V1__ProduceResult *result = outcome.response->results[i];
    EXPECT_NULL(result->status);
    for (size_t j = 0; j < result->n_record_indexes; j++, seen++)
      EXPECT_EQ_INT(log_partitioner_for_key(asked.records[result->record_indexes[j]].key_text, 2, 6),
                    result->partition);
  }
  EXPECT_EQ_INT(here, seen);
  fixture_outcome_clear(&outcome);
}

TEST(produce, calls_without_keys_rotate_over_partitions_with_leaders) {
  g_autoptr(Fixture) fixture = fixture_new();
  guint counts[6] = {0};
  for (guint call = 0; call < 12; call++) {
    Asked asked;
    asked_init(&asked);
    google__protobuf__duration__init(&asked.timeout);
    asked.timeout.nanos = 50000000;
    asked.request.timeout = &asked.timeout;
    add_record(&asked, "a");
    add_record(&asked, "b");
    Outcome outcome = fixture_produce(fixture, call % 2, &asked.request);
    EXPECT_NULL(outcome.failure);
    EXPECT_EQ_INT(1, outcome.response->n_results); /* all of one call go together */
    counts[outcome.response->results[0]->partition]++;
    fixture_outcome_clear(&outcome);
  }
  for (guint p = 0; p < 4; p++)
    EXPECT_TRUE(counts[p] >= 2);
  EXPECT_EQ_INT(2, counts[4]); /* led by another broker: chosen as well, though nobody answers there */
  EXPECT_EQ_INT(0, counts[5]);
}

TEST(produce, records_beyond_the_bound_go_into_several_batches) {
  g_autoptr(Fixture) fixture = fixture_new();
  Asked asked;
  asked_init(&asked);
  char value[700];
  memset(value, 'y', sizeof value - 1);
  value[sizeof value - 1] = 0;
  for (guint i = 0; i < 5; i++)
    set_partition(add_record(&asked, value), 2);
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_NULL(outcome.failure);
  ASSERT_EQ_INT(3, outcome.response->n_results);
  gint64 next = 0;
  for (size_t i = 0; i < 3; i++) {
    const Milena__V1__ProduceResult *result = outcome.response->results[i];
    EXPECT_NULL(result->status);
    EXPECT_EQ_INT(next, result->base_offset);
    EXPECT_EQ_INT(next, result->record_indexes[0]);
    next += result->record_count;
  }
  EXPECT_EQ_INT(5, next);
  fixture_outcome_clear(&outcome);
}

TEST(produce, acks_none_is_answered_without_an_offset_and_written) {
  g_autoptr(Fixture) fixture = fixture_new();
  Asked asked;
  asked_init(&asked);
  set_partition(add_record(&asked, "v"), 3);
  asked.request.acks = MILENA__V1__ACKS__ACKS_NONE;
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_NULL(outcome.failure);
  ASSERT_EQ_INT(1, outcome.response->n_results);
  EXPECT_NULL(outcome.response->results[0]->status);
  EXPECT_EQ_INT(-1, outcome.response->results[0]->base_offset);
  fixture_outcome_clear(&outcome);
  asked.request.acks = MILENA__V1__ACKS__ACKS_LEADER;
  outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_EQ_INT(1, outcome.response->results[0]->base_offset);
  fixture_outcome_clear(&outcome);
}

TEST(produce, a_leader_that_comes_back_is_waited_for) {
  g_autoptr(Fixture) fixture = fixture_new();
  fixture_set_leader(fixture, -1, 1);
  Asked asked;
  asked_init(&asked);
  add_batch(&asked, 0);
  google__protobuf__duration__init(&asked.timeout);
  asked.timeout.nanos = 200000000;
  asked.request.timeout = &asked.timeout;
  Outcome outcome = fixture_produce(fixture, 0, &asked.request);
  ASSERT_EQ_INT(1, outcome.response->n_results);
  g_autoptr(Failure) failure = failure_from_status(outcome.response->results[0]->status);
  EXPECT_EQ_INT(FAILURE(LEADER_NOT_AVAILABLE), failure ? failure_reason(failure) : 0);
  fixture_outcome_clear(&outcome);
  fixture_set_leader(fixture, 1, 2);
  outcome = fixture_produce(fixture, 0, &asked.request);
  EXPECT_NULL(outcome.response->results[0]->status);
  EXPECT_EQ_INT(0, outcome.response->results[0]->base_offset); /* nothing of the first try was written */
  fixture_outcome_clear(&outcome);
  log_batch_clear(&asked.log_batch);
}

/* ---- producers ---- */

/* Produce two records with the sequence @first of producer 77 to partition 1, through shard @index. */
static Outcome produce_sequenced(Fixture *fixture, guint index, guint32 first) {
  Asked asked;
  asked_init(&asked);
  Milena__V1__ProducerSequence own = sequence_of(77, first);
  set_partition(add_record(&asked, "a"), 1);
  set_partition(add_record(&asked, "b"), 1);
  asked.request.producer = &own;
  return fixture_produce(fixture, index, &asked.request);
}

static void expect_written(Outcome *outcome, gint64 offset, gboolean duplicate) {
  ASSERT_TRUE(outcome->failure == NULL && outcome->response->n_results == 1);
  const Milena__V1__ProduceResult *result = outcome->response->results[0];
  EXPECT_TRUE(result->status == NULL);
  EXPECT_EQ_INT(offset, result->base_offset);
  EXPECT_EQ_INT(2, result->record_count);
  EXPECT_EQ_INT(duplicate, result->duplicate);
  EXPECT_EQ_INT(1, result->synced_replicas);
  fixture_outcome_clear(outcome);
}

TEST(sequence, a_retry_gets_the_first_answer_again_from_any_loop_and_after_a_restart) {
  Fixture *fixture = fixture_new();
  Outcome outcome;
  for (guint i = 0; i < 7; i++) {
    outcome = produce_sequenced(fixture, i % 2, 2 * i);
    expect_written(&outcome, 2 * i, FALSE);
    outcome = produce_sequenced(fixture, (i + 1) % 2, 2 * i);
    expect_written(&outcome, 2 * i, TRUE);
  }
  fixture_free(fixture);
  fixture = fixture_new();
  for (guint i = 2; i < 7; i++) {
    outcome = produce_sequenced(fixture, 0, 2 * i);
    expect_written(&outcome, 2 * i, TRUE);
  }
  static const struct {
    guint32 sequence;
    const char *says;
  } refused[] = {{2, "longer ago than is remembered"}, {16, "a batch before it is missing"}};
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    outcome = produce_sequenced(fixture, 0, refused[i].sequence);
    g_autoptr(Failure) failure = failure_from_status(outcome.response->results[0]->status);
    ASSERT_TRUE(failure != NULL);
    EXPECT_EQ_INT(FAILURE(SEQUENCE_MISMATCH), failure_reason(failure));
    EXPECT_CONTAINS(failure_message(failure), refused[i].says);
    EXPECT_EQ_STR("14", failure_get(failure, "expected"));
    fixture_outcome_clear(&outcome);
  }
  outcome = produce_sequenced(fixture, 0, 14);
  expect_written(&outcome, 14, FALSE);
  fixture_free(fixture);
}

/* What becomes of a batch that leaves a gap: nothing is written, and the refusal says whether the producer is known. */
static FailureReason probe(Fixture *fixture) {
  Outcome outcome = produce_sequenced(fixture, 0, 99);
  g_autoptr(Failure) failure = failure_from_status(outcome.response->results[0]->status);
  fixture_outcome_clear(&outcome);
  return failure_reason(failure);
}

TEST(sequence, an_idle_producer_is_forgotten_here_and_in_the_store) {
  Fixture *fixture = fixture_new();
  Outcome outcome = produce_sequenced(fixture, 0, 0);
  expect_written(&outcome, 0, FALSE);
  EXPECT_EQ_INT(FAILURE(SEQUENCE_MISMATCH), probe(fixture));
  fixture_free(fixture);
  fixture = fixture_new_with_expiry(1);
  guint tries = 0;
  while (probe(fixture) != FAILURE(UNKNOWN_PRODUCER) && tries++ < 500)
    g_usleep(10000);
  EXPECT_TRUE(tries < 500);
  fixture_free(fixture);
  fixture = fixture_new();
  EXPECT_EQ_INT(FAILURE(UNKNOWN_PRODUCER), probe(fixture));
  fixture_free(fixture);
}
