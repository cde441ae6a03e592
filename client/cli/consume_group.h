/* One run of `milena consume --group`: a member of a group that writes records until it is stopped. */
#pragma once

#include "client/cli/consume_run.h"

G_BEGIN_DECLS

typedef enum {
  CONSUME_COMMIT_AFTER,  /* what was written: at least once */
  CONSUME_COMMIT_BEFORE, /* what is about to be written: at most once */
  CONSUME_COMMIT_NEVER,
} ConsumeCommit;

/* Who reads; all borrowed. */
typedef struct {
  const char *group;
  const char *instance_id; /* NULL: none */
  MilenaReset reset;       /* without a committed offset */
  ConsumeCommit commit;
  gboolean verbose; /* tell rebalances on standard error */
} ConsumeMembership;

/* Run it. @job: its topic, count and template count. Returns the exit code, after saying what failed. */
int consume_group_run(Cli *cli, MilenaClient *client, const ConsumeJob *job, const ConsumeMembership *membership,
                      ConsumeTally *ret_tally);

G_END_DECLS
