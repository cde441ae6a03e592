#include "client/cli/cli.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/text.h"
#include "services/base/invariant.h"

#define BOOTSTRAP_DEFAULT "localhost:7600"
#define BOOTSTRAP_PORT 7600
#define TIMEOUT_S_DEFAULT 30
/* A broker that restarts is back by then. */
#define PROBE_TIMEOUT_S 3
#define PROBE_PAUSE_US 100000

void cli_init(Cli *cli, const Command *command) {
  *cli = (Cli){.command = command, .timeout_s = TIMEOUT_S_DEFAULT};
}

void cli_clear(Cli *cli) {
  g_clear_pointer(&cli->bootstrap, g_free);
  g_clear_pointer(&cli->output, g_free);
  g_clear_pointer(&cli->timeout_help, g_free);
  g_clear_pointer(&cli->arguments, g_strfreev);
}

/* ---- Command line ---- */

static GOptionContext *make_context(Cli *cli, const GOptionEntry *entries, const char *notes) {
  const Command *command = cli->command;
  GOptionContext *context = g_option_context_new(command->arguments);
  cli->timeout_help = g_strdup_printf("Give up after so many seconds (default %d)", cli->timeout_s);
  const GOptionEntry common[] = {
      {"bootstrap", 'b', command->local ? G_OPTION_FLAG_HIDDEN : 0, G_OPTION_ARG_FILENAME, &cli->bootstrap,
       "A broker or some, host:port,host:port (default MILENA_BOOTSTRAP, else " BOOTSTRAP_DEFAULT ")", "ADDRESSES"},
      {"bootstrap-only", 0, command->local ? G_OPTION_FLAG_HIDDEN : 0, G_OPTION_ARG_NONE, &cli->bootstrap_only,
       "Talk to these addresses alone: they forward (also MILENA_BOOTSTRAP_ONLY=1)", NULL},
      {"output", 'O', 0, G_OPTION_ARG_FILENAME, &cli->output, "table or json (default table)", "FORM"},
      {"timeout", 0, 0, G_OPTION_ARG_INT, &cli->timeout_s, cli->timeout_help, "SECONDS"},
      G_OPTION_ENTRY_NULL,
  };
  g_option_context_set_summary(context, command->summary);
  g_autofree char *text = g_strconcat(notes ? notes : "", notes ? "\n" : "", "Examples:\n", command->examples, NULL);
  g_option_context_set_description(context, text);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_add_main_entries(context, common, NULL);
  return context;
}

static Failure *check_common(Cli *cli) {
  guint count = g_strv_length(cli->arguments);
  if (count < cli->command->arguments_least)
    return failure_new(FAILURE(INVALID_FIELD), "%s is missing.",
                       *cli->command->arguments ? cli->command->arguments : "an argument");
  if (count > cli->command->arguments_most)
    return failure_new(FAILURE(INVALID_FIELD), "'%s' is one argument too many.",
                       cli->arguments[cli->command->arguments_most]);
  for (guint i = 0; i < count; i++)
    if (!g_utf8_validate(cli->arguments[i], -1, NULL))
      return failure_new(FAILURE(INVALID_FIELD), "an argument is not valid UTF-8.");
  if (cli->output && strcmp(cli->output, "table") != 0 && strcmp(cli->output, "json") != 0)
    return failure_new(FAILURE(INVALID_FIELD), "--output is '%s', but must be table or json.", cli->output);
  if (cli->timeout_s < 1 || cli->timeout_s > 86400)
    return failure_new(FAILURE(INVALID_FIELD), "--timeout is %d, but must be from 1 to 86400 seconds.", cli->timeout_s);
  return NULL;
}

static gboolean takes_value(const GOptionEntry *entries, char letter) {
  if (letter == 'b' || letter == 'O')
    return TRUE;
  for (; entries->long_name; entries++)
    if (entries->short_name == letter)
      return entries->arg != G_OPTION_ARG_NONE;
  return FALSE;
}

/* A copy of argv in which "-n5" is "-n" "5": GOption wants them apart. */
static char **copy_words(const GOptionEntry *entries, int argc, char **argv) {
  g_autoptr(GStrvBuilder) words = g_strv_builder_new();
  gboolean options = TRUE;
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i];
    options = options && strcmp(word, "--") != 0;
    if (options && i > 0 && word[0] == '-' && word[1] && word[2] && takes_value(entries, word[1])) {
      const char letter[] = {'-', word[1], 0};
      g_strv_builder_add_many(words, letter, word + 2, NULL);
    } else {
      g_strv_builder_add(words, word);
    }
  }
  return g_strv_builder_end(words);
}

gboolean cli_parse(Cli *cli, const GOptionEntry *entries, const char *notes, int argc, char **argv, int *ret_exit) {
  g_autofree char *name = g_strconcat("milena ", cli->command->name, NULL);
  g_set_prgname(name);
  g_autoptr(GOptionContext) context = make_context(cli, entries, notes);
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) copy = copy_words(entries, argc, argv);
  if (!g_option_context_parse_strv(context, &copy, &error)) {
    *ret_exit = cli_usage(cli, failure_new(FAILURE(INVALID_FIELD), "%s.", error->message));
    return FALSE;
  }
  g_autoptr(GStrvBuilder) rest = g_strv_builder_new();
  for (char **at = copy && *copy ? copy + 1 : NULL; at && *at; at++)
    if (strcmp(*at, "--") != 0)
      g_strv_builder_add(rest, *at);
  cli->arguments = g_strv_builder_end(rest);
  Failure *failure = check_common(cli);
  if (failure) {
    *ret_exit = cli_usage(cli, failure);
    return FALSE;
  }
  cli->json = cli->output && !strcmp(cli->output, "json");
  return TRUE;
}

/* ---- Errors ---- */

int cli_usage(Cli *cli, Failure *failure) {
  fprintf(stderr, "milena %s: %s See 'milena %s --help'.\n", cli->command->name, failure_message(failure),
          cli->command->name);
  failure_free(failure);
  return CLI_USAGE;
}

int cli_failed(Cli *cli, MilenaError *error) {
  const char *reason = milena_error_reason(error);
  if (!strcmp(reason, "UNSPECIFIED"))
    reason = milena_error_code_name(error);
  fprintf(stderr, "milena %s: %s [%s]\n", cli->command->name, milena_error_message(error), reason);
  milena_error_free(error);
  return CLI_FAILED;
}

int cli_failed_text(Cli *cli, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  fprintf(stderr, "milena %s: %s\n", cli->command->name, text);
  return CLI_FAILED;
}

void cli_note(Cli *cli, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  fprintf(stderr, "milena %s: %s\n", cli->command->name, text);
}

/* ---- Connection and output ---- */

/* Somebody listens at one of the addresses. A plain connect says so at once, where a call would try again until its
 * time is over. */
static gboolean is_reachable(const char *bootstrap) {
  g_auto(GStrv) addresses = g_strsplit(bootstrap, ",", -1);
  g_autoptr(GSocketClient) socket = g_socket_client_new();
  g_socket_client_set_timeout(socket, PROBE_TIMEOUT_S);
  g_socket_client_set_enable_proxy(socket, FALSE);
  for (char **address = addresses; *address; address++) {
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(socket, g_strstrip(*address), BOOTSTRAP_PORT, NULL, NULL);
    if (connection)
      return TRUE;
  }
  return FALSE;
}

static int wait_until_reachable(Cli *cli, const char *bootstrap) {
  gint64 wait_us = MIN(cli->timeout_s, PROBE_TIMEOUT_S) * (gint64)G_USEC_PER_SEC;
  gint64 deadline_us = g_get_monotonic_time() + wait_us;
  while (!is_reachable(bootstrap)) {
    if (g_get_monotonic_time() >= deadline_us)
      return cli_failed_text(cli,
                             "no broker answers at %s. Is the cluster up? See 'milena local status', or name a broker "
                             "with --bootstrap. [PEER_UNREACHABLE]",
                             bootstrap);
    g_usleep(PROBE_PAUSE_US);
  }
  return CLI_OK;
}

int cli_connect(Cli *cli, MilenaClient **ret_client) {
  const char *bootstrap = cli->bootstrap ? cli->bootstrap : g_getenv("MILENA_BOOTSTRAP");
  if (!bootstrap || !*bootstrap)
    bootstrap = BOOTSTRAP_DEFAULT;
  g_autoptr(MilenaClient) client = NULL;
  MilenaClientOptions options;
  milena_client_options_init(&options);
  options.bootstrap_only = cli->bootstrap_only || g_strcmp0(g_getenv("MILENA_BOOTSTRAP_ONLY"), "1") == 0;
  MilenaError *error = milena_client_new(bootstrap, &options, &client);
  if (error) {
    cli_failed(cli, error);
    return CLI_USAGE;
  }
  int code = wait_until_reachable(cli, bootstrap);
  if (code == CLI_OK)
    *ret_client = g_steal_pointer(&client);
  return code;
}

int cli_connect_for(Cli *cli, const char *what, gint32 least, int32_t *ret_id, MilenaClient **ret_client) {
  gint64 id = *ret_id;
  Failure *failure = cli->arguments[0] ? text_number(what, cli->arguments[0], least, G_MAXINT32, &id) : NULL;
  if (failure)
    return cli_usage(cli, failure);
  *ret_id = (int32_t)id;
  return cli_connect(cli, ret_client);
}

gboolean cli_begin_list(Cli *cli, const char *names, const char *notes, int argc, char **argv, gboolean *ret_names,
                        MilenaClient **ret_client, int *ret_exit) {
  g_autofree char *help = g_strdup_printf("Only the %s, one a line", names);
  *ret_names = FALSE;
  const GOptionEntry entries[] = {
      {names, 0, 0, G_OPTION_ARG_NONE, ret_names, help, NULL},
      G_OPTION_ENTRY_NULL,
  };
  if (!cli_parse(cli, entries, notes, argc, argv, ret_exit))
    return FALSE;
  *ret_exit = cli_connect(cli, ret_client);
  return *ret_exit == CLI_OK;
}

gint32 cli_timeout_ms(const Cli *cli) {
  return cli->timeout_s * 1000;
}

gboolean cli_confirm(Cli *cli, const char *kind, const char *name, const char *loss, gboolean yes, int *ret_exit) {
  if (yes)
    return TRUE;
  if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
    *ret_exit = cli_usage(
        cli, failure_new(FAILURE(INVALID_FIELD), "deleting '%s' deletes %s: confirm it with --yes.", name, loss));
    return FALSE;
  }
  fprintf(stderr, "Delete the %s '%s' and %s? Type its name to confirm: ", kind, name, loss);
  char answer[300] = "";
  if (fgets(answer, sizeof answer, stdin) && strcmp(g_strchomp(answer), name) == 0)
    return TRUE;
  *ret_exit = cli_failed_text(cli, "the %s '%s' was not deleted.", kind, name);
  return FALSE;
}

int cli_print_deleted(Cli *cli, const char *kind, const char *name) {
  if (!cli->json) {
    g_autofree char *text = g_strdup_printf("Deleted the %s '%s'.\n", kind, name);
    return cli_print(cli, text);
  }
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_string(json, "deleted", name);
  json_close(json);
  g_string_append_c(out, '\n');
  return cli_print(cli, out->str);
}

gboolean cli_write(int fd, const void *bytes, gsize length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t written = write(fd, at, length);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return FALSE;
    at += written;
    length -= (gsize)written;
  }
  return TRUE;
}

int cli_print(Cli *cli, const char *text) {
  if (cli_write(STDOUT_FILENO, text, strlen(text)))
    return CLI_OK;
  /* Who reads has gone away, as `head` does: that is no failure. */
  if (errno == EPIPE)
    return CLI_OK;
  return cli_failed_text(cli, "standard output can't be written: %s.", g_strerror(errno));
}

int cli_print_table(Cli *cli, const Table *table) {
  g_autofree char *text = table_format(table);
  return cli_print(cli, text);
}
