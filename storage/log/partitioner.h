/* Which partition a key belongs to: as Kafka's Java client's default partitioner has it, so that a key finds the same
 * partition in both. Pure; any thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The 32-bit MurmurHash2 with Kafka's seed. */
gint32 log_partitioner_murmur2(gconstpointer data, gsize len);
/* Partition of a key, 0 to @partition_count - 1. @partition_count: 1 or more. An empty key is a key. */
guint32 log_partitioner_for_key(gconstpointer key, gsize len, guint32 partition_count);

G_END_DECLS
