/* The numbers of one partition's records. */
#include "client/libmilena/sequence.h"
#include "tests/shim/shim.h"

static Sequence begun(void) {
  Sequence sequence = {0};
  sequence_begin(&sequence, 7, 2);
  return sequence;
}

TEST(sequence, counts_records) {
  Sequence sequence = begun();
  EXPECT_EQ_INT(0, sequence_take(&sequence, 10));
  EXPECT_EQ_INT(10, sequence_take(&sequence, 5));
  EXPECT_TRUE(sequence_is_head(&sequence, 0));
  EXPECT_FALSE(sequence_is_head(&sequence, 10));
  sequence_written(&sequence, 0, 10);
  EXPECT_TRUE(sequence_is_head(&sequence, 10));
  EXPECT_EQ_INT(SEQUENCE_GOES_ON, sequence.reset);
}

TEST(sequence, goes_round) {
  Sequence sequence = begun();
  sequence.next = sequence.resolved = G_MAXUINT32 - 2;
  guint32 first = sequence_take(&sequence, 10), second = sequence_take(&sequence, 1);
  EXPECT_EQ_INT(7, second);
  EXPECT_FALSE(sequence_is_head(&sequence, second));
  sequence_written(&sequence, first, 10);
  EXPECT_TRUE(sequence_is_head(&sequence, second));
}

TEST(sequence, gives_numbers_again_that_were_never_written) {
  Sequence sequence = begun();
  sequence_take(&sequence, 10);
  sequence_take(&sequence, 10);
  sequence_written(&sequence, 0, 10);
  sequence_give_up(&sequence, 10, 10, TRUE);
  EXPECT_EQ_INT(SEQUENCE_RENUMBER, sequence.reset);
  sequence_restart(&sequence);
  EXPECT_EQ_INT(7, sequence.producer_id);
  EXPECT_EQ_INT(10, sequence_take(&sequence, 1));
}

TEST(sequence, renumbers_from_the_first_that_was_lost) {
  Sequence sequence = begun();
  sequence_take(&sequence, 30);
  sequence_give_up(&sequence, 10, 10, TRUE);
  sequence_give_up(&sequence, 20, 10, TRUE);
  sequence_give_up(&sequence, 0, 10, TRUE);
  sequence_restart(&sequence);
  EXPECT_EQ_INT(0, sequence.next);
}

TEST(sequence, an_unknown_outcome_needs_a_new_epoch) {
  Sequence sequence = begun();
  sequence_take(&sequence, 20);
  sequence_give_up(&sequence, 0, 10, TRUE);
  sequence_give_up(&sequence, 10, 10, FALSE);
  EXPECT_EQ_INT(SEQUENCE_NEW_EPOCH, sequence.reset);
  sequence_restart(&sequence);
  EXPECT_EQ_INT(0, sequence.producer_id);
  sequence_begin(&sequence, 7, 3);
  EXPECT_EQ_INT(0, sequence_take(&sequence, 10));
  EXPECT_EQ_INT(3, sequence.producer_epoch);
}

TEST(sequence, what_was_written_is_never_numbered_again) {
  Sequence sequence = begun();
  sequence_take(&sequence, 20);
  sequence_give_up(&sequence, 0, 10, TRUE);
  sequence_written(&sequence, 10, 10);
  EXPECT_EQ_INT(SEQUENCE_NEW_EPOCH, sequence.reset);
}

TEST(sequence, a_leader_that_counts_otherwise_needs_a_new_epoch) {
  Sequence sequence = begun();
  sequence_take(&sequence, 20);
  sequence_disown(&sequence);
  sequence_give_up(&sequence, 0, 20, TRUE);
  EXPECT_EQ_INT(SEQUENCE_NEW_EPOCH, sequence.reset);
}
