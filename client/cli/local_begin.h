/* The first start of a local cluster: its controllers run and wait, and are told to begin. Once. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/local_plan.h"

G_BEGIN_DECLS

/* Begin the cluster unless the plan says that it has begun, and keep that in the plan's file. A start that was broken
 * off between the two goes on. All controllers must answer.
 *
 * Returns CLI_OK, or the exit code after saying what is wrong. */
int local_begin(Cli *cli, LocalPlan *plan);

/* This controller answers, and belongs to no cluster: it lost its folder, or is new. It serves once it is added. */
gboolean local_waits_to_be_added(const LocalNode *node);

G_END_DECLS
