/* Idempotent producers that write on while a test breaks things, and what became of each record. */
#pragma once

#include <milena/milena.h>

#include "tests/cluster/harness.h"

G_BEGIN_DECLS

typedef struct Load Load;

/* A client that knows brokers 1 to @brokers. Freed with milena_client_free. */
MilenaClient *load_client(const Cluster *cluster, guint brokers);

/* Each producer is a thread with a client of its own, and writes numbered values to all partitions of @topic. */
Load *load_start(const Cluster *cluster, const char *topic, guint brokers, guint producers);
/* The same with values of @value_bytes, to fill disks with. */
Load *load_start_of(const Cluster *cluster, const char *topic, guint brokers, guint producers, gsize value_bytes);
guint load_acknowledged(Load *load);
/* Every record that was answered so far was written. */
void load_expect_no_failure(Load *load);
/* The longest time in which nothing was acknowledged, since the last call of this. */
gint64 load_longest_gap_ms(Load *load);
/* Wait until @more records were acknowledged from now on. */
void load_expect_more(Load *load, guint more);
/* No more is sent; all that was sent is answered. */
void load_stop(Load *load);
/* Read the topic: what was acknowledged is there once, the rest at most once, each producer's in order. After
 * load_stop. */
void load_expect_all_once(Load *load, MilenaClient *client);
/* Stops it. NULL is fine. */
void load_free(Load *load);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Load, load_free)

G_END_DECLS
