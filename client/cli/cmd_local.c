/* `milena local status|down|stop|start`: look at a cluster on this machine, end it, or end and start one process. */
#include <signal.h>

#include "client/cli/local_cluster.h"
#include "client/cli/text.h"

#define GRACE_S_DEFAULT 30
#define DATA_HELP "Folder of the cluster (default ~/.local/share/milena/local)"

/* Open a folder that must hold a cluster. Returns CLI_OK, or the exit code after saying why not. */
static int open_cluster(Cli *cli, const char *data, gboolean lock, LocalCluster *cluster) {
  Failure *failure = local_cluster_open(cli, data, FALSE, cluster);
  if (failure)
    return cli_usage(cli, failure);
  if (!cluster->plan)
    return cli_failed_text(cli,
                           "'%s' holds no cluster. Start one with 'milena local up', or name its folder with "
                           "--data.",
                           cluster->folder);
  if (!lock)
    return CLI_OK;
  /* Again, under the lock: the plan may have changed before we got it. A folder without a cluster got no lock file. */
  g_autofree char *folder = g_strdup(cluster->folder);
  local_cluster_close(cluster);
  failure = local_cluster_open(cli, folder, TRUE, cluster);
  return failure ? cli_usage(cli, failure) : CLI_OK;
}

/* ---- status ---- */

static int run_status(Cli *cli, int argc, char **argv) {
  g_autofree char *data = NULL;
  const GOptionEntry entries[] = {
      {"data", 'd', 0, G_OPTION_ARG_FILENAME, &data, DATA_HELP, "DIR"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "States: serving; not serving (it answers, and takes no calls yet); silent (it runs and does not\n"
                 "answer); ended (by itself: see its log); stopped. The exit code is 0 when all serve, else 1.\n",
                 argc, argv, &code))
    return code;
  g_auto(LocalCluster) cluster = {.lock_fd = -1};
  gboolean all_serve = FALSE;
  code = open_cluster(cli, data, FALSE, &cluster);
  if (code == CLI_OK)
    code = local_cluster_show(cli, &cluster, &all_serve);
  return code == CLI_OK && !all_serve ? CLI_FAILED : code;
}

const Command CMD_LOCAL_STATUS = {
    .name = "local status",
    .arguments = "",
    .summary = "Show the processes of the cluster on this machine",
    .examples = "  milena local status\n"
                "  milena local status --data /tmp/small --output json\n",
    .local = TRUE,
    .run = run_status,
};

/* ---- down ---- */

static int check_grace(Cli *cli, gint grace_s) {
  return grace_s >= 0 && grace_s <= 3600
             ? CLI_OK
             : cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "--grace is %d, but must be from 0 to 3600 seconds.",
                                          grace_s));
}

static int run_down(Cli *cli, int argc, char **argv) {
  g_autofree char *data = NULL;
  gint grace_s = GRACE_S_DEFAULT;
  const GOptionEntry entries[] = {
      {"data", 'd', 0, G_OPTION_ARG_FILENAME, &data, DATA_HELP, "DIR"},
      {"grace", 0, 0, G_OPTION_ARG_INT, &grace_s, "Kill what has not ended after so many seconds (default 30)",
       "SECONDS"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  g_auto(LocalCluster) cluster = {.lock_fd = -1};
  code = check_grace(cli, grace_s);
  if (code == CLI_OK)
    code = open_cluster(cli, data, TRUE, &cluster);
  if (code != CLI_OK)
    return code;
  guint running = local_cluster_running(&cluster);
  guint killed = local_cluster_stop(cluster.plan, (gint64)grace_s * 1000);
  guint left = local_cluster_running(&cluster);
  if (left > 0)
    return cli_failed_text(cli, "%u processes can't be ended; see 'milena local status'.", left);
  if (killed > 0)
    cli_note(cli, "%u of %u processes did not end in %d s and were killed; their next start checks their data.", killed,
             running, grace_s);
  else
    cli_note(cli, "%u %s ended; the data stays in '%s'.", running, running == 1 ? "process" : "processes",
             cluster.folder);
  return CLI_OK;
}

const Command CMD_LOCAL_DOWN = {
    .name = "local down",
    .arguments = "",
    .summary = "End the cluster on this machine; its data stays",
    .examples = "  milena local down\n"
                "  milena local down --data /tmp/small --grace 5\n",
    .local = TRUE,
    .run = run_down,
};

/* ---- stop, start ---- */

/* The process that the command line names, as the only one of a list; the list is owned by the caller. */
static int find_node(Cli *cli, const LocalCluster *cluster, GPtrArray **ret_nodes) {
  const char *name = cli->arguments[0];
  LocalNode *node = local_plan_find(cluster->plan, name);
  if (node) {
    *ret_nodes = g_ptr_array_new();
    g_ptr_array_add(*ret_nodes, node);
    return CLI_OK;
  }
  g_autoptr(GString) names = g_string_new(NULL);
  for (guint i = 0; i < cluster->plan->nodes->len; i++)
    g_string_append_printf(names, "%s%s", i ? ", " : "", ((LocalNode *)cluster->plan->nodes->pdata[i])->name);
  return cli_usage(
      cli, failure_new(FAILURE(INVALID_FIELD), "the cluster has no process '%s'. It has: %s.", name, names->str));
}

static int stop_node(Cli *cli, const LocalCluster *cluster, GPtrArray *nodes, gboolean kill_it, gint grace_s) {
  const LocalNode *node = nodes->pdata[0];
  LocalPid identity;
  LocalState before = local_process_state(cluster->plan, node, &identity);
  guint killed = local_process_stop(cluster->plan, nodes, kill_it ? SIGKILL : SIGTERM, (gint64)grace_s * 1000);
  if (local_process_state(cluster->plan, node, &identity) == LOCAL_RUNNING)
    return cli_failed_text(cli, "%s (pid %d) can't be ended.", node->name, (int)identity.pid);
  if (before != LOCAL_RUNNING)
    cli_note(cli, "%s did not run.", node->name);
  else if (kill_it || killed)
    cli_note(cli, "%s was killed (SIGKILL)%s.", node->name, kill_it ? "" : ": it did not end in time");
  else
    cli_note(cli, "%s ended.", node->name);
  return CLI_OK;
}

static int run_stop(Cli *cli, int argc, char **argv) {
  g_autofree char *data = NULL;
  gboolean kill_it = FALSE;
  gint grace_s = GRACE_S_DEFAULT;
  const GOptionEntry entries[] = {
      {"data", 'd', 0, G_OPTION_ARG_FILENAME, &data, DATA_HELP, "DIR"},
      {"kill", 'k', 0, G_OPTION_ARG_NONE, &kill_it, "Kill it (SIGKILL), as a crash would", NULL},
      {"grace", 0, 0, G_OPTION_ARG_INT, &grace_s, "Kill it when it has not ended after so many seconds (default 30)",
       "SECONDS"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  g_auto(LocalCluster) cluster = {.lock_fd = -1};
  g_autoptr(GPtrArray) nodes = NULL;
  code = check_grace(cli, grace_s);
  if (code == CLI_OK)
    code = open_cluster(cli, data, TRUE, &cluster);
  if (code == CLI_OK)
    code = find_node(cli, &cluster, &nodes);
  return nodes ? stop_node(cli, &cluster, nodes, kill_it, grace_s) : code;
}

const Command CMD_LOCAL_STOP = {
    .name = "local stop",
    .arguments = "PROCESS",
    .summary = "End one process of the cluster on this machine",
    .examples = "  milena local stop broker-2\n"
                "  milena local stop broker-2 --kill\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .local = TRUE,
    .run = run_stop,
};

static int start_node(Cli *cli, LocalCluster *cluster, GPtrArray *nodes) {
  const LocalNode *node = nodes->pdata[0];
  LocalPid identity;
  if (local_process_state(cluster->plan, node, &identity) == LOCAL_RUNNING)
    cli_note(cli, "%s runs already (pid %d).", node->name, (int)identity.pid);
  return local_cluster_bring_up(cli, cluster, nodes);
}

static int run_start(Cli *cli, int argc, char **argv) {
  g_autofree char *data = NULL;
  const GOptionEntry entries[] = {
      {"data", 'd', 0, G_OPTION_ARG_FILENAME, &data, DATA_HELP, "DIR"},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  g_auto(LocalCluster) cluster = {.lock_fd = -1};
  g_autoptr(GPtrArray) nodes = NULL;
  code = open_cluster(cli, data, TRUE, &cluster);
  if (code == CLI_OK)
    code = find_node(cli, &cluster, &nodes);
  return nodes ? start_node(cli, &cluster, nodes) : code;
}

const Command CMD_LOCAL_START = {
    .name = "local start",
    .arguments = "PROCESS",
    .summary = "Start one process of the cluster on this machine and wait until it serves",
    .examples = "  milena local start broker-2\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .local = TRUE,
    .run = run_start,
};
