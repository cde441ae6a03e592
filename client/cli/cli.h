/* What the commands of `milena` share: options, connection, errors, output.
 *
 * Exit codes: 0 it went well, 1 it failed, 2 the command line is wrong. One thread, except where a command says more.
 */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "client/cli/json.h"
#include "client/cli/table.h"
#include "services/base/failure.h"

G_BEGIN_DECLS

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaClient, milena_client_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaError, milena_error_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaTopic, milena_topic_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaTopicList, milena_topic_list_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaCluster, milena_cluster_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaBroker, milena_broker_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaBrokerList, milena_broker_list_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaElectedList, milena_elected_list_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaReassignmentList, milena_reassignment_list_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaConsumer, milena_consumer_free)

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct Cli Cli;

/* A command; static. */
typedef struct {
  const char *name;      /* "topics create" */
  const char *arguments; /* of its usage line: "NAME" */
  const char *summary;   /* one line, for the list of commands */
  const char *examples;  /* lines, each with an example */
  guint arguments_least, arguments_most;
  gboolean local;                              /* it needs no --bootstrap */
  int (*run)(Cli *cli, int argc, char **argv); /* returns the exit code */
} Command;

/* One run of a command. */
struct Cli {
  const Command *command;
  gboolean bootstrap_only;
  char *bootstrap; /* owned, as all below */
  char *output;
  char *timeout_help; /* the option parser borrows it */
  gint timeout_s;
  gboolean json;    /* --output json */
  char **arguments; /* what is no option; ends with NULL */
};

extern const Command CMD_BENCH_CONSUME;
extern const Command CMD_BENCH_LATENCY;
extern const Command CMD_BENCH_PRODUCE;
extern const Command CMD_BROKERS_DESCRIBE;
extern const Command CMD_BROKERS_DRAIN;
extern const Command CMD_BROKERS_LIST;
extern const Command CMD_BROKERS_STORAGE;
extern const Command CMD_BROKERS_UNDRAIN;
extern const Command CMD_CLUSTER_DESCRIBE;
extern const Command CMD_COMPLETION;
extern const Command CMD_CONSUME;
extern const Command CMD_CONTROLLERS_ADD;
extern const Command CMD_CONTROLLERS_BOOTSTRAP;
extern const Command CMD_CONTROLLERS_LIST;
extern const Command CMD_CONTROLLERS_REMOVE;
extern const Command CMD_CONTROLLERS_TRANSFER;
extern const Command CMD_GROUPS_ALTER;
extern const Command CMD_GROUPS_DELETE;
extern const Command CMD_GROUPS_DELETE_OFFSETS;
extern const Command CMD_GROUPS_DESCRIBE;
extern const Command CMD_GROUPS_LAG;
extern const Command CMD_GROUPS_LIST;
extern const Command CMD_GROUPS_MEMBERS;
extern const Command CMD_GROUPS_RESET_OFFSETS;
extern const Command CMD_GROUPS_WATCH;
extern const Command CMD_LOCAL_DOWN;
extern const Command CMD_LOCAL_START;
extern const Command CMD_LOCAL_STATUS;
extern const Command CMD_LOCAL_STOP;
extern const Command CMD_LOCAL_UP;
extern const Command CMD_PARTITIONS_CANCEL;
extern const Command CMD_PARTITIONS_ELECT;
extern const Command CMD_PARTITIONS_REASSIGN;
extern const Command CMD_PARTITIONS_STATUS;
extern const Command CMD_PRODUCE;
extern const Command CMD_RECORDS_DELETE;
extern const Command CMD_TOPICS_ALTER;
extern const Command CMD_TOPICS_CREATE;
extern const Command CMD_TOPICS_DELETE;
extern const Command CMD_TOPICS_DESCRIBE;
extern const Command CMD_TOPICS_LIST;

/* All commands; ends with NULL; static. */
const Command *const *cli_commands(void);

void cli_init(Cli *cli, const Command *command);
void cli_clear(Cli *cli);

/* Read the command line.
 *
 * @entries: the command's own options, ends with G_OPTION_ENTRY_NULL; strings are of kind G_OPTION_ARG_FILENAME, so
 *           that they take any bytes
 * @notes: more text for --help, or NULL
 *
 * Returns FALSE with *@ret_exit set when the command must not run: after --help, or a sentence about what is wrong. */
gboolean cli_parse(Cli *cli, const GOptionEntry *entries, const char *notes, int argc, char **argv, int *ret_exit);

/* Say what is wrong with the command line. Takes @failure; returns CLI_USAGE. */
int cli_usage(Cli *cli, Failure *failure);
/* Say what failed. Takes the error; returns CLI_FAILED. */
int cli_failed(Cli *cli, MilenaError *error);
/* The same with a sentence of our own. */
int cli_failed_text(Cli *cli, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A remark on standard error that is no failure. */
void cli_note(Cli *cli, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A client of the cluster that --bootstrap names. Returns CLI_OK, or the exit code after saying what is wrong. */
int cli_connect(Cli *cli, MilenaClient **ret_client);
/* The same for a command whose first argument is an id; without an argument *@ret_id stays.
 *
 * @what: its name in the sentence: "the broker's id" */
int cli_connect_for(Cli *cli, const char *what, gint32 least, int32_t *ret_id, MilenaClient **ret_client);
/* Begin a command that lists: parse, with one option that leaves the names alone, and connect.
 *
 * @names: what the names are, and the option: "names", "ids"
 * @notes: as in cli_parse
 * @ret_names: whether only they are wanted
 *
 * Returns FALSE with *@ret_exit set when the command must not run. */
gboolean cli_begin_list(Cli *cli, const char *names, const char *notes, int argc, char **argv, gboolean *ret_names,
                        MilenaClient **ret_client, int *ret_exit);
gint32 cli_timeout_ms(const Cli *cli);

/* Ask on the terminal before something is deleted for good.
 *
 * @kind, @name: of it: "topic", "orders"
 * @loss: what goes with it: "all its records"
 * @yes: do not ask
 *
 * Returns FALSE with *@ret_exit set, after saying so, when it must not be deleted; without a terminal nobody can
 * answer. */
gboolean cli_confirm(Cli *cli, const char *kind, const char *name, const char *loss, gboolean yes, int *ret_exit);
/* Say that it was deleted. */
int cli_print_deleted(Cli *cli, const char *kind, const char *name);

/* Write to standard output. Return the exit code: CLI_FAILED, after saying so, when it can't be written. */
int cli_print(Cli *cli, const char *text);
int cli_print_table(Cli *cli, const Table *table);
/* Writes all of it, whatever it is. Returns FALSE with errno set. */
gboolean cli_write(int fd, const void *bytes, gsize length);

G_END_DECLS
