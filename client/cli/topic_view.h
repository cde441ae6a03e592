/* A topic as the `milena topics` commands show it. */
#pragma once

#include "client/cli/cli.h"

G_BEGIN_DECLS

/* First and end offsets of each partition, in their order; offsets[2 * i] and offsets[2 * i + 1]; owned by the caller.
 * -1 where they could not be had (a partition without a leader, say). */
gint64 *topic_view_offsets(MilenaClient *client, const MilenaTopic *topic, gint32 timeout_ms);

/* Print the topic: as text with a table of its partitions, or as JSON.
 *
 * @offsets: of topic_view_offsets, or NULL to leave them out */
int topic_view_print(Cli *cli, const MilenaTopic *topic, const gint64 *offsets);

/* Cells of a table of partitions: the leader's id, or "none"; ids with commas. */
void topic_view_add_leader(Table *table, const MilenaPartition *partition);
void topic_view_add_ids(Table *table, const int32_t *ids, gsize count);
/* An array of ids. */
void topic_view_json_ids(Json *json, const char *key, const int32_t *ids, gsize count);

G_END_DECLS
