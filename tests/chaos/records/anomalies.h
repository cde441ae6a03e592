/* Did a cluster keep its promises about records? Looks through a ledger for each anomaly that must not be. Pure.
 *
 * The table is that of Jepsen's work on such systems, with what a real log needs beside it. A promise of groups or
 * transactions is another row: their anomalies are found in more kinds of events of the same ledger
 * (group_anomalies.c). */
#pragma once

#include "tests/chaos/records/ledger.h"

G_BEGIN_DECLS

typedef enum {
  ANOMALY_INCONSISTENT_OFFSETS, /* one offset of a partition was two values, told by answers and reads */
  ANOMALY_DUPLICATE,            /* one value at two offsets */
  ANOMALY_LOST_WRITE,           /* acknowledged, below what somebody read, and nobody ever read it */
  ANOMALY_UNSEEN,               /* acknowledged, behind all that anybody read to the end */
  ANOMALY_ABORTED_READ,         /* read, though its send was told that it was not written */
  ANOMALY_VANISHED,             /* read by somebody, and missing in a whole reading: it was not committed yet */
  ANOMALY_UNSENT,               /* read, and nobody sent it, or not to there */
  ANOMALY_POLL_SKIP,            /* from one poll of a reader to its next, a record is left out */
  ANOMALY_NON_MONOTONIC_POLL,   /* from one poll to the next, it goes back */
  ANOMALY_INTERNAL_POLL_SKIP,   /* the same within one poll */
  ANOMALY_INTERNAL_NON_MONOTONIC_POLL,
  ANOMALY_NON_MONOTONIC_SEND, /* a process's later send has the lower offset */
  /* Of consumer groups. */
  ANOMALY_TAKEOVER_SKIP,   /* a partition's new owner began behind what was committed, and left a record out */
  ANOMALY_TAKEOVER_BACK,   /* it began before what was committed when it was given the partition */
  ANOMALY_UNPROCESSED,     /* acknowledged and there, and no member of an at-least-once group processed it */
  ANOMALY_PROCESSED_TWICE, /* in a group that commits before it processes */
  ANOMALY_TWO_OWNERS,      /* two members committed a partition so that both had it at one time */
  ANOMALY_COUNT
} AnomalyKind;

typedef struct {
  guint counts[ANOMALY_COUNT];
  guint sends, reads, polls; /* that were looked at */
  guint partitions;
  guint acknowledged;       /* sends */
  guint tenures, takeovers; /* of members of groups; takeovers: those that began where others had read */
  guint commits;            /* of them, that succeeded */
} AnomalyReport;

const char *anomaly_name(AnomalyKind kind);

/* @explain: takes some lines for each kind that is found; may be NULL
 * @ret_report: may be NULL
 *
 * Returns how many anomalies there are. */
guint anomalies_find(const Ledger *ledger, GString *explain, AnomalyReport *ret_report);

G_END_DECLS
