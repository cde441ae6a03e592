/* `milena local up`: a cluster on this machine, from nothing or where it was. With --foreground it stays and watches:
 *
 *   watching ──a process ends by itself──► says so, watches the rest ──SIGINT, SIGTERM──► ends all ──► exit */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "client/cli/local_cluster.h"

#define WATCH_NS 300000000L
#define GRACE_MS 30000

/* The plan of this start: kept in the folder before anything runs. */
static Failure *make_plan(LocalCluster *cluster, const LocalWish *wish) {
  LocalPlan *plan = NULL;
  Failure *failure = local_plan_make(cluster->folder, cluster->plan, wish, local_cluster_running(cluster) > 0, &plan);
  if (failure)
    return failure;
  g_clear_pointer(&cluster->plan, local_plan_free);
  cluster->plan = plan;
  return local_plan_save(plan);
}

static void say_next(const LocalPlan *plan) {
  if (plan->base_port != LOCAL_BASE_PORT_DEFAULT)
    fprintf(stderr, "\nTo work with it: export MILENA_BOOTSTRAP=localhost:%u\n", plan->base_port);
}

/* ---- Foreground ---- */

/* Set up before the processes start, so that no signal is lost. */
static void block_signals(sigset_t *ret_signals) {
  sigemptyset(ret_signals);
  sigaddset(ret_signals, SIGINT);
  sigaddset(ret_signals, SIGTERM);
  sigprocmask(SIG_BLOCK, ret_signals, NULL);
}

/* Tell once of each process that has ended by itself. @told: by node, the pid whose end was told */
static void tell_ends(Cli *cli, const LocalPlan *plan, pid_t *told) {
  for (guint i = 0; i < plan->nodes->len; i++) {
    const LocalNode *node = plan->nodes->pdata[i];
    LocalPid identity;
    if (local_process_state(plan, node, &identity) != LOCAL_ENDED || told[i] == identity.pid)
      continue;
    told[i] = identity.pid;
    g_autofree char *end = local_process_describe_end(&identity);
    g_autofree char *log = local_plan_path(plan, node, ".log");
    cli_note(cli, "%s ended%s; its log is '%s'. 'milena local start %s' brings it back.", node->name, end, log,
             node->name);
  }
}

static int watch(Cli *cli, const LocalPlan *plan, const sigset_t *signals) {
  g_autofree pid_t *told = g_new0(pid_t, plan->nodes->len);
  const struct timespec pause = {.tv_nsec = WATCH_NS};
  cli_note(cli, "watching; Ctrl-C ends the cluster.");
  while (sigtimedwait(signals, NULL, &pause) < 0)
    tell_ends(cli, plan, told);
  cli_note(cli, "ending the cluster.");
  guint killed = local_cluster_stop(plan, GRACE_MS);
  return killed ? cli_failed_text(cli, "%u processes did not end in %d s and were killed.", killed, GRACE_MS / 1000)
                : CLI_OK;
}

/* ---- Command ---- */

static int bring_up(Cli *cli, const char *data, const LocalWish *wish, gboolean foreground) {
  g_auto(LocalCluster) cluster = {.lock_fd = -1};
  sigset_t signals;
  /* What no folder can do is refused before one is made. */
  g_autoptr(LocalPlan) alone = NULL;
  Failure *failure = local_plan_make("", NULL, wish, FALSE, &alone);
  if (!failure)
    failure = local_cluster_open(cli, data, TRUE, &cluster);
  if (!failure)
    failure = make_plan(&cluster, wish);
  if (failure)
    return cli_usage(cli, failure);
  if (foreground)
    block_signals(&signals);
  int code = local_cluster_bring_up(cli, &cluster, cluster.plan->nodes);
  if (code == CLI_OK)
    code = local_cluster_show(cli, &cluster, NULL);
  if (code != CLI_OK)
    return code;
  if (!cli->json)
    say_next(cluster.plan);
  local_cluster_unlock(&cluster);
  return foreground ? watch(cli, cluster.plan, &signals) : CLI_OK;
}

static int run_up(Cli *cli, int argc, char **argv) {
  LocalWish wish = LOCAL_WISH_NOTHING;
  gboolean foreground = FALSE;
  g_autofree char *data = NULL;
  const GOptionEntry entries[] = {
      {"controllers", 0, 0, G_OPTION_ARG_INT, &wish.controllers,
       "How many controllers: 1, 3 or 5 (default 1, or as before)", "N"},
      {"brokers", 0, 0, G_OPTION_ARG_INT, &wish.brokers, "How many brokers (default 3, or as before)", "N"},
      {"coordinators", 0, 0, G_OPTION_ARG_INT, &wish.coordinators,
       "How many group coordinators (default 1, or as before)", "N"},
      {"data", 'd', 0, G_OPTION_ARG_FILENAME, &data, "Folder of data and logs (default ~/.local/share/milena/local)",
       "DIR"},
      {"base-port", 0, 0, G_OPTION_ARG_INT, &wish.base_port,
       "Brokers listen from this port on (default 7600, or as before)", "PORT"},
      {"foreground", 0, 0, G_OPTION_ARG_NONE, &foreground, "Stay, tell of processes that end, and end all with Ctrl-C",
       NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "Ports, from the base port P on: brokers P, their peers P+50, controllers P+100, their peers P+150,\n"
          "coordinators P+200. Everything listens on 127.0.0.1 alone. The programs are looked for in MILENA_BIN,\n"
          "beside milena, and in its build tree.\n",
          argc, argv, &code))
    return code;
  return bring_up(cli, data, &wish, foreground);
}

const Command CMD_LOCAL_UP = {
    .name = "local up",
    .arguments = "",
    .summary = "Start a cluster on this machine and wait until it serves",
    .examples = "  milena local up\n"
                "  milena local up --controllers 3\n"
                "  milena local up --brokers 1 --data /tmp/small --base-port 8600\n"
                "  milena local up --foreground\n",
    .local = TRUE,
    .run = run_up,
};
