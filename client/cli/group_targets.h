/* What `groups reset-offsets` and `groups delete-offsets` are about: partitions from the command line, offsets from a
 * file. Pure. */
#pragma once

#include <glib.h>
#include <milena/group.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* Partitions, or offsets; owns the names in them. */
typedef struct {
  GArray *partitions; /* of MilenaTopicPartition; partition -1: all of the topic */
  GArray *offsets;    /* of MilenaOffset */
  GStringChunk *names;
} GroupTargets;

void group_targets_init(GroupTargets *targets);
void group_targets_clear(GroupTargets *targets);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GroupTargets, group_targets_clear)

/* "orders", "orders:3", "orders:0,3,5". Returns NULL, or INVALID_FIELD. */
Failure *group_targets_add(GroupTargets *targets, const char *text);
/* Lines of a topic, a partition and an offset, apart by blanks; empty lines and those that begin with # do not count.
 *
 * @length: of @text; need not end with NUL
 *
 * Returns NULL, or INVALID_FIELD with the number of the line. */
Failure *group_targets_add_file(GroupTargets *targets, const char *text, gsize length);

G_END_DECLS
