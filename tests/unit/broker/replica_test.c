/* The partition's state machine, event by event. */
#include "tests/unit/broker/replica_case.h"

#include "tests/shim/shim.h"

TEST(replica, one_copy_is_answered_once_it_is_synced) {
  ReplicaCase c;
  ReplicaAppend a, b;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_TRUE(c.out.leadership_changed);
  EXPECT_NULL(case_append(&c, &a, 3, ALL, 0));
  EXPECT_NULL(case_append(&c, &b, 2, LEADER, 0));
  EXPECT_EQ_INT(0, a.base_offset);
  EXPECT_EQ_INT(3, b.base_offset);
  EXPECT_EQ_INT(5, replica_log_end(c.replica));
  EXPECT_EQ_INT(REPLICA_SYNCED, a.stage);
  case_local(&c, &a, REPLICA_SYNCED);
  EXPECT_EQ_INT(1, c.out.answers.length);
  EXPECT_EQ_INT(3, replica_high_watermark(c.replica));
  EXPECT_EQ_INT(1, a.copies.replicas);
  EXPECT_EQ_INT(1, a.copies.synced_replicas);
  case_local(&c, &b, REPLICA_SYNCED);
  EXPECT_EQ_INT(1, c.out.answers.length);
  EXPECT_EQ_INT(5, replica_high_watermark(c.replica));
  case_end(&c);
}

TEST(replica, flush_os_is_answered_when_written_and_says_so) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, OS);
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 0));
  EXPECT_EQ_INT(REPLICA_WRITTEN, a.stage);
  case_local(&c, &a, REPLICA_WRITTEN);
  EXPECT_EQ_INT(1, c.out.answers.length);
  EXPECT_EQ_INT(1, a.copies.replicas);
  EXPECT_EQ_INT(0, a.copies.synced_replicas);
  case_end(&c);
}

TEST(replica, acks_all_waits_for_every_in_sync_replica) {
  ReplicaCase c;
  ReplicaAppend a, b;
  case_begin(&c);
  case_assign(&c, 1, 4, 3, 2, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 4));
  EXPECT_NULL(case_append(&c, &b, 1, LEADER, 4));
  case_local(&c, &a, REPLICA_SYNCED);
  EXPECT_EQ_INT(0, c.out.answers.length);
  case_local(&c, &b, REPLICA_SYNCED);
  EXPECT_EQ_INT(1, c.out.answers.length); /* acks=leader needs nobody else */
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  case_peer(&c, 2, 2, 2);
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  case_peer(&c, 3, 2, 0); /* written is not enough */
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  case_peer(&c, 9, 2, 2); /* not in sync: does not count */
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  case_peer(&c, 3, 2, 1);
  EXPECT_EQ_INT(1, replica_high_watermark(c.replica));
  EXPECT_EQ_INT(1, c.out.answers.length);
  EXPECT_EQ_INT(3, a.copies.replicas);
  EXPECT_EQ_INT(3, a.copies.synced_replicas);
  case_end(&c);
}

TEST(replica, high_watermark_freezes_below_the_minimum_and_never_goes_back) {
  ReplicaCase c;
  ReplicaAppend a, b;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 2, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  case_peer(&c, 2, 1, 1);
  EXPECT_EQ_INT(1, replica_high_watermark(c.replica));
  case_assign(&c, 1, 0, 1, 2, ALWAYS); /* the other one left */
  case_expect_refused(case_append(&c, &b, 1, ALL, 0), FAILURE(NOT_ENOUGH_REPLICAS));
  EXPECT_NULL(case_append(&c, &b, 1, LEADER, 0));
  case_local(&c, &b, REPLICA_SYNCED);
  EXPECT_EQ_INT(1, replica_high_watermark(c.replica));
  case_assign(&c, 1, 0, 3, 2, ALWAYS); /* a new one that has nothing yet */
  EXPECT_EQ_INT(1, replica_high_watermark(c.replica));
  case_end(&c);
}

TEST(replica, a_shrunk_isr_moves_the_high_watermark) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  EXPECT_EQ_INT(0, c.out.answers.length);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_FALSE(c.out.leadership_changed);
  EXPECT_EQ_INT(1, c.out.answers.length);
  EXPECT_NULL(a.failure);
  EXPECT_EQ_INT(1, a.copies.replicas);
  case_end(&c);
}

TEST(replica, lost_leadership_leaves_the_outcome_unknown) {
  ReplicaCase c;
  ReplicaAppend on_disk, on_its_way, refused;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &on_disk, 1, ALL, 0));
  EXPECT_NULL(case_append(&c, &on_its_way, 1, ALL, 0));
  case_local(&c, &on_disk, REPLICA_SYNCED);
  case_assign(&c, 2, 1, 2, 1, ALWAYS);
  EXPECT_TRUE(c.out.leadership_changed);
  EXPECT_EQ_INT(2, c.out.answers.length);
  case_expect_refused(on_disk.failure, FAILURE(UNKNOWN_OUTCOME));
  case_expect_refused(on_its_way.failure, FAILURE(UNKNOWN_OUTCOME));
  EXPECT_FALSE(on_disk.queued);
  EXPECT_TRUE(on_its_way.queued);
  case_expect_refused(case_append(&c, &refused, 1, ALL, 0), FAILURE(NOT_LEADER));
  case_local(&c, &on_its_way, REPLICA_SYNCED);
  EXPECT_EQ_INT(0, c.out.answers.length);
  EXPECT_EQ_INT(1, c.out.released.length);
  case_end(&c);
}

TEST(replica, stages_of_changed_flush_modes_keep_the_order) {
  ReplicaCase c;
  ReplicaAppend synced, written;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &synced, 1, ALL, 0));
  case_assign(&c, 1, 0, 1, 1, OS);
  EXPECT_NULL(case_append(&c, &written, 1, ALL, 0));
  case_local(&c, &written, REPLICA_WRITTEN); /* in front of the sync that the first one waits for */
  EXPECT_EQ_INT(0, c.out.answers.length);
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  case_local(&c, &synced, REPLICA_SYNCED);
  EXPECT_EQ_INT(2, c.out.answers.length);
  EXPECT_TRUE(c.out.answers.head->data == &synced);
  EXPECT_EQ_INT(2, replica_high_watermark(c.replica));
  case_end(&c);
}

TEST(replica, the_end_of_a_log_is_synced_after_a_change_to_flush_always) {
  ReplicaCase c;
  ReplicaAppend before, behind, cut;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, OS);
  EXPECT_NULL(case_append(&c, &before, 3, ALL, 0));
  case_local(&c, &before, REPLICA_WRITTEN);
  EXPECT_FALSE(replica_wants_sync(c.replica));
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_TRUE(replica_wants_sync(c.replica));
  replica_sync_begun(c.replica);
  EXPECT_FALSE(replica_wants_sync(c.replica)); /* under way */
  case_assign(&c, 1, 0, 1, 1, OS);
  EXPECT_NULL(case_append(&c, &behind, 1, ALL, 0));
  case_local(&c, &behind, REPLICA_WRITTEN);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  replica_sync_over(c.replica, &c.out);
  EXPECT_EQ_INT(3, replica_synced_end(c.replica)); /* what came behind it needs another */
  EXPECT_TRUE(replica_wants_sync(c.replica));
  /* A cut while it is under way: what is appended behind the cut is not what is synced. */
  replica_sync_begun(c.replica);
  case_assign(&c, 2, 1, 1, 1, OS);
  replica_truncated(c.replica, 2);
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 2;
  batch.base_offset = 2;
  batch.leader_epoch = 1;
  cut = (ReplicaAppend){0};
  ASSERT_NULL(replica_follow(c.replica, 1, &batch, &cut));
  replica_accept(c.replica, &cut);
  case_local(&c, &cut, REPLICA_WRITTEN);
  replica_sync_over(c.replica, &c.out);
  EXPECT_EQ_INT(2, replica_synced_end(c.replica));
  EXPECT_EQ_INT(4, replica_log_end(c.replica));
  case_end(&c);
}

TEST(replica, expected_offset_must_be_the_logs_end) {
  ReplicaCase c;
  ReplicaAppend a = {0};
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 2;
  batch.expected_offset = 1;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  g_autoptr(Failure) failure = replica_prepare(c.replica, 0, &batch, ALL, 1000, &a);
  ASSERT_TRUE(failure != NULL);
  EXPECT_EQ_INT(FAILURE(EXPECTED_OFFSET_MISMATCH), failure_reason(failure));
  EXPECT_EQ_STR("1", failure_get(failure, "expected"));
  EXPECT_EQ_STR("0", failure_get(failure, "actual"));
  EXPECT_EQ_INT(LOG_OFFSET_NONE, batch.base_offset);
  batch.expected_offset = 0;
  EXPECT_NULL(replica_prepare(c.replica, 0, &batch, ALL, 1000, &a));
  EXPECT_EQ_INT(0, batch.base_offset);
  case_end(&c);
}

TEST(replica, append_times_never_go_back) {
  ReplicaCase c;
  ReplicaAppend a, b = {0};
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 1;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 0));
  EXPECT_EQ_INT(1000, a.append_timestamp_ms);
  EXPECT_NULL(replica_prepare(c.replica, 0, &batch, ALL, 400, &b));
  EXPECT_EQ_INT(1000, batch.append_timestamp_ms);
  case_local(&c, &a, REPLICA_SYNCED);
  case_end(&c);
}

/* A log as recovery finds it: @end records of epoch @epoch, readers had seen @high_watermark. */
static Replica *recovered(gint64 end, gint64 high_watermark, gint32 epoch, const Failure *damage) {
  g_auto(LogHot) hot;
  log_hot_init(&hot);
  hot.log_end_offset = end;
  hot.high_watermark = high_watermark;
  log_epochs_append(hot.epochs, epoch, 0);
  return replica_new(&hot, damage);
}

TEST(replica, a_recovered_log_goes_on_where_it_ended) {
  ReplicaCase c = {recovered(10, 8, 3, NULL), REPLICA_OUT_INIT};
  ReplicaAppend a;
  EXPECT_EQ_INT(8, replica_high_watermark(c.replica));
  EXPECT_FALSE(replica_knows_high_watermark(c.replica));
  case_assign(&c, 1, 4, 1, 1, ALWAYS);
  EXPECT_TRUE(c.out.high_watermark_moved);
  EXPECT_EQ_INT(10, replica_high_watermark(c.replica));
  EXPECT_TRUE(replica_knows_high_watermark(c.replica));
  EXPECT_NULL(case_append(&c, &a, 1, ALL, 4));
  EXPECT_EQ_INT(10, a.base_offset);
  case_local(&c, &a, REPLICA_SYNCED);
  case_end(&c);
}

TEST(replica, a_new_leader_does_not_know_the_high_watermark_before_its_epoch) {
  ReplicaCase c = {recovered(10, 8, 3, NULL), REPLICA_OUT_INIT};
  case_assign(&c, 1, 4, 2, 1, ALWAYS);
  EXPECT_FALSE(replica_knows_high_watermark(c.replica));
  EXPECT_EQ_INT(8, replica_high_watermark(c.replica));
  case_peer(&c, 2, 9, 9);
  EXPECT_FALSE(replica_knows_high_watermark(c.replica));
  case_peer(&c, 2, 10, 10);
  EXPECT_TRUE(replica_knows_high_watermark(c.replica));
  case_end(&c);
}

TEST(replica, a_damaged_log_takes_nothing) {
  g_autoptr(Failure) damage = failure_new(FAILURE(CORRUPT_LOG), "a byte flipped");
  ReplicaCase c = {recovered(10, 10, 3, damage), REPLICA_OUT_INIT};
  ReplicaAppend a;
  case_assign(&c, 1, 4, 1, 1, ALWAYS);
  case_expect_refused(case_append(&c, &a, 1, ALL, 4), FAILURE(CORRUPT_LOG));
  EXPECT_TRUE(replica_leads(c.replica)); /* what is good of it is read */
  case_end(&c);
}

TEST(replica, metadata_older_than_the_log_is_refused) {
  ReplicaCase c = {recovered(10, 10, 7, NULL), REPLICA_OUT_INIT};
  ReplicaAppend a;
  case_assign(&c, 1, 5, 1, 1, ALWAYS);
  case_expect_refused(case_append(&c, &a, 1, ALL, 5), FAILURE(CORRUPT_LOG));
  case_end(&c);
}

TEST(replica, the_hot_record_is_that_behind_the_append) {
  ReplicaCase c;
  ReplicaAppend a = {0};
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 4;
  batch.max_timestamp_ms = 77;
  case_begin(&c);
  case_assign(&c, 1, 2, 1, 1, ALWAYS);
  EXPECT_NULL(replica_prepare(c.replica, 2, &batch, ALL, 1000, &a));
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  replica_encode_hot(c.replica, 99, &a, bytes);
  g_auto(LogHot) hot;
  ASSERT_NULL(log_hot_decode(bytes->data, bytes->len, 99, &hot));
  EXPECT_EQ_INT(4, hot.log_end_offset);
  EXPECT_EQ_INT(0, hot.high_watermark);
  EXPECT_EQ_INT(77, hot.max_timestamp_ms);
  EXPECT_EQ_INT(2, log_epochs_latest(hot.epochs));
  EXPECT_EQ_INT(0, replica_log_end(c.replica)); /* not accepted yet */
  case_end(&c);
}

/* ---- the log's start ---- */

#define PEER_EPOCH 1 /* of the registrations that case_peer speaks for */

TEST(replica, the_log_start_moves_forward_and_up_to_the_high_watermark) {
  ReplicaCase c;
  ReplicaAppend a, b;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 5, LEADER, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  case_peer(&c, 2, 3, 3);
  EXPECT_EQ_INT(3, replica_high_watermark(c.replica));
  EXPECT_TRUE(replica_advance_start(c.replica, 2));
  EXPECT_FALSE(replica_advance_start(c.replica, 1));
  EXPECT_EQ_INT(2, replica_log_start(c.replica));
  EXPECT_TRUE(replica_advance_start(c.replica, 5)); /* what is not committed stays */
  EXPECT_EQ_INT(3, replica_log_start(c.replica));
  const LogStand stand = replica_stand(c.replica);
  EXPECT_EQ_INT(3, stand.log_start_offset);
  EXPECT_EQ_INT(3, stand.high_watermark);
  EXPECT_EQ_INT(5, stand.log_end_offset);
  EXPECT_TRUE(stand.appended_bytes > 0);

  /* The next hot record has it. */
  EXPECT_NULL(case_append(&c, &b, 1, LEADER, 0));
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  replica_encode_hot(c.replica, 99, NULL, bytes);
  gint64 appended_bytes;
  EXPECT_EQ_INT(3, log_hot_peek_needed_from(bytes->data, bytes->len, &appended_bytes));
  EXPECT_TRUE(appended_bytes > stand.appended_bytes);
  case_local(&c, &b, REPLICA_SYNCED);
  case_end(&c);
}

TEST(replica, a_deletion_waits_for_all_in_sync) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 3, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 5, LEADER, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  case_peer(&c, 2, 5, 5);
  case_peer(&c, 3, 5, 5);
  EXPECT_TRUE(replica_advance_start(c.replica, 4));
  EXPECT_EQ_INT(0, replica_followers_start(c.replica));
  replica_follower_start(c.replica, 2, PEER_EPOCH, 4);
  EXPECT_EQ_INT(0, replica_followers_start(c.replica));
  replica_follower_start(c.replica, 3, PEER_EPOCH + 1, 4); /* of another registration */
  EXPECT_EQ_INT(0, replica_followers_start(c.replica));
  replica_follower_start(c.replica, 3, PEER_EPOCH, 4);
  EXPECT_EQ_INT(4, replica_followers_start(c.replica));
  replica_follower_start(c.replica, 3, PEER_EPOCH, 2); /* told out of order */
  EXPECT_EQ_INT(4, replica_followers_start(c.replica));
  case_end(&c);
}

/* ---- producers ---- */

#define NONE MILENA__V1__ACKS__ACKS_NONE

/* Append a batch of producer 7. Returns the refusal; NULL when it was taken, or waits as a duplicate. */
static Failure *produce(ReplicaCase *c, ReplicaAppend *append, guint32 epoch, guint32 sequence, guint32 count,
                        Milena__V1__Acks acks) {
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = count;
  batch.producer_id = 7;
  batch.producer_epoch = epoch;
  batch.first_sequence = sequence;
  *append = (ReplicaAppend){0};
  Failure *failure = replica_prepare(c->replica, replica_leader_epoch(c->replica), &batch, acks, 1000, append);
  if (failure)
    return failure;
  case_take_out(c);
  EXPECT_EQ_INT(append->duplicate ? LOG_OFFSET_NONE : append->base_offset, batch.base_offset);
  if (append->duplicate)
    replica_await(c->replica, append, &c->out);
  else
    replica_accept(c->replica, append);
  return NULL;
}

static const struct {
  const char *name;
  guint32 epoch, sequence, count;
  gboolean duplicate;
  FailureReason reason; /* 0: taken */
} PRODUCED[] = {
    {"next", 1, 6, 5, FALSE, 0},
    {"last_again", 1, 3, 3, TRUE, 0},
    {"first_again", 1, 0, 3, TRUE, 0},
    {"part_of_it_again", 1, 3, 2, FALSE, FAILURE(SEQUENCE_MISMATCH)},
    {"gap", 1, 7, 1, FALSE, FAILURE(SEQUENCE_MISMATCH)},
    {"older_epoch", 0, 6, 1, FALSE, FAILURE(FENCED)},
    {"newer_epoch", 2, 0, 1, FALSE, 0},
    {"newer_epoch_in_its_middle", 2, 6, 1, FALSE, FAILURE(SEQUENCE_MISMATCH)},
};

TEST_ROWS(produced, PRODUCED) {
  ReplicaCase c;
  ReplicaAppend first, second, third;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_NULL(produce(&c, &first, 1, 0, 3, ALL));
  EXPECT_NULL(produce(&c, &second, 1, 3, 3, ALL));
  case_local(&c, &first, REPLICA_SYNCED);
  case_local(&c, &second, REPLICA_SYNCED);
  Failure *failure = produce(&c, &third, PRODUCED[row].epoch, PRODUCED[row].sequence, PRODUCED[row].count, ALL);
  if (PRODUCED[row].reason) {
    case_expect_refused(failure, PRODUCED[row].reason);
    EXPECT_EQ_INT(6, replica_log_end(c.replica));
  } else {
    EXPECT_NULL(failure);
    EXPECT_EQ_INT(PRODUCED[row].duplicate, third.duplicate);
    if (third.duplicate) {
      EXPECT_TRUE(third.answered);
      EXPECT_EQ_INT(PRODUCED[row].sequence, third.base_offset);
      EXPECT_EQ_INT(1000, third.append_timestamp_ms);
      EXPECT_EQ_INT(1, third.copies.synced_replicas);
    } else {
      EXPECT_EQ_INT(6, third.base_offset);
      case_local(&c, &third, REPLICA_SYNCED);
    }
  }
  case_end(&c);
}

TEST(replica, an_unknown_producer_begins_at_its_first_batch) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  case_expect_refused(produce(&c, &a, 0, 1, 1, ALL), FAILURE(UNKNOWN_PRODUCER));
  EXPECT_NULL(produce(&c, &a, 0, 0, 1, ALL));
  case_local(&c, &a, REPLICA_SYNCED);
  case_end(&c);
}

/* Never before its first try: not for acks=leader, not for acks=all, whatever the first try asked for. */
static const struct {
  const char *name;
  Milena__V1__Acks first, again;
  gboolean at_leader; /* answered once this broker has it, else once all have */
} AWAITED[] = {
    {"leader_leader", LEADER, LEADER, TRUE}, {"leader_all", LEADER, ALL, FALSE},
    {"all_leader", ALL, LEADER, TRUE},       {"all_all", ALL, ALL, FALSE},
    {"none_all", NONE, ALL, FALSE},          {"all_none", ALL, NONE, TRUE},
};

TEST_ROWS(awaited, AWAITED) {
  ReplicaCase c;
  ReplicaAppend first, again, later;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(produce(&c, &first, 0, 0, 3, AWAITED[row].first));
  EXPECT_NULL(produce(&c, &again, 0, 0, 3, AWAITED[row].again));
  EXPECT_TRUE(again.duplicate && again.queued && !again.answered);
  EXPECT_NULL(produce(&c, &later, 0, 3, 1, ALL));
  case_local(&c, &first, REPLICA_SYNCED);
  EXPECT_EQ_INT(AWAITED[row].at_leader, again.answered);
  case_peer(&c, 2, 3, 2); /* the other has written it all, and synced a part */
  EXPECT_EQ_INT(AWAITED[row].at_leader, again.answered);
  case_peer(&c, 2, 3, 3);
  EXPECT_TRUE(again.answered && !again.queued);
  EXPECT_NULL(again.failure);
  EXPECT_FALSE(later.answered);
  case_local(&c, &later, REPLICA_SYNCED);
  case_peer(&c, 2, 4, 4);
  EXPECT_TRUE(later.answered);
  case_end(&c);
}

TEST(replica, retries_are_answered_in_the_order_of_the_log) {
  ReplicaCase c;
  ReplicaAppend first[3], again[3];
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  for (guint i = 0; i < 3; i++)
    EXPECT_NULL(produce(&c, &first[i], 0, i, 1, ALL));
  case_local(&c, &first[0], REPLICA_SYNCED);
  for (guint i = 3; i-- > 0;)
    EXPECT_NULL(produce(&c, &again[i], 0, i, 1, ALL));
  case_local(&c, &first[1], REPLICA_SYNCED);
  case_local(&c, &first[2], REPLICA_SYNCED);
  case_peer(&c, 2, 3, 3);
  gint64 end_offset = 0;
  EXPECT_EQ_INT(6, c.out.answers.length);
  for (GList *link = c.out.answers.head; link; link = link->next) {
    const ReplicaAppend *answered = link->data;
    EXPECT_TRUE(answered->end_offset >= end_offset);
    end_offset = answered->end_offset;
  }
  case_end(&c);
}

TEST(replica, a_retry_that_waits_hears_of_the_lost_leadership_and_the_next_leader_knows_the_batch) {
  ReplicaCase c;
  ReplicaAppend first, again, later;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(produce(&c, &first, 0, 0, 3, ALL));
  EXPECT_NULL(produce(&c, &again, 0, 0, 3, LEADER));
  case_assign(&c, 2, 1, 2, 1, ALWAYS);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), failure_reason(again.failure));
  EXPECT_FALSE(again.queued);
  failure_free(again.failure);
  failure_free(first.failure);
  case_local(&c, &first, REPLICA_SYNCED);
  case_assign(&c, 1, 2, 1, 1, ALWAYS);
  EXPECT_NULL(produce(&c, &later, 0, 0, 3, ALL));
  EXPECT_TRUE(later.duplicate && later.answered);
  EXPECT_EQ_INT(0, later.base_offset);
  case_end(&c);
}

TEST(replica, a_retry_of_what_was_appended_is_no_new_append) {
  ReplicaCase c;
  ReplicaAppend first, again, next;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 2, ALWAYS);
  EXPECT_NULL(produce(&c, &first, 0, 0, 3, ALL));
  case_local(&c, &first, REPLICA_SYNCED);
  case_assign(&c, 1, 0, 1, 2, ALWAYS); /* too few are in sync: nothing new is taken, and the retry waits */
  EXPECT_NULL(produce(&c, &again, 0, 0, 3, ALL));
  EXPECT_TRUE(again.queued);
  case_expect_refused(produce(&c, &next, 0, 3, 1, ALL), FAILURE(NOT_ENOUGH_REPLICAS));
  case_assign(&c, 1, 0, 2, 2, ALWAYS);
  case_peer(&c, 2, 3, 3);
  EXPECT_TRUE(again.answered && first.answered);
  case_end(&c);
}

TEST(replica, idle_producers_are_forgotten) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_NULL(produce(&c, &a, 0, 0, 1, ALL));
  case_local(&c, &a, REPLICA_SYNCED);
  g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(gint64));
  replica_expire_producers(c.replica, 1000, gone);
  EXPECT_EQ_INT(0, gone->len);
  EXPECT_TRUE(replica_knows_producer(c.replica, 7));
  replica_expire_producers(c.replica, 1001, gone);
  ASSERT_EQ_INT(1, gone->len);
  EXPECT_EQ_INT(7, g_array_index(gone, gint64, 0));
  EXPECT_FALSE(replica_knows_producer(c.replica, 7));
  case_end(&c);
}

TEST(replica, one_that_ends_before_the_leaders_log_begins_goes_on_there) {
  ReplicaCase c;
  ReplicaAppend followed;
  case_begin(&c);
  case_assign(&c, 2, 3, 3, 2, ALWAYS);
  replica_begin_at(c.replica, 100);
  ReplicaPosition position;
  ASSERT_TRUE(replica_position(c.replica, &position));
  EXPECT_EQ_INT(100, position.end_offset);
  EXPECT_EQ_INT(100, position.synced_end);
  EXPECT_EQ_INT(LOG_EPOCH_NONE, position.last_epoch);
  EXPECT_EQ_INT(100, replica_log_start(c.replica));
  EXPECT_EQ_INT(100, replica_high_watermark(c.replica));
  LogBatch batch = LOG_BATCH_INIT;
  batch.record_count = 2;
  batch.base_offset = 100;
  batch.leader_epoch = 3;
  followed = (ReplicaAppend){0};
  ASSERT_NULL(replica_follow(c.replica, 3, &batch, &followed));
  replica_accept(c.replica, &followed);
  case_local(&c, &followed, REPLICA_SYNCED);
  EXPECT_EQ_INT(102, replica_log_end(c.replica));
  case_end(&c);
}

/* ---- followers, by the rules of REPLICATION.md ---- */

/* Rule 3: a follower that has not heard of the latest election, or has heard of a later one, is told so. */
TEST(replica, rule_3_a_position_of_another_epoch_is_refused) {
  ReplicaCase c;
  case_begin(&c);
  case_assign(&c, 1, 4, 3, 2, ALWAYS);
  ReplicaMatch match;
  gint32 epoch;
  gint64 end_offset;
  const ReplicaPosition same = {4, 0, 0, LOG_EPOCH_NONE}, older = {3, 0, 0, LOG_EPOCH_NONE},
                        newer = {5, 0, 0, LOG_EPOCH_NONE};
  EXPECT_NULL(replica_match(c.replica, &same, &match, &epoch, &end_offset));
  case_expect_refused(replica_match(c.replica, &older, &match, &epoch, &end_offset), FAILURE(FENCED));
  case_expect_refused(replica_match(c.replica, &newer, &match, &epoch, &end_offset), FAILURE(FENCED));
  case_end(&c);
}

/* Rule 8: a process that was started again has not what the one before it had. */
TEST(replica, rule_8_progress_of_another_registration_counts_for_nothing) {
  ReplicaCase c;
  ReplicaAppend a;
  case_begin(&c);
  case_assign(&c, 1, 0, 2, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 3, ALL, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  const ReplicaPosition empty = {0, 0, 0, LOG_EPOCH_NONE};
  EXPECT_TRUE(replica_follower_begins(c.replica, 2, 9, &empty, 0, &c.out) > 0);
  replica_follower_progress(c.replica, 2, 8, 3, 3, 0, &c.out);
  EXPECT_EQ_INT(0, replica_high_watermark(c.replica));
  EXPECT_EQ_INT(0, replica_follower_begins(c.replica, 2, 8, &empty, 0, &c.out));
  replica_follower_progress(c.replica, 2, 9, 3, 3, 0, &c.out);
  EXPECT_EQ_INT(3, replica_high_watermark(c.replica));
  case_end(&c);
}

/* Rule 4: a follower tells what the end of its process would not lose, and not what is on its way to the disk. */
TEST(replica, rule_4_a_follower_tells_of_what_is_on_its_disk) {
  ReplicaCase c;
  ReplicaAppend appends[2] = {{0}, {0}};
  gint64 written = -1, synced = -1;
  case_begin(&c);
  case_assign(&c, 2, 0, 3, 1, OS);
  for (guint i = 0; i < 2; i++) {
    LogBatch batch = LOG_BATCH_INIT;
    batch.record_count = 3;
    batch.base_offset = 3 * i;
    ASSERT_NULL(replica_follow(c.replica, 0, &batch, &appends[i]));
    replica_accept(c.replica, &appends[i]);
  }
  replica_progress(c.replica, &written, &synced);
  EXPECT_EQ_INT(0, written);
  case_local(&c, &appends[0], REPLICA_WRITTEN);
  replica_progress(c.replica, &written, &synced);
  EXPECT_EQ_INT(3, written);
  EXPECT_EQ_INT(0, synced);
  case_local(&c, &appends[1], REPLICA_WRITTEN);
  case_end(&c);
}

/* Rule 17: what a follower took of a producer it answers as leader; what it had to give back it does not. */
TEST(replica, rule_17_a_follower_remembers_producers_as_far_as_its_log_goes) {
  ReplicaCase c;
  ReplicaAppend followed, again, fresh;
  case_begin(&c);
  for (guint is_cut = 0; is_cut < 2; is_cut++) {
    if (is_cut) {
      case_end(&c);
      case_begin(&c);
    }
    case_assign(&c, 2, 0, 3, 1, ALWAYS);
    LogBatch batch = LOG_BATCH_INIT;
    batch.record_count = 3;
    batch.base_offset = 0;
    batch.producer_id = 7;
    followed = (ReplicaAppend){0};
    ASSERT_NULL(replica_follow(c.replica, 0, &batch, &followed));
    replica_accept(c.replica, &followed);
    case_local(&c, &followed, REPLICA_SYNCED);
    if (is_cut)
      replica_truncated(c.replica, 0);
    case_assign(&c, 1, 1, 1, 1, ALWAYS);
    EXPECT_NULL(produce(&c, is_cut ? &fresh : &again, 0, 0, 3, ALL));
    if (!is_cut) {
      EXPECT_TRUE(again.duplicate);
      EXPECT_EQ_INT(0, again.base_offset);
    } else {
      EXPECT_FALSE(fresh.duplicate);
      case_local(&c, &fresh, REPLICA_SYNCED);
    }
  }
  case_end(&c);
}
