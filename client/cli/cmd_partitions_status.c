/* `milena partitions status`: which partitions are not as they should be, and how far reassignments are. */
#include "client/cli/cli.h"
#include "client/cli/partitions_view.h"

static const char NOTES[] =
    "Shown are the partitions that are not ok, unless an option says which. CAUGHT UP says how many of the brokers "
    "that\n"
    "a reassignment goes to are in sync. States, from bad to good:\n"
    "  no leader         nobody may lead: neither written nor read. The brokers of IN SYNC and ELIGIBLE have all that\n"
    "                    was acknowledged: start one of them\n"
    "  below minimum     fewer in sync than min.insync.replicas: acks=all is refused, reads go on\n"
    "  under-replicated  some replica is not in sync: it is down, or catches up\n"
    "  moving            a reassignment is under way\n";

static int run_status(Cli *cli, int argc, char **argv) {
  gboolean all = FALSE, under = FALSE, moving = FALSE, no_leader = FALSE, wait = FALSE;
  const GOptionEntry entries[] = {
      {"all", 'a', 0, G_OPTION_ARG_NONE, &all, "All partitions, also those that are ok", NULL},
      {"under-replicated", 0, 0, G_OPTION_ARG_NONE, &under, "Only those with a replica that is not in sync", NULL},
      {"moving", 0, 0, G_OPTION_ARG_NONE, &moving, "Only those with a reassignment under way", NULL},
      {"no-leader", 0, 0, G_OPTION_ARG_NONE, &no_leader, "Only those without a leader", NULL},
      {"wait", 'w', 0, G_OPTION_ARG_NONE, &wait, "First wait until no reassignment is under way", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NOTES, argc, argv, &code))
    return code;
  if (all + under + moving + no_leader > 1)
    return cli_usage(cli, failure_new(FAILURE(INVALID_FIELD),
                                      "--all, --under-replicated, --moving and --no-leader exclude each other."));
  PartitionsFilter filter = all         ? PARTITIONS_ALL
                            : under     ? PARTITIONS_UNDER_REPLICATED
                            : moving    ? PARTITIONS_MOVING
                            : no_leader ? PARTITIONS_NO_LEADER
                                        : PARTITIONS_TROUBLED;
  const char *topic = cli->arguments[0];
  g_autoptr(MilenaClient) client = NULL;
  code = cli_connect(cli, &client);
  if (code == CLI_OK && wait)
    code = partitions_view_wait(cli, client, topic);
  return code == CLI_OK ? partitions_view_show(cli, client, topic, filter) : code;
}

const Command CMD_PARTITIONS_STATUS = {
    .name = "partitions status",
    .arguments = "[TOPIC]",
    .summary = "Show which partitions are not ok, and how far reassignments are",
    .examples = "  milena partitions status\n"
                "  milena partitions status orders --all\n"
                "  milena partitions status --under-replicated --output json\n"
                "  milena partitions status orders --wait --timeout 600\n",
    .arguments_most = 1,
    .run = run_status,
};
