/* Partitions and how they stand, as the `milena partitions` commands show them. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/partition_health.h"

G_BEGIN_DECLS

/* Which partitions are shown. */
typedef enum {
  PARTITIONS_TROUBLED, /* all that are not ok */
  PARTITIONS_ALL,
  PARTITIONS_UNDER_REPLICATED,
  PARTITIONS_MOVING,
  PARTITIONS_NO_LEADER,
} PartitionsFilter;

/* Print a line that counts them, and a table of those that @filter lets pass; or JSON.
 *
 * @topics, @moves: borrowed; @moves: the reassignments under way */
int partitions_view_print(Cli *cli, const MilenaTopic *topics, gsize count, const MilenaReassignmentList *moves,
                          PartitionsFilter filter);
/* Fetch the topic, or all of them when @topic is NULL, and print. */
int partitions_view_show(Cli *cli, MilenaClient *client, const char *topic, PartitionsFilter filter);
/* Wait until no reassignment of the topic (NULL: of any) is under way. Returns the exit code: CLI_FAILED, after saying
 * so, when the command's time is up. */
int partitions_view_wait(Cli *cli, MilenaClient *client, const char *topic);

G_END_DECLS
