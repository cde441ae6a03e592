/* Is a history linearizable: is there an order of its operations, in accord with real time, in which each answer is
 * what one machine with one thread would have said? Pure.
 *
 * Each topic is checked for itself: a history is linearizable when that of each object is (Herlihy and Wing). Within a
 * topic the search is Wing and Gong's, with Lowe's memory of what was tried: its cost grows with how much goes on at
 * one time and with operations of unknown outcome, not with the length. */
#pragma once

#include "tests/chaos/history.h"

G_BEGIN_DECLS

typedef enum {
  LINEAR_OK,
  LINEAR_VIOLATION,
  LINEAR_UNDECIDED, /* the bound of the search was reached */
} LinearVerdict;

typedef struct {
  guint topics, ops; /* that were looked at */
  guint64 steps;     /* of the search */
  guint violations;  /* topics that are not linearizable, and tags with more than one id */
  guint undecided;   /* topics */
} LinearReport;

/* @ops: of HistoryOp, in any order
 * @steps_max: for one topic; 0: 20 million
 * @explain: takes a few lines for each violation: what can't be, and the topic's history up to there; may be NULL
 *
 * A violation counts for more than an undecided topic. */
LinearVerdict linear_check(const GArray *ops, guint64 steps_max, GString *explain, LinearReport *ret_report);

G_END_DECLS
