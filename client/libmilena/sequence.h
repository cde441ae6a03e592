/* The numbers of one partition's records, by which a leader knows a batch that it has written before; and what to do
 * when a number was given to a batch that never was written.
 *
 *   going on ──a batch was given up, certainly not written──► renumber ──nothing is in flight──► going on
 *       │                                                        │                                 ▲
 *       │                            a later one may be written  │                                 │
 *       └──a batch was given up with an unknown outcome,         ▼                                 │
 *          a gap, the leader forgot us, we are fenced ──────► new epoch ──nothing is in flight─────┘
 *
 * Renumber: the numbers from the lost batch on are given again. New epoch: that could write a record twice, or not
 * help, so numbers begin at 0 under a new epoch (as Kafka's KIP-360 does). A plain value. Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum { SEQUENCE_GOES_ON, SEQUENCE_RENUMBER, SEQUENCE_NEW_EPOCH } SequenceReset;

/* All zero: no producer yet. */
typedef struct {
  gint64 producer_id; /* 0: none; then sequence_begin comes first */
  guint32 producer_epoch;
  guint32 next;     /* of the next record, modulo 2^32 as all of them */
  guint32 resolved; /* what became of all records before it is known, or given up */
  SequenceReset reset;
  guint32 renumber_from; /* for SEQUENCE_RENUMBER */
} Sequence;

/* Count from 0 for a producer's id and epoch. */
void sequence_begin(Sequence *sequence, gint64 producer_id, guint32 producer_epoch);
/* Numbers for @count records; returns the first. */
guint32 sequence_take(Sequence *sequence, guint32 count);
/* All before the batch that begins with @first is resolved. */
gboolean sequence_is_head(const Sequence *sequence, guint32 first);
/* A batch was written. */
void sequence_written(Sequence *sequence, guint32 first, guint32 count);
/* A batch will not be sent again. @certain: it was never written. */
void sequence_give_up(Sequence *sequence, guint32 first, guint32 count, gboolean certain);
/* The leader's numbers are not ours: only a new epoch helps. */
void sequence_disown(Sequence *sequence);
/* Nothing is in flight, and no batch has a number any more: go on. After SEQUENCE_NEW_EPOCH there is no producer, until
 * sequence_begin. */
void sequence_restart(Sequence *sequence);

G_END_DECLS
