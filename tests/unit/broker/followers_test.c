/* Whom a leader proposes as in sync, and when. */
#include "services/broker/replica/followers.h"
#include "tests/shim/shim.h"

#define LAG_MAX_MS 100

/* Brokers 1 (the leader), 2, 3; broker 2 is in sync at first. */
typedef struct {
  Followers followers;
  gint64 end; /* of the leader's log */
  gint32 refused;
} Case;

static void assign(Case *c, const gint32 *in_sync, guint count, gint64 now_ms) {
  static const gint32 REPLICAS[] = {1, 2, 3};
  const FollowersSet set = {.self = 1,
                            .replicas = REPLICAS,
                            .replica_count = G_N_ELEMENTS(REPLICAS),
                            .in_sync = in_sync,
                            .in_sync_count = count};
  followers_assign(&c->followers, &set, c->end, now_ms);
}

static Case begin(void) {
  Case c = {.end = 10};
  assign(&c, (const gint32[]){1, 2}, 2, 0);
  return c;
}

static gboolean not_refused(gint32 broker_id, guint64 broker_epoch, gpointer data) {
  EXPECT_EQ_INT(broker_id, broker_epoch);
  return broker_id != ((const Case *)data)->refused;
}

static gboolean propose(Case *c, gint64 now_ms, FollowersProposal *ret) {
  const FollowersTerms terms = {.join_end = c->end,
                                .leader_end = c->end,
                                .lag_max_ms = LAG_MAX_MS,
                                .now_ms = now_ms,
                                .may_join = not_refused,
                                .data = c};
  return followers_propose(&c->followers, &terms, ret);
}

static guint64 visit(Case *c, gint32 broker, gint64 end, gint64 now_ms) {
  return followers_position(&c->followers, broker, (guint64)broker, end, end, c->end, now_ms);
}

TEST(followers, stay_in_sync_in_a_log_that_nobody_writes_to) {
  Case c = begin();
  FollowersProposal proposal;
  EXPECT_TRUE(visit(&c, 2, 10, 0) > 0);
  for (gint64 now_ms = 0; now_ms < 10 * LAG_MAX_MS; now_ms += LAG_MAX_MS / 2)
    EXPECT_FALSE(propose(&c, now_ms, &proposal));
  /* Its time runs from the write on that it lacks. */
  c.end = 11;
  EXPECT_FALSE(propose(&c, 10 * LAG_MAX_MS, &proposal));
  ASSERT_TRUE(propose(&c, 12 * LAG_MAX_MS, &proposal));
  EXPECT_EQ_INT(0, proposal.count);
  followers_clear(&c.followers);
}

TEST(followers, come_back_after_a_long_while_in_a_log_that_nobody_writes_to) {
  Case c = begin();
  FollowersProposal proposal;
  EXPECT_TRUE(visit(&c, 2, 10, 0) > 0);
  EXPECT_TRUE(visit(&c, 3, 10, 0) > 0);
  c.refused = 3;
  EXPECT_FALSE(propose(&c, 50 * LAG_MAX_MS, &proposal));
  c.refused = 0;
  ASSERT_TRUE(propose(&c, 99 * LAG_MAX_MS, &proposal));
  ASSERT_EQ_INT(2, proposal.count);
  EXPECT_EQ_INT(0, proposal.members[0].broker_epoch);
  EXPECT_EQ_INT(3, proposal.members[1].broker_id);
  EXPECT_EQ_INT(3, proposal.members[1].broker_epoch);
  followers_clear(&c.followers);
}

TEST(followers, join_only_while_their_stream_is_open) {
  Case c = begin();
  FollowersProposal proposal;
  EXPECT_TRUE(visit(&c, 2, 10, 0) > 0);
  guint64 first = visit(&c, 3, 10, 0);
  followers_left(&c.followers, 3, first);
  EXPECT_FALSE(propose(&c, 1, &proposal));
  guint64 second = visit(&c, 3, 10, 2);
  EXPECT_TRUE(second > first);
  followers_left(&c.followers, 3, first); /* heard late */
  EXPECT_TRUE(propose(&c, 3, &proposal));
  EXPECT_EQ_INT(2, proposal.count);
  followers_clear(&c.followers);
}

TEST(followers, who_is_not_in_sync_and_far_behind_is_left_alone) {
  Case c = begin();
  FollowersProposal proposal;
  EXPECT_TRUE(visit(&c, 2, 10, 0) > 0);
  EXPECT_TRUE(visit(&c, 3, 4, 0) > 0);
  EXPECT_FALSE(propose(&c, 1, &proposal));
  EXPECT_TRUE(followers_progress(&c.followers, 3, 3, 9, 9, c.end, 2));
  EXPECT_FALSE(propose(&c, 3, &proposal));
  EXPECT_TRUE(followers_progress(&c.followers, 3, 3, 10, 10, c.end, 4));
  EXPECT_TRUE(propose(&c, 5, &proposal));
  EXPECT_FALSE(propose(&c, 6, &proposal)); /* it is under way */
  EXPECT_EQ_INT(10, followers_min_end(&c.followers, FALSE, 12));
  followers_clear(&c.followers);
}
