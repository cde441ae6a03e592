/* `milena partitions reassign|cancel|elect`: where partitions are, and who leads them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/move_plan.h"
#include "client/cli/partitions_view.h"
#include "client/cli/text.h"
#include "client/cli/topic_view.h"

#define PARTITIONS_MAX 10000
/* Of an option that takes a number. */
#define NOT_GIVEN G_MININT

/* ---- reassign ---- */

/* What `partitions reassign` is asked for. */
typedef struct {
  const char *topic;
  MovePlan *plan; /* as given; empty: to be made */
  MoveWish wish;
  guint64 throttle_bytes_per_s; /* 0: none */
  gboolean ignore_racks, dry_run, wait;
} Reassignment;

static Failure *take_wish(gint factor, gint away_from, MoveWish *ret_wish) {
  if (factor != NOT_GIVEN && (factor < 1 || factor > 16))
    return failure_new(FAILURE(INVALID_FIELD), "--replication-factor is %d, but must be from 1 to 16.", factor);
  if (away_from != NOT_GIVEN && away_from < 0)
    return failure_new(FAILURE(INVALID_FIELD), "--away-from is %d, but must be a broker's id.", away_from);
  *ret_wish = (MoveWish){.away_from = away_from == NOT_GIVEN ? -1 : away_from,
                         .replication_factor = factor == NOT_GIVEN ? 0 : (guint32)factor};
  return NULL;
}

/* Of moves that were given: those that are planned go to different racks by themselves. */
static int check_plan(Cli *cli, MilenaClient *client, const Reassignment *asked) {
  g_autoptr(MilenaBrokerList) brokers = NULL;
  if (asked->ignore_racks)
    return CLI_OK;
  MilenaError *error = milena_admin_list_brokers(client, cli_timeout_ms(cli), &brokers);
  if (error)
    return cli_failed(cli, error);
  g_autoptr(Failure) failure = move_plan_check_racks(asked->plan, brokers);
  return failure ? cli_failed_text(cli, "%s", failure_message(failure)) : CLI_OK;
}

/* The moves that were given, or those that the wish needs. */
static int make_plan(Cli *cli, MilenaClient *client, const Reassignment *asked) {
  if (asked->plan->len > 0)
    return check_plan(cli, client, asked);
  g_autoptr(MilenaTopic) topic = NULL;
  g_autoptr(MilenaBrokerList) brokers = NULL;
  MilenaError *error = milena_admin_describe_topic(client, asked->topic, cli_timeout_ms(cli), &topic);
  if (!error)
    error = milena_admin_list_brokers(client, cli_timeout_ms(cli), &brokers);
  if (error)
    return cli_failed(cli, error);
  g_autoptr(Failure) failure = move_plan_make(topic, brokers, &asked->wish, asked->plan);
  return failure ? cli_failed_text(cli, "%s", failure_message(failure)) : CLI_OK;
}

/* What it would do. */
static int print_plan(Cli *cli, const Reassignment *asked) {
  cli_note(cli, "it could be done so; nothing was changed.");
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  g_autoptr(Table) table = table_new("TOPIC", ">PARTITION", "MOVES TO", NULL);
  json_open(json, NULL, '[');
  for (guint i = 0; i < asked->plan->len; i++) {
    const PlannedMove *move = &g_array_index(asked->plan, PlannedMove, i);
    const int32_t *ids = (const int32_t *)move->replicas->data;
    json_open(json, NULL, '{');
    json_string(json, "topic", asked->topic);
    json_int(json, "partition", move->partition);
    topic_view_json_ids(json, "target", ids, move->replicas->len);
    json_close(json);
    table_add(table, "%s", asked->topic);
    table_add(table, "%d", move->partition);
    topic_view_add_ids(table, ids, move->replicas->len);
  }
  json_close(json);
  g_string_append_c(out, '\n');
  return cli->json ? cli_print(cli, out->str) : cli_print_table(cli, table);
}

static int send_plan(Cli *cli, MilenaClient *client, const Reassignment *asked) {
  const MovePlan *plan = asked->plan;
  g_autofree MilenaMove *moves = g_new0(MilenaMove, plan->len);
  for (guint i = 0; i < plan->len; i++) {
    const PlannedMove *move = &g_array_index(plan, PlannedMove, i);
    moves[i] = (MilenaMove){.topic = asked->topic,
                            .partition = move->partition,
                            .replicas = (const int32_t *)move->replicas->data,
                            .replica_count = move->replicas->len,
                            .throttle_bytes_per_s = asked->throttle_bytes_per_s};
  }
  MilenaError *error =
      milena_admin_reassign_partitions(client, moves, plan->len, asked->dry_run, cli_timeout_ms(cli), NULL);
  return error ? cli_failed(cli, error) : CLI_OK;
}

static int reassign(Cli *cli, const Reassignment *asked) {
  g_autoptr(MilenaClient) client = NULL;
  int code = cli_connect(cli, &client);
  if (code == CLI_OK)
    code = make_plan(cli, client, asked);
  if (code == CLI_OK && asked->plan->len == 0)
    cli_note(cli, "there is nothing to move: it is so already, or on its way.");
  else if (code == CLI_OK)
    code = send_plan(cli, client, asked);
  if (code == CLI_OK && asked->dry_run)
    return print_plan(cli, asked);
  if (code == CLI_OK && asked->wait)
    code = partitions_view_wait(cli, client, asked->topic);
  return code == CLI_OK ? partitions_view_show(cli, client, asked->topic, PARTITIONS_ALL) : code;
}

static const char REASSIGN_NOTES[] = "Partitions are moved as told (0=1,2,3: partition 0 to the brokers 1, 2 and 3, of "
                                     "which 1 is to lead), or all of the\n"
                                     "topic's as planned by --replication-factor and --away-from: with as few moves as "
                                     "possible, in different racks where\n"
                                     "there are. New replicas catch up first, then the old ones go; producers and "
                                     "consumers go on meanwhile. A partition\n"
                                     "that moves already goes on to its new target. The topic's replication factor "
                                     "follows when all its partitions have\n"
                                     "the same number of replicas.\n"
                                     "--throttle bounds what each broker sends to new replicas, of all moves with a "
                                     "throttle together; what producers\n"
                                     "write to replicas in sync is not held back. The same moves with another "
                                     "--throttle change it on the way.\n";

static int run_reassign(Cli *cli, int argc, char **argv) {
  gint factor = NOT_GIVEN, away_from = NOT_GIVEN;
  g_autofree char *throttle = NULL;
  g_autoptr(MovePlan) plan = move_plan_new();
  Reassignment asked = {.plan = plan};
  const GOptionEntry entries[] = {
      {"replication-factor", 'r', 0, G_OPTION_ARG_INT, &factor, "Give all partitions so many replicas", "N"},
      {"away-from", 0, 0, G_OPTION_ARG_INT, &away_from, "Move all replicas from this broker to others", "ID"},
      {"throttle", 't', 0, G_OPTION_ARG_STRING, &throttle, "Bytes a second for new replicas: 20MB, 512KiB", "BYTES"},
      {"ignore-racks", 0, 0, G_OPTION_ARG_NONE, &asked.ignore_racks, "Let replicas share a rack, though they need not",
       NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &asked.dry_run, "Only check, and show the moves", NULL},
      {"wait", 'w', 0, G_OPTION_ARG_NONE, &asked.wait, "Wait until all of the topic's are done", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries, REASSIGN_NOTES, argc, argv, &code))
    return code;
  gboolean wished = factor != NOT_GIVEN || away_from != NOT_GIVEN;
  Failure *failure = take_wish(factor, away_from, &asked.wish);
  if (!failure && throttle)
    failure = text_size("--throttle", throttle, &asked.throttle_bytes_per_s);
  for (char **word = cli->arguments + 1; *word && !failure; word++)
    failure = move_plan_add_words(plan, *word);
  if (!failure && wished == (plan->len > 0))
    failure = failure_new(FAILURE(INVALID_FIELD),
                          wished ? "moves are given or planned, not both: leave out the moves, or --replication-factor "
                                   "and --away-from."
                                 : "there is nothing to do: give moves such as 0=1,2,3, or --replication-factor, or "
                                   "--away-from.");
  if (failure)
    return cli_usage(cli, failure);
  asked.topic = cli->arguments[0];
  return reassign(cli, &asked);
}

const Command CMD_PARTITIONS_REASSIGN = {
    .name = "partitions reassign",
    .arguments = "TOPIC [PARTITION=BROKER,BROKER,...]...",
    .summary = "Move partitions to other brokers, or change how many replicas they have",
    .examples = "  milena partitions reassign orders 0=1,2,3 1=2,3,1\n"
                "  milena partitions reassign orders --replication-factor 3 --wait\n"
                "  milena partitions reassign orders --away-from 2 --dry-run\n"
                "  milena partitions reassign orders 0=3,2 --throttle 20MB\n",
    .arguments_least = 1,
    .arguments_most = PARTITIONS_MAX + 1,
    .run = run_reassign,
};

/* ---- Topic and partitions as arguments ---- */

/* @ret_topic: NULL when none was given; borrowed. @partitions: of gint32; gets them added */
static Failure *take_partitions(char *const *arguments, const char **ret_topic, GArray *partitions) {
  *ret_topic = arguments[0];
  Failure *failure = NULL;
  for (char *const *word = arguments[0] ? arguments + 1 : arguments; *word && !failure; word++) {
    gint64 number = 0;
    failure = text_number("the partition", *word, 0, G_MAXINT32, &number);
    gint32 partition = (gint32)number;
    if (!failure)
      g_array_append_val(partitions, partition);
  }
  return failure;
}

/* ---- cancel ---- */

static int print_cancelled(Cli *cli, guint32 cancelled, gboolean dry_run) {
  g_autofree char *count = text_counted(cancelled, "reassignment");
  g_autofree char *text = NULL;
  if (cli->json)
    text = g_strdup_printf("{\n  \"cancelled\": %u\n}\n", dry_run ? 0 : cancelled);
  else if (dry_run)
    text = g_strdup_printf("%s could be taken back; nothing was changed.\n", count);
  else
    text = g_strdup_printf("Took back %s.\n", count);
  return cli_print(cli, text);
}

static int run_cancel(Cli *cli, int argc, char **argv) {
  gboolean all = FALSE, dry_run = FALSE;
  const GOptionEntry entries[] = {
      {"all", 'a', 0, G_OPTION_ARG_NONE, &all, "Of all topics", NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only check", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(cli, entries,
                 "The partitions stay on the brokers from before. Without partitions: all of the topic's that move.\n",
                 argc, argv, &code))
    return code;
  const char *topic = NULL;
  g_autoptr(GArray) partitions = g_array_new(FALSE, FALSE, sizeof(gint32));
  Failure *failure = take_partitions(cli->arguments, &topic, partitions);
  if (!failure && all == (topic != NULL))
    failure = failure_new(FAILURE(INVALID_FIELD), "name a topic, or say --all for all topics.");
  if (failure)
    return cli_usage(cli, failure);
  g_autoptr(MilenaClient) client = NULL;
  code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  uint32_t cancelled = 0;
  MilenaError *error = milena_admin_cancel_reassignments(client, topic, (const int32_t *)partitions->data,
                                                         partitions->len, dry_run, cli_timeout_ms(cli), &cancelled);
  return error ? cli_failed(cli, error) : print_cancelled(cli, cancelled, dry_run);
}

const Command CMD_PARTITIONS_CANCEL = {
    .name = "partitions cancel",
    .arguments = "[TOPIC [PARTITION]...]",
    .summary = "Take back reassignments under way",
    .examples = "  milena partitions cancel orders\n"
                "  milena partitions cancel orders 0 3\n"
                "  milena partitions cancel --all\n",
    .arguments_most = PARTITIONS_MAX + 1,
    .run = run_cancel,
};

/* ---- elect ---- */

static int print_elected(Cli *cli, const MilenaElectedList *list) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  g_autoptr(Table) table = table_new("TOPIC", ">PARTITION", ">LEADER", "ELECTION", NULL);
  json_open(json, NULL, '[');
  for (gsize i = 0; i < list->count; i++) {
    const MilenaElectedLeader *elected = &list->leaders[i];
    json_open(json, NULL, '{');
    json_string(json, "topic", elected->topic);
    json_int(json, "partition", elected->partition);
    json_int(json, "leader", elected->leader_id);
    json_bool(json, "unclean", elected->unclean);
    json_close(json);
    table_add(table, "%s", elected->topic);
    table_add(table, "%d", elected->partition);
    table_add(table, "%d", elected->leader_id);
    table_add(table, "%s", elected->unclean ? "unclean" : "clean");
  }
  json_close(json);
  g_string_append_c(out, '\n');
  if (cli->json)
    return cli_print(cli, out->str);
  return list->count > 0 ? cli_print_table(cli, table) : cli_print(cli, "No leader changed.\n");
}

/* Ask on the terminal. Without one nobody can answer: then --yes must be given. */
static Failure *confirm_unclean(const char *topic, gboolean cut_damage, gboolean *ret_yes) {
  if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
    return failure_new(FAILURE(INVALID_FIELD),
                       "an unclean election of '%s' may lose records that were acknowledged: confirm it with --yes.",
                       topic);
  fprintf(stderr,
          "Partitions of '%s' that have no leader go on with what some replica has; acknowledged records that it lacks "
          "are lost for good.%s Type the topic's name to confirm: ",
          topic,
          cut_damage
              ? " Where the last copy is damaged, everything from the damage on is cut off and lost for good, also "
                "records that could still be read; what lies in front of it stays."
              : "");
  char answer[300] = "";
  *ret_yes = fgets(answer, sizeof answer, stdin) && g_strcmp0(g_strchomp(answer), topic) == 0;
  return NULL;
}

/* What `partitions elect` is asked for. */
typedef struct {
  const char *topic; /* NULL: all */
  GArray *partitions;
  gboolean unclean, cut_damage, dry_run;
} Election;

static MilenaElection kind_of(const Election *asked) {
  if (asked->cut_damage)
    return MILENA_ELECTION_UNCLEAN_CUTTING_DAMAGE;
  return asked->unclean ? MILENA_ELECTION_UNCLEAN : MILENA_ELECTION_PREFERRED;
}

static int elect(Cli *cli, const Election *asked) {
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaElectedList) list = NULL;
  int code = cli_connect(cli, &client);
  if (code != CLI_OK)
    return code;
  MilenaError *error =
      milena_admin_elect_leaders(client, kind_of(asked), asked->topic, (const int32_t *)asked->partitions->data,
                                 asked->partitions->len, asked->dry_run, cli_timeout_ms(cli), &list);
  if (error)
    return cli_failed(cli, error);
  if (asked->dry_run)
    cli_note(cli, "this is who would lead; nothing was changed.");
  else if (asked->cut_damage && list->count > 0)
    cli_note(cli,
             "a leader whose log is damaged cuts it now; its log says from where to where ('a leader cuts its log').");
  return print_elected(cli, list);
}

/* What may lose records names where. */
static Failure *check_unclean(const Election *asked) {
  if (asked->cut_damage && !asked->unclean)
    return failure_new(FAILURE(INVALID_FIELD), "--cut-damage gives up records: say --unclean too.");
  if (asked->unclean && !asked->topic)
    return failure_new(FAILURE(INVALID_FIELD), "--unclean needs a topic: it loses records, so name it.");
  if (asked->cut_damage && asked->partitions->len == 0)
    return failure_new(FAILURE(INVALID_FIELD), "--cut-damage needs partitions: what they cut is lost, so name them.");
  return NULL;
}

static int run_elect(Cli *cli, int argc, char **argv) {
  gboolean yes = FALSE;
  g_autoptr(GArray) partitions = g_array_new(FALSE, FALSE, sizeof(gint32));
  Election asked = {.partitions = partitions};
  const GOptionEntry entries[] = {
      {"unclean", 0, 0, G_OPTION_ARG_NONE, &asked.unclean,
       "Let any replica that is up lead where nobody else can; acknowledged records are lost", NULL},
      {"cut-damage", 0, 0, G_OPTION_ARG_NONE, &asked.cut_damage,
       "With --unclean: a leader whose log is damaged, and that is the last copy, cuts it in front of the damage",
       NULL},
      {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "With --unclean: do not ask", NULL},
      {"dry-run", 0, 0, G_OPTION_ARG_NONE, &asked.dry_run, "Only check, and show who would lead", NULL},
      G_OPTION_ENTRY_NULL,
  };
  int code;
  if (!cli_parse(
          cli, entries,
          "The preferred leader, the first of the replicas, leads where it is in sync: of all topics, of one, or\n"
          "of some of its partitions. The controllers do it by themselves every half minute. With --unclean, for\n"
          "partitions that have no leader and get none otherwise: the last resort, which the controller logs.\n"
          "With --cut-damage as well, a partition whose last copy is damaged takes records again: its leader keeps "
          "what\n"
          "lies in front of the damage, and everything from there on is lost. A log that is whole loses nothing.\n",
          argc, argv, &code))
    return code;
  Failure *failure = take_partitions(cli->arguments, &asked.topic, partitions);
  if (!failure)
    failure = check_unclean(&asked);
  yes |= !asked.unclean || asked.dry_run;
  if (!failure && !yes)
    failure = confirm_unclean(asked.topic, asked.cut_damage, &yes);
  if (failure)
    return cli_usage(cli, failure);
  return yes ? elect(cli, &asked) : cli_failed_text(cli, "no leader of '%s' was elected.", asked.topic);
}

const Command CMD_PARTITIONS_ELECT = {
    .name = "partitions elect",
    .arguments = "[TOPIC [PARTITION]...]",
    .summary = "Elect preferred leaders; as a last resort, unclean ones",
    .examples = "  milena partitions elect\n"
                "  milena partitions elect orders 0 1\n"
                "  milena partitions elect orders 4 --unclean\n"
                "  milena partitions elect orders 4 --unclean --cut-damage\n",
    .arguments_most = PARTITIONS_MAX + 1,
    .run = run_elect,
};
