#include "storage/log/producers.h"

#include <string.h>

#include "tests/shim/shim.h"

static LogBatch batch_of(guint32 epoch, guint32 sequence, guint32 count, gint64 offset) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.producer_id = 7;
  batch.producer_epoch = epoch;
  batch.first_sequence = sequence;
  batch.record_count = count;
  batch.base_offset = offset;
  batch.append_timestamp_ms = 1000 + offset;
  batch.leader_epoch = 3;
  return batch;
}

/* Known: epoch 1, ten batches of two records, sequences 0 to 19 at offsets 100 to 119. */
static LogProducers *known_producer(void) {
  LogProducers *producers = log_producers_new();
  for (guint i = 0; i < 10; i++) {
    LogBatch batch = batch_of(1, 2 * i, 2, 100 + 2 * i);
    log_producers_add(producers, &batch);
  }
  return producers;
}

static const struct {
  const char *name;
  guint32 epoch, sequence, count;
  LogProducerVerdict verdict;
  gint64 offset;    /* of a duplicate */
  guint32 expected; /* of a refusal */
} ROWS[] = {
    {"next", 1, 20, 5, LOG_PRODUCER_NEXT, 0, 20},
    {"last_again", 1, 18, 2, LOG_PRODUCER_DUPLICATE, 118, 0},
    {"fifth_last_again", 1, 10, 2, LOG_PRODUCER_DUPLICATE, 110, 0},
    {"sixth_last_again", 1, 8, 2, LOG_PRODUCER_TOO_OLD, 0, 20},
    {"same_sequence_other_count", 1, 18, 3, LOG_PRODUCER_TOO_OLD, 0, 20},
    {"gap", 1, 21, 1, LOG_PRODUCER_GAP, 0, 20},
    {"older_epoch", 0, 20, 1, LOG_PRODUCER_FENCED, 0, 1},
    {"newer_epoch_from_its_start", 2, 0, 1, LOG_PRODUCER_NEXT, 0, 0},
    {"newer_epoch_in_its_middle", 2, 5, 1, LOG_PRODUCER_GAP, 0, 0},
};

TEST_ROWS(producers, ROWS) {
  g_autoptr(LogProducers) producers = known_producer();
  LogBatch batch = batch_of(ROWS[row].epoch, ROWS[row].sequence, ROWS[row].count, -1);
  LogProducerBatch before = {0};
  guint32 expected = 0;
  ASSERT_EQ_INT(ROWS[row].verdict, log_producers_check(producers, &batch, &before, &expected));
  EXPECT_EQ_INT(ROWS[row].offset, before.base_offset);
  if (ROWS[row].verdict != LOG_PRODUCER_NEXT && ROWS[row].verdict != LOG_PRODUCER_DUPLICATE) {
    EXPECT_EQ_INT(ROWS[row].expected, expected);
    g_autoptr(Failure) failure = log_producers_refusal(ROWS[row].verdict, &batch, expected);
    EXPECT_EQ_INT(10, failure_code(failure));
  }
}

TEST(producers, unknown_ones_begin_with_sequence_0) {
  g_autoptr(LogProducers) producers = log_producers_new();
  LogBatch first = batch_of(4, 0, 1, -1), later = batch_of(4, 1, 1, -1);
  EXPECT_EQ_INT(LOG_PRODUCER_NEXT, log_producers_check(producers, &first, NULL, NULL));
  EXPECT_EQ_INT(LOG_PRODUCER_UNKNOWN, log_producers_check(producers, &later, NULL, NULL));
}

TEST(producers, sequences_wrap) {
  g_autoptr(LogProducers) producers = log_producers_new();
  LogBatch last = batch_of(0, G_MAXUINT32 - 1, 2, 5), next = batch_of(0, 0, 1, -1), gap = batch_of(0, 1, 1, -1);
  log_producers_add(producers, &last);
  EXPECT_EQ_INT(LOG_PRODUCER_NEXT, log_producers_check(producers, &next, NULL, NULL));
  EXPECT_EQ_INT(LOG_PRODUCER_GAP, log_producers_check(producers, &gap, NULL, NULL));
  EXPECT_EQ_INT(LOG_PRODUCER_DUPLICATE, log_producers_check(producers, &last, NULL, NULL));
}

TEST(producers, forget_what_was_cut_off) {
  g_autoptr(LogProducers) producers = known_producer();
  g_autoptr(GArray) changed = g_array_new(FALSE, FALSE, sizeof(gint64));
  log_producers_truncate(producers, 116, changed);
  EXPECT_EQ_INT(1, changed->len);
  LogBatch cut = batch_of(1, 16, 2, -1), kept = batch_of(1, 14, 2, -1);
  EXPECT_EQ_INT(LOG_PRODUCER_NEXT, log_producers_check(producers, &cut, NULL, NULL));
  EXPECT_EQ_INT(LOG_PRODUCER_DUPLICATE, log_producers_check(producers, &kept, NULL, NULL));
}

/* Batches from before the five that are remembered may still be in the log: it must not begin anew. */
TEST(producers, keep_their_place_when_all_that_is_remembered_is_cut_off) {
  g_autoptr(LogProducers) producers = known_producer();
  guint32 oldest = log_producers_find(producers, 7)->batches[0].first_sequence;
  LogBatch first = batch_of(1, 0, 2, -1), next = batch_of(1, oldest, 2, 50), older = batch_of(0, 0, 1, -1);
  for (guint i = 0; i < 2; i++) { /* cutting again changes nothing */
    log_producers_truncate(producers, 50, NULL);
    EXPECT_EQ_INT(1, log_producers_count(producers));
    EXPECT_EQ_INT(LOG_PRODUCER_TOO_OLD, log_producers_check(producers, &first, NULL, NULL));
    EXPECT_EQ_INT(LOG_PRODUCER_FENCED, log_producers_check(producers, &older, NULL, NULL));
    EXPECT_EQ_INT(LOG_PRODUCER_NEXT, log_producers_check(producers, &next, NULL, NULL));
  }
  guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize len = log_producer_encode(log_producers_find(producers, 7), 1, value);
  LogProducer back;
  EXPECT_NULL(log_producer_decode(value, len, 1, 7, &back));
  log_producers_restore(producers, &back);
  log_producers_add(producers, &next);
  EXPECT_EQ_INT(LOG_PRODUCER_DUPLICATE, log_producers_check(producers, &next, NULL, NULL));
}

TEST(producers, are_previewed_without_a_change) {
  g_autoptr(LogProducers) producers = log_producers_new();
  LogBatch first = batch_of(1, 0, 2, 10), second = batch_of(1, 2, 3, 12);
  LogProducer preview;
  log_producers_preview(producers, &first, &preview);
  EXPECT_EQ_INT(0, log_producers_count(producers));
  log_producers_restore(producers, &preview);
  log_producers_preview(producers, &second, &preview);
  EXPECT_EQ_INT(1, log_producers_find(producers, 7)->batch_count);
  EXPECT_EQ_INT(2, preview.batch_count);
  EXPECT_EQ_INT(12, preview.batches[1].base_offset);
}

TEST(producers, expire_when_idle) {
  g_autoptr(LogProducers) producers = known_producer();
  g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(gint64));
  log_producers_expire(producers, 1118, gone); /* the last batch's very time */
  EXPECT_EQ_INT(0, gone->len);
  log_producers_expire(producers, 1119, gone);
  EXPECT_EQ_INT(1, gone->len);
  EXPECT_EQ_INT(0, log_producers_count(producers));
}

TEST(producers, the_coordinator_is_never_forgotten) {
  g_autoptr(LogProducers) producers = log_producers_new();
  LogBatch batch = batch_of(1, 0, 2, 10);
  batch.producer_id = LOG_PRODUCER_COORDINATOR;
  log_producers_add(producers, &batch);
  log_producers_expire(producers, G_MAXINT64, NULL);
  EXPECT_TRUE(log_producers_find(producers, LOG_PRODUCER_COORDINATOR) != NULL);
}

/* Computed from the table in producers.h by a program of its own. */
TEST(producers, have_golden_bytes) {
  LogProducer producer = {.producer_id = 2, .epoch = 3, .batch_count = 1, .batches = {{4, 5, 6, 7, 8}}};
  guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize len = log_producer_encode(&producer, 1, value);
  ASSERT_EQ_INT(48, len);
  const guint8 head[] = {0xA7, 1, 0, 1}, rest[] = {0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0,
                                                   0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0};
  EXPECT_EQ_BYTES(head, sizeof head, value, 4);
  EXPECT_EQ_BYTES(rest, sizeof rest, value + 8, len - 8);
  LogProducer back;
  EXPECT_NULL(log_producer_decode(value, len, 1, 2, &back));
  EXPECT_EQ_INT(6, back.batches[0].base_offset);
}

TEST(producers, find_every_flipped_bit_and_every_cut) {
  g_autoptr(LogProducers) producers = known_producer();
  guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
  gsize len = log_producer_encode(log_producers_find(producers, 7), 1, value);
  LogProducer back;
  for (gsize bit = 0; bit < len * 8; bit++) {
    value[bit / 8] ^= (guint8)(1u << bit % 8);
    g_autoptr(Failure) failure = log_producer_decode(value, len, 1, 7, &back);
    EXPECT_TRUE(failure != NULL);
    value[bit / 8] ^= (guint8)(1u << bit % 8);
  }
  for (gsize cut = 0; cut < len; cut++) {
    g_autoptr(Failure) failure = log_producer_decode(value, cut, 1, 7, &back);
    EXPECT_TRUE(failure != NULL);
  }
  g_autoptr(Failure) other_log = log_producer_decode(value, len, 2, 7, &back);
  EXPECT_EQ_INT(FAILURE(CORRUPT_LOG), failure_reason(other_log));
  value[1] = 2;
  g_autoptr(Failure) newer = log_producer_decode(value, len, 1, 7, &back);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(newer));
}
