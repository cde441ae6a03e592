/* `milena groups list|describe|members|lag|alter|delete`: consumer groups as they are. */
#include "client/cli/cli.h"
#include "client/cli/group_view.h"
#include "client/cli/text.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaGroupList, milena_group_list_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaGroup, milena_group_free)

/* ---- list ---- */

static void list_to_json(const MilenaGroupList *list, Json *json) {
  json_open(json, NULL, '{');
  json_open(json, "groups", '[');
  for (gsize i = 0; i < list->count; i++) {
    const MilenaGroupSummary *group = &list->groups[i];
    json_open(json, NULL, '{');
    json_string(json, "group", group->group);
    json_string(json, "state", group_view_state(group->state));
    json_uint(json, "members", group->member_count);
    json_uint(json, "epoch", group->epoch);
    json_int(json, "coordinator_id", group->coordinator_id);
    json_close(json);
  }
  json_close(json);
  json_open(json, "missing", '[');
  for (gsize i = 0; i < list->missing_count; i++)
    json_string(json, NULL, list->missing[i]);
  json_close(json);
  json_close(json);
}

static int print_list(Cli *cli, const MilenaGroupList *list) {
  if (cli->json) {
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Json) json = json_new(out, TRUE);
    list_to_json(list, json);
    g_string_append_c(out, '\n');
    return cli_print(cli, out->str);
  }
  g_autoptr(Table) table = table_new("GROUP", "STATE", ">MEMBERS", ">EPOCH", ">COORDINATOR", NULL);
  for (gsize i = 0; i < list->count; i++) {
    const MilenaGroupSummary *group = &list->groups[i];
    table_add(table, "%s", group->group);
    table_add(table, "%s", group_view_state(group->state));
    table_add(table, "%u", group->member_count);
    table_add(table, "%u", group->epoch);
    table_add(table, "%d", group->coordinator_id);
  }
  for (gsize i = 0; i < list->missing_count; i++)
    cli_note(cli, "some groups may be missing: %s", list->missing[i]);
  return cli_print_table(cli, table);
}

static int print_names(Cli *cli, const MilenaGroupList *list) {
  g_autoptr(GString) out = g_string_new(NULL);
  for (gsize i = 0; i < list->count; i++)
    g_string_append_printf(out, "%s\n", list->groups[i].group);
  return cli_print(cli, out->str);
}

static int run_list(Cli *cli, int argc, char **argv) {
  gboolean names;
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaGroupList) list = NULL;
  int code;
  if (!cli_begin_list(cli, "names", NULL, argc, argv, &names, &client, &code))
    return code;
  MilenaError *error = milena_admin_list_groups(client, cli_timeout_ms(cli), &list);
  if (error)
    return cli_failed(cli, error);
  return names && !cli->json ? print_names(cli, list) : print_list(cli, list);
}

const Command CMD_GROUPS_LIST = {
    .name = "groups list",
    .arguments = "",
    .summary = "List the consumer groups",
    .examples = "  milena groups list\n"
                "  milena groups list --output json\n",
    .run = run_list,
};

/* ---- describe, members, lag: views of one group ---- */

static int print_json(Cli *cli, const MilenaGroup *group) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  group_view_json(group, NULL, json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

static int print_members(Cli *cli, const MilenaGroup *group) {
  g_autoptr(Table) table = group_view_members(group, g_get_real_time() / 1000);
  return cli_print_table(cli, table);
}

static int print_lag(Cli *cli, const MilenaGroup *group) {
  g_autoptr(Table) table = group_view_partitions(group, NULL, 0, NULL);
  return cli_print_table(cli, table);
}

static int print_everything(Cli *cli, const MilenaGroup *group) {
  g_autofree char *head = group_view_head(group);
  int code = cli_print(cli, head);
  if (code == CLI_OK && group->member_count > 0)
    code = cli_print(cli, "\n");
  if (code == CLI_OK && group->member_count > 0)
    code = print_members(cli, group);
  if (code == CLI_OK && group->partition_count > 0)
    code = cli_print(cli, "\n");
  if (code == CLI_OK && group->partition_count > 0)
    code = print_lag(cli, group);
  return code;
}

static int print_offsets(Cli *cli, const MilenaGroup *group) {
  g_autofree char *text = group_view_offsets(group);
  return cli_print(cli, text);
}

/* Get the group that the command line names, and show it. */
static int show(Cli *cli, gboolean skip_lag, int (*print)(Cli *cli, const MilenaGroup *group)) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaGroup) group = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_get_group(client, cli->arguments[0], skip_lag, cli_timeout_ms(cli), &group);
  if (error)
    return cli_failed(cli, error);
  return cli->json ? print_json(cli, group) : print(cli, group);
}

static int run_describe(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  return show(cli, FALSE, print_everything);
}

const Command CMD_GROUPS_DESCRIBE = {
    .name = "groups describe",
    .arguments = "GROUP",
    .summary = "Show a group: its members, what each reads, how far behind it is, and why",
    .examples = "  milena groups describe billing\n"
                "  milena groups describe billing --output json\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_describe,
};

static int run_members(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  return show(cli, TRUE, print_members);
}

const Command CMD_GROUPS_MEMBERS = {
    .name = "groups members",
    .arguments = "GROUP",
    .summary = "Show a group's members",
    .examples = "  milena groups members billing\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_members,
};

static int run_lag(Cli *cli, int argc, char **argv) {
  gboolean offsets = FALSE;
  const GOptionEntry entries[] = {
      {"offsets", 0, 0, G_OPTION_ARG_NONE, &offsets,
       "Only the committed offsets, as 'groups reset-offsets --from-file' reads them", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  return show(cli, offsets, offsets ? print_offsets : print_lag);
}

const Command CMD_GROUPS_LAG = {
    .name = "groups lag",
    .arguments = "GROUP",
    .summary = "Show how far a group has read each partition, and how far behind it is",
    .examples = "  milena groups lag billing\n"
                "  milena groups lag billing --output json\n"
                "  milena groups lag billing --offsets > billing.offsets\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_lag,
};

/* ---- alter ---- */

/* New settings; what was not given is below 0, or NULL. */
typedef struct {
  gint session_timeout_s, heartbeat_interval_ms, offsets_retention_s, max_members;
  char *assignor;
  gboolean dry_run;
} Alteration;

static Failure *apply(const Alteration *alteration, MilenaGroupConfig *config) {
  if (alteration->assignor && !group_view_parse_assignor(alteration->assignor, &config->assignor))
    return failure_new(FAILURE(INVALID_FIELD), "--assignor is '%s', but must be sticky, range or round-robin.",
                       alteration->assignor);
  if (alteration->session_timeout_s >= 0)
    config->session_timeout_ms = alteration->session_timeout_s * (gint64)1000;
  if (alteration->heartbeat_interval_ms >= 0)
    config->heartbeat_interval_ms = alteration->heartbeat_interval_ms;
  if (alteration->offsets_retention_s >= 0)
    config->offsets_retention_ms = alteration->offsets_retention_s * (gint64)1000;
  if (alteration->max_members >= 0)
    config->max_members = (guint32)alteration->max_members;
  return NULL;
}

/* What it is set to now; the defaults for a group that does not exist. */
static MilenaError *current_config(Cli *cli, MilenaClient *client, MilenaGroupConfig *ret_config) {
  g_autoptr(MilenaGroup) group = NULL;
  g_autoptr(MilenaError) error = milena_admin_get_group(client, cli->arguments[0], TRUE, cli_timeout_ms(cli), &group);
  if (error && g_str_equal(milena_error_reason(error), "UNKNOWN_GROUP"))
    return NULL;
  if (!error)
    *ret_config = group->config;
  return g_steal_pointer(&error);
}

static int alter(Cli *cli, const Alteration *alteration) {
  const char *name = cli->arguments[0];
  MilenaGroupConfig config = {0};
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = current_config(cli, client, &config);
  if (error)
    return cli_failed(cli, error);
  Failure *failure = apply(alteration, &config);
  if (failure)
    return cli_usage(cli, failure);
  error = milena_admin_update_group(client, name, &config, alteration->dry_run, cli_timeout_ms(cli));
  if (error)
    return cli_failed(cli, error);
  if (!alteration->dry_run)
    return show(cli, TRUE, print_everything);
  cli_note(cli, "the group '%s' could be changed so; nothing was changed.", name);
  return CLI_OK;
}

static int run_alter(Cli *cli, int argc, char **argv) {
  Alteration alteration = {-1, -1, -1, -1, NULL, FALSE};
  const GOptionEntry entries[] = {
      {"session-timeout", 0, 0, G_OPTION_ARG_INT, &alteration.session_timeout_s,
       "Without a heartbeat for so long a member is out (45)", "SECONDS"},
      {"heartbeat-interval", 0, 0, G_OPTION_ARG_INT, &alteration.heartbeat_interval_ms, "How often members call (3000)",
       "MILLISECONDS"},
      {"assignor", 0, 0, G_OPTION_ARG_FILENAME, &alteration.assignor, "sticky (default), range or round-robin", "NAME"},
      {"offsets-retention", 0, 0, G_OPTION_ARG_INT, &alteration.offsets_retention_s,
       "How long offsets are kept after the group is empty (604800)", "SECONDS"},
      {"max-members", 0, 0, G_OPTION_ARG_INT, &alteration.max_members, "More members are refused (1000)", "N"},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &alteration.dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  gboolean run = cli_parse(cli, entries, "0 goes back to the default.\n", argc, argv, &code);
  g_autofree char *assignor = alteration.assignor;
  return run ? alter(cli, &alteration) : code;
}

const Command CMD_GROUPS_ALTER = {
    .name = "groups alter",
    .arguments = "GROUP",
    .summary = "Change a group's settings",
    .examples = "  milena groups alter billing --session-timeout 10\n"
                "  milena groups alter billing --assignor range\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_alter,
};

/* ---- delete ---- */

static int delete_group(Cli *cli) {
  const char *name = cli->arguments[0];
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_delete_group(client, name, cli_timeout_ms(cli));
  return error ? cli_failed(cli, error) : cli_print_deleted(cli, "group", name);
}

static int run_delete(Cli *cli, int argc, char **argv) {
  gboolean yes = FALSE;
  const GOptionEntry entries[] = {
      {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "Do not ask", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  return cli_confirm(cli, "group", cli->arguments[0], "its committed offsets", yes, &code) ? delete_group(cli) : code;
}

const Command CMD_GROUPS_DELETE = {
    .name = "groups delete",
    .arguments = "GROUP",
    .summary = "Forget a group that has no members, and its committed offsets",
    .examples = "  milena groups delete billing --yes\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_delete,
};
