/* Clusters of real processes for tests: started by the milena command in a folder and a block of ports of their own,
 * and taken down at the end, whatever happened in between. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Cluster Cluster;

/* The outcome of a command. */
typedef struct {
  int exit_code; /* -1: ended by a signal */
  char *out, *err;
} Ran;

/* Start a cluster with one controller and one coordinator. Returns NULL, after a test failure, when it does not come
 * up. */
Cluster *cluster_up(guint brokers);
/* The same with 1, 3 or 5 controllers. */
Cluster *cluster_up_with(guint controllers, guint brokers);
/* The same with any number of coordinators. */
Cluster *cluster_up_of(guint controllers, guint brokers, guint coordinators);
/* A folder and ports, with nothing started. */
Cluster *cluster_prepare(void);
void cluster_down(Cluster *cluster); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cluster, cluster_down)

/* Another setting of what is started from now on: "MILENA_BROKER_SEGMENT_AGE", "1s". */
void cluster_set(Cluster *cluster, const char *variable, const char *value);

/* Run `milena WORDS...` against the cluster; the words end with NULL. The result lives until the next call. */
const Ran *cluster_milena(Cluster *cluster, const char *word, ...) G_GNUC_NULL_TERMINATED;
/* The same with input. */
const Ran *cluster_milena_with_input(Cluster *cluster, const char *input, const char *word, ...) G_GNUC_NULL_TERMINATED;
/* Run any program: words[0] is "milena-broker" and the like, or a path. */
const Ran *cluster_run(Cluster *cluster, const char *input, const char *const *words);
/* Start a program in the background; cluster_wait collects it. */
GPid cluster_spawn(Cluster *cluster, const char *const *words, const char *out_path);
int cluster_wait(GPid pid);

const char *cluster_folder(const Cluster *cluster); /* of its data */
char *cluster_path(const Cluster *cluster, const char *name);
guint cluster_port(const Cluster *cluster, guint offset); /* base port + offset */
/* Pid of "broker-1" and so on; 0 when it is not running. */
GPid cluster_pid(Cluster *cluster, const char *name);
/* What the process has logged so far; owned by the caller. */
char *cluster_log(Cluster *cluster, const char *name);
/* Wait for a condition, not for a time: TRUE once @holds says so, FALSE after @timeout_ms. */
gboolean cluster_until(gboolean (*holds)(gpointer data), gpointer data, guint timeout_ms);

G_END_DECLS
