/* What producers and consumers did to the records of a cluster, and what they were told: the input of the checker
 * (anomalies.h). Pure.
 *
 * Each record has a value of its own, a number that no other send of the ledger has, so whoever reads it tells which
 * send it saw. Partitions are numbered over all topics. The sends of a process stand in the order in which it began
 * them, and so do the reads of a reader; processes and readers may be mixed. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  LEDGER_OK,
  LEDGER_FAILED,  /* "not written", for sure */
  LEDGER_UNKNOWN, /* may have been written, may still be */
} LedgerOutcome;

typedef struct {
  guint32 process;
  gint32 partition; /* -1: not known, for it was never told */
  guint64 value;    /* not 0 */
  LedgerOutcome outcome;
  /* Written once, and in the order of the process's sends, whatever came in between. Without it a process has one send
   * at a time, and tries none again. */
  gboolean is_idempotent;
  gint64 offset; /* of LEDGER_OK; else -1 */
  gint64 invoke_us, return_us;
} LedgerSend;

/* One record that was read. Who starts to read anew, elsewhere than where it was, is another reader. */
typedef struct {
  guint32 reader;
  guint32 poll; /* number of the answer that it came in; grows with each */
  gint32 partition;
  gint64 offset;
  guint64 value; /* 0: what was read is no value of any send */
} LedgerRead;

/* A reader has read all of a partition, after all else: what anybody ever saw must be in it. */
typedef struct {
  guint32 reader;
  gint32 partition;
} LedgerWhole;

/* A consumer group, and when its members commit. */
typedef struct {
  guint32 group;
  gboolean is_at_most_once; /* before they process; else behind it, at least once */
  gboolean is_complete;     /* its members have processed everything, after all else */
} LedgerGroup;

/* A member of a group was given a partition. What it processes until it loses it are the reads of this reader, who has
 * this partition alone; given again, it is another reader. */
typedef struct {
  guint32 group, reader;
  gint32 partition;
  gint64 since_us; /* it was told that the partition is its own */
  gint64 first_us; /* it was given the first records; 0: none */
} LedgerTenure;

/* A reader's commit: the next offset to read is this one. */
typedef struct {
  guint32 reader;
  gint64 offset;
  LedgerOutcome outcome;
  gint64 invoke_us, return_us;
} LedgerCommit;

typedef struct {
  GArray *sends;   /* of LedgerSend */
  GArray *reads;   /* of LedgerRead */
  GArray *wholes;  /* of LedgerWhole */
  GArray *groups;  /* of LedgerGroup */
  GArray *tenures; /* of LedgerTenure */
  GArray *commits; /* of LedgerCommit */
} Ledger;

Ledger *ledger_new(void);
void ledger_free(Ledger *ledger); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ledger, ledger_free)

const char *ledger_outcome_name(LedgerOutcome outcome);

/* As text, a line for each of them; lines that begin with # are comments. */
gboolean ledger_save(const Ledger *ledger, const char *path, GError **error);
/* Owned by the caller; NULL on failure. */
Ledger *ledger_load(const char *path, GError **error);

/* From a moment until the first acknowledgement, in this partition, of a send that began after it; -1 when there is
 * none. */
gint64 ledger_outage_us(const Ledger *ledger, gint32 partition, gint64 since_us);
/* Between two moments, how long at most there was none of these. @times: of gint64, in between; they are put in order
 */
gint64 ledger_longest_pause_us(GArray *times, gint64 since_us, gint64 until_us);

G_END_DECLS
