/* Consumer groups, simulated: the real state machine, members that join, leave, freeze and die, a network that loses,
 * doubles and delays, a coordinator that dies and is loaded anew from what was durable, topics that come, go and grow.
 * rules.c states what must hold. */
#pragma once

#include <glib.h>
#include <stdio.h>

G_BEGIN_DECLS

typedef struct {
  char *violation; /* NULL when all rules held; owned by the caller */
  guint64 heartbeats, commits, moves, fenced, crashes, cuts, compactions, topics, freezes, deaths, returns;
  guint64 fingerprint; /* of all that happened */
} GroupsSimResult;

/* @trace: where all that happens is told; may be NULL */
void groups_sim_run(guint64 seed, FILE *trace, GroupsSimResult *ret_result);

G_END_DECLS
