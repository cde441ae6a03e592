/* `milena controllers list|add|remove|transfer|bootstrap`: the processes that agree on the cluster's metadata. */
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/text.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaQuorum, milena_quorum_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaController, milena_controller_free)

#define CONTROLLERS_MAX 9
#define SETTLE_TRIES 10
#define SETTLE_US 100000

static const char *role_name(MilenaControllerRole role) {
  switch (role) {
  case MILENA_CONTROLLER_VOTER:
    return "voter";
  case MILENA_CONTROLLER_LEARNER:
    return "learner";
  default:
    return "";
  }
}

/* "1=host:port". @ret_address: borrowed from @text. */
static Failure *parse_member(const char *text, MilenaInitialController *ret_member) {
  const char *sign = strchr(text, '=');
  g_autofree char *number = sign ? g_strndup(text, (gsize)(sign - text)) : NULL;
  gint64 id = 0;
  Failure *failure =
      sign && strchr(sign, ':')
          ? text_number("the controller's id", number, 1, G_MAXINT32, &id)
          : failure_new(FAILURE(INVALID_FIELD),
                        "'%s' names no controller: write its id and its peer address, such as 2=10.0.0.2:7750.", text);
  if (failure)
    return failure;
  *ret_member = (MilenaInitialController){(int32_t)id, sign + 1};
  return NULL;
}

/* ---- Showing them ---- */

static void controller_to_json(const MilenaController *controller, Json *json) {
  json_open(json, NULL, '{');
  json_int(json, "id", controller->id);
  json_string(json, "address", controller->address);
  json_string(json, "peer_address", controller->peer_address);
  json_string(json, "directory_id", controller->directory_id);
  json_string(json, "role", role_name(controller->role));
  json_bool(json, "active", controller->active);
  json_uint(json, "match_index", controller->match_index);
  json_uint(json, "lag", controller->lag);
  if (controller->heard_ago_ms >= 0)
    json_int(json, "heard_ago_ms", controller->heard_ago_ms);
  else
    json_string(json, "heard_ago_ms", NULL);
  json_string(json, "link_error", controller->link_error);
  json_string(json, "catch_up", controller->catch_up);
  json_close(json);
}

static int print_json(Cli *cli, const MilenaQuorum *quorum) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_string(json, "cluster_id", quorum->cluster_id);
  json_int(json, "active_id", quorum->active_id);
  json_int(json, "answered_by", quorum->answered_by);
  json_uint(json, "term", quorum->term);
  json_uint(json, "commit_index", quorum->commit_index);
  json_uint(json, "last_index", quorum->last_index);
  json_open(json, "controllers", '[');
  for (gsize i = 0; i < quorum->count; i++)
    controller_to_json(&quorum->controllers[i], json);
  json_close(json);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

/* Only the active one knows how far the others are. */
static gboolean knows_progress(const MilenaQuorum *quorum) {
  return quorum->answered_by > 0 && quorum->answered_by == quorum->active_id;
}

static char *state_of(const MilenaQuorum *quorum, const MilenaController *controller) {
  if (controller->active)
    return g_strdup("active");
  if (*controller->link_error)
    return g_strdup("unreachable");
  if (controller->role == MILENA_CONTROLLER_LEARNER)
    return g_strdup("catching up");
  return g_strdup(quorum->active_id < 0 ? "no active one" : "standing by");
}

static void controller_to_table(const MilenaQuorum *quorum, const MilenaController *controller, Table *table) {
  gboolean progress = knows_progress(quorum);
  g_autofree char *state = state_of(quorum, controller);
  g_autofree char *match = progress ? text_grouped(controller->match_index) : g_strdup("");
  g_autofree char *lag = progress ? text_grouped(controller->lag) : g_strdup("");
  g_autofree char *heard = controller->heard_ago_ms < 0 ? g_strdup("")
                           : controller->heard_ago_ms < 1000
                               ? g_strdup_printf("%" G_GINT64_FORMAT " ms ago", (gint64)controller->heard_ago_ms)
                               : NULL;
  if (!heard) {
    g_autofree char *duration = text_duration(controller->heard_ago_ms / 1000);
    heard = g_strdup_printf("%s ago", duration);
  }
  table_add(table, "%d", controller->id);
  table_add(table, "%s", controller->address);
  table_add(table, "%s", controller->peer_address);
  table_add(table, "%s", role_name(controller->role));
  table_add(table, "%s", state);
  table_add(table, "%s", match);
  table_add(table, "%s", lag);
  table_add(table, "%s", heard);
  table_add(table, "%s", controller->directory_id);
}

/* What a row has no room for. */
static void tell_troubles(Cli *cli, const MilenaQuorum *quorum) {
  if (quorum->answered_by == 0)
    cli_note(cli, "a broker answered from what it knows: it reaches no controller now.");
  for (gsize i = 0; i < quorum->count; i++) {
    const MilenaController *controller = &quorum->controllers[i];
    if (*controller->link_error && quorum->answered_by != 0)
      cli_note(cli, "controller %d: %s", controller->id, controller->link_error);
    if (*controller->catch_up)
      cli_note(cli, "controller %d: %s", controller->id, controller->catch_up);
  }
}

static int print_quorum(Cli *cli, const MilenaQuorum *quorum) {
  if (cli->json)
    return print_json(cli, quorum);
  if (!*quorum->cluster_id)
    return cli_print(cli,
                     "This controller waits for its cluster: begin one with 'milena controllers bootstrap', or add "
                     "it to one with 'milena controllers add'.\n");
  g_autofree char *active = quorum->active_id >= 0 ? g_strdup_printf("controller %d is active", quorum->active_id)
                                                   : g_strdup("none is active");
  g_autofree char *head =
      g_strdup_printf("Cluster %s, term %" G_GUINT64_FORMAT ", committed up to %" G_GUINT64_FORMAT ", %s\n\n",
                      quorum->cluster_id, (guint64)quorum->term, (guint64)quorum->commit_index, active);
  g_autoptr(Table) table =
      table_new(">ID", "ADDRESS", "PEER ADDRESS", "ROLE", "STATE", ">MATCH", ">LAG", ">HEARD", "DIRECTORY", NULL);
  for (gsize i = 0; i < quorum->count; i++)
    controller_to_table(quorum, &quorum->controllers[i], table);
  int code = cli_print(cli, head);
  if (code == CLI_OK)
    code = cli_print_table(cli, table);
  tell_troubles(cli, quorum);
  return code;
}

static int show(Cli *cli, MilenaClient *client) {
  g_autoptr(MilenaQuorum) quorum = NULL;
  MilenaError *error = milena_admin_list_controllers(client, cli_timeout_ms(cli), &quorum);
  return error ? cli_failed(cli, error) : print_quorum(cli, quorum);
}

/* After a change: a broker may take a moment to hear who is active now, and the one before does not know the others'
 * progress any more. */
static int show_changed(Cli *cli, MilenaClient *client) {
  g_autoptr(MilenaQuorum) quorum = NULL;
  MilenaError *error = NULL;
  for (guint i = 0; i < SETTLE_TRIES && !error && !(quorum && knows_progress(quorum)); i++) {
    if (quorum)
      g_usleep(SETTLE_US);
    g_clear_pointer(&quorum, milena_quorum_free);
    error = milena_admin_list_controllers(client, cli_timeout_ms(cli), &quorum);
  }
  return error ? cli_failed(cli, error) : print_quorum(cli, quorum);
}

/* ---- list ---- */

static int run_list(Cli *cli, int argc, char **argv) {
  const GOptionEntry entries[] = {G_OPTION_ENTRY_NULL};
  int code;
  if (!cli_parse(
          cli, entries,
          "MATCH is the end of a controller's log, as far as it is known to equal the active one's; LAG is how\n"
          "many entries it lacks; both are known to the active one alone. DIRECTORY is the id of its data folder:\n"
          "one that comes back with another folder is not this member.\n",
          argc, argv, &code))
    return code;
  g_autoptr(MilenaClient) client = NULL;
  code = cli_connect(cli, &client);
  return code == CLI_OK ? show(cli, client) : code;
}

const Command CMD_CONTROLLERS_LIST = {
    .name = "controllers list",
    .arguments = "",
    .summary = "Show the controllers and how far each has come",
    .examples = "  milena controllers list\n"
                "  milena controllers list --bootstrap controller-2:7700 --output json\n",
    .run = run_list,
};

/* ---- add ---- */

static int add(Cli *cli, const MilenaInitialController *member, gboolean dry_run) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaController) added = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error =
      milena_admin_add_controller(client, member->id, member->peer_address, dry_run, cli_timeout_ms(cli), &added);
  if (error)
    return cli_failed(cli, error);
  if (dry_run) {
    cli_note(cli, "controller %d could be added; nothing was changed.", member->id);
    return CLI_OK;
  }
  if (added->role != MILENA_CONTROLLER_VOTER)
    cli_note(cli, "controller %d is a member and still catches up: it gets its vote by itself.", member->id);
  return show_changed(cli, client);
}

static int run_add(Cli *cli, int argc, char **argv) {
  gboolean dry_run = FALSE;
  const GOptionEntry entries[] = {
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "The controller must run, with an empty folder. It follows without a vote first, and votes once it has\n"
          "caught up. One that lost its disk is replaced by removing its id and adding it again.\n",
          argc, argv, &code))
    return code;
  MilenaInitialController member;
  Failure *failure = parse_member(cli->arguments[0], &member);
  return failure ? cli_usage(cli, failure) : add(cli, &member, dry_run);
}

const Command CMD_CONTROLLERS_ADD = {
    .name = "controllers add",
    .arguments = "ID=ADDRESS",
    .summary = "Add a controller, by its peer address",
    .examples = "  milena controllers add 4=10.0.0.4:7750\n"
                "  milena controllers add 4=10.0.0.4:7750 --dry-run\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_add,
};

/* ---- remove ---- */

static int run_remove(Cli *cli, int argc, char **argv) {
  gboolean dry_run = FALSE, force = FALSE;
  g_autofree char *directory = NULL;
  const GOptionEntry entries[] = {
      {"directory", 0, 0, G_OPTION_ARG_FILENAME, &directory, "Only if it has this folder", "UUID"},
      {"force", 0, 0, G_OPTION_ARG_NONE, &force, "Although the rest that answers now would be no majority", NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, NULL, argc, argv, &code))
    return code;
  int32_t id = 0;
  g_autoptr(MilenaClient) client = NULL;
  code = cli_connect_for(cli, "the controller's id", 1, &id, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_remove_controller(client, id, directory, force, dry_run, cli_timeout_ms(cli));
  if (error)
    return cli_failed(cli, error);
  if (!dry_run)
    return show_changed(cli, client);
  cli_note(cli, "controller %d could be removed; nothing was changed.", id);
  return CLI_OK;
}

const Command CMD_CONTROLLERS_REMOVE = {
    .name = "controllers remove",
    .arguments = "ID",
    .summary = "Remove a controller",
    .examples = "  milena controllers remove 2\n"
                "  milena controllers remove 2 --directory 0b6c6f0e-2f0c-4ad9-8f5a-6f1f3a0e7f11\n",
    .arguments_least = 1,
    .arguments_most = 1,
    .run = run_remove,
};

/* ---- transfer ---- */

static int run_transfer(Cli *cli, int argc, char **argv) {
  gboolean dry_run = FALSE;
  const GOptionEntry entries[] = {
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, "Without an ID the one that has caught up furthest.\n", argc, argv, &code))
    return code;
  int32_t id = 0, active = 0;
  g_autoptr(MilenaClient) client = NULL;
  code = cli_connect_for(cli, "the controller's id", 1, &id, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error = milena_admin_transfer_leadership(client, id, dry_run, cli_timeout_ms(cli), &active, NULL);
  if (error)
    return cli_failed(cli, error);
  if (!dry_run)
    return show_changed(cli, client);
  cli_note(cli, "it could be handed over; nothing was changed.");
  return CLI_OK;
}

const Command CMD_CONTROLLERS_TRANSFER = {
    .name = "controllers transfer",
    .arguments = "[ID]",
    .summary = "Make another controller the active one",
    .examples = "  milena controllers transfer 3\n"
                "  milena controllers transfer\n",
    .arguments_most = 1,
    .run = run_transfer,
};

/* ---- bootstrap ---- */

/* What bootstrap is asked for; all borrowed. */
typedef struct {
  const MilenaInitialController *members;
  guint count;
  const char *cluster_id; /* NULL: one is made */
  gboolean dry_run;
  gboolean if_needed; /* a cluster that began already is as good */
} Beginning;

static int begin(Cli *cli, const Beginning *beginning) {
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  char *made = NULL;
  g_autoptr(MilenaError) error =
      milena_admin_bootstrap_cluster(client, beginning->members, beginning->count, beginning->cluster_id,
                                     beginning->dry_run, cli_timeout_ms(cli), &made);
  if (error && beginning->if_needed && strcmp(milena_error_reason(error), "ALREADY_BOOTSTRAPPED") == 0) {
    cli_note(cli, "the controllers have their cluster already; nothing was changed.");
    return CLI_OK;
  }
  if (error)
    return cli_failed(cli, g_steal_pointer(&error));
  milena_string_free(made);
  if (!beginning->dry_run)
    return show_changed(cli, client);
  cli_note(cli, "the cluster could begin so; nothing was changed.");
  return CLI_OK;
}

static int run_bootstrap(Cli *cli, int argc, char **argv) {
  gboolean dry_run = FALSE, if_needed = FALSE;
  g_autofree char *cluster_id = NULL;
  const GOptionEntry entries[] = {
      {"cluster-id", 0, 0, G_OPTION_ARG_FILENAME, &cluster_id, "Id of the new cluster (default: one is made)", "UUID"},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only ask the controllers and check", NULL},
      {"if-needed", 0, 0, G_OPTION_ARG_NONE, &if_needed, "Do nothing when they have a cluster already: for scripts",
       NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "Once in the life of a cluster, asked of one of its first controllers: --bootstrap is its address for\n"
          "clients. All of them must run, with empty folders; the arguments name all of them, with their peer\n"
          "addresses.\n",
          argc, argv, &code))
    return code;
  MilenaInitialController members[CONTROLLERS_MAX];
  guint count = g_strv_length(cli->arguments);
  Failure *failure = NULL;
  for (guint i = 0; i < count && !failure; i++)
    failure = parse_member(cli->arguments[i], &members[i]);
  Beginning beginning = {members, count, cluster_id, dry_run, if_needed};
  return failure ? cli_usage(cli, failure) : begin(cli, &beginning);
}

const Command CMD_CONTROLLERS_BOOTSTRAP = {
    .name = "controllers bootstrap",
    .arguments = "ID=ADDRESS...",
    .summary = "Begin a cluster with these controllers",
    .examples = "  milena controllers bootstrap --bootstrap 10.0.0.1:7700 1=10.0.0.1:7750\n"
                "  milena controllers bootstrap --bootstrap 10.0.0.1:7700 1=10.0.0.1:7750 2=10.0.0.2:7750 "
                "3=10.0.0.3:7750\n",
    .arguments_least = 1,
    .arguments_most = CONTROLLERS_MAX,
    .run = run_bootstrap,
};
