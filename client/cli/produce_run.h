/* One run of `milena produce`: bytes from a file become records, records become batches, reports become counts. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/key_rule.h"
#include "client/cli/splitter.h"

G_BEGIN_DECLS

/* A failure or a signal is seen within this, also while no input comes, or records wait for room or for their answers.
 */
#define PRODUCE_WAIT_MS 200

/* What to do; all borrowed. */
typedef struct {
  const char *topic;
  int input;           /* descriptor */
  guint64 input_bytes; /* its size; 0 when unknown */
  GBytes *separator;
  const KeyRule *key_rule;
  gint32 partition; /* or MILENA_PARTITION_ANY */
  const MilenaHeader *headers;
  gsize header_count;
  gsize record_bytes_max; /* a larger record is refused here */
  gboolean skip_empty;    /* leave out empty records */
  gboolean require_key;   /* a record without a key is refused */
  gboolean show_progress;
} ProduceJob;

/* What became of it. */
typedef struct {
  guint64 records;     /* read, less those that were left out */
  guint64 delivered;   /* written */
  guint64 bytes;       /* of keys and values of those */
  guint64 failed;      /* not written, or not known to be */
  guint64 unknown;     /* of those: may have been written */
  guint64 duplicates;  /* had been written before, by an earlier try */
  guint64 without_key; /* of the delivered ones and failed ones, when a key was looked for */
  guint64 batches_retried;
  gint64 elapsed_us;
  gboolean incomplete; /* the input was not read to its end */
} ProduceTally;

/* Run it: returns when everything that was read has been reported. Says each of the first failures on standard error.
 * Frees the producer.
 *
 * @producer: with a block_timeout_ms of PRODUCE_WAIT_MS
 * @patience_ms: how long a record waits for room, and all of them for their answers at the end */
ProduceTally produce_run(Cli *cli, MilenaProducer *producer, const ProduceJob *job, gint32 patience_ms);

G_END_DECLS
