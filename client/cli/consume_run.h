/* One run of `milena consume`: where each partition starts and ends, and the loop that writes records. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/template.h"
#include "client/cli/when.h"

G_BEGIN_DECLS

/* What to do; all borrowed. */
typedef struct {
  const char *topic;
  const gint32 *partitions; /* NULL: all */
  gsize partition_count;
  When from;
  guint64 count; /* end after so many records; 0: no bound */
  gboolean follow;
  const Template *template;
} ConsumeJob;

typedef struct {
  guint64 records, bytes; /* of keys and values */
  gint64 elapsed_us;
} ConsumeTally;

/* Run it. Returns the exit code, after saying what failed. */
int consume_run(Cli *cli, MilenaClient *client, const ConsumeJob *job, ConsumeTally *ret_tally);

G_END_DECLS
