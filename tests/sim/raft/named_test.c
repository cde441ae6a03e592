/* What has broken other implementations, each once, step by step, with the simulation's rules watching. */
#include <string.h>

#include "tests/shim/shim.h"
#include "tests/sim/raft/script.h"

#define EXPECT_NO_VIOLATION(world)                                                                                     \
  do {                                                                                                                 \
    g_autofree char *violation = script_end(world);                                                                    \
    if (violation)                                                                                                     \
      shim_fail(__FILE__, __LINE__, "%s", violation);                                                                  \
  } while (0)

/* ---- Figure 8 of the paper ---- */

static guint64 held_after; /* entries of controllers 1 and 5 behind this one are held back */

/* Those that would be taken: what is refused shows the leader what is missing. */
static gboolean holds_entries_behind(const World *world, const RaftMessage *message) {
  const Node *to = world->nodes[message->to];
  return message->kind == RAFT_APPEND && message->entries && message->index >= held_after && to->up &&
         raft_core_term_at(to->core, message->index) == message->log_term;
}

static gboolean holds_appends(const World *world, const RaftMessage *message) {
  (void)world;
  return message->kind == RAFT_APPEND;
}

/* They lose patience with a leader that is gone, so that they vote, and don't stand themselves. */
static void lose_patience(World *world, guint64 a, guint64 b) {
  script_tick(world, a, SCRIPT_ELECTION_TICKS);
  script_tick(world, b, SCRIPT_ELECTION_TICKS);
}

/* (a) 1 leads, gives an entry to 2 alone, and dies. Returns the entry's index. */
static guint64 give_an_entry_to_2(World *world) {
  script_elect(world, 1);
  script_tick_all(world, 4);
  for (guint64 id = 3; id <= 5; id++)
    script_cut(world, 1, id, TRUE);
  guint64 index = script_propose(world, 1);
  script_settle(world);
  EXPECT_EQ_INT(index, script_state(world, 2).last);
  EXPECT_EQ_INT(index - 1, script_state(world, 3).last);
  script_crash(world, 1, SIM_KILLED);
  for (guint64 id = 3; id <= 5; id++)
    script_cut(world, 1, id, FALSE);
  return index;
}

/* (b) 5 is elected by 3 and 4, puts another entry there, on its own disk alone, and dies. */
static void elect_5_for_a_moment(World *world, guint64 index) {
  world->holds = holds_appends;
  script_isolate(world, 2, TRUE);
  lose_patience(world, 3, 4);
  script_elect(world, 5);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 5).role);
  EXPECT_EQ_INT(index, script_state(world, 5).last);
  EXPECT_EQ_INT(index - 1, script_state(world, 4).last);
  script_crash(world, 5, SIM_KILLED);
  g_ptr_array_set_size(world->held, 0);
  script_isolate(world, 2, FALSE);
}

/* (c) 1 comes back, is elected by 2 and 3, and brings its old entry to a majority, its new one to nobody. */
static void bring_the_old_entry_to_3(World *world, guint64 index) {
  held_after = index;
  world->holds = holds_entries_behind;
  script_start(world, 1);
  lose_patience(world, 2, 3);
  script_elect(world, 1);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 1).role);
  script_tick(world, 1, 4);
  EXPECT_EQ_INT(index, script_state(world, 3).last);
}

/* An entry of an earlier term that a majority has is not committed yet: who lacks it can still be elected. */
TEST(raft_named, figure_8) {
  RaftSimResult result;
  World *world = script_new(5, &result);
  guint64 index = give_an_entry_to_2(world), first_term = script_state(world, 2).term;
  elect_5_for_a_moment(world, index);
  script_cut(world, 1, 4, TRUE); /* 4 hears nothing of it */
  bring_the_old_entry_to_3(world, index);
  EXPECT_EQ_INT(first_term, raft_core_term_at(world->nodes[3]->core, index));
  EXPECT_TRUE(script_state(world, 1).commit < index);
  /* (d) 1 dies, 5 is elected, and its entry takes the place: nobody had been told that 1's was there for ever. */
  script_crash(world, 1, SIM_KILLED);
  g_ptr_array_set_size(world->held, 0);
  world->holds = NULL;
  script_start(world, 5);
  lose_patience(world, 2, 3);
  script_tick(world, 4, SCRIPT_ELECTION_TICKS);
  script_elect(world, 5);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 5).role);
  script_tick(world, 5, 4);
  EXPECT_TRUE(script_state(world, 5).commit >= index);
  EXPECT_TRUE(raft_core_term_at(world->nodes[2]->core, index) > first_term);
  EXPECT_NO_VIOLATION(world);
}

/* ---- What a crash may not make forgotten ---- */

static gboolean has_voted_for_1(const World *world, guint64 term) {
  RaftState state = script_state(world, 2);
  return state.term == term && state.vote == 1;
}

/* 1 and 3 don't hear each other, and both can stand in the same term; 2 votes for 1. Returns that term. */
static guint64 let_2_vote_for_1(World *world) {
  script_elect(world, 1);
  script_tick_all(world, 4);
  guint64 term = script_state(world, 1).term + 1;
  script_crash(world, 1, SIM_KILLED);
  script_cut(world, 1, 3, TRUE);
  script_cut(world, 3, 1, TRUE);
  script_start(world, 1);
  script_tick(world, 2, SCRIPT_ELECTION_TICKS); /* it has lost patience with the leader that was */
  for (guint i = 0; i < 3 * SCRIPT_ELECTION_TICKS && !has_voted_for_1(world, term); i++) {
    node_tick(world->nodes[1]);
    for (guint step = 0; step < 20000 && !has_voted_for_1(world, term); step++)
      script_step(world);
  }
  return term;
}

/* 3 tries until it is in that term. */
static void let_3_stand(World *world, guint64 term) {
  for (guint i = 0; i < 4 * SCRIPT_ELECTION_TICKS && script_state(world, 3).term < term; i++)
    script_tick(world, 3, 1);
}

/* The power fails between the write of a vote and its end: the vote was never told, and may be given again. */
TEST(raft_named, a_vote_that_was_not_durable_was_never_given) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  guint64 term = let_2_vote_for_1(world);
  ASSERT_TRUE(has_voted_for_1(world, term));
  script_crash(world, 2, SIM_POWER_CUT);
  script_settle(world);
  EXPECT_TRUE(script_state(world, 1).role != RAFT_LEADER);
  script_start(world, 2);
  script_tick(world, 2, 1);
  let_3_stand(world, term);
  script_settle(world);
  guint leaders = (script_state(world, 1).role == RAFT_LEADER) + (script_state(world, 3).role == RAFT_LEADER);
  EXPECT_TRUE(leaders <= 1);
  EXPECT_NO_VIOLATION(world);
}

static gboolean holds_votes_of_2(const World *world, const RaftMessage *message) {
  (void)world;
  return message->kind == RAFT_VOTE_REPLY && message->from == 2;
}

/* A vote that was told is remembered after a crash: nobody else gets one in that term. */
TEST(raft_named, a_vote_and_its_term_survive_a_crash) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  guint64 term = let_2_vote_for_1(world);
  world->holds = holds_votes_of_2;
  script_settle(world);
  ASSERT_EQ_INT(1, (int)world->held->len);
  script_crash(world, 2, SIM_POWER_CUT);
  script_start(world, 2);
  EXPECT_EQ_INT(term, script_state(world, 2).term);
  EXPECT_EQ_INT(1, script_state(world, 2).vote);
  let_3_stand(world, term);
  EXPECT_TRUE(script_state(world, 3).role != RAFT_LEADER);
  script_release(world, FALSE); /* the vote arrives at last */
  EXPECT_NO_VIOLATION(world);
}

/* A leader that heard of a later term and crashes does not come back in the earlier one. */
TEST(raft_named, a_term_that_was_heard_survives_a_crash) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  script_isolate(world, 1, TRUE);
  script_tick(world, 3, SCRIPT_ELECTION_TICKS);
  script_elect(world, 2);
  guint64 term = script_state(world, 2).term;
  script_isolate(world, 1, FALSE);
  script_tick(world, 2, 2);
  ASSERT_EQ_INT(term, script_state(world, 1).term);
  script_crash(world, 1, SIM_POWER_CUT);
  script_start(world, 1);
  EXPECT_EQ_INT(term, script_state(world, 1).term);
  EXPECT_NO_VIOLATION(world);
}

/* ---- Who disturbs ---- */

/* A server that was removed while it was cut off does not know it, and asks for votes for ever. */
TEST(raft_named, removed_server_that_does_not_know_it_disrupts_nobody) {
  RaftSimResult result;
  World *world = script_new(4, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  script_isolate(world, 4, TRUE);
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_REMOVE, 4));
  script_tick_all(world, 4);
  EXPECT_EQ_INT(3, raft_configuration_voter_count(raft_core_configuration(world->nodes[3]->core)));
  EXPECT_TRUE(script_state(world, 4).voter);
  guint64 term = script_state(world, 1).term;
  script_isolate(world, 4, FALSE);
  script_tick_all(world, 10 * SCRIPT_ELECTION_TICKS);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 1).role);
  EXPECT_EQ_INT(term, script_state(world, 1).term);
  EXPECT_EQ_INT(term, script_state(world, 2).term);
  EXPECT_NO_VIOLATION(world);
}

/* One that was cut off for long comes back with the term that it left with. */
TEST(raft_named, who_comes_back_from_a_partition_disrupts_nobody) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  guint64 term = script_state(world, 1).term;
  script_isolate(world, 3, TRUE);
  script_tick_all(world, 10 * SCRIPT_ELECTION_TICKS);
  script_isolate(world, 3, FALSE);
  script_tick_all(world, 5 * SCRIPT_ELECTION_TICKS);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 1).role);
  EXPECT_EQ_INT(term, script_state(world, 1).term);
  EXPECT_EQ_INT(term, script_state(world, 3).term);
  EXPECT_NO_VIOLATION(world);
}

/* One that does not hear the leader, though all others do, and is heard by all. */
TEST(raft_named, who_is_deaf_to_the_leader_disrupts_nobody) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  guint64 term = script_state(world, 1).term;
  script_cut(world, 1, 3, TRUE);
  script_tick_all(world, 10 * SCRIPT_ELECTION_TICKS);
  EXPECT_EQ_INT(RAFT_LEADER, script_state(world, 1).role);
  EXPECT_EQ_INT(term, script_state(world, 1).term);
  EXPECT_NO_VIOLATION(world);
}

/* A leader that nobody answers steps back, so that its clients ask elsewhere. */
TEST(raft_named, leader_without_a_quorum_steps_back) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  /* It is heard, and hears nobody: the others follow it on. */
  script_cut(world, 2, 1, TRUE);
  script_cut(world, 3, 1, TRUE);
  script_tick_all(world, 3 * SCRIPT_ELECTION_TICKS);
  EXPECT_TRUE(script_state(world, 1).role != RAFT_LEADER);
  EXPECT_NO_VIOLATION(world);
}

/* ---- Out of order ---- */

static gboolean holds_append_replies(const World *world, const RaftMessage *message) {
  (void)world;
  return message->kind == RAFT_APPEND_REPLY;
}

/* The followers answer before the leader's own disk does, and the last answer comes first. */
TEST(raft_named, append_and_write_answered_out_of_order) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  world->nodes[1]->deaf = TRUE;
  world->holds = holds_append_replies;
  guint64 index = 0;
  for (guint i = 0; i < 4; i++) {
    index = script_propose(world, 1);
    script_settle(world);
  }
  EXPECT_TRUE(script_state(world, 1).commit < index - 3);
  EXPECT_TRUE(world->held->len >= 8);
  script_release(world, TRUE);
  /* Two others have it: it is committed, and applied only when the own disk has it too. */
  EXPECT_EQ_INT(index, script_state(world, 1).commit);
  EXPECT_TRUE(script_state(world, 1).applied < index - 3);
  world->nodes[1]->deaf = FALSE;
  for (guint i = 0; i < 8; i++)
    node_hear_disk(world->nodes[1]);
  script_settle(world);
  EXPECT_EQ_INT(index, script_state(world, 1).applied);
  script_tick_all(world, 4);
  EXPECT_EQ_INT(index, script_state(world, 3).applied);
  EXPECT_NO_VIOLATION(world);
}

/* A follower's disk says late that an entry is there, which another leader has replaced meanwhile: that stands for
 * nothing, and certainly not for the entry that took its place. */
TEST(raft_named, write_of_a_replaced_entry_ends_late) {
  RaftSimResult result;
  World *world = script_new(5, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  for (guint64 id = 2; id <= 5; id++)
    script_cut(world, 1, id, id != 3);
  world->nodes[3]->deaf = TRUE;
  guint64 index = script_propose(world, 1);
  script_settle(world);
  ASSERT_EQ_INT(index, script_state(world, 3).last);
  EXPECT_EQ_INT(index - 1, script_state(world, 3).stable);
  /* 2 is elected by 4 and 5, and puts its own entry there. */
  script_crash(world, 1, SIM_KILLED);
  script_tick(world, 4, SCRIPT_ELECTION_TICKS);
  script_tick(world, 5, SCRIPT_ELECTION_TICKS);
  script_elect(world, 2);
  ASSERT_EQ_INT(RAFT_LEADER, script_state(world, 2).role);
  script_tick(world, 2, 4);
  EXPECT_EQ_INT(script_state(world, 2).term, raft_core_term_at(world->nodes[3]->core, index));
  EXPECT_TRUE(g_queue_get_length(&world->nodes[3]->disk_answers) >= 2);
  node_hear_disk(world->nodes[3]); /* of the entry that was */
  EXPECT_EQ_INT(index - 1, script_state(world, 3).stable);
  while (!g_queue_is_empty(&world->nodes[3]->disk_answers))
    node_hear_disk(world->nodes[3]);
  EXPECT_TRUE(script_state(world, 3).stable >= index);
  EXPECT_NO_VIOLATION(world);
}

/* ---- Snapshots and membership ---- */

static gboolean holds_chunks(const World *world, const RaftMessage *message) {
  (void)world;
  return message->kind == RAFT_SNAPSHOT;
}

static void let_it_snapshot(World *world, guint64 id) {
  world->shape.snapshot_entries = 1;
  node_work(world->nodes[id]);
  world->shape.snapshot_entries = 1000000;
  script_settle(world);
}

/* A learner is brought up by a snapshot, while its sender changes who takes part, and dies before that is committed. */
TEST(raft_named, snapshot_during_membership_change) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  for (guint i = 0; i < 20; i++)
    script_propose(world, 1);
  script_tick_all(world, 4);
  let_it_snapshot(world, 1);
  EXPECT_TRUE(script_state(world, 1).first > 20);
  world->holds = holds_chunks;
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_ADD, 4));
  script_tick_all(world, 4);
  EXPECT_TRUE(world->held->len > 0);
  EXPECT_FALSE(script_state(world, 4).member);
  /* The change goes to nobody. Its own snapshot does not hold it either. */
  script_isolate(world, 1, TRUE);
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_REMOVE, 3));
  script_settle(world);
  let_it_snapshot(world, 1);
  EXPECT_TRUE(raft_configuration_find(&store_durable(world->nodes[1]->store)->snapshot.configuration, 3) != NULL);
  EXPECT_TRUE(raft_configuration_find(raft_core_configuration(world->nodes[1]->core), 3) == NULL);
  script_crash(world, 1, SIM_KILLED);
  script_release(world, FALSE); /* chunks of a leader that is no more */
  script_start(world, 1);
  EXPECT_TRUE(raft_configuration_find(raft_core_configuration(world->nodes[1]->core), 3) == NULL);
  script_isolate(world, 1, FALSE);
  let_it_snapshot(world, 2);
  script_tick(world, 3, SCRIPT_ELECTION_TICKS);
  script_elect(world, 2);
  ASSERT_EQ_INT(RAFT_LEADER, script_state(world, 2).role);
  script_tick_all(world, 4 * SCRIPT_ELECTION_TICKS);
  EXPECT_TRUE(result.restores > 0);
  /* 3 takes part, 4 learns, as if 1's change had never been. */
  for (guint64 id = 1; id <= 4; id++) {
    const RaftConfiguration *configuration = raft_core_configuration(world->nodes[id]->core);
    EXPECT_EQ_INT(3, raft_configuration_voter_count(configuration));
    EXPECT_TRUE(raft_configuration_find(configuration, 3) != NULL);
    EXPECT_EQ_INT(script_state(world, 2).last, script_state(world, id).applied);
  }
  EXPECT_TRUE(script_state(world, 4).member);
  ASSERT_TRUE(script_change(world, 2, RAFT_CHANGE_PROMOTE, 4));
  script_tick_all(world, 4);
  EXPECT_TRUE(script_state(world, 4).voter);
  EXPECT_NO_VIOLATION(world);
}

static gboolean holds_appends_to_3(const World *world, const RaftMessage *message) {
  (void)world;
  return message->kind == RAFT_APPEND && message->to == 3;
}

/* A learner has everything, and its having it commits nothing. */
TEST(raft_named, learner_does_not_count) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_ADD, 4));
  script_tick_all(world, 4);
  EXPECT_TRUE(script_state(world, 4).member);
  script_cut(world, 1, 2, TRUE);
  script_cut(world, 1, 3, TRUE);
  guint64 index = script_propose(world, 1);
  script_settle(world);
  EXPECT_EQ_INT(index, script_state(world, 4).last);
  EXPECT_EQ_INT(index - 1, script_state(world, 1).commit);
  EXPECT_NO_VIOLATION(world);
}

/* 2 leads, gives its first entry to the learner 4 alone, and is gone for ever. 1, which still thinks that it leads, has
 * promoted 4, and nobody knows. Now 1 needs the vote of 4, which has more than 1; 3 needs that of 1, which has more
 * than 3: only 4 can go on, though it knows itself for a learner. */
TEST(raft_named, learner_that_has_what_others_lack_stands) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_ADD, 4));
  script_tick_all(world, 4);
  script_isolate(world, 1, TRUE);
  script_tick(world, 3, SCRIPT_ELECTION_TICKS);
  world->holds = holds_appends_to_3;
  script_elect(world, 2);
  ASSERT_EQ_INT(RAFT_LEADER, script_state(world, 2).role);
  guint64 index = script_state(world, 2).last;
  EXPECT_EQ_INT(index, script_state(world, 4).last);
  EXPECT_EQ_INT(index - 1, script_state(world, 3).last);
  script_crash(world, 2, SIM_POWER_CUT);
  g_ptr_array_set_size(world->held, 0);
  world->holds = NULL;
  ASSERT_TRUE(script_change(world, 1, RAFT_CHANGE_PROMOTE, 4));
  script_propose(world, 1);
  script_settle(world);
  EXPECT_TRUE(script_state(world, 1).last > index);
  script_isolate(world, 1, FALSE);
  script_tick_all(world, 12 * SCRIPT_ELECTION_TICKS);
  /* It has handed over since, to one that votes. */
  EXPECT_TRUE(script_state(world, 1).role == RAFT_LEADER || script_state(world, 3).role == RAFT_LEADER);
  for (guint64 id = 1; id <= 4; id++)
    if (id != 2)
      EXPECT_TRUE(script_state(world, id).commit > index);
  EXPECT_FALSE(script_state(world, 4).voter);
  EXPECT_NO_VIOLATION(world);
}

/* Bytes of a snapshot that were damaged on the way are not installed; they come again. */
TEST(raft_named, damaged_snapshot_is_not_installed) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_isolate(world, 3, TRUE);
  for (guint i = 0; i < 20; i++)
    script_propose(world, 1);
  script_tick_all(world, 4);
  let_it_snapshot(world, 1);
  world->shape.corrupt_per_mille = 1000;
  script_isolate(world, 3, FALSE);
  script_tick_all(world, 4 * SCRIPT_ELECTION_TICKS);
  EXPECT_EQ_INT(0, (int)result.restores);
  world->shape.corrupt_per_mille = 0;
  script_tick_all(world, 4 * SCRIPT_ELECTION_TICKS);
  EXPECT_EQ_INT(1, (int)result.restores);
  EXPECT_EQ_INT(script_state(world, 1).last, script_state(world, 3).applied);
  EXPECT_NO_VIOLATION(world);
}

/* ---- A damaged leader ---- */

/* What a leader says is committed counts only as far as this log is known to equal the leader's. */
TEST(raft_named, a_commit_goes_no_further_than_what_is_equal) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_tick_all(world, 4);
  /* 3 has entries of 1 that nobody else has. */
  script_cut(world, 1, 2, TRUE);
  script_cut(world, 3, 1, TRUE);
  guint64 index = script_propose(world, 1);
  script_propose(world, 1);
  script_settle(world);
  Node *node = world->nodes[3];
  ASSERT_EQ_INT(index + 1, script_state(world, 3).last);
  g_autoptr(RaftMessage) message = raft_message_new(RAFT_APPEND, 2, 3, script_state(world, 3).term + 1);
  message->from_directory = world->nodes[2]->directory;
  message->to_directory = node->directory;
  message->index = index - 1;
  message->log_term = raft_core_term_at(node->core, index - 1);
  message->commit = index + 1;
  node_deliver(node, message);
  EXPECT_EQ_INT(index - 1, script_state(world, 3).commit);
  g_free(script_end(world));
}

/* What is committed is not cut, whoever asks for it: the controller ends instead. */
TEST(raft_named, what_is_committed_is_never_cut) {
  RaftSimResult result;
  World *world = script_new(3, &result);
  script_elect(world, 1);
  script_propose(world, 1);
  script_tick_all(world, 4);
  Node *node = world->nodes[3];
  guint64 commit = script_state(world, 3).commit, term = script_state(world, 3).term;
  g_autoptr(RaftMessage) message = raft_message_new(RAFT_APPEND, 2, 3, term + 1);
  message->from_directory = world->nodes[2]->directory;
  message->to_directory = node->directory;
  message->index = commit - 1;
  message->log_term = raft_core_term_at(node->core, commit - 1);
  message->entries = raft_entries_new();
  g_ptr_array_add(message->entries, raft_entry_new(commit, term + 1, RAFT_ENTRY_KIND(EMPTY), NULL));
  node_deliver(node, message);
  EXPECT_TRUE(sim_violation(world->sim) && strstr(sim_violation(world->sim), "differs from one that is committed"));
  g_free(script_end(world));
}
