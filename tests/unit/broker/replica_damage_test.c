/* Damaged logs, and what is not on disk yet after a change of the flush mode, event by event. */
#include "tests/unit/broker/replica_case.h"

#include "tests/shim/shim.h"

TEST(replica, a_damaged_one_that_follows_is_mended_and_takes_the_rest_anew) {
  g_auto(LogHot) hot;
  log_hot_init(&hot);
  hot.log_end_offset = 7;
  hot.high_watermark = 5;
  log_epochs_append(hot.epochs, 0, 0);
  for (guint by_producers = 0; by_producers < 2; by_producers++) {
    g_autoptr(Failure) damage = failure_new(FAILURE(CORRUPT_LOG), "a batch is damaged");
    g_autoptr(Replica) replica = replica_new(&hot, by_producers ? NULL : damage);
    if (by_producers)
      replica_mark_damaged(replica, damage);
    gint64 end;
    EXPECT_FALSE(replica_mend_end(replica, &end)); /* it follows nobody */
    const ReplicaAssignment follows = {.broker_id = 1,
                                       .leader_id = 2,
                                       .leader_epoch = 3,
                                       .replicas = (const gint32[]){1, 2},
                                       .replica_count = 2,
                                       .isr = (const gint32[]){2},
                                       .isr_count = 1,
                                       .min_insync_replicas = 1,
                                       .flush = ALWAYS};
    ReplicaOut out = REPLICA_OUT_INIT;
    replica_assign(replica, &follows, &out);
    ReplicaPosition position;
    EXPECT_FALSE(replica_position(replica, &position));
    ASSERT_TRUE(replica_mend_end(replica, &end));
    EXPECT_EQ_INT(by_producers ? 0 : 7, end); /* a producer that can't be read comes back with its batches alone */
    replica_mended(replica, end, &(ReplicaOut)REPLICA_OUT_INIT);
    EXPECT_NULL(replica_damage(replica));
    ASSERT_TRUE(replica_position(replica, &position));
    EXPECT_EQ_INT(end, position.end_offset);
    EXPECT_EQ_INT(by_producers ? 0 : 5, replica_high_watermark(replica));
  }
}

TEST(replica, who_meets_damage_stands_back_only_where_another_one_counts) {
  ReplicaCase c;
  ReplicaAppend a, refused;
  g_autoptr(Failure) damage = failure_new(FAILURE(CORRUPT_LOG), "a batch is damaged");
  case_begin(&c);
  case_assign(&c, 1, 0, 1, 1, ALWAYS);
  EXPECT_NULL(case_append(&c, &a, 5, ALL, 0));
  case_local(&c, &a, REPLICA_SYNCED);
  EXPECT_FALSE(replica_found_damage(c.replica, damage, 3)); /* what is good of it is all that there is */
  EXPECT_NULL(replica_damage(c.replica));
  const gint32 ids[] = {1, 2};
  ReplicaAssignment assignment = {.broker_id = 1,
                                  .leader_id = 1,
                                  .replicas = ids,
                                  .replica_count = 2,
                                  .isr = ids,
                                  .isr_count = 2,
                                  .min_insync_replicas = 1,
                                  .others_count = TRUE,
                                  .flush = ALWAYS};
  replica_assign(c.replica, &assignment, &c.out);
  EXPECT_TRUE(replica_found_damage(c.replica, damage, 3));
  EXPECT_TRUE(replica_found_damage(c.replica, damage, 4));
  case_expect_refused(case_append(&c, &refused, 1, ALL, 0), FAILURE(LEADER_NOT_AVAILABLE)); /* worth another try */
  gint64 good_end;
  assignment.leader_id = 2;
  assignment.leader_epoch = 1;
  replica_assign(c.replica, &assignment, &c.out);
  ASSERT_TRUE(replica_mend_end(c.replica, &good_end));
  EXPECT_EQ_INT(3, good_end);
  replica_mended(c.replica, good_end, &(ReplicaOut)REPLICA_OUT_INIT);
  EXPECT_EQ_INT(3, replica_log_end(c.replica));
  EXPECT_TRUE(replica_found_damage(c.replica, damage, -1)); /* nobody knows where: nothing is sure */
  ASSERT_TRUE(replica_mend_end(c.replica, &good_end));
  EXPECT_EQ_INT(0, good_end);
  case_end(&c);
}

/* ---- damage that somebody gave up ---- */

static void assign_alone(ReplicaCase *c, gint32 epoch, gboolean cuts_damage) {
  static const gint32 SELF[] = {1};
  const ReplicaAssignment assignment = {.broker_id = 1,
                                        .leader_id = 1,
                                        .leader_epoch = epoch,
                                        .partition_epoch = ++c->partition_epoch,
                                        .replicas = SELF,
                                        .replica_count = 1,
                                        .isr = SELF,
                                        .isr_count = 1,
                                        .min_insync_replicas = 1,
                                        .cuts_damage = cuts_damage,
                                        .flush = ALWAYS};
  case_take_out(c);
  replica_assign(c->replica, &assignment, &c->out);
}

TEST(replica, the_last_one_cuts_what_is_damaged_in_the_epoch_that_was_told_to) {
  ReplicaCase c;
  ReplicaAppend a, b, late;
  gint64 good_end;
  g_autoptr(Failure) damage = failure_new(FAILURE(CORRUPT_LOG), "a batch is damaged");
  case_begin(&c);
  assign_alone(&c, 1, TRUE); /* nothing is damaged: nothing is to be cut */
  EXPECT_FALSE(replica_cuts_damage(c.replica));
  EXPECT_NULL(case_append(&c, &a, 5, ALL, 1));
  case_local(&c, &a, REPLICA_SYNCED);
  EXPECT_FALSE(replica_found_damage(c.replica, damage, 3));
  assign_alone(&c, 1, TRUE); /* the same epoch: what came after it was told is not meant */
  EXPECT_FALSE(replica_mend_end(c.replica, &good_end));
  EXPECT_NULL(case_append(&c, &b, 2, ALL, 1));
  assign_alone(&c, 2, TRUE);
  EXPECT_TRUE(replica_cuts_damage(c.replica));
  EXPECT_EQ_INT(FAILURE(UNKNOWN_OUTCOME), failure_reason(b.failure));
  failure_free(b.failure);
  EXPECT_FALSE(replica_mend_end(c.replica, &good_end)); /* a write is on its way */
  case_expect_refused(case_append(&c, &late, 1, ALL, 2), FAILURE(CORRUPT_LOG));
  case_local(&c, &b, REPLICA_SYNCED);
  ASSERT_TRUE(replica_mend_end(c.replica, &good_end));
  EXPECT_EQ_INT(3, good_end);
  replica_mended(c.replica, good_end, &c.out);
  EXPECT_FALSE(replica_cuts_damage(c.replica));
  EXPECT_EQ_INT(3, replica_log_end(c.replica));
  EXPECT_EQ_INT(3, replica_high_watermark(c.replica));
  EXPECT_TRUE(replica_knows_high_watermark(c.replica));
  EXPECT_NULL(case_append(&c, &late, 1, ALL, 2)); /* it goes on */
  EXPECT_EQ_INT(3, late.base_offset);
  case_local(&c, &late, REPLICA_SYNCED);
  EXPECT_EQ_INT(4, replica_high_watermark(c.replica));
  /* Who had what was cut parts there: its records of that epoch end at 3. */
  ReplicaMatch match;
  gint32 epoch;
  const ReplicaPosition position = {.leader_epoch = 2, .end_offset = 7, .synced_end = 7, .last_epoch = 1};
  EXPECT_NULL(replica_match(c.replica, &position, &match, &epoch, &good_end));
  EXPECT_EQ_INT(REPLICA_DIVERGED, match);
  EXPECT_EQ_INT(3, good_end);
  case_end(&c);
}

/* What it knew of producers is gone, and its batches stay; records of an epoch that the metadata never gave go. */
TEST(replica, a_cut_takes_no_more_than_what_is_damaged) {
  g_autoptr(Failure) damage = failure_new(FAILURE(CORRUPT_LOG), "a producer's record is damaged");
  for (guint by_epoch = 0; by_epoch < 2; by_epoch++) {
    g_auto(LogHot) hot;
    log_hot_init(&hot);
    hot.log_end_offset = 7;
    log_epochs_append(hot.epochs, 1, 0);
    log_epochs_append(hot.epochs, by_epoch ? 9 : 2, 5);
    ReplicaCase c = {.replica = replica_new(&hot, NULL), .out = REPLICA_OUT_INIT};
    if (!by_epoch)
      replica_mark_damaged(c.replica, damage);
    assign_alone(&c, 3, FALSE);
    EXPECT_TRUE(replica_damage(c.replica) != NULL);
    EXPECT_FALSE(replica_cuts_damage(c.replica)); /* nobody gave anything up yet */
    assign_alone(&c, 4, TRUE);
    gint64 good_end;
    ASSERT_TRUE(replica_mend_end(c.replica, &good_end));
    EXPECT_EQ_INT(by_epoch ? 5 : 7, good_end);
    replica_mended(c.replica, good_end, &c.out);
    EXPECT_NULL(replica_damage(c.replica));
    EXPECT_EQ_INT(good_end, replica_high_watermark(c.replica));
    case_end(&c);
  }
}

/* ---- a change to flush=always ---- */

static gboolean anybody(gint32 broker_id, guint64 broker_epoch, gpointer data) {
  (void)broker_id;
  (void)broker_epoch;
  (void)data;
  return TRUE;
}

static void assign_unsynced(ReplicaCase *c, Milena__V1__Flush flush) {
  static const gint32 ALL_THREE[] = {1, 2, 3};
  const ReplicaAssignment assignment = {.broker_id = 1,
                                        .leader_id = 1,
                                        .partition_epoch = ++c->partition_epoch,
                                        .replicas = ALL_THREE,
                                        .replica_count = 3,
                                        .isr = ALL_THREE,
                                        .isr_count = 3,
                                        .min_insync_replicas = 2,
                                        .unsynced = ALL_THREE,
                                        .unsynced_count = flush == ALWAYS ? 3 : 0,
                                        .flush = flush};
  case_take_out(c);
  replica_assign(c->replica, &assignment, &c->out);
}

TEST(replica, rule_10_a_leader_tells_who_has_on_disk_what_was_written_before_flush_always) {
  ReplicaCase c;
  ReplicaAppend a;
  FollowersProposal proposal;
  const ReplicaTerms terms = {1000, 0, anybody, NULL};
  case_begin(&c);
  assign_unsynced(&c, OS);
  EXPECT_NULL(case_append(&c, &a, 5, ALL, 0));
  case_local(&c, &a, REPLICA_WRITTEN);
  case_peer(&c, 2, 5, 0);
  case_peer(&c, 3, 4, 0);
  EXPECT_EQ_INT(4, replica_high_watermark(c.replica));
  assign_unsynced(&c, ALWAYS);
  EXPECT_FALSE(replica_propose(c.replica, &terms, &proposal)); /* nobody is synced */
  case_peer(&c, 2, 5, 4);
  EXPECT_FALSE(replica_propose(c.replica, &terms, &proposal)); /* not up to the end that the log had */
  case_peer(&c, 2, 5, 5);
  ASSERT_TRUE(replica_propose(c.replica, &terms, &proposal));
  EXPECT_FALSE(proposal.self_synced);
  EXPECT_EQ_INT(2, proposal.count);
  EXPECT_TRUE(proposal.members[0].synced);
  EXPECT_FALSE(proposal.members[1].synced);
  case_peer(&c, 3, 5, 5);
  EXPECT_EQ_INT(4, replica_high_watermark(c.replica)); /* this broker's own disk lacks it */
  ASSERT_TRUE(replica_wants_sync(c.replica));
  replica_sync_begun(c.replica);
  replica_sync_over(c.replica, &c.out);
  EXPECT_EQ_INT(5, replica_high_watermark(c.replica));
  replica_proposal_refused(c.replica, &c.out);
  ASSERT_TRUE(replica_propose(c.replica, &terms, &proposal));
  EXPECT_TRUE(proposal.self_synced && proposal.members[0].synced && proposal.members[1].synced);
  case_end(&c);
}
