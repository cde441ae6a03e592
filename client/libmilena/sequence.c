/* See sequence.h. */
#include "client/libmilena/sequence.h"

#include "services/base/invariant.h"

/* How far @a is ahead of @b: half of the circle is behind, the other half ahead. */
static gint32 distance(guint32 a, guint32 b) {
  return (gint32)(a - b);
}

void sequence_begin(Sequence *sequence, gint64 producer_id, guint32 producer_epoch) {
  INVARIANT(producer_id > 0 && sequence->reset == SEQUENCE_GOES_ON, "a sequence begins with a producer");
  *sequence = (Sequence){.producer_id = producer_id, .producer_epoch = producer_epoch};
}

guint32 sequence_take(Sequence *sequence, guint32 count) {
  INVARIANT(sequence->producer_id > 0 && sequence->reset == SEQUENCE_GOES_ON, "numbers are given by a producer");
  guint32 first = sequence->next;
  sequence->next += count;
  return first;
}

gboolean sequence_is_head(const Sequence *sequence, guint32 first) {
  return distance(first, sequence->resolved) <= 0;
}

static void resolve(Sequence *sequence, guint32 first, guint32 count) {
  if (distance(first + count, sequence->resolved) > 0)
    sequence->resolved = first + count;
}

void sequence_written(Sequence *sequence, guint32 first, guint32 count) {
  resolve(sequence, first, count);
  /* Written behind a number that was not: that number can't be given again. */
  if (sequence->reset == SEQUENCE_RENUMBER && distance(first, sequence->renumber_from) > 0)
    sequence->reset = SEQUENCE_NEW_EPOCH;
}

void sequence_give_up(Sequence *sequence, guint32 first, guint32 count, gboolean certain) {
  resolve(sequence, first, count);
  if (!certain) {
    sequence->reset = SEQUENCE_NEW_EPOCH;
  } else if (sequence->reset == SEQUENCE_GOES_ON) {
    sequence->reset = SEQUENCE_RENUMBER;
    sequence->renumber_from = first;
  } else if (sequence->reset == SEQUENCE_RENUMBER && distance(first, sequence->renumber_from) < 0) {
    sequence->renumber_from = first;
  }
}

void sequence_disown(Sequence *sequence) {
  sequence->reset = SEQUENCE_NEW_EPOCH;
}

void sequence_restart(Sequence *sequence) {
  if (sequence->reset == SEQUENCE_RENUMBER)
    sequence->next = sequence->resolved = sequence->renumber_from;
  else if (sequence->reset == SEQUENCE_NEW_EPOCH)
    sequence->producer_id = 0;
  sequence->reset = SEQUENCE_GOES_ON;
}
